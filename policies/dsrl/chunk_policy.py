"""The policies whose noise can be learnt: those that denoise chunks of actions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from robo_reward.envs.task import ActionSpec, ObservationSpec, Task


class ChunkPolicy(Protocol):
    """A policy that turns observations and initial noise into a chunk of actions.

    Attributes:
        observation: the convention of the state part of the observations, of O numbers.
        action: the action convention, of A numbers.
        meta: its origin.
        frames: cameras that it looks through, or None.
        history: To, observations that it reads, newest last.
        chunk: H, rows of actions that `act` returns.
        execute: rows that are executed before the next query.
        noise_shape: (Tp, A) of the initial noise.
    """

    observation: ObservationSpec
    action: ActionSpec
    meta: dict[str, Any]
    frames: Any
    history: int
    chunk: int
    execute: int
    noise_shape: tuple[int, int]

    def act(self, observations: Any, noise: np.ndarray | None = None) -> np.ndarray:
        """Returns chunks (B, H, A) in [-1, 1] for observations (B, To, O) and noise (B, Tp, A)."""
        ...

    def reset(self, seed: int = 0) -> None:
        """Forgets everything that earlier chunks left behind."""
        ...

    def require_compatible(self, task: Task) -> Any:
        """Raises PolicyMismatch unless the task has the conventions of the policy."""
        ...

    def save(self, folder: Path) -> Path:
        """Writes the policy."""
        ...
