"""A LeRobot checkpoint as a policy of ours: its inputs in a task, its folder, its errors; the process is a fake."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from robo_reward.envs.task import Task, make_task
from robo_reward.errors import BadArtifact, RoboRewardError, UnknownName, UsageError, WrongShape
from robo_reward.policies.lerobot.checkpoint import Checkpoint, is_hub_id
from robo_reward.policies.lerobot.policy import LeRobotPolicy, LeRobotSettings, open_lerobot_policy
from robo_reward.policies.lerobot.process import LeRobotFailed
from robo_reward.policies.policy import PolicyMismatch, load_policy
from tests.policies.lerobot.checkpoints import write_checkpoint, write_training_data

FAKE = Path(__file__).with_name("fake_child.py")
HAND = ("hand_position", "gripper_opening")


@pytest.fixture(scope="module")
def task() -> Task:
    return make_task("panda/lift")


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robo_reward.policies.lerobot.process.CHILD", FAKE)


def open_policy(folder: Path, task: Task, state: tuple[str, ...] = HAND, **more) -> LeRobotPolicy:
    return open_lerobot_policy(LeRobotSettings(str(folder), sys.executable), task, state, **more)


def test_chunks_of_a_policy_that_looks_also_after_saving(tmp_path: Path, task: Task):
    write_checkpoint(tmp_path / "theirs", {"top": (16, 16)})
    policy = open_policy(tmp_path / "theirs", task, cameras={"top": "wrist"})
    assert (policy.history, policy.chunk, policy.execute, policy.noise_shape) == (2, 4, 4, (8, 4))
    assert policy.frames is not None and (policy.frames.cameras, policy.frames.size) == (("wrist",), 16)
    assert policy.require_compatible(task) is policy and policy.observation.dim == 4
    seen = {"state": np.full((3, 2, 4), 0.25), "wrist": np.full((3, 2, 16, 16, 3), 51, np.uint8)}
    policy.reset(7)
    actions = policy.act(seen)
    assert actions.shape == (3, 4, 4) and actions.dtype == np.float32
    np.testing.assert_allclose(actions[:, :, :2], np.broadcast_to([0.25, 0.2], (3, 4, 2)), rtol=1e-6)
    policy.save(tmp_path / "ours")
    again = load_policy(tmp_path / "ours")
    again.reset(7)
    np.testing.assert_array_equal(again.act(seen), actions)  # the same noise and seed from the policy's generator
    assert (again.act(seen) != actions).any()
    noise = np.zeros((3, 8, 4))
    assert (again.act(seen, noise)[:, :, 3] == 0).all()
    assert again.meta["task"] == "panda/lift" and again.with_meta(a=1).meta["a"] == 1
    for wrong, said in (
        ({**seen, "wrist": seen["wrist"][:, :, :8]}, "pictures of 'wrist'"),
        ({**seen, "wrist": seen["wrist"] / 255}, "expected uint8"),
        ({"state": seen["state"]}, "also needs wrist"),
        ({**seen, "state": np.full((3, 2, 4), np.nan)}, "not finite in column 0"),
        ({**seen, "state": np.zeros((2, 2, 4))}, "different lengths"),
    ):
        with pytest.raises(RoboRewardError, match=said):
            policy.act(wrong)
    with pytest.raises(WrongShape, match="noise"):
        policy.act(seen, np.zeros((3, 4, 4)))
    policy.close()
    with pytest.raises(LeRobotFailed, match="closed"):
        policy.act(seen)


def test_state_fields_come_in_their_units_from_worlds(tmp_path: Path, task: Task):
    policy = open_policy(write_checkpoint(tmp_path / "theirs"), task)
    state = np.linspace(-1, 1, 24)
    from robo_reward.envs.state import State
    from robo_reward.policies.rollout.history import observe_state

    seen = observe_state(policy.observation, State(task.spec, state[None]))
    np.testing.assert_array_equal(seen[0], np.float32(state[[0, 1, 2, 6]]))
    assert policy.act(seen).shape == (1, 4, 4)
    policy.close()


@pytest.mark.parametrize(("fault", "largest"), [("far", 1.0), ("nan", None), ("crash", None)])
def test_actions_that_are_none(tmp_path: Path, task: Task, monkeypatch, fault: str, largest: float | None):
    monkeypatch.setenv("FAKE_FAULT", fault)
    policy = open_policy(write_checkpoint(tmp_path / "theirs"), task)
    if largest is None:
        with pytest.raises(LeRobotFailed, match=r"finite numbers of shape|SIGKILL"):
            policy.act(np.zeros((1, 4)))
    else:
        assert policy.act(np.zeros((1, 4))).max() == largest
    policy.close()


@pytest.mark.parametrize(
    ("changes", "more", "error", "said"),
    [
        ({}, {"state": ("hand_position",)}, UsageError, r"state=\[hand_position\] has 3 numbers.* has 4 numbers"),
        ({}, {"state": ("hand_positon",)}, UnknownName, "hand_position"),
        ({}, {"state": ()}, UsageError, r"sees 4 numbers of observation.state. Give state=.*gripper_opening \(1\)"),
        ({}, {"environment": ("cube_position",)}, UsageError, "does not see observation.environment_state"),
        ({}, {"cameras": {"top": "front"}}, UsageError, "differ in top: it sees no pictures"),
        ({"pictures": {"eye": (16, 16)}}, {}, UnknownName, r"unknown camera 'eye'.*Give cameras=\{eye: CAMERA\}"),
        ({"pictures": {"front": (48, 64)}}, {}, UsageError, "square and of one size, .*front 64 x 48"),
        ({"type": "smolvla"}, {}, UnknownName, "'smolvla'.*act, diffusion"),
        ({"type": "act", "chunk_size": 2}, {}, BadArtifact, "n_action_steps=4 is more"),
        ({"n_action_steps": 8}, {}, BadArtifact, "n_action_steps=8 is more"),
        ({"temporal_ensemble_coeff": 0.01}, {}, BadArtifact, "averages the actions"),
        ({"output_features": {"action": {"type": "ACTION", "shape": [7]}}}, {}, PolicyMismatch, "commands 7 .* 4: dx"),
        ({"input_features": {"observation.effort": {"type": "STATE", "shape": [4]}}}, {}, BadArtifact, "effort"),
        ({"input_features": 3}, {}, BadArtifact, "input_features"),
        (
            {"limits": [[-90.0] * 4, [45.0] * 4]},
            {},
            BadArtifact,
            r"actions reach 90, but .* in \[-1, 1\]",
        ),
        ({}, {"rate_hz": 10.0}, PolicyMismatch, "acts at 10 Hz .* panda/lift at 25 Hz"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, task: Task, changes: dict, more: dict, error: type, said: str):
    folder = write_checkpoint(tmp_path / "theirs", **changes)
    with pytest.raises(error, match=said):
        open_policy(folder, task, **more)


def test_the_data_set_names_state_and_rate(tmp_path: Path, task: Task):
    folder = write_checkpoint(tmp_path / "theirs")
    names = ["gripper_opening", "hand_position.0", "hand_position.1", "hand_position.2"]
    write_training_data(folder, tmp_path / "data", 25, names)
    policy = open_policy(folder, task, ())
    assert policy.mapping.state == ("gripper_opening", "hand_position")
    policy.close()
    with pytest.raises(UsageError, match=r"but the policy was trained on \[gripper_opening,hand_position\]"):
        open_policy(folder, task)
    (tmp_path / "data" / "meta" / "info.json").write_text(json.dumps({"fps": 10}))
    with pytest.raises(PolicyMismatch, match="acts at 10 Hz"):
        open_policy(folder, task)


def test_a_checkpoint_that_is_not_there_or_changed(tmp_path: Path, task: Task):
    with pytest.raises(UsageError, match="no LeRobot policy at"):
        Checkpoint.read(tmp_path)
    folder = write_checkpoint(tmp_path / "theirs")
    policy = open_policy(folder, task)
    policy.save(tmp_path / "ours")
    policy.close()
    with pytest.raises(PolicyMismatch, match="panda/push"):
        policy.require_compatible(make_task("panda/push"))
    with pytest.raises(UsageError, match="import-policy"):
        load_policy(folder)
    write_checkpoint(folder, {"front": (16, 16)})
    with pytest.raises(BadArtifact, match=r"has other inputs or actions now\. Import the LeRobot policy again"):
        load_policy(tmp_path / "ours")
    (folder / "config.json").unlink()
    with pytest.raises(UsageError, match="no LeRobot policy at"):
        load_policy(tmp_path / "ours")
    assert is_hub_id("lerobot/diffusion_pusht") and not is_hub_id("a/b/c") and not is_hub_id(str(folder))


def test_a_policy_of_single_queries_is_refused_more_samples(tmp_path: Path, task: Task):
    folder = write_checkpoint(tmp_path / "theirs", type="act", chunk_size=6, n_obs_steps=1)
    policy = open_policy(folder, task)
    assert (policy.chunk, policy.execute, policy.noise_shape) == (6, 4, None)
    assert policy.act(np.zeros((2, 4))).shape == (2, 6, 4)
    policy.close()
    with pytest.raises(UsageError, match="sampling_steps=5: an act policy does not sample"):
        open_lerobot_policy(LeRobotSettings(str(folder), sys.executable, sampling_steps=5), task, HAND)
