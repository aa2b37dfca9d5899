"""Rewards of whole episodes for algorithms that learn from steps: record, evaluate, relabel."""

from __future__ import annotations

from typing import Any

import numpy as np

from robo_reward.data.collect import Recorder
from robo_reward.envs.batch import StepResult
from robo_reward.envs.task import Task
from robo_reward.envs.worlds import Worlds
from robo_reward.errors import UsageError
from robo_reward.rewards.contract import EpisodeReward, RewardOutput, StatefulReward


class EpisodeRewardScorer:
    """Records the episodes of all worlds and computes their rewards in one large batch for the encoders.

    Args:
        task: the simulated task.
        reward: evaluates whole episodes; frames are rendered only if it asks for them.
        worlds: N, the number of worlds.
    """

    def __init__(self, task: Task, reward: EpisodeReward, worlds: int) -> None:
        self.reward, self._recorder = reward, Recorder(task, worlds, reward.frames)

    def begin_episodes(self, sim: Worlds) -> None:
        """Starts an episode in all worlds."""
        self._recorder.begin_episodes(sim)

    def add_step(self, result: StepResult) -> list[RewardOutput]:
        """Adds a step of all worlds; returns the N rewards once the episodes are complete, else an empty list."""
        return self.reward.batch(self._recorder.get_episodes()) if self._recorder.add_step(result) else []

    def snapshot(self) -> dict[str, np.ndarray]:
        """Returns the state that the reward has gathered, such as its scale; empty for most rewards."""
        return self.reward.state() if isinstance(self.reward, StatefulReward) else {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Restores the state of a `snapshot`."""
        if isinstance(self.reward, StatefulReward):
            self.reward.restore(state)

    def close(self) -> None:
        """Releases the GL contexts."""
        self._recorder.close()


def fit_settings_to_episodes(chosen: dict[str, Any], horizon: int) -> dict[str, Any]:
    """Returns settings of an algorithm under which each of its rollouts is a whole number of episodes.

    Steps per rollout are rounded to episodes. What follows from them keeps its proportion: mini-batches that
    divide the rollout, as many gradient steps per environment step.

    Args:
        chosen: arguments of an SB3 class, and `worlds`.
        horizon: T.

    Raises:
        UsageError: a `train_freq` that is not a number of steps.
    """
    fitted = dict(chosen)
    # On-policy only: off-policy algorithms use `n_steps` for the n-step return.
    if "train_freq" not in chosen and "n_steps" in chosen:
        fitted["n_steps"] = horizon * max(1, round(chosen["n_steps"] / horizon))
        total = fitted["n_steps"] * chosen["worlds"]
        # SB3 truncates the last minibatch unless the batch size divides the rollout: take the closest divisor.
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
    """Writes the rewards of whole episodes over the returns that SB3 stored at each episode's last step.

    Args:
        model: an SB3 algorithm whose rollout has just ended.
        rewards: (T, N), all steps of the rollout.
        values: of the states after the rollout, for algorithms with advantages.
        dones: (N,), after the rollout, for algorithms with advantages.
    """
    horizon = model.env.sim.task.horizon
    normaliser = model.get_vec_normalize_env()
    normalised, paid = rewards, np.zeros_like(rewards)  # (T, N)
    if normaliser is not None:  # it paid 0 at every step
        normalised = normaliser.normalise_rollout(rewards, np.arange(len(rewards)) % horizon == horizon - 1)
    else:  # SB3 stored 0 at every step but the last, which holds the whole return.
        paid[horizon - 1 :: horizon] = rewards.reshape(-1, horizon, rewards.shape[1]).sum(axis=1)
    rollout = getattr(model, "rollout_buffer", None)
    if rollout is not None:
        rollout.rewards += (normalised - paid).astype(np.float32)  # keeps SB3's bootstrapped value at the time limit
        rollout.compute_returns_and_advantage(last_values=values, dones=dones)
        return
    buffer = getattr(model, "replay_buffer", None)
    if buffer is None:
        return  # no per-step rewards are stored: ARS learns from returns
    rows = np.arange(buffer.pos - len(rewards), buffer.pos) % buffer.buffer_size
    buffer.rewards[rows] = rewards  # in their own units: SB3 normalises what it draws
