"""Packages that the test environment does not have, in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source import ROOT


def install_packages(folder: Path, requirements: list[str]) -> dict[str, str]:
    """Installs packages into a folder and returns the environment in which this Python finds them.

    They get the versions of `constraints.txt`, so that both see the same numpy, but for pillow, which trackio limits.
    """
    uv = Path(sys.executable).parent / "uv"
    if not uv.is_file():
        pytest.skip("needs uv beside this Python; `make setup` brings it")
    pins = folder / "constraints.txt"
    lines = (ROOT / "constraints.txt").read_text().splitlines(keepends=True)
    pins.write_text("".join(line for line in lines if not line.startswith("pillow==")))
    target = folder / "site-packages"  # a job in its sandbox may read folders of this name
    command = [str(uv), "pip", "install", "--quiet", "--python", sys.executable, "--target", str(target)]
    done = subprocess.run([*command, "-c", str(pins), *requirements], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{requirements} cannot be installed: {done.stderr[-300:]}")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "WANDB", "TRACKIO"))}
    return {**clean, "PYTHONPATH": os.pathsep.join([str(target), str(ROOT)]), "HOME": str(folder)}


def list_requirements(*extras: str) -> list[str]:
    """The requirements of extras in pyproject.toml."""
    import tomllib

    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return [line for extra in extras for line in known[extra]]
