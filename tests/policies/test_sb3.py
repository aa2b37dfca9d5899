"""Training: exact resume, export, defaults and errors, on real tasks with few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robo_reward.checks.proportion import wilson_interval
from robo_reward.envs.task import Task, make_task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.policies.algorithms import ALGORITHMS, load_algorithm_class, merge_settings
from robo_reward.policies.evaluate import evaluate_policy
from robo_reward.policies.export import export_policy
from robo_reward.policies.policy import PolicyMismatch, load_policy
from robo_reward.policies.sb3 import train_policy
from robo_reward.rewards.contract import FunctionReward


@pytest.fixture(scope="module")
def reach() -> Task:
    return make_task("panda/reach")


def closeness(state, action, previous):
    distance = np.linalg.norm(state.goal_position - state.hand_position, axis=-1)
    near = np.exp(-((distance / 0.02) ** 2))
    return 1 - np.tanh(5 * distance) + near, {"reach": 1 - np.tanh(5 * distance), "near": near}


@pytest.mark.parametrize(
    ("algorithm", "steps", "half", "params"),
    [
        ("ppo", 8192, 4096, {}),
        ("sac", 2560, 1280, {"learning_starts": 320, "gradient_steps": 2}),
        ("td3", 1600, 800, {"learning_starts": 320, "gradient_steps": 1}),
    ],
)
def test_a_stopped_run_goes_on_bit_for_bit(
    reach: Task, tmp_path: Path, algorithm: str, steps: int, half: int, params: dict
) -> None:
    reward = FunctionReward(closeness)
    options: dict[str, Any] = {"algorithm": algorithm, "steps": steps, "seed": 3, "episodes": 20, "params": params}
    whole = train_policy(reach, reward, tmp_path / "whole", **options)
    part = train_policy(reach, reward, tmp_path / "parts", until=half, **options)
    rest = train_policy(reach, reward, tmp_path / "parts", **options)
    assert half <= part.steps < whole.steps == rest.steps
    for a, b in zip(whole.policy.weights, rest.policy.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    curve = [(p.steps, p.success, p.episode_return, p.terms) for p in whole.points]
    assert curve == [(p.steps, p.success, p.episode_return, p.terms) for p in rest.points]
    assert whole.evaluation == rest.evaluation


def test_a_run_starts_from_another_runs_checkpoint(reach: Task, tmp_path: Path) -> None:
    reward = FunctionReward(closeness)
    options: dict[str, Any] = {"steps": 8192, "seed": 1, "episodes": 10}
    train_policy(reach, reward, tmp_path / "first", until=4096, **options)
    second = train_policy(reach, reward, tmp_path / "second", start=tmp_path / "first" / "checkpoint", **options)
    whole = train_policy(reach, reward, tmp_path / "whole", **options)
    np.testing.assert_array_equal(second.policy.weights[0], whole.policy.weights[0])
    with pytest.raises(UsageError, match="no checkpoint"):
        train_policy(reach, reward, tmp_path / "third", start=tmp_path / "nowhere", **options)


def test_stop_saves_and_the_threads_of_the_simulator_do_not_matter(reach: Task, tmp_path: Path) -> None:
    reward = FunctionReward(closeness)
    asked = iter([False, False, True])
    stopped = train_policy(reach, reward, tmp_path / "a", steps=8192, episodes=10, stop=lambda: next(asked))
    assert stopped.stopped
    assert stopped.steps == 2 * 2048
    rest = train_policy(reach, reward, tmp_path / "a", steps=8192, episodes=10, threads=2)
    whole = train_policy(reach, reward, tmp_path / "b", steps=8192, episodes=10, threads=1)
    np.testing.assert_array_equal(rest.policy.weights[0], whole.policy.weights[0])


def test_reach_is_learnt_from_a_dense_reward(reach: Task, tmp_path: Path) -> None:
    result = train_policy(reach, FunctionReward(closeness), tmp_path, steps=50_000, seed=0)
    assert result.evaluation.success >= 0.9
    assert result.points[-1].success > result.points[0].success
    header = (tmp_path / "curve.csv").read_text().splitlines()[0]
    assert header == "steps,success,return,seconds,term_reach,term_near"
    assert list((tmp_path / "log").glob("events.out.tfevents.*"))


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_the_exported_policy_is_the_models_own(reach: Task, tmp_path: Path, algorithm: str) -> None:
    from robo_reward.envs.batch import BatchSim
    from robo_reward.envs.vec import SB3VecEnv

    torch.manual_seed(0)
    chosen = merge_settings(algorithm, {})
    chosen.pop("final_learning_rate", None)
    chosen.pop("worlds")
    policy = "LinearPolicy" if algorithm == "ars" else "MlpPolicy"
    model = load_algorithm_class(algorithm)(policy, SB3VecEnv(BatchSim(reach, 64)), device="cpu", **chosen)
    exported = export_policy(model, reach, {"task": reach.id})
    exported.save(tmp_path)
    observation = np.random.default_rng(0).normal(size=(64, reach.observation.dim)).astype(np.float32)
    expected, _ = model.predict(observation, deterministic=True)
    np.testing.assert_allclose(load_policy(tmp_path).act(observation), expected, atol=1e-5)


def test_every_algorithm_has_defaults_its_class_takes() -> None:
    for name in ALGORITHMS:
        assert merge_settings(name, {})["worlds"] >= 1


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="'ppo'"):
        merge_settings("pppo", {})
    with pytest.raises(UnknownName, match="'n_epochs'"):
        merge_settings("ppo", {"n_epoch": 3})
    with pytest.raises(UsageError, match="setting worlds of ppo is 0, expected a whole number from 1"):
        merge_settings("ppo", {"worlds": 0})


def test_a_policy_refuses_another_task(reach: Task, tmp_path: Path) -> None:
    trained = train_policy(reach, None, tmp_path, steps=2048, episodes=5)
    with pytest.raises(PolicyMismatch, match="commands"):
        trained.policy.require_compatible(make_task("panda/lift"))
    trained.policy.require_compatible(make_task("panda/reach"))
    with pytest.raises(UsageError, match="no policy"):
        load_policy(tmp_path / "nowhere")


def test_the_wilson_interval_is_the_textbooks() -> None:
    low, high = wilson_interval(90, 100)
    assert (round(low, 4), round(high, 4)) == (0.8256, 0.9448)
    assert wilson_interval(0, 10)[0] == 0.0
    assert wilson_interval(10, 10)[1] == 1.0


def test_success_counts_at_the_last_step(reach: Task) -> None:
    class Expert:
        def act(self, observation: np.ndarray) -> np.ndarray:
            return np.clip(observation[:, -3:] * 0.1 / 0.04, -1, 1)  # goal - hand, undone from its scale

    class Away(Expert):
        steps = 0

        def act(self, observation: np.ndarray) -> np.ndarray:
            self.steps += 1
            return super().act(observation) if self.steps < 26 else np.ones((len(observation), 3))

    good, away = evaluate_policy(reach, Expert(), 50), evaluate_policy(reach, Away(), 50)
    assert good.success == 1.0
    assert away.held > 0.2
    assert away.success < 0.2
