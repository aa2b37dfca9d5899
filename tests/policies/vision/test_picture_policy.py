"""Training of Stable-Baselines3 on pictures: exact resume, stored policies, memory and bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robo_reward.envs.rendering.frames import FrameRenderer, FrameSpec
from robo_reward.envs.state import State
from robo_reward.envs.task import Task, make_task
from robo_reward.envs.vec import SB3VecEnv
from robo_reward.errors import BadArtifact, UnknownName, UsageError, WrongShape
from robo_reward.policies.algorithms import merge_settings
from robo_reward.policies.controller import PolicyController
from robo_reward.policies.policy import PolicyMismatch, load_policy
from robo_reward.policies.sb3 import train_policy
from robo_reward.policies.vision.observation import choose_observation
from robo_reward.policies.vision.picture_policy import PicturePolicy
from robo_reward.policies.vision.sight import LookingSettings, Sight

SIZE = 48
FIELDS = ("front", "hand_position")
SMALL: dict[str, Any] = {
    "ppo": {"worlds": 2, "n_steps": 4, "batch_size": 4, "n_epochs": 1},
    "sac": {"worlds": 2, "learning_starts": 4, "batch_size": 8, "gradient_steps": 1, "buffer_size": 64},
}


@pytest.fixture(scope="module")
def reach() -> Task:
    return make_task("panda/reach")


def train(task: Task, folder: Path, algorithm: str, looking: LookingSettings, steps: int = 16, **options: Any) -> Any:
    params = SMALL[algorithm]
    return train_policy(
        task, None, folder, algorithm, steps, seed=3, params=params, episodes=1, looking=looking, **options
    )


@pytest.mark.parametrize(
    ("algorithm", "looking"),
    [
        ("sac", LookingSettings(FIELDS, SIZE, "nature")),
        ("ppo", LookingSettings(("front",), SIZE)),
        ("sac", LookingSettings(("wrist", "front", "hand_position"), SIZE, "pixels")),
    ],
)
@pytest.mark.slow
def test_a_stopped_run_goes_on_bit_for_bit(
    reach: Task, tmp_path: Path, algorithm: str, looking: LookingSettings
) -> None:
    reach.horizon, horizon = 6, reach.horizon
    try:
        whole = train(reach, tmp_path / "whole", algorithm, looking)
        train(reach, tmp_path / "parts", algorithm, looking, until=8)
        rest = train(reach, tmp_path / "parts", algorithm, looking)
    finally:
        reach.horizon = horizon
    assert whole.steps == rest.steps == 16
    loaded = load_policy(tmp_path / "parts" / "policy")
    assert isinstance(loaded, PicturePolicy)
    assert loaded.observation.state.names == tuple(name for name in looking.observation if name == "hand_position")
    observation: dict[str, np.ndarray] = draw_observation(loaded)
    expected = whole.policy.act(observation)
    assert expected.shape == (3, 1, reach.action.dim)
    np.testing.assert_array_equal(rest.policy.act(observation), expected)
    np.testing.assert_array_equal(loaded.act(observation), expected)
    assert whole.evaluation == rest.evaluation


def draw_observation(policy: PicturePolicy, count: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    assert policy.frames is not None
    shape = (count, 1, policy.frames.size, policy.frames.size, 3)
    pictures = {camera: rng.integers(0, 256, shape, np.uint8) for camera in policy.frames.cameras}
    return {**pictures, "state": rng.normal(size=(count, 1, policy.observation.dim)).astype(np.float32)}


def make_policy(task: Task, looking: LookingSettings, algorithm: str = "ppo") -> tuple[Any, PicturePolicy]:
    """Returns an untrained SB3 model and the policy that is exported from it."""
    from robo_reward.policies import sb3

    sight = Sight(task, looking)
    _, model = sb3._create_learner(task, None, algorithm, SMALL[algorithm], 0, 1, sight)
    return model, sight.export(model, task, {})


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_the_stored_policy_acts_as_the_model_of_stable_baselines(reach: Task, algorithm: str) -> None:
    model, policy = make_policy(reach, LookingSettings(FIELDS, SIZE), algorithm)
    observation = draw_observation(policy)
    seen = {"front": observation["front"], "state": observation["state"][:, 0]}
    expected = np.clip(model.predict(seen, deterministic=True)[0], -1, 1)
    np.testing.assert_allclose(policy.act(observation)[:, 0], expected, atol=1e-5)
    model.env.close()


def test_worlds_show_the_pictures_that_the_controller_shows(reach: Task) -> None:
    """What a policy is trained on is what `PolicyController` renders when it is evaluated, also at an episode's end."""
    looking = LookingSettings(("wrist", "front", "hand_position"), SIZE)
    sight = Sight(reach, looking)
    env = SB3VecEnv(reach.make_worlds(2, 5), observer=sight.make_observer(reach))
    seen: list[Any] = []

    class Probe:
        observation, frames, history, chunk, execute = sight.observation, sight.frames, 1, 1, 1

        def act(self, observations: Any) -> np.ndarray:
            seen.append({name: part.copy() for name, part in observations.items()})
            return np.full((2, 1, reach.action.dim), 0.5)

    with PolicyController(Probe(), reach, 2) as controller:
        shown: Any = env.reset()
        for _ in range(3):
            controller.act(env.sim)
            np.testing.assert_array_equal(seen[-1]["state"][:, 0], shown["state"])
            for camera in ("wrist", "front"):
                np.testing.assert_array_equal(seen[-1][camera], shown[camera])
            shown = env.step(np.full((2, reach.action.dim), 0.5))[0]
        env.sim.elapsed[:] = reach.horizon - 1
        last = env.sim.qpos.copy()
        _, _, ended, infos = env.step(np.zeros((2, reach.action.dim)))
    assert ended.all()
    assert env.observation_space.contains({name: part[0] for name, part in shown.items()})
    terminal = infos[1]["terminal_observation"]
    with FrameRenderer(reach, FrameSpec(("front",), SIZE)) as renderer:
        fresh = renderer(env.sim.qpos, env.sim.mocap)[1]
        near = renderer(last, env.sim.mocap)[1]
    assert terminal["front"].shape == (1, SIZE, SIZE, 3)
    far = np.abs(terminal["front"][0].astype(int) - fresh).mean()
    assert np.abs(terminal["front"][0].astype(int) - near).mean() < far  # before the reset, not after it
    env.close()


