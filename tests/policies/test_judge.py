"""Rewards of whole episodes: an algorithm learns from them exactly as from the same reward paid step by step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo_reward.data.collect import collect_episodes
from robo_reward.data.episode import Episode
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import Task, make_task
from robo_reward.language.language import compile_program
from robo_reward.policies.judge import fit_settings_to_episodes
from robo_reward.policies.sb3 import TrainingResult, train_policy
from robo_reward.rewards.contract import RewardOutput

TASK = make_task("panda/reach")


class Afterwards:
    """The task's step reward, but only given for whole episodes."""

    def __init__(self, task: Task, frames: FrameSpec | None = None) -> None:
        self.program = compile_program(task.expert_reward, task.spec, task.action.dim)
        self.frames = frames
        self.seen: list[Episode] = []

    def __call__(self, episode: Episode) -> RewardOutput:
        self.seen.append(episode)
        return self.program(episode.to_transitions())

    def batch(self, episodes: Sequence[Episode]) -> list[RewardOutput]:
        return [self(episode) for episode in episodes]

    def spec(self) -> dict[str, Any]:
        return {"kind": "afterwards"}


def learn(folder: Path, afterwards: bool, algorithm: str, **params: Any) -> TrainingResult:
    reward: Any = Afterwards(TASK)
    options: Any = {"algorithm": algorithm, "steps": 960, "params": {"worlds": 8, **params}, "episodes": 10}
    return train_policy(TASK, reward if afterwards else reward.program, folder, **options)


@pytest.mark.parametrize(
    ("algorithm", "params"),
    [
        ("ppo", {"n_steps": 30, "batch_size": 60}),
        ("ppo", {"n_steps": 60, "batch_size": 60}),
        ("a2c", {"n_steps": 30}),
        ("sac", {"train_freq": 30, "gradient_steps": 4, "batch_size": 32, "learning_starts": 100}),
    ],
)
def test_the_same_reward_afterwards_teaches_the_same(tmp_path: Path, algorithm: str, params: dict[str, Any]) -> None:
    stepwise = learn(tmp_path / "a", False, algorithm, **params)
    afterwards = learn(tmp_path / "b", True, algorithm, **params)
    assert stepwise.steps == afterwards.steps
    for got, expected in zip(afterwards.policy.weights, stepwise.policy.weights, strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-4)
    assert afterwards.evaluation.mean_return == pytest.approx(stepwise.evaluation.mean_return, abs=1e-2)
    for ours, theirs in zip(afterwards.points, stepwise.points, strict=True):
        assert ours.episode_return == pytest.approx(theirs.episode_return, rel=1e-3)
        assert ours.terms.keys() == theirs.terms.keys()


def test_a_stopped_run_goes_on_to_the_same_policy(tmp_path: Path) -> None:
    options: Any = {"algorithm": "sac", "steps": 960, "episodes": 5}
    options["params"] = {"worlds": 8, "train_freq": 10, "gradient_steps": 2, "batch_size": 32, "learning_starts": 100}
    whole = train_policy(TASK, Afterwards(TASK), tmp_path / "whole", **options)
    train_policy(TASK, Afterwards(TASK), tmp_path / "parts", until=480, **options)
    parts = train_policy(TASK, Afterwards(TASK), tmp_path / "parts", **options)
    for got, expected in zip(parts.policy.weights, whole.policy.weights, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_frames_are_drawn_only_when_asked_for(tmp_path: Path) -> None:
    for frames in (None, FrameSpec(("side",), 16)):
        reward = Afterwards(TASK, frames)
        params = {"worlds": 2, "n_steps": 30, "batch_size": 30}
        train_policy(TASK, reward, tmp_path / str(frames is None), steps=60, params=params, episodes=1)
        shapes = {None if e.frames is None else e.frames.shape for e in reward.seen}
        assert shapes == {None if frames is None else (TASK.horizon + 1, 16, 16, 3)}


@pytest.mark.parametrize("horizon", [1, 30, 45, 60, 90])
def test_rollouts_are_whole_episodes(horizon: int) -> None:
    ppo = fit_settings_to_episodes({"worlds": 64, "n_steps": 32, "batch_size": 512}, horizon)
    assert ppo["n_steps"] % horizon == 0 and (ppo["n_steps"] * 64) % ppo["batch_size"] == 0
    sac = fit_settings_to_episodes({"worlds": 32, "train_freq": 1, "gradient_steps": 8}, horizon)
    assert sac == {"worlds": 32, "train_freq": horizon, "gradient_steps": 8 * horizon}


def test_collected_episodes_are_what_happened() -> None:
    first, *_ = episodes = collect_episodes(TASK, TASK.expert, 4, seed=3, frames=FrameSpec(("front", "side"), 24))
    assert len(episodes) == 4
    assert first.frames is not None and first.frames.shape == (TASK.horizon + 1, 24, 48, 3)
    assert first.is_successful
    states = first.states
    np.testing.assert_array_equal(TASK.success(states)[1:], first.success)
    np.testing.assert_allclose(TASK.expert(states)[:-1].clip(-1, 1), first.action)
    moved = np.abs(np.diff(first.frames.astype(int), axis=0)).sum(axis=(1, 2, 3))
    assert (moved[:5] > 0).all()
