"""Two packages of another lab, as folders that an installer takes: plug-ins, and a library that they require."""

from __future__ import annotations

import shutil
import site
import subprocess
import venv
from pathlib import Path

PLUGINS = {
    "pyproject.toml": """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "my-lab"
version = "1.0"
dependencies = ["my-lab-scenes>=1"]

[project.entry-points."robo_reward.tasks"]
"my/touch" = "my_lab.touch:Touch"
"my/versioned" = "my_lab.versioned:Versioned"
"my/broken" = "my_lab.nowhere:Task"

[project.entry-points."robo_reward.writers"]
mine = "my_lab.writer:MyWriter"

[project.entry-points."robo_reward.encoders"]
mean_colour = "my_lab.encoder:MeanColour"

[tool.setuptools]
packages = ["my_lab"]
py-modules = ["my_lab_actions"]
""",
    "my_lab/__init__.py": "",
    "my_lab_actions.py": "DOWN = 2\n",
    "my_lab/touch.py": '''
import numpy as np
from my_lab_actions import DOWN
from my_lab_scenes import LOW
from robo_reward.envs.arm.base import ArmTask


class Touch(ArmTask):
    """The hand low above the table."""

    name, horizon = "touch", 20
    goal, success_rule = "Touch the table.", "the hand is below 3 cm"
    expert_reward = """
def compute_reward(state, action, previous):
    low = 1.0 - np.tanh(5.0 * state.hand_position[:, 2])
    return low, {"low": low}
"""

    def place(self, rng, qpos, mocap):
        pass

    def success(self, state):
        return state.hand_position[..., 2] < LOW

    def expert(self, state):
        action = np.zeros((*state.hand_position.shape[:-1], self.action.dim))
        action[..., DOWN] = -1.0
        return action
''',
    "my_lab/versioned.py": """
import subprocess
import sys

from my_lab.touch import Touch

subprocess.run([sys.executable, "-c", ""], check=True)  # as a package that asks git for its version


class Versioned(Touch):
    pass
""",
    "my_lab/writer.py": '''
from robo_reward.writers.writer import Completion


class MyWriter:
    name = "mine"

    def __init__(self, folder, slope: float = 5.0):
        self.slope = slope

    def write(self, request, k):
        source = f"""def compute_reward(state, action, previous):
    low = 1.0 - np.tanh({self.slope} * state.hand_position[:, 2])
    return low, {{"low": low}}
"""
        return [Completion(source, source, index=request.first + i) for i in range(k)]
''',
    "my_lab/encoder.py": """
import numpy as np
from robo_reward.rewards.artifact import load_reward


class MeanColour:
    def __init__(self, spec, weights):
        self.grid = int(spec.get("grid", 4))
        self.dim = 3 * self.grid**2

    def encode(self, frames):
        n, height, width, _ = frames.shape
        a, b = height // self.grid, width // self.grid
        cells = frames[:, : a * self.grid, : b * self.grid].reshape(n, self.grid, a, self.grid, b, 3)
        return (cells.mean((2, 4)) / 255.0).reshape(n, self.dim).astype(np.float32)

    def spec(self):
        return {"kind": "mean_colour", "grid": self.grid}

    def weights(self):
        return {}


def encode_in_job(job):
    reward = load_reward(job.spec["reward"])
    return {"shape": reward.encoder.encode(np.zeros((2, 30, 30, 3), np.uint8)).shape}
""",
}
LIBRARY = {
    "pyproject.toml": """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "my-lab-scenes"
version = "1.0"
""",
    "src/my_lab_scenes/__init__.py": "from my_lab_scenes.numbers import LOW as LOW\n",
    "src/my_lab_scenes/numbers.py": "LOW = 0.03  # [m]\n",
}


def write_package(folder: Path, files: dict[str, str]) -> Path:
    """Returns the folder, with the files of a package in it."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def create_environment(folder: Path) -> Path:
    """Returns the interpreter of a new environment that also finds what is installed in the running one."""
    venv.create(folder, symlinks=True)  # without pip: the running environment's is found
    python = folder / "bin" / "python"
    command = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    lines = [f"import site; site.addsitedir({place!r})" for place in site.getsitepackages()]
    (own / "running_environment.pth").write_text("\n".join(lines) + "\n")
    return python


def install_packages(python: Path, folder: Path, editable: bool) -> None:
    """Installs both packages from a folder without a download; after a normal installation the sources are gone."""
    places = [write_package(folder / "scenes", LIBRARY), write_package(folder / "lab", PLUGINS)]
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    command += ["--disable-pip-version-check"]
    for place in places:
        given = ["--editable", str(place)] if editable else [str(place)]
        done = subprocess.run([*command, *given], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        if not editable:
            shutil.rmtree(place)
