"""From targets at the policy's rate to commands at the stream's rate: jerk-limited, and checked before it is sent."""

from __future__ import annotations

import numpy as np

from robo_reward.envs.panda.arm import Arm
from robo_reward.errors import WrongShape
from robo_reward.hardware.coordinates import Coordinates, JointCoordinates
from robo_reward.hardware.envelope import HISTORY, Breach, Envelope
from robo_reward.hardware.limits import MotionLimits, Workspace
from robo_reward.hardware.profile import Bounds, Profiler, Segment, Strands

PACES = (1.0, 0.6, 0.35)
"""Shares of speed and acceleration that are tried in turn, where the straight plan would break a limit."""
BRAKES = (2.0, 1.4, 1.0, 0.6)
"""Likewise to come to rest; the bounds of a plan are cautious, and harder braking may pass the test."""
STILL = 1e-5
"""Every coordinate may go this far [m or rad]."""
BRAKING = 0.1
"""A coordinate that moves is given at least this long to brake [s]: its way counts as speed times this."""


class Motion:
    """Always holds a whole plan to standstill, every command of which was checked against every limit.

    A new target replaces the plan only if the new one, from the last command on, passes `Envelope`; else the old plan
    goes on, and ends at rest. So the stream needs no further target to stay safe: whoever falls silent, stops.

    A plan goes through the target at the speed at which targets move, to be there when the next one is due, and then
    brakes; if that would break a limit, it comes to rest at the target.

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
        self.coordinates = coordinates or JointCoordinates()
        self.rate, self.envelope = rate, Envelope(arm, limits, workspace, rate)
        self._profiler = Profiler(self.coordinates.straight)
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
    def plan(self) -> np.ndarray:
        """All commands until the arm is at rest (K, 7) [rad], if no other target comes."""
        return self._plan.copy()

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
            self._now = np.stack([self._now[0], np.zeros(7), np.zeros(7)])
        return self.command

    def toward(
        self, target: np.ndarray, pace: float = 1.0, before: np.ndarray | None = None, dt: float = 0.0
    ) -> Breach | None:
        """Plans anew to joint angles (7,) [rad].

        Args:
            target: where to.
            pace: share of speed and acceleration to use.
            before: the target before this one (7,) [rad], which tells how fast targets move; at rest if not given.
            dt: when the next target is due [s].

        Returns:
            None if the plan was taken, else the limit it would break; then the old plan stays.
        """
        goal = self.coordinates.of(target, self._now[0])
        speed = np.zeros(7)
        if before is not None and dt > 0.0:
            speed = (goal - self.coordinates.of(before, goal)) / dt
            if self._try(pace, target, goal, speed, dt) is None:
                return None
        breach = None
        for share in PACES:
            found = self._try(pace * share, target, goal, np.zeros(7), 0.0)
            if found is None:
                return None
            breach = breach or found
        return breach

    def brake(self) -> None:
        """Plans to come to rest as fast as the limits allow, unless the old plan is sooner or alone passes the test."""
        here, reach = self._past[-1], np.maximum(self._momentum(), STILL)
        bounds = self.coordinates.bounds(self.envelope.limits, here, here, np.zeros(7), reach)
        for share in BRAKES:
            segment = self._profiler.brake(self._now, bounds.paced(share))
            sooner = segment is not None and segment.duration * self.rate < len(self._plan)
            if segment is not None and sooner and self._take(segment, here) is None:
                return

    def _momentum(self) -> np.ndarray:
        """How far the coordinates (7,) will still go for being in motion."""
        return np.abs(self._now[1]) * BRAKING + np.abs(self._now[2]) * BRAKING**2

    def _try(self, pace: float, target: np.ndarray, goal: np.ndarray, speed: np.ndarray, dt: float) -> Breach | None:
        """Takes a plan through coordinates `goal` at a speed and on to rest, if it keeps every limit."""
        here = self._past[-1]
        line = np.abs(goal - self._now[0])
        reach = line + np.abs(speed) * BRAKING
        reach = np.maximum(np.maximum(reach, self._momentum()), STILL)
        bounds = self.coordinates.bounds(self.envelope.limits, here, target, line, reach).paced(pace)
        speed = _attainable(goal - self._now[0], speed, bounds)
        if speed.any():
            way = self._profiler.through(self._now, goal, speed, bounds, dt)
        else:
            way = self._profiler.reach(self._now, goal, bounds)
        return Breach("no_profile", np.inf, 0) if way is None else self._take(way, target)

    def _take(self, way: Segment | Strands, target: np.ndarray) -> Breach | None:
        """Makes a profile the plan, if it keeps every limit."""
        times = np.arange(1, int(np.ceil(way.duration * self.rate)) + HISTORY + 1) / self.rate
        profile = way.at(times)  # HISTORY more, until all differences vanish
        plan = self.coordinates.joints(profile[:, 0], self._past[-1], target)
        if plan is None:
            return Breach("inverse_kinematics", np.inf, 0)
        breach = self.envelope.breach(np.concatenate([self._past, plan]))
        if breach is None:
            self._plan, self._profile = plan, profile
        return breach


def _attainable(way: np.ndarray, speed: np.ndarray, bounds: Bounds) -> np.ndarray:
    """As much of a speed (7,) as each coordinate can have after a way (7,) from rest, without a run-up."""
    limit = 0.9 * np.minimum(np.where(speed > 0, bounds.high, -bounds.low), np.sqrt(bounds.acceleration * np.abs(way)))
    return np.where(way * speed > 0, np.clip(speed, -limit, limit), 0.0)
