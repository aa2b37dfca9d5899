"""Rewards of whole episodes for algorithms that learn from steps: watch, judge, relabel."""

from __future__ import annotations

from typing import Any

import numpy as np

from robo_reward.collect import Recorder
from robo_reward.envs.batch import BatchSim, StepResult
from robo_reward.envs.task import Task
from robo_reward.errors import UsageError
from robo_reward.reward import EpisodeReward, RewardOutput, StatefulReward


class EpisodeJudge:
    """Records the episodes of all worlds and judges them together, so that encoders see one large batch.

    Args:
        task: what is simulated.
        reward: judges whole episodes; frames are drawn only if it asks for them.
        worlds: N.
    """

    def __init__(self, task: Task, reward: EpisodeReward, worlds: int) -> None:
        self.reward, self._recorder = reward, Recorder(task, worlds, reward.frames)

    def begin(self, sim: BatchSim) -> None:
        """All worlds begin an episode."""
        self._recorder.begin(sim)

    def add(self, result: StepResult) -> list[RewardOutput]:
        """All worlds made a step; the N judgements when the episodes are whole, else none."""
        return self.reward.batch(self._recorder.episodes()) if self._recorder.add(result) else []

    def snapshot(self) -> dict[str, np.ndarray]:
        """What the reward has found out while judging, such as its scale; empty for most."""
        return self.reward.state() if isinstance(self.reward, StatefulReward) else {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Goes back to a `snapshot`."""
        if isinstance(self.reward, StatefulReward):
            self.reward.restore(state)

    def close(self) -> None:
        """Gives the GL contexts back."""
        self._recorder.close()


def fit_to_episodes(chosen: dict[str, Any], horizon: int) -> dict[str, Any]:
    """Settings of an algorithm under which each of its rollouts is a whole number of episodes.

    Steps per rollout are rounded to episodes. What follows from them keeps its proportion: mini-batches that divide
    the rollout, as many gradient steps per environment step.

    Args:
        chosen: arguments of an SB3 class, and `worlds`.
        horizon: T.

    Raises:
        UsageError: a `train_freq` that is not a number of steps.
    """
    fitted = dict(chosen)
    if "train_freq" not in chosen and "n_steps" in chosen:  # n_steps of an off-policy algorithm are those of its return
        fitted["n_steps"] = horizon * max(1, round(chosen["n_steps"] / horizon))
        total = fitted["n_steps"] * chosen["worlds"]
        if "batch_size" in chosen:
            divisors = [d for d in range(1, total + 1) if total % d == 0]
            fitted["batch_size"] = min(divisors, key=lambda d: abs(d - chosen["batch_size"]))
    elif "train_freq" in chosen:
        if not isinstance(chosen["train_freq"], int):
            raise UsageError(f"train_freq={chosen['train_freq']!r}: with an episode reward give a number of steps")
        fitted["train_freq"] = horizon
        if chosen.get("gradient_steps", 1) > 0:
            fitted["gradient_steps"] = max(1, round(horizon * chosen["gradient_steps"] / chosen["train_freq"]))
    return fitted


def relabel_rollout(model: Any, rewards: np.ndarray, values: Any = None, dones: Any = None) -> None:
    """Puts the rewards of whole episodes where SB3 stored a return at each episode's last step.

    Args:
        model: an SB3 algorithm whose rollout has just ended.
        rewards: (T, N), all steps of the rollout.
        values: of the states after the rollout, for algorithms with advantages.
        dones: (N,) likewise.
    """
    horizon = model.env.sim.task.horizon
    paid = np.zeros_like(rewards)
    paid[horizon - 1 :: horizon] = rewards.reshape(-1, horizon, rewards.shape[1]).sum(axis=1)
    rollout = getattr(model, "rollout_buffer", None)
    if rollout is not None:
        rollout.rewards += (rewards - paid).astype(np.float32)  # a bootstrapped value at a time limit stays
        rollout.compute_returns_and_advantage(last_values=values, dones=dones)
        return
    buffer = getattr(model, "replay_buffer", None)
    if buffer is None:
        return  # an algorithm that learns from returns, such as ARS
    rows = np.arange(buffer.pos - len(rewards), buffer.pos) % buffer.buffer_size
    buffer.rewards[rows] = rewards
