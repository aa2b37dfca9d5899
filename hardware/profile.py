"""Jerk-limited profiles of seven coordinates, computed by Ruckig."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from robo_reward.errors import MissingExtra

LONGEST = 2.0
"""No profile lasts longer [s], so an arm that gets no further target is at rest after that time."""
SLACK = 1.0 - 1e-4
"""Of every limit, so that rounding does not touch it."""


class Bounds(NamedTuple):
    """What the profile of each coordinate keeps, (7,) each, in its unit per second, squared and cubed."""

    low: np.ndarray
    high: np.ndarray
    acceleration: np.ndarray
    jerk: np.ndarray

    def paced(self, pace: float) -> Bounds:
        """The same with a share of speed and acceleration."""
        return Bounds(self.low * pace, self.high * pace, self.acceleration * pace, self.jerk)


class Segment(NamedTuple):
    """A profile in time.

    Attributes:
        duration: [s].
        trajectory: Ruckig's.
    """

    duration: float
    trajectory: Any

    def at(self, times: np.ndarray) -> np.ndarray:
        """Coordinates, their speeds and accelerations (K, 3, 7) at K times from its begin [s]."""
        return np.array([self.trajectory.at_time(float(t))[:3] for t in times]).reshape(-1, 3, 7)


class Profiler:
    """Ruckig (Berscheid and Kröger 2021, "Jerk-limited real-time trajectory generation") for seven coordinates.

    Args:
        straight: whether all coordinates come to rest together, on a straight line where they can.

    Raises:
        MissingExtra: `ruckig` is not installed.
    """

    def __init__(self, straight: bool) -> None:
        try:
            import ruckig
        except ImportError as error:
            raise MissingExtra("ruckig", "franka", "smoothing commands to an arm") from error
        self._ruckig: Any = ruckig
        self._otg = ruckig.Ruckig(7)
        self._together = ruckig.Synchronization.Phase if straight else ruckig.Synchronization.No

    def reach(
        self, now: np.ndarray, goal: np.ndarray, speed: np.ndarray, bounds: Bounds, at_least: float = 0.0
    ) -> Segment | None:
        """To coordinates (7,), to rest as soon as each can, or with a speed (7,) at the same time in all.

        Args:
            now: coordinates, speeds and accelerations (3, 7) to begin with.
            goal: where to.
            speed: there.
            bounds: on the way.
            at_least: shortest duration where there is a speed [s].
        """
        given = self._given(now, bounds)
        given.target_position, given.target_velocity = goal.tolist(), speed.tolist()
        if speed.any():
            given.synchronization = self._ruckig.Synchronization.Time
            given.minimum_duration = at_least
        return self._segment(given)

    def brake(self, now: np.ndarray, bounds: Bounds) -> Segment | None:
        """To rest, wherever that is; arguments as in `reach`."""
        given = self._given(now, bounds)
        given.control_interface = self._ruckig.ControlInterface.Velocity
        given.target_velocity = [0.0] * 7
        return self._segment(given)

    def _given(self, now: np.ndarray, bounds: Bounds) -> Any:
        given = self._ruckig.InputParameter(7)
        given.current_position, given.current_velocity, given.current_acceleration = now.tolist()
        given.target_acceleration = [0.0] * 7
        given.max_velocity = np.maximum(SLACK * bounds.high, 1e-4).tolist()
        given.min_velocity = np.minimum(SLACK * bounds.low, -1e-4).tolist()
        given.max_acceleration = np.maximum(SLACK * bounds.acceleration, 1e-3).tolist()
        given.max_jerk = np.maximum(SLACK * bounds.jerk, 1.0).tolist()
        given.synchronization = self._together
        return given

    def _segment(self, given: Any) -> Segment | None:
        trajectory = self._ruckig.Trajectory(7)
        try:
            result = self._otg.calculate(given, trajectory)
        except (self._ruckig.RuckigError, ValueError):  # ValueError: some of its error codes have no name in Python
            return None
        good = result in (self._ruckig.Result.Working, self._ruckig.Result.Finished)
        return Segment(trajectory.duration, trajectory) if good and trajectory.duration < LONGEST else None
