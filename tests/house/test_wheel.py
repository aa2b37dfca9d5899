"""What the archives hold: one top-level name, every module, every data file. `.ci/run` installs them and runs them."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.house.source import LINKED, ROOT

SOURCES = ("robo_reward", *LINKED)
DATA = {".py", ".typed", ".yaml", ".jinja", ".html", ".css", ".js", ".svg"}


def wanted() -> set[str]:
    """Every file of the package under its import path, as the source tree has it."""
    found = set()
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix in DATA:
                relative = path.relative_to(ROOT)
                found.add((relative if folder == "robo_reward" else Path("robo_reward") / relative).as_posix())
    return found


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel, built from a copy: a build leaves files beside the sources."""
    folder = tmp_path_factory.mktemp("build")
    tree = folder / "tree"
    tree.mkdir()
    for name in SOURCES:
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for hook in ("build_sdist", "build_wheel"):
        build = f"import sys; from setuptools import build_meta; build_meta.{hook}(sys.argv[1])"
        command = [sys.executable, "-c", build, str(folder)]
        done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_wheel_holds_the_package_and_nothing_else(archives: Path):
    (wheel,) = archives.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in names} == {"robo_reward"}
    assert wanted() <= names, f"missing from the wheel (package-data in pyproject.toml?): {sorted(wanted() - names)}"
    assert not [name for name in names if "__pycache__" in name]


def test_sdist_holds_real_folders(archives: Path):
    (sdist,) = archives.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert not [member.name for member in members if member.issym() or member.islnk()]
    names = {member.name.partition("/")[2] for member in members if member.isfile()}
    assert wanted() <= names, f"missing from the sdist: {sorted(wanted() - names)}"
