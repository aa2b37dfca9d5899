"""Actions with a time: what was decided for the past is dropped, so that a slow policy does not act late."""

from __future__ import annotations

import numpy as np

from robo_reward.errors import UsageError, WrongShape


class ActionQueue:
    """The actions that a policy has decided on, each for one control step.

    A chunk decided from the observation at time t is meant for t, t + dt, ...; whenever it arrives, its rows whose
    step has passed are dropped (receding horizon with latency compensation). A newer chunk replaces an older one.

    Args:
        dt: control period [s].

    Attributes:
        dropped: how many actions came too late for their step.
    """

    def __init__(self, dt: float) -> None:
        if not dt > 0:
            raise UsageError(f"dt={dt}: expected a control period above 0 s")
        self.dt, self.dropped = dt, 0
        self._start, self._actions = 0.0, np.zeros((0, 0))
        self._next = 0

    def put(self, start: float, actions: np.ndarray, now: float) -> int:
        """Takes a chunk.

        Args:
            start: time of the observation behind it [s].
            actions: (K, A), one per control step; rows of another shape are for the safety filter to refuse.
            now: the time [s].

        Returns:
            How many of its rows came too late.

        Raises:
            WrongShape: not (K, A) with at least one row.
        """
        actions = np.asarray(actions)
        if actions.ndim < 2 or not len(actions):
            raise WrongShape("chunk of actions", actions.shape, "(K, A) with at least one row")
        late = min(max(self._row(start, now), 0), len(actions))
        self.dropped += late
        if start < self._start and self.left(now):
            return late  # an older decision than the one in hand
        self._start, self._actions, self._next = start, actions, late
        return late

    def at(self, now: float) -> np.ndarray | None:
        """The action (A,) of the control step that begins now, or none."""
        row = max(self._row(self._start, now), self._next)
        if row >= len(self._actions):
            return None
        self._next = row + 1
        return self._actions[row]

    def left(self, now: float) -> int:
        """How many actions are there from now on."""
        return max(len(self._actions) - max(self._row(self._start, now), self._next), 0)

    def clear(self) -> None:
        """Forgets all actions, as after a hold: they were decided for an arm that moved."""
        self._actions = self._actions[:0]

    def _row(self, start: float, now: float) -> int:
        """The row of a chunk whose step is nearest to now."""
        return int(np.floor((now - start) / self.dt + 0.5))
