"""Real policies of LeRobot, in its own Python: the actions through us are those that LeRobot returns."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from robo_reward.cli.app import main
from robo_reward.envs.task import make_task
from robo_reward.policies.lerobot.policy import LeRobotSettings, open_lerobot_policy
from robo_reward.policies.lerobot.process import LeRobotFailed
from tests.lerobot_environment import run_program
from tests.policies.lerobot.originals import ANSWER, MAKE, OLD

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SEED = 5
HAND = ("hand_position", "gripper_opening")
PARTS = {
    "state": (("cube_position",), {}),
    "looks": ((), {"front": "front", "hand": "wrist"}),
    "act": ((), {"front": "front"}),
    "old": (("cube_position",), {}),
}
"""Checkpoint -> fields of `observation.environment_state`, and cameras."""


@pytest.fixture(scope="module")
def checkpoints(lerobot_python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small policies that LeRobot wrote, inputs of three worlds, and the answers of LeRobot itself."""
    root = tmp_path_factory.mktemp("checkpoints")
    rng = np.random.default_rng(0)
    inputs = {
        "observation.state": rng.uniform(-0.5, 0.5, (3, 2, 4)).astype(np.float32),
        "observation.environment_state": rng.uniform(-0.5, 0.5, (3, 2, 3)).astype(np.float32),
        "observation.images.front": rng.integers(0, 256, (3, 2, 32, 32, 3), dtype=np.uint8),
        "observation.images.hand": rng.integers(0, 256, (3, 2, 32, 32, 3), dtype=np.uint8),
        "noise": rng.standard_normal((3, 8, 4)).astype(np.float32),
        "seed": np.random.default_rng(SEED).integers(2**31),
    }
    np.savez(root / "inputs.npz", allow_pickle=False, **inputs)
    run_program(lerobot_python, MAKE + ANSWER + OLD, root, root / "answers.npz")
    return root


@pytest.mark.parametrize("kind", list(PARTS))
def test_actions_are_those_of_lerobot(checkpoints: Path, lerobot_python: str, kind: str):
    environment, cameras = PARTS[kind]
    settings = LeRobotSettings(str(checkpoints / kind), lerobot_python)
    policy = open_lerobot_policy(settings, make_task("panda/lift"), HAND, environment, cameras)
    given, expected = np.load(checkpoints / "inputs.npz"), np.load(checkpoints / "answers.npz")[kind]
    rows = slice(-policy.history, None)
    vectors = ["observation.state", *(["observation.environment_state"] if environment else [])]
    seen = {"state": np.concatenate([given[name][:, rows] for name in vectors], axis=-1)}
    seen |= {camera: given[f"observation.images.{name}"][:, rows] for name, camera in cameras.items()}
    policy.reset(SEED)
    actions = policy.act(seen if cameras else seen["state"], None if kind == "act" else given["noise"])
    policy.close()
    assert expected.shape == (3, policy.execute, 4) and np.abs(expected).max() > 0.1
    np.testing.assert_allclose(actions[:, : policy.execute], np.clip(expected, -1, 1), atol=1e-6)


def test_an_imported_policy_is_evaluated(checkpoints: Path, lerobot_python: str, tmp_path: Path, capsys):
    out, said = tmp_path / "ours", tmp_path / "found.json"
    given = ["task=panda/lift", f"state=[{','.join(HAND)}]", "cameras={front: front, hand: wrist}"]
    venv = Path(lerobot_python).parent.parent
    source = [str(checkpoints / "looks"), f"python={venv}", f"out={out}", "sampling_steps=2"]
    assert main(["import-policy", *source, *given]) == 0
    assert "observation.images.hand <- camera wrist" in capsys.readouterr().out
    assert main(["evaluate", str(out), "episodes=2", f"json={said}"]) == 0
    assert json.loads(said.read_text())["episodes"] == 2


def test_checkpoints_that_lerobot_would_run_wrongly_are_refused(checkpoints: Path, lerobot_python: str, tmp_path: Path):
    import safetensors.numpy

    shutil.copytree(checkpoints / "state", tmp_path / "state")
    (path,) = (tmp_path / "state").glob("policy_postprocessor_step_*.safetensors")
    rest = {name: array for name, array in safetensors.numpy.load_file(path).items() if not name.startswith("action")}
    safetensors.numpy.save_file(rest, path)
    with pytest.raises(LeRobotFailed, match="no statistics of action, which it normalises by MIN_MAX"):
        open_lerobot_policy(
            LeRobotSettings(str(tmp_path / "state"), lerobot_python), make_task("panda/lift"), HAND, ("cube_position",)
        )
