"""DSRL finds the good mode of a policy whose noise chooses between two, and its folder acts as it did."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import make_task
from robo_reward.errors import BadArtifact, UnknownName, UsageError
from robo_reward.policies.diffusion.model import create_model
from robo_reward.policies.diffusion.normaliser import MinMax
from robo_reward.policies.diffusion.policy import DiffusionPolicy
from robo_reward.policies.diffusion.settings import DiffusionSettings
from robo_reward.policies.dsrl.policy import DSRLPolicy, make_noise_spec
from robo_reward.policies.dsrl.train import merge_dsrl_settings, train_dsrl
from robo_reward.policies.evaluate import evaluate_policy, run_episodes
from robo_reward.policies.policy import PolicyMismatch, load_policy
from robo_reward.policies.sb3 import TrainingResult
from robo_reward.rewards.contract import FunctionReward
from robo_reward.seeds import EVALUATION_SEEDS
from tests.policies.dsrl.mode_policy import make_mode_policy, near
from tests.policies.reachers import make_reacher

TASK = make_task("panda/reach")
REWARD = FunctionReward(near)
SMALL: dict[str, Any] = {
    "worlds": 16,
    "gamma": 0.9,
    "learning_rate": 3e-3,
    "learning_starts": 160,
    "batch_size": 128,
    "gradient_steps": 4,
    "shared_noise": False,
    "policy_kwargs": {"net_arch": [32, 32]},
}


def tiny_diffusion() -> DiffusionPolicy:
    bounds = [MinMax(-torch.ones(n), torch.ones(n)) for n in (TASK.observation.dim, TASK.action.dim)]
    settings = DiffusionSettings(history=2, horizon=5, execute=3, sampling_steps=2)
    return DiffusionPolicy(
        create_model(settings, *bounds, seed=0), TASK.observation, TASK.action, {"task": TASK.id, "options": {}}
    )


@pytest.mark.slow
def test_the_good_mode_is_found(tmp_path: Path) -> None:
    """Noise drawn at random moves to the goal half of the time; the best return of this policy is 21.5."""
    policy = make_mode_policy(TASK)
    before = evaluate_policy(TASK, policy, 30, EVALUATION_SEEDS, REWARD, 1)
    points: list[Any] = []
    result = train_dsrl(
        TASK, policy, REWARD, tmp_path, 1_600, params=SMALL, episodes=30, points=4, report=points.append
    )
    assert before.mean_return is not None and before.mean_return < 12
    assert result.evaluation.mean_return is not None and result.evaluation.mean_return > 18
    assert result.steps == points[-1].steps + 48 * ((result.steps - points[-1].steps) // 48)
    assert 1_600 <= result.steps < 1_648  # whole chunks of all worlds


@pytest.mark.parametrize("shared", [True, False])
def test_a_saved_policy_acts_as_before_and_runs_like_any_other(tmp_path: Path, shared: bool) -> None:
    policy = tiny_diffusion()
    params = {**SMALL, "worlds": 2, "learning_starts": 4, "batch_size": 4, "gradient_steps": 1, "shared_noise": shared}
    result = train_dsrl(TASK, policy, None, tmp_path, 60, params=params, episodes=2)
    loaded = load_policy(tmp_path)
    assert isinstance(loaded, DSRLPolicy)
    assert (loaded.history, loaded.chunk, loaded.execute, loaded.frames) == (2, 4, 3, None)
    assert loaded.actor.action.dim == (3 if shared else 15) and loaded.meta["algorithm"] == "dsrl"
    seen = np.random.default_rng(0).normal(size=(4, 2, TASK.observation.dim)).astype(np.float32)
    chunk = loaded.act(seen)
    assert chunk.shape == (4, 4, 3)
    np.testing.assert_array_equal(chunk, result.policy.act(seen))
    np.testing.assert_array_equal(chunk, loaded.act(seen, np.ones((4, 5, 3))))  # the actor chooses the noise
    noise = 1.5 * loaded.actor.act(seen[:, -1])
    noise = np.repeat(noise[:, None], 5, axis=1) if shared else noise.reshape(4, 5, 3)
    np.testing.assert_array_equal(chunk, policy.act(seen, noise))
    one, two = (run_episodes(TASK, each, 2, 3, threads=1) for each in (result.policy, loaded))
    np.testing.assert_array_equal(one.held, two.held)


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    params = {**SMALL, "worlds": 4, "learning_starts": 20, "batch_size": 16, "gradient_steps": 1}
    options: Any = {"steps": 240, "params": params, "seed": 3, "episodes": 2, "checkpoint_seconds": 0.0}
    whole = train_dsrl(TASK, make_mode_policy(TASK), REWARD, tmp_path / "whole", **options)
    asked = iter(range(100))

    class Killed(Exception):
        pass

    def kill() -> bool:
        if next(asked) == 7:
            raise Killed
        return False

    with pytest.raises(Killed):
        train_dsrl(TASK, make_mode_policy(TASK), REWARD, tmp_path / "parts", stop=kill, **options)
    paused = train_dsrl(TASK, make_mode_policy(TASK), REWARD, tmp_path / "parts", until=180, **options)
    assert 180 <= paused.steps < 240
    assert_same(train_dsrl(TASK, make_mode_policy(TASK), REWARD, tmp_path / "parts", **options), whole)


def assert_same(one: TrainingResult, other: TrainingResult) -> None:
    actors = [result.policy.actor for result in (one, other)]
    for a, b in zip(*((*actor.weights, *actor.biases) for actor in actors), strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.evaluation == other.evaluation and one.steps == other.steps


def test_what_cannot_be_trained_is_refused_before_the_first_step(tmp_path: Path) -> None:
    policy = make_mode_policy(TASK)

    def train(policy: Any = policy, task: Any = TASK, reward: Any = None, steps: int = 10, **params: Any) -> None:
        train_dsrl(task, policy, reward, tmp_path, steps, params=params)

    with pytest.raises(UsageError, match="MLPPolicy has none; make one with `robo-reward clone"):
        train(make_reacher(TASK))
    looking = make_mode_policy(TASK)
    looking.frames = FrameSpec(("front",), 96)
    with pytest.raises(UsageError, match="looks through front"):
        train(looking)
    with pytest.raises(PolicyMismatch):
        train(task=make_task("panda/lift"))
    with pytest.raises(UsageError, match="steps is 0"):
        train(steps=0)
    for value in (0, -1.5, float("nan"), True, "1"):
        with pytest.raises(UsageError, match="action_magnitude"):
            train(action_magnitude=value)
    with pytest.raises(UsageError, match="shared_noise='yes'"):
        train(shared_noise="yes")
    with pytest.raises(UsageError, match="action_noise"):
        train(action_noise=0.1)
    with pytest.raises(UnknownName, match="batch_size"):
        train(batch_sise=10)
    assert not any(tmp_path.iterdir())


def test_settings_are_merged_with_the_defaults() -> None:
    merged = merge_dsrl_settings({"policy_kwargs": {"net_arch": [8]}, "gamma": 0.9})
    assert merged["policy_kwargs"] == {"net_arch": [8]} and merged["gamma"] == 0.9
    assert merged["action_magnitude"] == 1.5 and merged["shared_noise"] is True


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "frozen" / "policy.json").unlink(), "no frozen/policy.json"),
        (lambda folder: swap(folder, "frozen"), "not a policy that makes chunks"),
        (lambda folder: swap(folder, "actor"), "commands 'ee_delta'"),
        (lambda folder: (folder / "policy.json").write_text('{"format": 1, "kind": "dsrl"}'), "meta"),
        (lambda folder: resize(folder), "noise"),
    ],
)
def test_a_damaged_folder_is_reported(tmp_path: Path, damage: Any, message: str) -> None:
    frozen = tiny_diffusion()
    actor = replace(make_reacher(TASK), action=make_noise_spec(frozen, 3, 1.5))
    folder = DSRLPolicy(actor, frozen, {"task": TASK.id}).save(tmp_path / "policy")
    assert isinstance(load_policy(folder), DSRLPolicy)
    damage(folder)
    with pytest.raises(BadArtifact, match=message):
        load_policy(folder)


def swap(folder: Path, part: str) -> None:
    make_reacher(TASK).save(folder / part)


def resize(folder: Path) -> None:
    """Gives the actor two outputs, which fit no noise."""
    actor = load_policy(folder / "actor")
    weights = (*actor.weights[:-1], actor.weights[-1][:, :2])
    biases = (*actor.biases[:-1], actor.biases[-1][:2])
    spec = make_noise_spec(tiny_diffusion(), 2, 1.5)
    replace(actor, weights=weights, biases=biases, action=spec).save(folder / "actor")
    assert json.loads((folder / "actor" / "policy.json").read_text())["action"]["kind"] == "noise"
