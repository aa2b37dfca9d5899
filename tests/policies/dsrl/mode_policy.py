"""A chunk policy with two modes, chosen by the sign of its noise, without any network: one succeeds, one fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robo_reward.envs.task import Task
from robo_reward.policies.policy import MLPPolicy
from tests.policies.reachers import make_reacher


@dataclass
class ModePolicy:
    """Moves to the goal of panda/reach if the mean of the noise in x is positive, else away from it."""

    reacher: MLPPolicy
    history: int = 2
    chunk: int = 4
    execute: int = 3
    frames: Any = None
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    seen: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.observation, self.action, self.meta = self.reacher.observation, self.reacher.action, self.reacher.meta
        self.noise_shape = (self.chunk, self.action.dim)

    def act(self, observations: np.ndarray, /, noise: np.ndarray | None = None) -> np.ndarray:
        if observations.ndim == 2:
            observations = np.repeat(observations[:, None], self.history, axis=1)
        self.seen.append(observations.copy())
        if noise is None:
            noise = self.rng.normal(size=(len(observations), *self.noise_shape))
        sign = np.where(noise[:, :, 0].mean(axis=1) > 0, 1.0, -1.0)
        action = self.reacher.act(observations[:, -1]) * sign[:, None]
        return np.repeat(action[:, None], self.chunk, axis=1).astype(np.float32)

    def reset(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)

    def require_compatible(self, task: Task) -> ModePolicy:
        self.reacher.require_compatible(task)
        return self

    def with_meta(self, **more: Any) -> ModePolicy:
        raise NotImplementedError

    def save(self, folder: Path) -> Path:
        return self.reacher.save(folder)


def make_mode_policy(task: Task, execute: int = 3) -> ModePolicy:
    return ModePolicy(make_reacher(task), execute=execute)


def near(state: Any, action: Any, previous: Any) -> Any:
    distance = np.linalg.norm(state.goal_position - state.hand_position, axis=-1)
    return 1 - np.tanh(5 * distance), {}
