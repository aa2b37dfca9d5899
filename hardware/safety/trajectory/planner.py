"""Plans jerk-limited, checked commands at the stream's rate from targets at the policy's rate."""

from __future__ import annotations

import numpy as np

from robo_reward.envs.arm.kinematics import Configuration
from robo_reward.envs.arm.model import ArmModel
from robo_reward.errors import WrongShape
from robo_reward.hardware.safety.limits import MotionLimits, Workspace
from robo_reward.hardware.safety.trajectory.checker import HISTORY, LimitChecker, LimitViolation
from robo_reward.hardware.safety.trajectory.profiles import (
    IndependentProfiles,
    Profile,
    ProfileBounds,
    ProfileGenerator,
)
from robo_reward.hardware.safety.trajectory.space import Coordinates, JointCoordinates

SPEED_SHARES = (1.0, 0.6, 0.35)
"""Shares of speed and acceleration, tried in turn until a plan to rest at the target keeps every limit."""
BRAKING_SHARES = (2.0, 1.4, 1.0, 0.6)
"""Shares tried in turn to come to rest; the bounds are conservative, so shares above 1 may pass the check."""
MIN_REACH = 1e-5
"""Smallest distance for which the bounds of a coordinate are computed [m or rad]."""
BRAKING_TIME = 0.1
"""Time to brake assumed for a moving coordinate [s]: its braking distance is estimated as speed times this."""


