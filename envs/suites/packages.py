"""Imports the package of a suite, and says which versions work together where it does not fit."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, requires, version
from types import ModuleType

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from robo_reward.errors import MissingExtra, UsageError

OLDEST = {"metaworld": "3.1", "gymnasium-robotics": "1.4", "dm-control": "1.0.28"}
"""Oldest supported version of each package: Meta-World 3.0 allows MuJoCo 4, with which its environments fail."""

KNOWN_LIMITS = {"gymnasium-robotics": ("<=1.4.2", "<3.12"), "dm-control": ("<=1.0.50", "<4")}
"""Versions of a package -> versions of MuJoCo that they work with, where the package itself sets no limit."""


class VersionClash(UsageError):
    """A suite's package does not work with the installed MuJoCo.

    Args:
        package: distribution of the suite.
        found: its installed version.
        mujoco: installed version of MuJoCo.
        needed: the versions of MuJoCo that it works with, such as `==3.3.0`; empty if the package is too old.
    """

    def __init__(self, package: str, found: str, mujoco: str, needed: str) -> None:
        if needed:
            why, pair = f"it needs mujoco{needed}", f"'{package}=={found}' 'mujoco{needed}'"
        else:
            why, pair = f"version {OLDEST[package]} or later does", f"'{package}>={OLDEST[package]}' mujoco"
        super().__init__(
            f"{package} {found} does not work with the installed mujoco {mujoco}: {why}. "
            f"For a pair that works: pip install --upgrade {pair}"
        )


def import_suite(module: str, package: str, extra: str) -> ModuleType:
    """Returns a module of a suite's package.

    Args:
        module: to import.
        package: distribution that has it, a key of `OLDEST`.
        extra: of robo-reward, which installs it.

    Raises:
        MissingExtra: it is not installed, or does not load.
        VersionClash: it is too old, or needs another version of MuJoCo than the installed one.
    """
    check_versions(package)
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(module, extra, f"a task of {package}", error) from error


def check_versions(package: str) -> None:
    """Compares an installed suite with the installed MuJoCo; accepts a package that is not installed.

    Raises:
        VersionClash: they do not fit, by what the package itself requires.
    """
    try:
        found, mujoco = version(package), version("mujoco")
    except PackageNotFoundError:
        return
    if Version(found) < Version(OLDEST[package]):
        raise VersionClash(package, found, mujoco, "")
    versions, limit = KNOWN_LIMITS.get(package, ("", ""))
    if limit and found in SpecifierSet(versions) and mujoco not in SpecifierSet(limit):
        raise VersionClash(package, found, mujoco, limit)
    for text in requires(package) or ():
        requirement = Requirement(text)
        base = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if requirement.name == "mujoco" and base and mujoco not in requirement.specifier:
            raise VersionClash(package, found, mujoco, str(requirement.specifier))
