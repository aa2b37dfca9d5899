"""The checks of the robot: limits and continuity of commands, from their finite differences as on the arm.

Error names as in libfranka: a step in commanded velocity (beyond the acceleration limit) is a velocity
discontinuity, a step in acceleration (beyond the jerk limit) an acceleration discontinuity.
"""

from __future__ import annotations

from math import isfinite, sqrt
from typing import NamedTuple

import numpy as np

from robo_reward.configs.emulation import Checks
from robo_reward.envs.arm.model import ArmModel
from robo_reward.hardware.emulator.robot.control import pose_error, rotation_matrix
from robo_reward.hardware.emulator.world.plant import DT

SLACK = 1.001
"""Factor on all limits, so that rounding errors do not reject commands that a client clipped to just below a limit."""
START_JOINT, START_TRANSLATION, START_ROTATION = 0.02, 0.01, 0.05
"""Largest difference of the first command from the robot's own reference [rad, m, rad]; Franka publishes no number."""
MEASURED, NOISE = 1.05, 0.03
"""A measured joint speed may reach `MEASURED` times its limit plus `NOISE` [rad/s]. Both values are our choice, since
Franka publishes no number."""
TORQUE_RATE = 1000.0
"""Largest rate of commanded torques [N m/s] (Franka Robotics, "Robot and interface specifications")."""
LOST_IN_A_ROW = 20
"""Lost packets in a row that stop the arm (Franka Robotics, "Robot and interface specifications")."""
MAX_TOLERANCE, START_TOLERANCE = 5, 3
"""After lost packets, the limits of acceleration and jerk are widened by a factor of up to `MAX_TOLERANCE`; the factor
falls by one with each packet that arrives. The first command of a motion sets the factor to `START_TOLERANCE`, since a
client may already be moving when it sends it.

libfranka's low-pass filter mixes each command with the state that it answers, so the first commands after a gap have a
high jerk even if the client's motion is smooth. How much of that the real arm tolerates is not published."""
JOINT, CARTESIAN_JOINT = "joint_motion_generator", "cartesian_motion_generator_joint"