def test_a_subset_of_the_state_is_enough(reach: Task, tmp_path: Path) -> None:
    found = train(reach, tmp_path, "ppo", LookingSettings(("hand_position", "goal_position")))
    policy = load_policy(tmp_path / "policy")
    assert policy.frames is None
    assert policy.observation.state.names == ("hand_position", "goal_position")
    assert policy.require_compatible(reach) is policy
    assert found.evaluation.episodes == 1


def test_differences_are_observed_where_both_fields_are_chosen() -> None:
    lift = make_task("panda/lift")
    both, _ = choose_observation(lift, ["cube_position", "hand_position", "joint_position"])
    assert [(p.field, p.minus) for p in both.parts] == [
        ("hand_position", ""),
        ("cube_position", ""),
        ("cube_position", "hand_position"),
        ("joint_position", ""),
    ]
    alone, frames = choose_observation(lift, ["cube_position", "wrist", "front"], 96)
    assert [(p.field, p.minus) for p in alone.parts] == [("cube_position", "")]
    assert frames == FrameSpec(("wrist", "front"), 96)
    assert choose_observation(lift, []) == (lift.observation, None)


def test_fields_that_the_task_does_not_observe_are_scaled_by_their_typical_range() -> None:
    lift = make_task("panda/lift")
    observation, _ = choose_observation(lift, ["joint_position", "gripper_opening"])
    unobserved = [p for p in observation.parts if p not in lift.observation.parts]
    assert [p.field for p in unobserved] == ["joint_position"]
    low, high = lift.spec["joint_position"].typical
    ends = np.stack([np.full(observation.state.dim, value) for value in (low, high)])
    columns = slice(observation.dim - 7, observation.dim)
    np.testing.assert_allclose(observation(State(observation.state, ends))[:, columns], [[-1] * 7, [1] * 7])


