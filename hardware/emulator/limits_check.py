"""What the robot accepts: limits and continuity of commands, judged from their finite differences as the arm does.

Error names as in libfranka: a step in commanded velocity (beyond the acceleration limit) is a velocity discontinuity,
a step in acceleration (beyond the jerk limit) an acceleration discontinuity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from robo_reward.envs.panda.arm import Arm
from robo_reward.hardware.emulator.control import pose_error, rotation
from robo_reward.hardware.emulator.plant import DT

SLACK = 1.001
"""Clients clip to the limits less a little; rounding must not trip what they clipped."""
START_JOINT, START_TRANSLATION, START_ROTATION = 0.02, 0.01, 0.05
"""How far the first command may be from the robot's own [rad, m, rad]; Franka publishes no number."""
TORQUE_RATE = 1000.0
"""Largest rate of commanded torques [N m/s] (Franka Robotics, "Robot and interface specifications")."""
LOST_IN_A_ROW = 20
"""So many lost packets stop the arm (Franka Robotics, "Robot and interface specifications")."""
PARDON = 5
"""After lost packets limits of acceleration and jerk are up to so many times wider, less with each packet that arrives.

libfranka's low-pass mixes each command with the state it answers, so what follows a gap is jerky however smooth the
motion; how much of that the arm forgives is not published."""
JOINT, CARTESIAN_JOINT = "joint_motion_generator", "cartesian_motion_generator_joint"


@dataclass(frozen=True)
class Checks:
    """Which reflexes are armed; all of them by default.

    Args:
        start_pose: a motion must begin where the arm is.
        limits: positions and velocities, commanded and measured; on the FR3 velocities depend on the position.
        discontinuity: commanded acceleration and jerk.
        torque_rate: commanded torques.
        communication: twenty lost packets in a row.
        collision: external torques and forces beyond the thresholds.
    """

    start_pose: bool = True
    limits: bool = True
    discontinuity: bool = True
    torque_rate: bool = True
    communication: bool = True
    collision: bool = True


