"""Jerk-limited profiles of seven coordinates, computed by Ruckig."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from robo_reward.errors import MissingExtra

LONGEST = 2.0
"""Longest duration of a profile [s]: an arm that gets no further target is at rest after this time."""
SLACK = 1.0 - 1e-4
"""Share of each limit that profiles use, so that rounding errors do not exceed it."""


class ProfileBounds(NamedTuple):
    """Limits of the profile of each coordinate, (7,) each, in its unit per second, squared and cubed."""

    low: np.ndarray
    high: np.ndarray
    acceleration: np.ndarray
    jerk: np.ndarray

    def scale_speed(self, pace: float) -> ProfileBounds:
        """Returns the same bounds with a share of speed and acceleration."""
        return ProfileBounds(self.low * pace, self.high * pace, self.acceleration * pace, self.jerk)


class Profile(NamedTuple):
    """A profile in time of all coordinates together.

    Attributes:
        duration: [s].
        trajectory: Ruckig's trajectory.
    """

    duration: float
    trajectory: Any

    def sample_at(self, times: np.ndarray) -> np.ndarray:
        """Returns coordinates, their speeds and accelerations (K, 3, 7) at K times from its begin [s]."""
        return np.array([self.trajectory.at_time(float(t))[:3] for t in times]).reshape(-1, 3, 7)


class IndependentProfiles(NamedTuple):
    """Profiles in time of seven independent coordinates: through the goal at a speed, then to rest.

    Attributes:
        duration: until all rest [s].
        strands: per coordinate, the trajectory to the goal, its duration [s], and the one to rest.
    """

    duration: float
    strands: list[tuple[Any, float, Any]]

    def sample_at(self, times: np.ndarray) -> np.ndarray:
        """Returns coordinates, speeds and accelerations (K, 3, 7), as `Profile.sample_at`."""
        found = np.empty((len(times), 3, 7))
        for i, (through, split, rest) in enumerate(self.strands):
            for k, time in enumerate(times.tolist()):
                # Position, speed and acceleration, each a list with one coordinate.
                state = through.at_time(time) if time <= split else rest.at_time(time - split)
                found[k, :, i] = state[0][0], state[1][0], state[2][0]
        return found


class ProfileGenerator:
    """Computes profiles of seven coordinates with Ruckig.

    Berscheid and Kröger 2021, "Jerk-limited real-time trajectory generation".

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
        self._otg, self._single = ruckig.Ruckig(7), ruckig.Ruckig(1)
        self._together = ruckig.Synchronization.Phase if straight else ruckig.Synchronization.No

    def plan_to_goal(self, now: np.ndarray, goal: np.ndarray, bounds: ProfileBounds) -> Profile | None:
        """Plans to coordinates (7,), to rest as soon as each can.

        Args:
            now: coordinates, speeds and accelerations (3, 7) to begin with.
            goal: coordinates to rest at (7,).
            bounds: kept on the way.
        """
        given = self._make_input(now, bounds)
        given.target_position, given.target_velocity = goal.tolist(), [0.0] * 7
        return self._compute_profile(self._otg, given)

    def plan_through_goal(
        self, now: np.ndarray, goal: np.ndarray, speed: np.ndarray, bounds: ProfileBounds, dt: float
    ) -> IndependentProfiles | None:
        """Plans through coordinates (7,) at a speed (7,), `dt` [s] from now or as soon after, and on to rest.

        Each coordinate has its own time: one that moves too fast for its goal and must come back, such as the
        elbow, would hold up the hand.
        """
        strands, duration = [], 0.0
        for i in range(7):
            # Two segments per coordinate: to the goal at the given speed, then from there to rest.
            own = ProfileBounds(*(bound[i : i + 1] for bound in bounds))
            given = self._make_input(now[:, i : i + 1], own)
            given.target_position, given.target_velocity = [float(goal[i])], [float(speed[i])]
            given.synchronization = self._ruckig.Synchronization.Time  # with `No`, Ruckig ignores the minimum duration
            given.minimum_duration = dt
            first = self._compute_profile(self._single, given)
            last = self.plan_to_rest(np.array([[goal[i]], [speed[i]], [0.0]]), own)
            if first is None or last is None:
                return None
            strands.append((first.trajectory, first.duration, last.trajectory))
            duration = max(duration, first.duration + last.duration)
        return IndependentProfiles(duration, strands) if duration < LONGEST else None

    def plan_to_rest(self, now: np.ndarray, bounds: ProfileBounds) -> Profile | None:
        """Plans to rest as soon as possible, at whatever position; arguments as in `plan_to_goal`."""
        given = self._make_input(now, bounds)
        given.control_interface = self._ruckig.ControlInterface.Velocity
        given.target_velocity = [0.0] * now.shape[1]
        return self._compute_profile(self._otg if now.shape[1] == 7 else self._single, given)

    def _make_input(self, now: np.ndarray, bounds: ProfileBounds) -> Any:
        given = self._ruckig.InputParameter(now.shape[1])
        given.current_position, given.current_velocity, given.current_acceleration = now.tolist()
        given.target_acceleration = [0.0] * now.shape[1]
        # Ruckig rejects limits of zero, hence the lower bounds; it plans up to `SLACK` of each limit.
        given.max_velocity = np.maximum(SLACK * bounds.high, 1e-4).tolist()
        given.min_velocity = np.minimum(SLACK * bounds.low, -1e-4).tolist()
        given.max_acceleration = np.maximum(SLACK * bounds.acceleration, 1e-3).tolist()
        given.max_jerk = np.maximum(SLACK * bounds.jerk, 1.0).tolist()
        given.synchronization = self._together
        return given

    def _compute_profile(self, otg: Any, given: Any) -> Profile | None:
        trajectory = self._ruckig.Trajectory(len(given.current_position))
        try:
            result = otg.calculate(given, trajectory)
        except (self._ruckig.RuckigError, ValueError):  # ValueError: an error code without a name in Python
            return None
        good = result in (self._ruckig.Result.Working, self._ruckig.Result.Finished)
        return Profile(trajectory.duration, trajectory) if good and trajectory.duration < LONGEST else None