class TrajectoryPlanner:
    """Holds a complete plan to standstill at all times, every command of which was checked against every limit.

    A new target replaces the plan only if the new one, from the last command on, passes `LimitChecker`; else the
    old plan goes on, and ends at rest. So the stream needs no further target to stay safe: without one, the arm
    stops.

    A plan goes through the target at the speed at which targets move, to be there when the next one is due, and
    then brakes; if that would break a limit, it comes to rest at the target.

    Args:
        arm: whose kinematics hold.
        limits: what the plan keeps.
        workspace: where the hand stays.
        rate: of the commands [Hz].
        coordinates: in which plans run: joints, or the hand's pose for policies that command it.

    Attributes:
        checker: checks plans; replace its limits or workspace to change them.

    Raises:
        MissingExtra: `ruckig`, which computes the profiles, is not installed.
    """

    def __init__(
        self,
        arm: ArmModel,
        limits: MotionLimits,
        workspace: Workspace,
        rate: float = 200.0,
        coordinates: Coordinates | None = None,
    ) -> None:
        self.coordinates = coordinates or JointCoordinates()
        self.arm, self.rate, self.checker = arm, rate, LimitChecker(arm, limits, workspace, rate)
        self._profiler = ProfileGenerator(self.coordinates.straight)
        self.start_at_rest(np.array(arm.home))

    def start_at_rest(self, q: np.ndarray) -> None:
        """Restarts the plan at rest at joint angles (7,) [rad].

        Raises:
            WrongShape: not seven numbers.
        """
        q = np.array(q, float)
        if q.shape != (7,):
            raise WrongShape("joint angles", q.shape, "(7,)")
        # The history at rest makes speed, acceleration and jerk start at zero.
        self._past, self._last = np.repeat(q[None], HISTORY, axis=0), Configuration(self.arm, q)
        self._now = np.stack([self.coordinates.from_joints(self._last), np.zeros(7), np.zeros(7)])
        self._plan, self._profile = np.zeros((0, 7)), np.zeros((0, 3, 7))

    @property
    def last_command(self) -> Configuration:
        """The last command."""
        return self._last

    @property
    def rest_position(self) -> Configuration:
        """The configuration at which the plan comes to rest."""
        return Configuration(self.arm, self._plan[-1].copy()) if len(self._plan) else self._last

    @property
    def plan(self) -> np.ndarray:
        """All commands until the arm is at rest (K, 7) [rad], if no other target comes."""
        return self._plan.copy()

    def advance_command(self) -> np.ndarray:
        """Advances by one command and returns it (7,) [rad]; once at rest, it stays the same."""
        if len(self._plan):
            self._now, self._profile = self._profile[0], self._profile[1:]
            self._past, self._plan = np.concatenate([self._past[1:], self._plan[:1]]), self._plan[1:]
            self._last = Configuration(self.arm, self._past[-1])
        else:
            self._past = np.concatenate([self._past[1:], self._past[-1:]])
            self._now = np.stack([self._now[0], np.zeros(7), np.zeros(7)])
        return self._past[-1].copy()

    def plan_to_target(
        self, target: Configuration, before: Configuration | None = None, dt: float = 0.0
    ) -> LimitViolation | None:
        """Plans a new motion to a configuration.

        Args:
            target: configuration to plan to.
            before: the target before this one, from which follows how fast targets move; at rest if not given.
            dt: when the next target is due [s].

        Returns:
            None where the plan was adopted, else the limit it would break; then the old plan stays.
        """
        goal = self.coordinates.from_joints(target, self._now[0])
        speed = np.zeros(7)
        # First attempt: pass the target at the speed of the targets.
        if before is not None and dt > 0.0:
            speed = (goal - self.coordinates.from_joints(before, goal)) / dt
            if self._try_plan(1.0, target, goal, speed, dt) is None:
                return None
        # Fallback: come to rest at the target, slower with each attempt; the first violation is reported.
        breach = None
        for share in SPEED_SHARES:
            found = self._try_plan(share, target, goal, np.zeros(7), 0.0)
            if found is None:
                return None
            breach = breach or found
        return breach

    def plan_stop(self) -> None:
        """Plans to come to rest as fast as the limits allow.

        The old plan stays if it comes to rest sooner, or if no new plan passes the check.
        """
        reach = np.maximum(self._compute_braking_distance(), MIN_REACH)
        bounds = self.coordinates.compute_bounds(self.checker.limits, self._last, self._last, np.zeros(7), reach)
        for share in BRAKING_SHARES:
            segment = self._profiler.plan_to_rest(self._now, bounds.scale_speed(share))
            # Adopt a braking profile only if it ends before the present plan does.
            sooner = segment is not None and segment.duration * self.rate < len(self._plan)
            if segment is not None and sooner and self._adopt_profile(segment, self._last) is None:
                return

    def _compute_braking_distance(self) -> np.ndarray:
        """Returns how far the coordinates (7,) will still move because of their speed and acceleration."""
        return np.abs(self._now[1]) * BRAKING_TIME + np.abs(self._now[2]) * BRAKING_TIME**2

    def _try_plan(
        self, share: float, target: Configuration, goal: np.ndarray, speed: np.ndarray, dt: float
    ) -> LimitViolation | None:
        """Adopts a plan through coordinates `goal` at a speed and on to rest, if it keeps every limit.

        It uses a share of the limits of speed and acceleration.
        """
        # `reach`: distance to the goal or braking distance, whichever is longer.
        line = np.abs(goal - self._now[0])
        reach = line + np.abs(speed) * BRAKING_TIME
        reach = np.maximum(np.maximum(reach, self._compute_braking_distance()), MIN_REACH)
        bounds = self.coordinates.compute_bounds(self.checker.limits, self._last, target, line, reach)
        bounds = bounds.scale_speed(share)
        speed = _clip_target_speed(goal - self._now[0], speed, bounds)
        if speed.any():
            way = self._profiler.plan_through_goal(self._now, goal, speed, bounds, dt)
        else:
            way = self._profiler.plan_to_goal(self._now, goal, bounds)
        return LimitViolation("no_profile", np.inf, 0) if way is None else self._adopt_profile(way, target)

    def _adopt_profile(self, way: Profile | IndependentProfiles, target: Configuration) -> LimitViolation | None:
        """Makes a profile the plan, if it keeps every limit; returns the first violation otherwise."""
        times = np.arange(1, int(np.ceil(way.duration * self.rate)) + HISTORY + 1) / self.rate
        profile = way.sample_at(times)  # HISTORY samples at rest, until all differences are zero
        plan = self.coordinates.to_joints(profile[:, 0], self._last.q, target.q)
        if plan is None:
            return LimitViolation("inverse_kinematics", np.inf, 0)
        # The check includes the last commands sent, so that the transition to the new plan is covered.
        breach = self.checker.first_violation(np.concatenate([self._past, plan]))
        if breach is None:
            self._plan, self._profile = plan, profile
        return breach


def _clip_target_speed(way: np.ndarray, speed: np.ndarray, bounds: ProfileBounds) -> np.ndarray:
    """Clips the target speed (7,) to what each coordinate can reach from rest within a distance (7,)."""
    # A triangular acceleration pulse with peak a reaches sqrt(a s) over a distance s; 0.9 is a margin.
    # A target that moves away from the goal gets the speed zero.
    limit = 0.9 * np.minimum(np.where(speed > 0, bounds.high, -bounds.low), np.sqrt(bounds.acceleration * np.abs(way)))
    return np.where(way * speed > 0, np.clip(speed, -limit, limit), 0.0)
