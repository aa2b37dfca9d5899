"""A queue of timed actions (action chunking).

Actions for past steps are dropped, so that a slow policy does not act late.
"""

from __future__ import annotations

import numpy as np

from robo_reward.errors import UsageError, WrongShape


class ActionQueue:
    """The actions that a policy has decided on, each for one control step.

    A chunk decided from the observation at time t is meant for t, t + dt, ...; when it arrives, its rows whose
    step has passed are dropped (receding horizon with latency compensation). A newer chunk replaces an older one.

    Args:
        dt: control period [s].

    Attributes:
        dropped: number of actions that came too late for their step.
    """

    def __init__(self, dt: float) -> None:
        if not dt > 0:
            raise UsageError(f"dt={dt}: expected a control period above 0 s")
        self.dt, self.dropped = dt, 0
        self._start, self._actions = 0.0, np.zeros((0, 0))
        self._next = 0

    def add_chunk(self, start: float, actions: np.ndarray, now: float) -> int:
        """Adds a chunk and returns how many of its rows came too late.

        Args:
            start: time of the observation behind it [s].
            actions: (K, A), one per control step; rows of another shape are for the safety filter to refuse.
            now: the time [s].

        Raises:
            WrongShape: not (K, A) with at least one row.
        """
        actions = np.asarray(actions)
        if actions.ndim < 2 or not len(actions):
            raise WrongShape("chunk of actions", actions.shape, "(K, A) with at least one row")
        late = min(max(self._find_row(start, now), 0), len(actions))
        self.dropped += late
        if start < self._start and self.count_remaining(now):
            return late  # decided from an older observation than the present chunk
        self._start, self._actions, self._next = start, actions, late
        return late

    def take_action(self, now: float) -> np.ndarray | None:
        """Returns the action (A,) of the control step that begins now, or None when there is none.

        An action is returned once only.
        """
        row = max(self._find_row(self._start, now), self._next)
        if row >= len(self._actions):
            return None
        self._next = row + 1
        return self._actions[row]

    def count_remaining(self, now: float) -> int:
        """Returns the number of actions from now on."""
        return max(len(self._actions) - max(self._find_row(self._start, now), self._next), 0)

    def clear(self) -> None:
        """Removes all actions, as after a hold: they were decided for an arm that moved."""
        self._actions = self._actions[:0]

    def _find_row(self, start: float, now: float) -> int:
        """Returns the row of a chunk whose step is nearest to now."""
        return int(np.floor((now - start) / self.dt + 0.5))
