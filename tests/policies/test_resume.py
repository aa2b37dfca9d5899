"""A stopped run goes on bit for bit, wherever it was stopped and whatever draws its noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo_reward.data.collect import collect_episodes
from robo_reward.envs.task import make_task
from robo_reward.policies.sb3 import TrainingResult, train_policy
from robo_reward.rewards.artifact import load_reward, save_reward
from robo_reward.rewards.contract import FunctionReward
from robo_reward.rewards.matching.features import StateFeatures
from robo_reward.rewards.matching.nearest import MinDistance
from robo_reward.rewards.matching.reward import MatchingReward

TASK = make_task("panda/reach", ranges={"damping": [0.5, 2.0]})
NET = {"net_arch": [16, 16]}
OFF: dict[str, Any] = {"worlds": 4, "batch_size": 16, "gradient_steps": 1, "policy_kwargs": NET}
ON: dict[str, Any] = {"worlds": 4, "n_steps": 10, "policy_kwargs": NET}


def near(state: Any, action: Any, previous: Any) -> Any:
    distance = np.linalg.norm(state.goal_position - state.hand_position, axis=-1)
    return 1 - np.tanh(5 * distance), {}


def assert_same(one: TrainingResult, other: TrainingResult) -> None:
    assert one.steps == other.steps
    for a, b in zip(
        (*one.policy.weights, *one.policy.biases), (*other.policy.weights, *other.policy.biases), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert one.evaluation == other.evaluation


@pytest.mark.parametrize(
    ("algorithm", "steps", "halves", "params"),
    [
        ("sac", 360, (80,), {**OFF, "learning_starts": 200}),
        ("td3", 360, (80,), {**OFF, "learning_starts": 200, "action_noise": 0.1}),
        ("td3", 360, (300,), {**OFF, "learning_starts": 200, "action_noise": 0.1}),
        ("tqc", 360, (80,), {**OFF, "learning_starts": 200}),
        ("crossq", 360, (80, 280), {**OFF, "learning_starts": 200}),
        ("sac", 360, (300,), {**OFF, "learning_starts": 200, "use_sde": True}),
        ("ppo", 240, (80, 160), {**ON, "batch_size": 40, "use_sde": True}),
        ("a2c", 240, (80,), {**ON, "use_sde": True, "sde_sample_freq": 4}),
        ("ars", 700, (240,), {"worlds": 2, "n_delta": 2, "learning_rate": 0.02, "final_learning_rate": 0.0}),
    ],
)
def test_a_stopped_run_goes_on_bit_for_bit(
    tmp_path: Path, algorithm: str, steps: int, halves: tuple[int, ...], params: dict[str, Any]
) -> None:
    options: Any = {"algorithm": algorithm, "steps": steps, "seed": 3, "episodes": 2, "params": params}
    whole = train_policy(TASK, FunctionReward(near), tmp_path / "whole", **options)
    for half in halves:
        part = train_policy(TASK, FunctionReward(near), tmp_path / "parts", until=half, **options)
        assert half <= part.steps < steps
    assert_same(train_policy(TASK, FunctionReward(near), tmp_path / "parts", **options), whole)


def test_a_checkpoint_in_the_middle_of_training_begins_before_the_noise(tmp_path: Path) -> None:
    """Periodic checkpoints, not those of a pause: a run that was killed."""
    options: Any = {"steps": 240, "seed": 1, "episodes": 2, "params": {**ON, "batch_size": 40, "use_sde": True}}
    whole = train_policy(TASK, FunctionReward(near), tmp_path / "whole", **options)
    asked = iter([False, False, False, True])

    class Killed(Exception):
        pass

    def kill() -> bool:
        if next(asked):
            raise Killed
        return False

    with pytest.raises(Killed):
        train_policy(TASK, FunctionReward(near), tmp_path / "parts", stop=kill, checkpoint_seconds=0.0, **options)
    assert_same(train_policy(TASK, FunctionReward(near), tmp_path / "parts", **options), whole)


def test_the_scale_of_the_first_episode_outlives_a_stop(tmp_path: Path) -> None:
    demonstration = collect_episodes(TASK, TASK.expert, 1, seed=3)
    look = StateFeatures(["hand_position"])
    made = MatchingReward.from_episodes(look, demonstration, MinDistance(), cost="euclidean", scale="first_episode")
    save_reward(made, tmp_path / "reward")
    params = {"worlds": 2, "n_steps": TASK.horizon, "batch_size": 30, "policy_kwargs": NET}
    options: Any = {"steps": 240, "episodes": 2, "params": params}

    def sitting(folder: str, **more: Any) -> tuple[TrainingResult, float]:
        reward = load_reward(tmp_path / "reward")
        return train_policy(TASK, reward, tmp_path / folder, **options, **more), reward.scale

    whole, scale = sitting("whole")
    sitting("parts", until=120)
    rest, again = sitting("parts")
    assert isinstance(scale, float) and again == scale
    assert_same(rest, whole)
    assert [p.episode_return for p in rest.points] == [p.episode_return for p in whole.points]
