"""The policies whose noise can be learnt: those that make chunks of actions out of noise."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from robo_reward.policies.policy import StoredPolicy


class NoiseDrivenPolicy(StoredPolicy, Protocol):
    """A policy that turns observations and initial noise into a chunk of actions.

    Attributes:
        noise_shape: (Tp, A) of the initial noise.
    """

    @property
    def noise_shape(self) -> tuple[int, int]: ...

    def act(self, observations: Any, /, noise: np.ndarray | None = None) -> np.ndarray:
        """Returns chunks (B, H, A) in [-1, 1] for observations (B, To, O) and noise (B, Tp, A)."""
        ...
