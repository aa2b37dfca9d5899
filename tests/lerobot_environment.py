"""An environment with LeRobot, which needs a newer Python and other versions of torch and numpy than ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

VERSION = "0.6.1"


def find_newer_python() -> str | None:
    """The path of a Python 3.12 or 3.13 on this machine: on the path, or among pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    inside = [str(path) for version in ("3.12", "3.13") for path in pyenv.glob(f"versions/{version}*/bin/python")]
    for name in ("python3.12", "python3.13", *inside):
        path = shutil.which(name)
        if path and subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0:
            return path
    return None


def install_into(python: str, packages: list[str]) -> None:
    """Installs packages for an interpreter; skips the test where they cannot be had."""
    uv = Path(sys.executable).parent / "uv"
    command = [str(uv), "pip", "install", "--quiet", "--python", python, *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{packages} cannot be installed: {done.stderr[-300:]}")


@pytest.fixture(scope="session")
def lerobot_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment with LeRobot, made once for all tests; LEROBOT_PYTHON names a ready one."""
    if ready := os.environ.get("LEROBOT_PYTHON"):
        return ready
    uv = Path(sys.executable).parent / "uv"
    if not uv.is_file():
        pytest.skip("needs uv beside this Python; `make setup` brings it")
    newer = find_newer_python()
    if newer is None:
        pytest.skip("LeRobot needs Python 3.12 or 3.13, which is not installed")
    folder = tmp_path_factory.mktemp("lerobot") / "venv"
    subprocess.run([str(uv), "venv", "--quiet", "--python", newer, str(folder)], check=True)
    python = str(folder / "bin" / "python")
    install_into(python, [f"lerobot[dataset,diffusion]=={VERSION}"])
    return python


def run_program(python: str, program: str, *arguments: Path) -> None:
    """Runs a program with the environment's interpreter, without our variables and without a network."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(arguments[0].parent / "hf")}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [python, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, env={**clean, **offline}, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
