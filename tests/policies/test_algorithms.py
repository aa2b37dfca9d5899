"""Every algorithm that is listed trains, and its exported policy acts as Stable-Baselines3's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo_reward.cli.app import main
from robo_reward.cli.arguments.help import list_group_options
from robo_reward.envs.task import make_task
from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.language.language import compile_program
from robo_reward.policies import sb3
from robo_reward.policies.algorithms import ALGORITHMS, merge_settings
from robo_reward.policies.export import export_policy
from robo_reward.policies.policy import load_policy
from robo_reward.policies.sb3 import train_policy
from tests.policies.test_judge import Afterwards

TASK = make_task("panda/reach")
NET = {"net_arch": [16, 16]}
ON: dict[str, Any] = {"worlds": 4, "n_steps": 15, "policy_kwargs": NET}
OFF: dict[str, Any] = {"worlds": 4, "learning_starts": 80, "batch_size": 16, "gradient_steps": 1, "policy_kwargs": NET}
SMALL: dict[str, dict[str, Any]] = {
    "ppo": {**ON, "batch_size": 30},
    "a2c": ON,
    "trpo": {**ON, "batch_size": 30},
    "ars": {"worlds": 2, "n_delta": 2},
    **dict.fromkeys(("sac", "td3", "ddpg", "tqc", "crossq"), OFF),
}


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The models of the trainings in a test, in order, each twice: before and after."""
    found: list[Any] = []

    def export(model: Any, *rest: Any) -> Any:
        found.append(model)
        return export_policy(model, *rest)

    monkeypatch.setattr(sb3, "export_policy", export)
    return found


def learn(
    folder: Path, algorithm: str, steps: int = 160, afterwards: bool = False, **params: Any
) -> sb3.TrainingResult:
    reward: Any = Afterwards(TASK)
    chosen = {**SMALL[algorithm], **params}
    if "policy_kwargs" in SMALL[algorithm]:
        chosen["policy_kwargs"] = {**SMALL[algorithm]["policy_kwargs"], **params.get("policy_kwargs", {})}
    return train_policy(TASK, reward if afterwards else reward.program, folder, algorithm, steps, 0, chosen, episodes=2)


def assert_acts_alike(folder: Path, model: Any) -> None:
    rng = np.random.default_rng(0)
    observation = rng.normal(size=(256, TASK.observation.dim)).astype(np.float32)
    expected, _ = model.predict(observation, deterministic=True)
    np.testing.assert_allclose(load_policy(folder / "policy").act(observation), expected, atol=1e-5)


def test_what_is_listed_is_what_there_is() -> None:
    assert set(list_group_options("policy")) == set(ALGORITHMS) == set(SMALL)


@pytest.mark.parametrize("algorithm", sorted(SMALL))
def test_a_listed_algorithm_trains_and_its_policy_is_the_model_s(
    algorithm: str, tmp_path: Path, models: list[Any]
) -> None:
    steps = 300 if algorithm == "ars" else 160
    result = learn(tmp_path, algorithm, steps)
    assert steps <= result.steps <= 480
    assert [p.steps for p in result.points] == sorted({p.steps for p in result.points})
    assert "total" not in result.points[-1].terms and result.points[-1].terms
    assert_acts_alike(tmp_path, models[-1])


@pytest.mark.parametrize(
    ("algorithm", "params"),
    [
        ("sac", {"use_sde": True}),
        ("tqc", {"use_sde": True, "policy_kwargs": {"clip_mean": 0.05}}),
        ("crossq", {"use_sde": True}),
        ("ppo", {"use_sde": True}),
        ("ppo", {"use_sde": True, "policy_kwargs": {"squash_output": True}}),
        ("ars", {"zero_policy": False, "policy_kwargs": {"squash_output": True, "with_bias": True}}),
    ],
)
def test_state_dependent_exploration_and_other_heads_are_exported(
    algorithm: str, params: dict[str, Any], tmp_path: Path, models: list[Any]
) -> None:
    learn(tmp_path, algorithm, **params)
    assert_acts_alike(tmp_path, models[-1])


