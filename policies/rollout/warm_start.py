"""The last predictions of N worlds, from which a policy with a warm start draws its next chunks."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from robo_reward.policies.rollout.history import Observations


class WarmStartPolicy(Protocol):
    """A policy that may start from its last prediction instead of noise alone.

    Attributes:
        history: To.
        noise_shape: (Tp, A).
        warm_start: share of the sampling steps that the start replaces; 0: it starts from noise alone.
    """

    history: int
    noise_shape: tuple[int, int]
    warm_start: float

    def predict(self, observations: Any, noise: np.ndarray, previous: np.ndarray | None = None) -> np.ndarray:
        """Returns predictions (B, Tp, A), of which the chunk are the rows from To - 1 on."""
        ...

    def move_prediction(self, prediction: np.ndarray) -> np.ndarray:
        """Returns predictions (B, Tp, A) moved by the executed actions, as `predict` takes them."""
        ...


class PredictionMemory:
    """Draws the chunks of N worlds, each from its own last prediction, as a deployed policy does.

    Args:
        policy: with a `warm_start` above 0.
        worlds: N.
    """

    def __init__(self, policy: WarmStartPolicy, worlds: int) -> None:
        self._policy = policy
        self._previous = np.zeros((worlds, *policy.noise_shape), np.float32)
        self._is_known = np.zeros(worlds, bool)

    def restart(self, worlds: np.ndarray | slice = slice(None)) -> None:
        """Forgets the predictions of some worlds, by default of all: their next chunk is drawn from noise alone."""
        self._is_known[worlds] = False

    def act(self, observations: Observations, noise: np.ndarray, worlds: np.ndarray) -> np.ndarray:
        """Returns chunks (n, H, A) of some worlds, given by their numbers (n,), with their observations and noise."""
        found = np.zeros_like(noise)
        known = self._is_known[worlds]
        for rows, previous in ((~known, None), (known, self._previous[worlds[known]])):
            if rows.any():
                found[rows] = self._policy.predict(_select_rows(observations, rows), noise[rows], previous)
        self._previous[worlds] = self._policy.move_prediction(found)
        self._is_known[worlds] = True
        return found[:, self._policy.history - 1 :]


def _select_rows(observations: Observations, rows: np.ndarray) -> Observations:
    if isinstance(observations, dict):
        return {name: array[rows] for name, array in observations.items()}
    return observations[rows]
