"""Scripted experts with human traits: slower, with noisy motion, and with a short rest at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.envs.state import State
from robo_reward.envs.task import Task
from robo_reward.errors import UsageError

PERSISTENCE = 0.8  # share of the noise that carries over to the next step


def make_demonstrator(
    task: Task, speed: float, noise: float, rng: np.random.Generator
) -> Callable[[State], np.ndarray]:
    """Returns the task's expert at reduced speed and with noise on its motion; the gripper follows the expert.

    Args:
        task: whose expert.
        speed: factor of the hand's motion, 0 to 1.
        noise: standard deviation of the noise added at each step, as a share of a full step.
        rng: of the noise.

    Raises:
        UsageError: a speed or a noise out of range, or a task without an expert.
    """
    if not 0 < speed <= 1 or not 0 <= noise <= 1:
        raise UsageError(f"speed={speed} noise={noise}: expected 0 < speed <= 1 and 0 <= noise <= 1")
    moving = 3 if task.action.kind == "ee_delta" else task.action.dim
    tremble: np.ndarray | None = None

    def act(state: State) -> np.ndarray:
        nonlocal tremble
        action = task.expert(state).copy()
        last = np.zeros_like(action[..., :moving]) if tremble is None else tremble
        tremble = PERSISTENCE * last + rng.normal(0.0, noise, last.shape)
        action[..., :moving] = np.clip(speed * (action[..., :moving] + tremble), -1.0, 1.0)
        return action

    return act


def trim_episode(episode: Episode, rest: int) -> Episode:
    """Returns the episode up to `rest` steps after its first success; unchanged if it never succeeds."""
    if not episode.success.any():
        return episode
    steps = min(int(np.argmax(episode.success)) + 1 + rest, len(episode))
    return replace(
        episode,
        state=episode.state[: steps + 1],
        action=episode.action[:steps],
        success=episode.success[:steps],
        frames=None if episode.frames is None else episode.frames[: steps + 1],
        clean_action=None if episode.clean_action is None else episode.clean_action[:steps],
        reward=None,
    )
