"""Training on a multiple of a reward is training on the reward."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo_reward.cli import main
from robo_reward.envs.task import make_task
from robo_reward.errors import BadArtifact
from robo_reward.policies import sb3
from robo_reward.policies.sb3 import TrainingResult, train_policy
from robo_reward.rewards.contract import FunctionReward, RewardOutput
from tests.policies.test_judge import Afterwards

TASK = make_task("panda/reach")
NET = {"net_arch": [16, 16]}
ON: dict[str, Any] = {"worlds": 4, "n_steps": 15, "policy_kwargs": NET}
OFF: dict[str, Any] = {"worlds": 4, "learning_starts": 80, "batch_size": 16, "gradient_steps": 1, "policy_kwargs": NET}
SETTINGS: dict[str, tuple[int, dict[str, Any]]] = {
    "ppo": (120, {**ON, "batch_size": 60, "n_epochs": 4}),
    "a2c": (120, ON),
    "trpo": (120, {**ON, "batch_size": 30}),
    "ars": (300, {"worlds": 2, "n_delta": 2}),
    **dict.fromkeys(("sac", "td3", "ddpg", "tqc", "crossq"), (160, OFF)),
}


def make_reward(scale: float) -> FunctionReward:
    def near(state: Any, action: Any, previous: Any) -> Any:
        distance = np.linalg.norm(state.goal_position - state.hand_position, axis=-1)
        return scale * (1 - np.tanh(5 * distance)), {}

    return FunctionReward(near)


class ScaledAfterwards(Afterwards):
    """A multiple of the task's reward, known for whole episodes only."""

    scale = 1.0

    def __call__(self, episode: Any) -> RewardOutput:
        total, terms = super().__call__(episode)
        return RewardOutput(self.scale * total, {name: self.scale * value for name, value in terms.items()})


def learn(folder: Path, algorithm: str, reward: Any, **more: Any) -> TrainingResult:
    steps, params = SETTINGS[algorithm]
    more = {"normalise_reward": True, **more}
    return train_policy(TASK, reward, folder, algorithm, steps, 3, params, episodes=2, **more)


def count_differences(one: TrainingResult, other: TrainingResult) -> int:
    pairs = zip(one.policy.weights, other.policy.weights, strict=True)
    return sum(int((a != b).sum()) for a, b in pairs)


@pytest.mark.parametrize(
    "algorithm", [name if name in ("ppo", "sac") else pytest.param(name, marks=pytest.mark.slow) for name in SETTINGS]
)
def test_a_power_of_two_changes_no_bit(tmp_path: Path, algorithm: str) -> None:
    scale = 2.0**10
    if algorithm == "ars":  # adds 1e-6 to the spread of the returns, which is 1e-3 to 1e-2 here
        own, scaled = (learn(tmp_path / str(k), algorithm, make_reward(k)) for k in (1.0, scale))
        for a, b in zip(own.policy.weights, scaled.policy.weights, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-2, atol=1e-5)
        return
    own, scaled = (learn(tmp_path / str(k), algorithm, make_reward(k)) for k in (1.0, scale))
    assert count_differences(own, scaled) == 0
    assert [p.episode_return * scale for p in own.points] == [p.episode_return for p in scaled.points]
    assert own.evaluation.mean_return is not None and scaled.evaluation.mean_return is not None
    assert own.evaluation.mean_return * scale == scaled.evaluation.mean_return
    assert own.policy.meta["return_std"] * scale == scaled.policy.meta["return_std"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_a_thousandth_and_a_reward_of_whole_episodes_train_alike(tmp_path: Path, algorithm: str) -> None:
    own, small = (learn(tmp_path / str(k), algorithm, make_reward(k)) for k in (1.0, 0.001))
    for a, b in zip(own.policy.weights, small.policy.weights, strict=True):
        np.testing.assert_allclose(b, a, atol=1e-4)
    rewards = [ScaledAfterwards(TASK), ScaledAfterwards(TASK)]
    rewards[1].scale = 2.0**-9
    one, other = (learn(tmp_path / f"{i}", algorithm, reward) for i, reward in enumerate(rewards))
    assert count_differences(one, other) == 0


def test_without_it_the_scale_counts(tmp_path: Path) -> None:
    own, scaled = (learn(tmp_path / str(k), "ppo", make_reward(k), normalise_reward=False) for k in (1.0, 1024.0))
    assert count_differences(own, scaled) > 100
    assert "return_std" not in own.policy.meta


def test_a_replay_buffer_holds_the_rewards_in_their_own_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models: list[Any] = []
    build = sb3.build_model
    monkeypatch.setattr(sb3, "build_model", lambda *words: models.append(build(*words)) or models[-1])
    for reward in (make_reward(1000.0), ScaledAfterwards(TASK)):
        learn(tmp_path / type(reward).__name__, "sac", reward)
    stepwise, afterwards = (model.replay_buffer for model in models)
    assert 50 < stepwise.rewards[: stepwise.pos].mean() < 1000
    assert (afterwards.rewards[: afterwards.pos - afterwards.pos % TASK.horizon] != 0).all()
    drawn = stepwise.sample(100, env=models[0].get_vec_normalize_env()).rewards.numpy()
    std = models[0].get_vec_normalize_env().return_std
    stored = (stepwise.rewards[: stepwise.pos] / std).astype(np.float32)
    assert np.isin(drawn, stored).all()


def test_a_checkpoint_without_statistics_is_refused(tmp_path: Path) -> None:
    learn(tmp_path, "ppo", make_reward(1.0), until=60, normalise_reward=False)
    with pytest.raises(BadArtifact, match=r"normalise_reward=false.*Delete this folder"):
        learn(tmp_path, "ppo", make_reward(1.0))


@pytest.mark.slow
def test_the_key_of_the_command_line(tmp_path: Path) -> None:
    words = ["train", "task=panda/reach", "steps=60", "episodes=1", "videos=0", f"runs={tmp_path}"]
    small = [f"policy.params.{text}" for text in ("worlds=2", "n_steps=15", "batch_size=30")]
    for run, more in (("with", ["policy.normalise_reward=true"]), ("without", [])):
        assert main([*words, *small, f"run={run}", *more]) == 0
        meta = json.loads((tmp_path / run / "policy" / "policy.json").read_text())["meta"]
        assert ("return_std" in meta) == (run == "with")