class SpeedLimit:
    """Position-dependent joint speed limits: dq <= sqrt(2 dec (q_max - q)) - offset, its mirror, and dq_max.

    The FR3's limits depend on the position, the Panda's do not (Franka Robotics, "Robot and interface
    specifications").

    Args:
        arm: the arm whose limits apply.
    """

    def __init__(self, arm: ArmModel) -> None:
        self._most, self._low, self._high = np.array(arm.dq_max), np.array(arm.q_min), np.array(arm.q_max)
        self._offset, self._dec = np.array(arm.dq_offset), 2 * np.array(arm.ddq_dec)
        flat = (0.0,) * len(arm.dq_max)
        slowing = self._dec.tolist() or flat
        self._joints = list(zip(arm.dq_max, arm.q_min, arm.q_max, arm.dq_offset or flat, slowing, strict=True))

    def is_exceeded(self, q: list[float], dq: list[float], share: float, more: float) -> bool:
        """Returns whether a joint is faster than `share` of its limit plus `more` [rad/s].

        Plain numbers are faster than numpy here.

        Args:
            q: joint positions, seven [rad].
            dq: joint velocities, seven [rad/s].
            share: fraction of the limits.
            more: tolerance beyond that [rad/s].
        """
        for (most, low, high, offset, dec), angle, speed in zip(self._joints, q, dq, strict=True):
            if abs(speed) <= more:
                continue
            limit = most
            if dec:
                # Distance to the end in the direction of motion; beyond it, only `more` is allowed.
                left = high - angle if speed >= 0 else angle - low
                limit = min(most, sqrt(dec * left) - offset) if left > 0 else -offset
            if not abs(speed) <= share * max(0.0, limit) + more:
                return True
        return False

    def __call__(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the lowest and highest joint velocities (7,) [rad/s] at `q` (7,) [rad]."""
        if not len(self._offset):
            return -self._most, self._most
        up = np.sqrt(self._dec * np.maximum(0.0, self._high - q)) - self._offset
        down = np.sqrt(self._dec * np.maximum(0.0, q - self._low)) - self._offset
        return -np.minimum(self._most, np.maximum(0.0, down)), np.minimum(self._most, np.maximum(0.0, up))


class StreamState(NamedTuple):
    """The state of a stream of commands: its value, rate of change and acceleration."""

    value: np.ndarray
    rate: np.ndarray
    acceleration: np.ndarray


class StreamStep(NamedTuple):
    """A step from a state of the stream to the next command: mean rate, acceleration, jerk and the rate at its end."""

    begun: StreamState
    rate: np.ndarray
    acceleration: np.ndarray
    jerk: np.ndarray
    last_rate: np.ndarray

    def end_state(self, value: np.ndarray) -> StreamState:
        """Returns the state of the stream after the step, at `value`."""
        return StreamState(np.array(value, float), self.last_rate, self.acceleration)


def step_from_mean_rate(begun: StreamState, rate: np.ndarray, cycles: int = 1) -> StreamStep:
    """Returns the finite differences of a step of `cycles` milliseconds at a mean rate."""
    between = DT * (cycles + 1) / 2  # [s], from the middle of the last interval to the middle of this one
    acceleration = (rate - begun.rate) / between
    last_rate = rate + DT * (cycles - 1) / 2 * acceleration  # at the interval's end, half of it after its middle
    return StreamStep(begun, rate, acceleration, (acceleration - begun.acceleration) / between, last_rate)


def step_from_rate(begun: StreamState, rate: np.ndarray, cycles: int = 1) -> StreamStep:
    """Returns the finite differences of a step of `cycles` milliseconds to a commanded rate."""
    acceleration = (rate - begun.rate) / (DT * cycles)
    return StreamStep(begun, rate, acceleration, (acceleration - begun.acceleration) / (DT * cycles), rate)


def select_smoothest_step(steps: list[StreamStep]) -> StreamStep:
    """Returns the step with the least jerk."""
    return min(steps, key=lambda taken: float(np.abs(taken.jerk).max())) if len(steps) > 1 else steps[0]


class LossTolerance:
    """The factor by which limits of acceleration and jerk are widened after lost packets.

    Attributes:
        factor: at least 1.
    """

    def __init__(self) -> None:
        self.factor = 1

    def record_command(self, cycles: int) -> None:
        """Updates the factor after a command that came `cycles` milliseconds after the last one."""
        # A gap of n cycles raises the factor to n; each command without a gap lowers it by one.
        self.factor = max(1, self.factor - 1) if cycles == 1 else min(MAX_TOLERANCE, max(self.factor, cycles))


class JointChecker:
    """Follows a stream of joint positions, or velocities, and names the first violation.

    While commands are lost the stream goes on at constant acceleration. The next command is taken as a step from
    there, or as a longer one from the last command, whichever is smoother: clients filter either against the state
    they read or not at all.

    Args:
        arm: the arm whose limits apply.
        checks: the armed reflexes.
        q: where the stream begins, at rest (7,) [rad].
        prefix: `JOINT`, or `CARTESIAN_JOINT` when the positions come from a Cartesian command.

    Attributes:
        now: position, velocity and acceleration, each (7,) [rad, rad/s, rad/s²].
    """

    def __init__(self, arm: ArmModel, checks: Checks, q: np.ndarray, prefix: str = JOINT) -> None:
        self._checks, self._prefix, self._speed = checks, prefix, SpeedLimit(arm)
        self._low, self._high, self._fastest = np.array(arm.q_min), np.array(arm.q_max), np.array(arm.dq_max)
        self._ends = list(zip(arm.q_min, arm.q_max, strict=True))
        self._ddq_max = [SLACK * most for most in arm.ddq_max]
        self._dddq_max = [SLACK * most for most in arm.dddq_max]
        self._tolerance = LossTolerance()
        self.reset_to(q)

    def reset_to(self, q: np.ndarray) -> None:
        """Resets the stream to rest at `q` (7,) [rad]."""
        self.now = self._last = StreamState(np.array(q, float), np.zeros(7), np.zeros(7))

    def check_first(self, q: np.ndarray) -> str:
        """Checks the first position and starts the stream at rest there; returns an error's name or an empty string."""
        if not np.isfinite(q).all():
            return f"{self._prefix}_position_limits_violation"
        if self._checks.start_pose and not (np.abs(q - self.now.value) <= START_JOINT).all():
            return "joint_position_motion_generator_start_pose_invalid"
        self.reset_to(q)
        self._tolerance.factor = START_TOLERANCE
        return ""

    def check_position(self, q: np.ndarray, cycles: int = 1) -> str:
        """Checks the next position (7,) [rad], `cycles` milliseconds after the last.

        Returns:
            An error's name, or an empty string.
        """
        values = q.tolist()
        if not all(map(isfinite, values)):
            return f"{self._prefix}_position_limits_violation"
        self._tolerance.record_command(cycles)
        if cycles == 1:
            return self._check_next_position(values)
        # Two readings of a command after a gap: one cycle after the extrapolated state, or `cycles` after the last
        # command. The smoother one is checked.
        steps = [step_from_mean_rate(self.now, (q - self.now.value) / DT)]
        steps.append(step_from_mean_rate(self._last, (q - self._last.value) / (cycles * DT), cycles))
        return self._check_step(q, select_smoothest_step(steps))

    def _check_next_position(self, q: list[float]) -> str:
        """Checks a step of one millisecond like `step_from_mean_rate`.

        It goes joint by joint, since numpy is slow for seven numbers.
        """
        before, rates, accelerations = (part.tolist() for part in self.now)
        dq = [(new - old) / DT for new, old in zip(q, before, strict=True)]
        ddq = [(new - old) / DT for new, old in zip(dq, rates, strict=True)]
        dddq = [(new - old) / DT for new, old in zip(ddq, accelerations, strict=True)]
        error = self._find_violation(before, q, dq, ddq, dddq)
        if not error:
            self.now = self._last = StreamState(np.array(q), np.array(dq), np.array(ddq))
        return error

    def check_velocity(self, dq: np.ndarray, cycles: int = 1) -> str:
        """Checks the next velocity (7,) [rad/s].

        Returns:
            An error's name, or an empty string.
        """
        if not np.isfinite(dq).all():
            return f"{self._prefix}_velocity_limits_violation"
        self._tolerance.record_command(cycles)
        steps = [step_from_rate(self.now, dq), step_from_rate(self._last, dq, cycles)]
        return self._check_step(self.now.value + DT * dq, select_smoothest_step(steps))

    def extrapolate(self) -> None:
        """Advances by a millisecond without a command: constant acceleration, within position and speed limits."""
        q, dq, ddq = self.now
        dq = np.clip(dq + DT * ddq, -self._fastest, self._fastest)
        self.now = StreamState(np.clip(q + DT * dq, self._low, self._high), dq, ddq)

    def _check_step(self, q: np.ndarray, taken: StreamStep) -> str:
        parts = (taken.begun.value, q, taken.rate, taken.acceleration, taken.jerk)
        error = self._find_violation(*(part.tolist() for part in parts))
        if not error:
            self.now = self._last = taken.end_state(q)
        return error

    def _find_violation(
        self, before: list[float], q: list[float], dq: list[float], ddq: list[float], dddq: list[float]
    ) -> str:
        if self._checks.limits:
            for (low, high), angle, speed in zip(self._ends, q, dq, strict=True):
                # A joint outside its range may move back towards it.
                returning = (angle > high and speed <= 0) or (angle < low and speed >= 0)
                if not (low <= angle <= high or returning):
                    return f"{self._prefix}_position_limits_violation"
            if self._speed.is_exceeded(before, dq, SLACK, 1e-3):
                return f"{self._prefix}_velocity_limits_violation"
        if self._checks.discontinuity:
            # Error names as in libfranka: too much acceleration is a velocity discontinuity, too much jerk an
            # acceleration discontinuity.
            factor = self._tolerance.factor
            if not all(abs(rate) <= factor * most for rate, most in zip(ddq, self._ddq_max, strict=True)):
                return f"{self._prefix}_velocity_discontinuity"
            if not all(abs(rate) <= factor * most for rate, most in zip(dddq, self._dddq_max, strict=True)):
                return f"{self._prefix}_acceleration_discontinuity"
        return ""


class CartesianChecker:
    """Follows a stream of end-effector poses, or twists, and names the first violation, as `JointChecker` does.

    Args:
        arm: the arm whose limits apply.
        checks: the armed reflexes.
        pose: O_T_EE where the stream begins, at rest (4, 4).

    Attributes:
        now: pose (4, 4), twist (6,) [m/s, rad/s] and its rate of change (6,).
    """

    def __init__(self, arm: ArmModel, checks: Checks, pose: np.ndarray) -> None:
        self._checks = checks
        # Rows: translation and rotation. Columns: speed, acceleration and jerk.
        self._limits = SLACK * np.array((arm.max_translation, arm.max_rotation))  # (2, 3)
        self._tolerance = LossTolerance()
        self.now = self._last = StreamState(pose.copy(), np.zeros(6), np.zeros(6))

    def check_first(self, pose: np.ndarray) -> str:
        """Checks the first pose and starts the stream at rest there; returns an error's name or an empty string."""
        if not _is_frame(pose):
            return "cartesian_position_motion_generator_invalid_frame"
        away = pose_error(self.now.value, pose)
        near = np.linalg.norm(away[:3]) <= START_TRANSLATION and np.linalg.norm(away[3:]) <= START_ROTATION
        if self._checks.start_pose and not near:
            return "cartesian_position_motion_generator_start_pose_invalid"
        self.now = self._last = StreamState(pose.copy(), np.zeros(6), np.zeros(6))
        self._tolerance.factor = START_TOLERANCE
        return ""

    def check_position(self, pose: np.ndarray, cycles: int = 1) -> str:
        """Checks the next O_T_EE (4, 4); returns an error's name or an empty string."""
        if not _is_frame(pose):
            return "cartesian_position_motion_generator_invalid_frame"
        self._tolerance.record_command(cycles)
        steps = [step_from_mean_rate(self.now, pose_error(self.now.value, pose) / DT)]
        if cycles > 1:
            steps.append(step_from_mean_rate(self._last, pose_error(self._last.value, pose) / (cycles * DT), cycles))
        return self._check_step(pose, select_smoothest_step(steps))

    def check_velocity(self, twist: np.ndarray, cycles: int = 1) -> str:
        """Checks the next O_dP_EE (6,) [m/s, rad/s]; returns an error's name or an empty string."""
        if not np.isfinite(twist).all():
            return "cartesian_motion_generator_velocity_limits_violation"
        self._tolerance.record_command(cycles)
        steps = [step_from_rate(self.now, twist), step_from_rate(self._last, twist, cycles)]
        return self._check_step(integrate_twist(self.now.value, twist), select_smoothest_step(steps))

    def extrapolate(self) -> None:
        """Advances by a millisecond without a command: constant acceleration, within the speed limits."""
        pose, twist, acceleration = self.now
        twist = twist + DT * acceleration
        for part, most in ((slice(3), self._limits[0, 0]), (slice(3, 6), self._limits[1, 0])):
            # Scale translation and rotation separately to their speed limits.
            twist[part] /= max(1.0, float(np.linalg.norm(twist[part])) / most)
        self.now = StreamState(integrate_twist(pose, twist), twist, acceleration)

    def _check_step(self, pose: np.ndarray, taken: StreamStep) -> str:
        rates = np.array((taken.rate, taken.acceleration, taken.jerk))
        norms = np.linalg.norm(rates.reshape(3, 2, 3), axis=2)  # (3, 2)
        wider = np.array((1, self._tolerance.factor, self._tolerance.factor))[:, None]
        fine = (norms <= wider * self._limits.T).all(axis=1).tolist()  # speed, acceleration, jerk
        if self._checks.limits and not fine[0]:
            return "cartesian_motion_generator_velocity_limits_violation"
        if self._checks.discontinuity and not fine[1]:
            return "cartesian_motion_generator_velocity_discontinuity"
        if self._checks.discontinuity and not fine[2]:
            return "cartesian_motion_generator_acceleration_discontinuity"
        self.now = self._last = taken.end_state(pose)
        return ""


def integrate_twist(pose: np.ndarray, twist: np.ndarray) -> np.ndarray:
    """Returns the pose (4, 4) after a millisecond of a twist (6,) in the base frame."""
    out = pose.copy()
    out[:3, 3] += DT * twist[:3]
    out[:3, :3] = rotation_matrix(DT * twist[3:]) @ out[:3, :3]  # from the left: about axes of the base frame
    return out


def check_torque(before: np.ndarray, tau: np.ndarray, cycles: int, checks: Checks) -> str:
    """Checks commanded torques (7,) [N m] that follow `before` after `cycles` milliseconds.

    Returns:
        An error's name, or an empty string.
    """
    if not np.isfinite(tau).all():
        return "controller_torque_discontinuity"
    # 1e-3 N m absorbs rounding.
    most = SLACK * TORQUE_RATE * DT * cycles + 1e-3
    if checks.torque_rate and not (np.abs(tau - before) <= most).all():
        return "controller_torque_discontinuity"
    return ""


class MeasuredChecker:
    """Checks the measured motion: up to 0.02 rad beyond the joints' ends, and slightly beyond the speed limits.

    The FR3 stops by the limits that depend on the position, long before the flat ones (franka_ros2#70, #76); how
    far beyond them it lets a measured speed go is not published.

    Args:
        arm: the arm whose limits apply.
        checks: the armed reflexes.
    """

    def __init__(self, arm: ArmModel, checks: Checks) -> None:
        self._armed, self._speed = checks.limits, SpeedLimit(arm)
        ends = zip(arm.q_min, arm.q_max, strict=True)
        self._ends = [(low - START_JOINT, high + START_JOINT) for low, high in ends]

    def __call__(self, q: np.ndarray, dq: np.ndarray) -> tuple[str, ...]:
        """Returns the names of all errors, for joint positions (7,) [rad] and velocities (7,) [rad/s]."""
        if not self._armed:
            return ()
        angles = q.tolist()
        within = all(low <= angle <= high for (low, high), angle in zip(self._ends, angles, strict=True))
        found = () if within else ("joint_position_limits_violation",)
        return (
            (*found, "joint_velocity_violation")
            if self._speed.is_exceeded(angles, dq.tolist(), MEASURED, NOISE)
            else found
        )


def _is_frame(pose: np.ndarray) -> bool:
    turn = pose[:3, :3]
    if not np.isfinite(pose).all():
        return False
    # A rotation matrix: orthonormal, and right-handed.
    return bool(np.abs(turn @ turn.T - np.eye(3)).max() < 1e-4 and np.linalg.det(turn) > 0)
