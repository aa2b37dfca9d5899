"""What the robot accepts: limits and continuity of commands, judged from their finite differences as the arm does.

Error names as in libfranka: a step in commanded velocity (beyond the acceleration limit) is a velocity discontinuity,
a step in acceleration (beyond the jerk limit) an acceleration discontinuity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robo_reward.envs.panda.arm import Arm
from robo_reward.hardware.emulator.control import pose_error
from robo_reward.hardware.emulator.plant import DT

SLACK = 1.001
"""Clients clip to the limits less a little; rounding must not trip what they clipped."""
START_JOINT, START_TRANSLATION, START_ROTATION = 0.02, 0.01, 0.05
"""How far the first command may be from where the robot is commanded to be [rad, m, rad]; Franka publishes no number."""
TORQUE_RATE = 1000.0
"""Largest rate of commanded torques [N m/s] (Franka Robotics, "Robot and interface specifications")."""
LOST_IN_A_ROW = 20
"""So many lost packets stop the arm (Franka Robotics, "Robot and interface specifications")."""
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


def speed_bounds(arm: Arm, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest joint velocities (7,) [rad/s] in `q`: dq <= sqrt(2 dec (q_max - q)) - offset and its mirror.

    The FR3's depend on the position, the Panda's do not (Franka Robotics, "Robot and interface specifications").
    """
    most = np.array(arm.dq_max)
    if not arm.dq_offset:
        return -most, most
    offset, dec = np.array(arm.dq_offset), np.array(arm.ddq_dec)
    up = np.sqrt(2 * dec * np.maximum(0.0, np.array(arm.q_max) - q)) - offset
    down = np.sqrt(2 * dec * np.maximum(0.0, q - np.array(arm.q_min))) - offset
    return -np.minimum(most, np.maximum(0.0, down)), np.minimum(most, np.maximum(0.0, up))


class JointJudge:
    """Follows a stream of joint positions, or velocities, and names the first thing wrong with it.

    Args:
        arm: whose limits.
        checks: which of them.
        q: where the stream begins (7,) [rad].
        prefix: `JOINT`, or `CARTESIAN_JOINT` when the positions come from a Cartesian command.
    """

    def __init__(self, arm: Arm, checks: Checks, q: np.ndarray, prefix: str = JOINT) -> None:
        self._arm, self._checks, self._prefix = arm, checks, prefix
        self._low, self._high = np.array(arm.q_min), np.array(arm.q_max)
        self._ddq_max, self._dddq_max = SLACK * np.array(arm.ddq_max), SLACK * np.array(arm.dddq_max)
        self.q, self.dq, self.ddq = np.array(q, float), np.zeros(7), np.zeros(7)
        self._before = 1

    def begin(self, q: np.ndarray) -> str:
        """The first position; the stream is at rest there. Returns an error's name or nothing."""
        if not (np.abs(q - self.q) <= START_JOINT).all():
            if self._checks.start_pose:
                return "joint_position_motion_generator_start_pose_invalid"
            return "" if np.isfinite(q).all() else f"{self._prefix}_position_limits_violation"
        self.q = np.array(q, float)
        return ""

    def position(self, q: np.ndarray, cycles: int = 1) -> str:
        """The next position (7,) [rad], `cycles` milliseconds after the last. Returns an error's name or nothing."""
        return self._next(q, (q - self.q) / (cycles * DT), cycles)

    def velocity(self, dq: np.ndarray, cycles: int = 1) -> str:
        """The next velocity (7,) [rad/s]. Returns an error's name or nothing."""
        return self._next(self.q + cycles * DT * dq, np.array(dq, float), cycles)

    def _next(self, q: np.ndarray, dq: np.ndarray, cycles: int) -> str:
        between = DT * (cycles + self._before) / 2  # from the middle of the last interval to the middle of this one
        ddq = (dq - self.dq) / between
        error = self._fault(q, dq, ddq, (ddq - self.ddq) / between)
        if not error:
            self.q, self.dq, self.ddq, self._before = np.array(q, float), dq, ddq, cycles
        return error

    def _fault(self, q: np.ndarray, dq: np.ndarray, ddq: np.ndarray, dddq: np.ndarray) -> str:
        if self._checks.limits or not np.isfinite(q).all():
            outside = ~((q >= self._low) & (q <= self._high))
            if (outside & ~((q > self._high) & (dq <= 0) | (q < self._low) & (dq >= 0))).any():
                return f"{self._prefix}_position_limits_violation"
            low, high = speed_bounds(self._arm, self.q)
            if not ((dq >= SLACK * low - 1e-3) & (dq <= SLACK * high + 1e-3)).all():
                return f"{self._prefix}_velocity_limits_violation"
        if self._checks.discontinuity:
            if not (np.abs(ddq) <= self._ddq_max).all():
                return f"{self._prefix}_velocity_discontinuity"
            if not (np.abs(dddq) <= self._dddq_max).all():
                return f"{self._prefix}_acceleration_discontinuity"
        return ""


