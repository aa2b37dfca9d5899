"""From targets at the policy's rate to commands at the stream's rate: jerk-limited, and checked before it is sent."""

from __future__ import annotations

from typing import Any

import numpy as np

from robo_reward.envs.panda.arm import Arm
from robo_reward.errors import MissingExtra, WrongShape
from robo_reward.hardware.coordinates import Coordinates, JointCoordinates
from robo_reward.hardware.envelope import HISTORY, Breach, Envelope
from robo_reward.hardware.limits import MotionLimits, Workspace

PACES = (1.0, 0.6, 0.35)
"""Shares of speed and acceleration that are tried in turn, where the straight plan would break a limit."""
STILL = 1e-5
"""Every coordinate may go this far [m or rad]."""
BRAKING = 0.1
"""A coordinate that moves is given at least this long to brake [s]: its way counts as speed times this."""
MAX_PLAN = 10.0
"""No plan lasts longer [s]."""


class Motion:
    """Always holds a whole plan to standstill, every command of which was checked against every limit.

    A new target replaces the plan only if the new one, from the last command on, passes `Envelope`; else the old plan
    goes on, and ends at rest. So the stream needs no further target to stay safe: whoever falls silent, stops.

    Args:
        arm: whose kinematics hold.
        limits: what the plan keeps.
        workspace: where the hand stays.
        rate: of the commands [Hz].
        coordinates: in which plans run: joints, or the hand's pose for policies that command it.

    Attributes:
        envelope: the test; replace its limits or workspace to change them.

    Raises:
        MissingExtra: `ruckig`, which computes the profiles, is not installed.
    """

    def __init__(
        self,
        arm: Arm,
        limits: MotionLimits,
        workspace: Workspace,
        rate: float = 200.0,
        coordinates: Coordinates | None = None,
    ) -> None:
        try:
            import ruckig
        except ImportError as error:
            raise MissingExtra("ruckig", "franka", "smoothing commands to an arm") from error
        self._ruckig: Any = ruckig
        self.coordinates = coordinates or JointCoordinates()
        self.rate, self.envelope = rate, Envelope(arm, limits, workspace, rate)
        self._otg, self._trajectory = ruckig.Ruckig(7), ruckig.Trajectory(7)
        self.seed(np.array(arm.home))

    def seed(self, q: np.ndarray) -> None:
        """Begins at rest at joint angles (7,) [rad].

        Raises:
            WrongShape: not seven numbers.
        """
        q = np.array(q, float)
        if q.shape != (7,):
            raise WrongShape("joint angles", q.shape, "(7,)")
        self._past = np.repeat(q[None], HISTORY, axis=0)
        self._now = np.stack([self.coordinates.of(q), np.zeros(7), np.zeros(7)])
        self._plan, self._profile = np.zeros((0, 7)), np.zeros((0, 3, 7))

    @property
    def command(self) -> np.ndarray:
        """The last command (7,) [rad]."""
        return self._past[-1].copy()

    @property
    def end(self) -> np.ndarray:
        """Where the plan comes to rest (7,) [rad]."""
        return self._plan[-1].copy() if len(self._plan) else self.command

    @property
    def resting(self) -> bool:
        """Whether the plan is at its end."""
        return not len(self._plan)

    def ahead(self, n: int) -> np.ndarray:
        """The next n commands (n, 7) [rad], if no other target comes."""
        coming = self._plan[:n]
        return np.concatenate([coming, np.repeat(self.end[None], n - len(coming), axis=0)])

    def next(self) -> np.ndarray:
        """The next command (7,) [rad]; once at rest, the same for ever."""
        if len(self._plan):
            self._now, self._profile = self._profile[0], self._profile[1:]
            self._past, self._plan = np.concatenate([self._past[1:], self._plan[:1]]), self._plan[1:]
        else:
            self._past = np.concatenate([self._past[1:], self._past[-1:]])
        return self.command

    def toward(self, target: np.ndarray, pace: float = 1.0) -> Breach | None:
        """Plans anew, to rest at joint angles (7,) [rad].

        Args:
            target: where to.
            pace: share of speed and acceleration to use.

        Returns:
            None if the plan was taken, else the limit it would break; then the old plan stays.
        """
        breach = Breach("inverse_kinematics", np.inf, 0)
        for share in PACES:
            found = self._try(pace * share, target)
            if found is None:
                return None
            breach = found
        return breach

    def brake(self) -> None:
        """Plans to come to rest as fast as the limits allow, unless only the old plan passes the test."""
        for share in PACES:
            if self._try(share, None) is None:
                return

    def _try(self, pace: float, target: np.ndarray | None) -> Breach | None:
        """Takes a plan to a target, or to rest anywhere, if it keeps every limit."""
        profile = self._profiled(pace, target)
        if profile is None:
            return Breach("no_profile", np.inf, 0)
        plan = self.coordinates.joints(profile[:, 0], self._past[-1], self._past[-1] if target is None else target)
        if plan is None:
            return Breach("inverse_kinematics", np.inf, 0)
        breach = self.envelope.breach(np.concatenate([self._past, plan]))
        if breach is None:
            self._plan, self._profile = plan, profile
        return breach

    def _profiled(self, pace: float, target: np.ndarray | None) -> np.ndarray | None:
        """Coordinates, their speeds and accelerations (K, 3, 7) from the last command to rest, or none."""
        otg, here = self._ruckig, self._past[-1]
        given = otg.InputParameter(7)
        given.current_position, given.current_velocity, given.current_acceleration = self._now.tolist()
        reach = np.maximum(np.abs(self._now[1]) * BRAKING, STILL)
        if target is None:
            given.control_interface = otg.ControlInterface.Velocity
        else:
            goal = self.coordinates.of(target, self._now[0])
            given.target_position = goal.tolist()
            reach = np.maximum(reach, np.abs(goal - self._now[0]))
        given.target_velocity = given.target_acceleration = [0.0] * 7
        bounds = self.coordinates.bounds(self.envelope.limits, here, here if target is None else target, reach)
        slack = 1.0 - 1e-4  # rounding must not touch the limit
        given.max_velocity = np.maximum(pace * slack * bounds.high, 1e-4).tolist()
        given.min_velocity = np.minimum(pace * slack * bounds.low, -1e-4).tolist()
        given.max_acceleration = np.maximum(pace * slack * bounds.acceleration, 1e-3).tolist()
        given.max_jerk = np.maximum(slack * bounds.jerk, 1.0).tolist()
        given.synchronization = otg.Synchronization.Phase
        try:
            result = self._otg.calculate(given, self._trajectory)
        except otg.RuckigError:
            return None
        if result not in (otg.Result.Working, otg.Result.Finished) or not self._trajectory.duration < MAX_PLAN:
            return None
        count = int(np.ceil(self._trajectory.duration * self.rate)) + HISTORY  # the end, until all differences vanish
        return np.array([self._trajectory.at_time((k + 1) / self.rate)[:3] for k in range(count)]).reshape(-1, 3, 7)
