"""The paths of robo-reward's plug-ins: a confined job must be able to import them."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from importlib.util import find_spec
from pathlib import Path

GROUPS = "robo_reward."


@functools.cache
def find_plugin_paths() -> tuple[Path, ...]:
    """Returns the sources and the metadata folders of all packages that register a robo-reward plug-in.

    A package that is installed in editable form, or that lies on PYTHONPATH, is outside of the interpreter's folders;
    so may be a package that it requires.
    """
    found: dict[Path, None] = {}
    for package in _find_plugin_packages():
        modules = sorted(_list_modules(package))
        found |= dict.fromkeys(
            (*_find_metadata_folders(package), *(place for name in modules for place in _find_source_folders(name)))
        )
    return tuple(found)


def _find_plugin_packages() -> Iterator[Distribution]:
    """Yields the packages with a plug-in, and the editable packages that they require."""
    waiting = [found for found in distributions() if any(_is_plugin_group(e.group) for e in found.entry_points)]
    seen: set[str] = set()
    while waiting:
        package = waiting.pop()
        yield package
        for requirement in package.requires or ():
            name = re.split(r"[^\w.\-]", requirement, maxsplit=1)[0]
            if name not in seen:
                seen.add(name)
                waiting += _find_editable_package(name)


def _is_plugin_group(group: str) -> bool:
    return group.startswith(GROUPS)


def _find_editable_package(name: str) -> list[Distribution]:
    try:
        package = distribution(name)
    except PackageNotFoundError:  # an extra that is not installed
        return []
    origin = json.loads(package.read_text("direct_url.json") or "{}")
    return [package] if origin.get("dir_info", {}).get("editable") else []


def _list_modules(package: Distribution) -> set[str]:
    """Returns the top-level modules of a package: of its plug-ins, and those that an editable installation adds."""
    modules = {e.value.split(":")[0].split(".")[0] for e in package.entry_points if _is_plugin_group(e.group)}
    modules |= set((package.read_text("top_level.txt") or "").split())  # written by setuptools
    for file in package.files or ():
        if file.suffix == ".pth":  # other build tools add the folder of the sources to the path of Python
            modules |= _list_path_file_modules(Path(str(package.locate_file(file))))
    return modules


def _list_path_file_modules(path: Path) -> set[str]:
    """Returns the modules in the folders that a .pth file names, but no other files that lie there."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    folders = [Path(line) for line in lines if Path(line).is_absolute() and Path(line).is_dir()]
    packages = {file.parent.name for folder in folders for file in folder.glob("*/__init__.py")}
    return packages | {file.stem for folder in folders for file in folder.glob("*.py")}


def _find_metadata_folders(distribution: Distribution) -> list[Path]:
    folder = getattr(distribution, "_path", None)  # private: the public API does not reveal the folder
    return [Path(folder)] if folder is not None else []


def _find_source_folders(module: str) -> list[Path]:
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    return [Path(place) for place in spec.submodule_search_locations or ([spec.origin] if spec.origin else [])]