class CartesianJudge:
    """Follows a stream of end-effector poses, or twists.

    Args:
        arm: whose limits.
        checks: which of them.
        pose: O_T_EE where the stream begins (4, 4).
    """

    def __init__(self, arm: Arm, checks: Checks, pose: np.ndarray) -> None:
        self._checks = checks
        self._limits = SLACK * np.array((arm.max_translation, arm.max_rotation))  # (2, 3)
        self.pose, self.twist, self.acceleration = pose.copy(), np.zeros(6), np.zeros(6)
        self._before = 1

    def begin(self, pose: np.ndarray) -> str:
        """The first pose; the stream is at rest there. Returns an error's name or nothing."""
        if not _is_frame(pose):
            return "cartesian_position_motion_generator_invalid_frame"
        away = pose_error(self.pose, pose)
        if self._checks.start_pose and not (
            np.linalg.norm(away[:3]) <= START_TRANSLATION and np.linalg.norm(away[3:]) <= START_ROTATION
        ):
            return "cartesian_position_motion_generator_start_pose_invalid"
        self.pose = pose.copy()
        return ""

    def position(self, pose: np.ndarray, cycles: int = 1) -> str:
        """The next O_T_EE (4, 4). Returns an error's name or nothing."""
        if not _is_frame(pose):
            return "cartesian_position_motion_generator_invalid_frame"
        error = self.velocity(pose_error(self.pose, pose) / (cycles * DT), cycles)
        if not error:
            self.pose = pose.copy()
        return error

    def velocity(self, twist: np.ndarray, cycles: int = 1) -> str:
        """The next O_dP_EE (6,) [m/s, rad/s]. Returns an error's name or nothing."""
        between = DT * (cycles + self._before) / 2
        acceleration = (twist - self.twist) / between
        jerk = (acceleration - self.acceleration) / between
        norms = [[np.linalg.norm(v[part]) for v in (twist, acceleration, jerk)] for part in (slice(3), slice(3, 6))]
        fine = (np.array(norms) <= self._limits).all(axis=0)  # (3,): of speed, acceleration, jerk
        if not fine[0] and (self._checks.limits or not np.isfinite(twist).all()):
            return "cartesian_motion_generator_velocity_limits_violation"
        if self._checks.discontinuity and not fine[1]:
            return "cartesian_motion_generator_velocity_discontinuity"
        if self._checks.discontinuity and not fine[2]:
            return "cartesian_motion_generator_acceleration_discontinuity"
        self.twist, self.acceleration, self._before = np.array(twist, float), acceleration, cycles
        return ""


def torque_fault(before: np.ndarray, tau: np.ndarray, cycles: int, checks: Checks) -> str:
    """What is wrong with commanded torques (7,) [N m] that follow `before` after some milliseconds, if anything."""
    if not np.isfinite(tau).all():
        return "controller_torque_discontinuity"
    most = SLACK * TORQUE_RATE * DT * cycles + 1e-3
    if checks.torque_rate and not (np.abs(tau - before) <= most).all():
        return "controller_torque_discontinuity"
    return ""


def measured_fault(arm: Arm, q: np.ndarray, dq: np.ndarray, checks: Checks) -> str:
    """What is wrong with how the arm really moves, if anything: 0.02 rad and 10 % beyond the limits."""
    if not checks.limits:
        return ""
    if ((q < np.array(arm.q_min) - START_JOINT) | (q > np.array(arm.q_max) + START_JOINT)).any():
        return "joint_position_limits_violation"
    if (np.abs(dq) > 1.1 * np.array(arm.dq_max)).any():
        return "joint_velocity_violation"
    return ""


def _is_frame(pose: np.ndarray) -> bool:
    turn = pose[:3, :3]
    return bool(np.abs(turn @ turn.T - np.eye(3)).max() < 1e-4 and np.linalg.det(turn) > 0)