def test_a_limited_mean_is_exported_where_the_limit_acts(tmp_path: Path, models: list[Any]) -> None:
    learn(tmp_path, "sac", use_sde=True, policy_kwargs={"clip_mean": 0.05, "net_arch": [8]})
    action = load_policy(tmp_path / "policy").act(np.random.default_rng(0).normal(size=(200, 9)).astype(np.float32) * 9)
    assert abs(action).max() == pytest.approx(np.tanh(0.05), abs=1e-6)


@pytest.mark.parametrize("algorithm", sorted(SMALL))
def test_an_algorithm_learns_from_rewards_of_whole_episodes(algorithm: str, tmp_path: Path) -> None:
    result = learn(tmp_path, algorithm, 300 if algorithm == "ars" else 160, afterwards=True)
    assert result.points and result.evaluation.mean_return is not None


def test_returns_of_several_steps_are_no_rollout(tmp_path: Path) -> None:
    params: dict[str, Any] = {"n_steps": 3, "train_freq": TASK.horizon, "gradient_steps": 8}
    afterwards = learn(tmp_path / "a", "sac", 360, True, **params)
    stepwise = learn(tmp_path / "b", "sac", 360, False, **params)
    for got, expected in zip(afterwards.policy.weights, stepwise.policy.weights, strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-4)


def test_what_cannot_be_saved_is_refused_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sb3, "_learn", lambda *_: pytest.fail("it trained"))
    with pytest.raises(UsageError, match="memory"):
        train_policy(TASK, None, tmp_path, "recurrentppo", 300)
    import torch

    sde: Any = {"use_sde": True, "policy_kwargs": {"activation_fn": torch.nn.Tanh}}
    with pytest.raises(RoboRewardError, match="clip_mean=0"):
        train_policy(TASK, None, tmp_path, "sac", 300, params={**OFF, **sde})
    with pytest.raises(RoboRewardError, match="made of \\['SiLU'\\]"):
        train_policy(
            TASK, None, tmp_path, "sac", 300, params={**OFF, "policy_kwargs": {"activation_fn": torch.nn.SiLU}}
        )


@pytest.mark.parametrize("algorithm", ["td3", "ddpg", "sac"])
def test_action_noise_from_the_command_line(algorithm: str, tmp_path: Path, models: list[Any]) -> None:
    small = [f"policy.params.{key}={value}" for key, value in OFF.items() if key != "policy_kwargs"]
    words = [f"policy={algorithm}", "task=panda/reach", "steps=120", "episodes=2", "videos=0", f"runs={tmp_path}"]
    assert main(["train", *words, *small, "policy.params.action_noise=0.1", "run=it"]) == 0
    noise = models[-1].action_noise
    draws = np.concatenate([noise() for _ in range(2000)])
    assert abs(draws.mean()) < 0.01 and draws.std() == pytest.approx(0.1, rel=0.03)
    assert main(["train", *words, *small, "policy.params.action_noise=loud", "run=other"]) == 2


def test_ars_counts_each_step_of_each_world_once(tmp_path: Path) -> None:
    counted: list[Any] = []
    expert = compile_program(TASK.expert_reward, TASK.spec, TASK.action.dim)

    class Spy:
        def __call__(self, batch: Any) -> Any:
            counted.append(len(batch.action))
            return expert(batch)

        def spec(self) -> dict[str, Any]:
            return {}

    result = train_policy(TASK, Spy(), tmp_path, "ars", 500, params=SMALL["ars"], episodes=2)
    evaluation = TASK.horizon * 2
    assert sum(counted) - evaluation == result.steps == 720  # 3 updates of 4 candidates, 2 worlds, 30 steps


def test_a_final_learning_rate_needs_a_first_one() -> None:
    with pytest.raises(UsageError, match="learning_rate"):
        merge_settings("trpo", {"final_learning_rate": 0.0})
