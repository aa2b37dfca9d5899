"""The behaviour of a policy: its success, and by which of the task's modes it reaches it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robo_reward.checks.proportion import format_success, wilson_interval
from robo_reward.data.collect import collect_episodes
from robo_reward.data.episode import Episode
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import Task
from robo_reward.policies.controller import PolicyController

MOST_WORLDS, MOST_FILMED = 100, 25
"""Most episodes that run at once, without and with pictures, which take memory."""


@dataclass(frozen=True)
class Behaviour:
    """Outcome of whole episodes of a policy.

    Args:
        episodes: how many were run.
        successes: how many fulfilled the goal at their last step.
        modes: mode of the task -> how many episodes used it; empty for a task with one way to succeed. The first is
            the one that people prefer.
        seed: of the initial states and of the policy's noise.
    """

    episodes: int
    successes: int
    modes: Mapping[str, int]
    seed: int = 0

    @property
    def success(self) -> float:
        """The success rate."""
        return self.successes / self.episodes

    @property
    def preferred_rate(self) -> float | None:
        """Share of the preferred mode among the episodes that used a mode; None where no episode did."""
        used = sum(self.modes.values())
        return next(iter(self.modes.values())) / used if used else None

    def __str__(self) -> str:
        text = format_success(self.success, *wilson_interval(self.successes, self.episodes))
        if self.modes:
            rate = self.preferred_rate
            shown = "-" if rate is None else f"{rate:.2f}"
            counts = ", ".join(f"{name} {count}" for name, count in self.modes.items())
            none = self.episodes - sum(self.modes.values())
            text += f"; preferred mode {shown} ({counts}, none {none})"
        return f"{text} over {self.episodes} episodes"

    def to_json(self) -> dict[str, Any]:
        """Returns all numbers as JSON, with the rates and the 95 % Wilson interval of the success rate."""
        low, high = wilson_interval(self.successes, self.episodes)
        rates = {"success": self.success, "low": low, "high": high, "preferred_rate": self.preferred_rate}
        counts = {"episodes": self.episodes, "successes": self.successes, "modes": dict(self.modes)}
        return {**counts, **rates, "seed": self.seed}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Behaviour:
        """Restores the value of `to_json`."""
        return cls(value["episodes"], value["successes"], value["modes"], value["seed"])


def roll_out(
    task: Task,
    policy: Any,
    episodes: int,
    seed: int,
    frames: FrameSpec | None = None,
    threads: int | None = None,
    noise_seed: int | None = None,
) -> list[Episode]:
    """Returns whole episodes of a policy of any kind, with its own noise.

    Args:
        task: the task to run.
        policy: the policy that acts.
        episodes: at least 1.
        seed: of the initial states and of the policy's noise.
        frames: how to render every state, or None for no frames.
        threads: of the simulator.
        noise_seed: of the policy's noise, where the same initial states are run with other noise; None: `seed`.
    """
    found: list[Episode] = []
    most = min(task.max_worlds, MOST_FILMED if frames else MOST_WORLDS)
    while len(found) < episodes:
        count, at = min(most, episodes - len(found)), seed + len(found)
        noise = at if noise_seed is None else noise_seed + len(found)
        with PolicyController(policy, task, count, noise) as controller:
            found += collect_episodes(task, controller, count, at, frames, {"by": "policy"}, threads)
    return found


def count_modes(task: Task, episodes: Sequence[Episode]) -> dict[str, int]:
    """Returns how many episodes used each mode of the task; empty for a task without modes."""
    names = getattr(task, "modes", ())
    if not names:
        return {}
    used = find_modes(task, episodes)
    return {name: int((used == index).sum()) for index, name in enumerate(names)}


def find_modes(task: Task, episodes: Sequence[Episode]) -> np.ndarray:
    """Returns the mode (N,) of each episode, an index into `task.modes`, or -1 where it used none."""
    return np.array([task.mode_of(episode.state) for episode in episodes], int)


def measure_behaviour(task: Task, policy: Any, episodes: int, seed: int, threads: int | None = None) -> Behaviour:
    """Runs whole episodes of a policy and counts successes and modes; the arguments are those of `roll_out`."""
    found = roll_out(task, policy, episodes, seed, threads=threads)
    successes = sum(episode.is_successful for episode in found)
    return Behaviour(len(found), successes, count_modes(task, found), seed)
