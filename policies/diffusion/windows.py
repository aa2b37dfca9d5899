"""Windows of episodes: what the policy has seen, and the actions that follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.envs.task import ObservationSpec
from robo_reward.errors import UsageError
from robo_reward.policies.diffusion.settings import DiffusionSettings
from robo_reward.policies.rollout.history import observe_state


@dataclass(frozen=True, eq=False)
class Windows:
    """M windows of Tp steps, of all episodes.

    The window of step t begins at step t - (To - 1), so that its action To - 1 is the one of step t. Steps before the
    episode repeat its first, steps after it its last; `mask` is False for the actions of such steps.

    Args:
        observation: (M, To, O) float32, newest last.
        action: (M, Tp, A) float32.
        mask: (M, Tp) bool, which actions were really recorded.
        episode: (M,) index of the episode.
        step: (M,) index t of the newest observation, for pictures.
        short: indices of episodes that are too short for any window.
    """

    observation: np.ndarray
    action: np.ndarray
    mask: np.ndarray
    episode: np.ndarray
    step: np.ndarray
    short: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.step)


def cut_windows(
    episodes: Sequence[Episode], observation: ObservationSpec, history: int, horizon: int, execute: int
) -> Windows:
    """Returns all windows of episodes, which may differ in length.

    As in Diffusion Policy, an episode is padded by To - 1 steps before and `execute` - 1 steps after.

    Args:
        episodes: the demonstrations.
        observation: what the policy sees of a state.
        history: To.
        horizon: Tp.
        execute: number of actions that are executed.

    Raises:
        UsageError: every episode is too short for a window.
    """
    parts: list[tuple[np.ndarray, ...]] = []
    short: list[int] = []
    for index, episode in enumerate(episodes):
        steps = len(episode)
        first = np.arange(-(history - 1), steps - horizon + execute)  # (m,) first step of each window
        if not len(first):
            short.append(index)
            continue
        seen = observe_state(observation, episode.states)[:-1]  # (T, O)
        wanted = first[:, None] + np.arange(horizon)  # (m, Tp)
        inside = np.clip(wanted, 0, steps - 1)
        parts.append(
            (
                seen[inside[:, :history]],
                episode.action[inside].astype(np.float32),
                (wanted >= 0) & (wanted < steps),
                np.full(len(first), index),
                first + history - 1,
            )
        )
    if not parts:
        raise _too_short_error([len(episode) for episode in episodes], history, horizon, execute)
    return Windows(*(np.concatenate(part) for part in zip(*parts, strict=True)), short=tuple(short))


def find_short_episodes(episodes: Sequence[Episode], settings: DiffusionSettings) -> list[int]:
    """Returns the indices of the episodes that are too short for any window, and are left out.

    Raises:
        UsageError: every episode is.
    """
    lengths = [len(episode) for episode in episodes]
    short = [index for index, length in enumerate(lengths) if length < settings.shortest_episode]
    if len(short) == len(lengths):
        raise _too_short_error(lengths, settings.history, settings.horizon, settings.execute)
    return short


def _too_short_error(lengths: Sequence[int], history: int, horizon: int, execute: int) -> UsageError:
    needed = max(1, horizon - execute - history + 2)
    return UsageError(
        f"{len(lengths)} demonstrations of at most {max(lengths, default=0)} steps are too short for horizon={horizon} "
        f"with execute={execute}: at least {needed} steps are needed. Give a shorter horizon"
    )