class SpeedLimit:
    """How fast joints may be where they are: dq <= sqrt(2 dec (q_max - q)) - offset and its mirror, and dq_max.

    The FR3's limits depend on the position, the Panda's do not (Franka Robotics, "Robot and interface specifications").

    Args:
        arm: whose limits.
    """

    def __init__(self, arm: Arm) -> None:
        self._most, self._low, self._high = np.array(arm.dq_max), np.array(arm.q_min), np.array(arm.q_max)
        self._offset, self._dec = np.array(arm.dq_offset), 2 * np.array(arm.ddq_dec)

    def __call__(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest joint velocities (7,) [rad/s] in `q` (7,) [rad]."""
        if not len(self._offset):
            return -self._most, self._most
        up = np.sqrt(self._dec * np.maximum(0.0, self._high - q)) - self._offset
        down = np.sqrt(self._dec * np.maximum(0.0, q - self._low)) - self._offset
        return -np.minimum(self._most, np.maximum(0.0, down)), np.minimum(self._most, np.maximum(0.0, up))


class Track(NamedTuple):
    """Where a stream of commands is: its value, rate of change, and that of the rate."""

    value: np.ndarray
    rate: np.ndarray
    acceleration: np.ndarray


class Pardon:
    """How much wider limits are for what follows lost packets.

    Attributes:
        factor: at least 1.
    """

    def __init__(self) -> None:
        self.factor = 1

    def grant(self, cycles: int) -> None:
        """A command came, `cycles` milliseconds after the last."""
        self.factor = max(1, self.factor - 1) if cycles == 1 else min(PARDON, max(self.factor, cycles))


class JointJudge:
    """Follows a stream of joint positions, or velocities, and names the first thing wrong with it.

    While commands are lost the stream goes on by itself, at constant acceleration. The next command is compared with
    where that led to, and if it does not fit, with the last command and the time since: whoever keeps to the limits
    passes one of the two, for clients filter either against the state they read or not at all.

    Args:
        arm: whose limits.
        checks: which of them.
        q: where the stream begins, at rest (7,) [rad].
        prefix: `JOINT`, or `CARTESIAN_JOINT` when the positions come from a Cartesian command.

    Attributes:
        now: position, velocity and acceleration, each (7,) [rad, rad/s, rad/s²].
    """

    def __init__(self, arm: Arm, checks: Checks, q: np.ndarray, prefix: str = JOINT) -> None:
        self._checks, self._prefix, self._speed = checks, prefix, SpeedLimit(arm)
        self._low, self._high, self._fastest = np.array(arm.q_min), np.array(arm.q_max), np.array(arm.dq_max)
        self._ddq_max, self._dddq_max = SLACK * np.array(arm.ddq_max), SLACK * np.array(arm.dddq_max)
        self._pardon = Pardon()
        self.settle(q)

    def settle(self, q: np.ndarray) -> None:
        """The stream is at rest in `q` (7,) [rad]."""
        self.now = self._last = Track(np.array(q, float), np.zeros(7), np.zeros(7))

    def begin(self, q: np.ndarray) -> str:
        """The first position. Returns an error's name or nothing.

        It goes on from where the robot is; one that is merely near, as when a client begins with measured positions,
        is where the stream rests.
        """
        if not self._next(self.now, q, (q - self.now.value) / DT, 1):
            return ""
        if self._checks.start_pose and not (np.abs(q - self.now.value) <= START_JOINT).all():
            return "joint_position_motion_generator_start_pose_invalid"
        if not np.isfinite(q).all():
            return f"{self._prefix}_position_limits_violation"
        self.settle(q)
        return ""

    def position(self, q: np.ndarray, cycles: int = 1) -> str:
        """The next position (7,) [rad], `cycles` milliseconds after the last. Returns an error's name or nothing."""
        self._pardon.grant(cycles)
        error = self._next(self.now, q, (q - self.now.value) / DT, 1)
        if error and cycles > 1:
            return self._next(self._last, q, (q - self._last.value) / (cycles * DT), cycles)
        return error

    def velocity(self, dq: np.ndarray, cycles: int = 1) -> str:
        """The next velocity (7,) [rad/s]. Returns an error's name or nothing."""
        self._pardon.grant(cycles)
        q = self.now.value + DT * dq
        error = self._next(self.now, q, dq, 1)
        return self._next(self._last, q, dq, cycles) if error and cycles > 1 else error

    def extrapolate(self) -> None:
        """A millisecond without a command: constant acceleration, within the limits of position and velocity."""
        q, dq, ddq = self.now
        dq = np.clip(dq + DT * ddq, -self._fastest, self._fastest)
        self.now = Track(np.clip(q + DT * dq, self._low, self._high), dq, ddq)

    def _next(self, before: Track, q: np.ndarray, dq: np.ndarray, cycles: int) -> str:
        """From `before` to `q` in so many cycles at the mean velocity `dq`."""
        between = DT * (cycles + 1) / 2  # from the middle of the last interval to the middle of this one
        ddq = (dq - before.rate) / between
        error = self._fault(before.value, q, dq, ddq, (ddq - before.acceleration) / between)
        if not error:
            self.now = self._last = Track(np.array(q, float), dq + ddq * (DT * (cycles - 1) / 2), ddq)
        return error

    def _fault(self, before: np.ndarray, q: np.ndarray, dq: np.ndarray, ddq: np.ndarray, dddq: np.ndarray) -> str:
        if self._checks.limits or not np.isfinite(q).all():
            returning = ((q > self._high) & (dq <= 0)) | ((q < self._low) & (dq >= 0))
            if not (((q >= self._low) & (q <= self._high)) | returning).all():
                return f"{self._prefix}_position_limits_violation"
            low, high = self._speed(before)
            if not ((dq >= SLACK * low - 1e-3) & (dq <= SLACK * high + 1e-3)).all():
                return f"{self._prefix}_velocity_limits_violation"
        if self._checks.discontinuity:
            if not (np.abs(ddq) <= self._pardon.factor * self._ddq_max).all():
                return f"{self._prefix}_velocity_discontinuity"
            if not (np.abs(dddq) <= self._pardon.factor * self._dddq_max).all():
                return f"{self._prefix}_acceleration_discontinuity"
        return ""


class CartesianJudge:
    """Follows a stream of end-effector poses, or twists, in the same way.

    Args:
        arm: whose limits.
        checks: which of them.
        pose: O_T_EE where the stream begins, at rest (4, 4).

    Attributes:
        now: pose (4, 4), twist (6,) [m/s, rad/s] and its rate of change (6,).
    """

    def __init__(self, arm: Arm, checks: Checks, pose: np.ndarray) -> None:
        self._checks = checks
        self._limits = SLACK * np.array((arm.max_translation, arm.max_rotation))  # (2, 3)
        self._pardon = Pardon()
        self.now = self._last = Track(pose.copy(), np.zeros(6), np.zeros(6))

    def begin(self, pose: np.ndarray) -> str:
        """The first pose, likewise. Returns an error's name or nothing."""
        if not _is_frame(pose):
            return "cartesian_position_motion_generator_invalid_frame"
        away = pose_error(self.now.value, pose)
        if not self._next(self.now, pose, away / DT, 1):
            return ""
        near = np.linalg.norm(away[:3]) <= START_TRANSLATION and np.linalg.norm(away[3:]) <= START_ROTATION
        if self._checks.start_pose and not near:
            return "cartesian_position_motion_generator_start_pose_invalid"
        self.now = self._last = Track(pose.copy(), np.zeros(6), np.zeros(6))
        return ""

    def position(self, pose: np.ndarray, cycles: int = 1) -> str:
        """The next O_T_EE (4, 4). Returns an error's name or nothing."""
        if not _is_frame(pose):
            return "cartesian_position_motion_generator_invalid_frame"
        self._pardon.grant(cycles)
        error = self._next(self.now, pose, pose_error(self.now.value, pose) / DT, 1)
        if error and cycles > 1:
            return self._next(self._last, pose, pose_error(self._last.value, pose) / (cycles * DT), cycles)
        return error

    def velocity(self, twist: np.ndarray, cycles: int = 1) -> str:
        """The next O_dP_EE (6,) [m/s, rad/s]. Returns an error's name or nothing."""
        if not np.isfinite(twist).all():
            return "cartesian_motion_generator_velocity_limits_violation"
        self._pardon.grant(cycles)
        pose = moved(self.now.value, twist)
        error = self._next(self.now, pose, twist, 1)
        return self._next(self._last, pose, twist, cycles) if error and cycles > 1 else error

    def extrapolate(self) -> None:
        """A millisecond without a command: constant acceleration, within the speed limits."""
        pose, twist, acceleration = self.now
        twist = twist + DT * acceleration
        for part, most in ((slice(3), self._limits[0, 0]), (slice(3, 6), self._limits[1, 0])):
            twist[part] /= max(1.0, float(np.linalg.norm(twist[part])) / most)
        self.now = Track(moved(pose, twist), twist, acceleration)

    def _next(self, before: Track, pose: np.ndarray, twist: np.ndarray, cycles: int) -> str:
        between = DT * (cycles + 1) / 2
        acceleration = (twist - before.rate) / between
        jerk = (acceleration - before.acceleration) / between
        norms = np.linalg.norm(np.array((twist, acceleration, jerk)).reshape(3, 2, 3), axis=2)  # (3, 2)
        wider = np.array((1, self._pardon.factor, self._pardon.factor))[:, None]
        fine = (norms <= wider * self._limits.T).all(axis=1).tolist()  # of speed, acceleration, jerk
        if self._checks.limits and not fine[0]:
            return "cartesian_motion_generator_velocity_limits_violation"
        if self._checks.discontinuity and not fine[1]:
            return "cartesian_motion_generator_velocity_discontinuity"
        if self._checks.discontinuity and not fine[2]:
            return "cartesian_motion_generator_acceleration_discontinuity"
        self.now = self._last = Track(pose.copy(), twist + acceleration * (DT * (cycles - 1) / 2), acceleration)
        return ""


def moved(pose: np.ndarray, twist: np.ndarray) -> np.ndarray:
    """A pose (4, 4) after a millisecond of a twist (6,) in the base frame."""
    out = pose.copy()
    out[:3, 3] += DT * twist[:3]
    out[:3, :3] = rotation(DT * twist[3:]) @ out[:3, :3]
    return out


def torque_fault(before: np.ndarray, tau: np.ndarray, cycles: int, checks: Checks) -> str:
    """What is wrong with commanded torques (7,) [N m] that follow `before` after some milliseconds, if anything."""
    if not np.isfinite(tau).all():
        return "controller_torque_discontinuity"
    most = SLACK * TORQUE_RATE * DT * cycles + 1e-3
    if checks.torque_rate and not (np.abs(tau - before) <= most).all():
        return "controller_torque_discontinuity"
    return ""


class MeasuredJudge:
    """Watches how the arm really moves: up to 0.02 rad and 10 % beyond the limits.

    Args:
        arm: whose limits.
        checks: which of them.
    """

    def __init__(self, arm: Arm, checks: Checks) -> None:
        self._armed, self._fastest = checks.limits, 1.1 * np.array(arm.dq_max)
        self._low, self._high = np.array(arm.q_min) - START_JOINT, np.array(arm.q_max) + START_JOINT

    def __call__(self, q: np.ndarray, dq: np.ndarray) -> str:
        """An error's name or nothing, for joint positions (7,) [rad] and velocities (7,) [rad/s]."""
        if not self._armed:
            return ""
        if not ((q >= self._low) & (q <= self._high)).all():
            return "joint_position_limits_violation"
        return "" if (np.abs(dq) <= self._fastest).all() else "joint_velocity_violation"


def _is_frame(pose: np.ndarray) -> bool:
    turn = pose[:3, :3]
    if not np.isfinite(pose).all():
        return False
    return bool(np.abs(turn @ turn.T - np.eye(3)).max() < 1e-4 and np.linalg.det(turn) > 0)