def test_what_a_task_lacks_is_refused_before_training(reach: Task, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'front'"):
        train(reach, tmp_path, "ppo", LookingSettings(("fornt",)))
    with pytest.raises(UsageError, match="twice"):
        train(reach, tmp_path, "ppo", LookingSettings(("front", "front")))
    with pytest.raises(UsageError, match="48 to 256"):
        train(reach, tmp_path, "ppo", LookingSettings(("front",), 16))
    with pytest.raises(UnknownName, match="resnet18"):
        train(reach, tmp_path, "ppo", LookingSettings(("front",), SIZE, "resnet"))
    with pytest.raises(UsageError, match="fitted to clips"):
        train(reach, tmp_path, "ppo", LookingSettings(("front",), SIZE, "keypoints"))
    with pytest.raises(UsageError, match=r"policy\.features=timm"):
        train(reach, tmp_path, "ppo", LookingSettings(("front",), SIZE, encoder={"model": "resnet18"}))
    with pytest.raises(UsageError, match="linear policy"):
        train_policy(reach, None, tmp_path, "ars", 100, looking=LookingSettings(("front",), SIZE))
    assert not list(tmp_path.iterdir())


def test_a_replay_buffer_with_pictures_fits_into_memory(reach: Task) -> None:
    sight = Sight(reach, LookingSettings(("front", "wrist", "hand_position"), 96))
    chosen = merge_settings("sac", {})
    sight.adapt_settings("sac", chosen, {})
    each = 2 * (2 * 96 * 96 * 3 + 3 * 4)  # observation and next observation
    assert chosen["buffer_size"] == 2**30 // each
    assert sight.describe(chosen).endswith("hand_position; buffer 1024 MiB")
    with pytest.raises(UsageError, match=r"buffer of observations needs \d+\.\d GiB, .* are available"):
        sight.adapt_settings("sac", merge_settings("sac", {"buffer_size": 50_000_000}), {"buffer_size": 50_000_000})


def test_pictures_that_do_not_fit_the_policy_are_refused(reach: Task, tmp_path: Path) -> None:
    _, policy = make_policy(reach, LookingSettings(FIELDS, SIZE))
    good = draw_observation(policy)
    with pytest.raises(UsageError, match="no pictures of 'front'"):
        policy.act({"state": good["state"]})
    with pytest.raises(WrongShape, match=r"48, 48, 3\) uint8"):
        policy.act({**good, "front": good["front"][:, :, :40]})
    with pytest.raises(WrongShape, match="observation"):
        policy.act({**good, "state": good["state"][:, :, :1]})
    with pytest.raises(UsageError, match="not finite in column 2"):
        policy.act({**good, "state": good["state"] * [1, 1, np.nan]})
    assert policy.require_compatible(reach) is policy
    other = make_task("panda/reach")
    other.cameras = ("side",)
    with pytest.raises(PolicyMismatch, match="does not have; its cameras are side"):
        policy.require_compatible(other)
    with pytest.raises(PolicyMismatch, match="expects"):
        policy.require_compatible(make_task("magical/sweep-short"))


def test_a_damaged_policy_is_refused(reach: Task, tmp_path: Path) -> None:
    _, policy = make_policy(reach, LookingSettings(FIELDS, SIZE))
    assert policy.eyes is not None
    assert policy.eyes.network is not None
    with torch.no_grad():
        next(policy.eyes.network.parameters())[0] = np.nan
    policy.save(tmp_path)
    with pytest.raises(BadArtifact, match="not finite"):
        load_policy(tmp_path)
