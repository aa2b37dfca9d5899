"""The robot's internal controllers: joint and Cartesian impedance, and inverse kinematics for Cartesian commands."""

from __future__ import annotations

from enum import IntEnum
from math import atan2, cos, sin, sqrt

import numpy as np

from robo_reward.envs.arm.model import ArmModel
from robo_reward.errors import UsageError, WrongShape
from robo_reward.hardware.emulator.robot.model import RobotModel
from robo_reward.hardware.emulator.world.plant import PlantState

JOINT_STIFFNESS = (3000.0, 3000.0, 3000.0, 2500.0, 2500.0, 2000.0, 2000.0)
"""Joint stiffness after start-up [N m/rad] (Franka Robotics, libfranka's examples)."""
CARTESIAN_STIFFNESS = (3000.0, 3000.0, 3000.0, 300.0, 300.0, 300.0)
"""Cartesian stiffness after start-up [N/m, N m/rad] (same source)."""
JOINT_STIFFNESS_MAX, CARTESIAN_STIFFNESS_MAX = 14250.0, (3000.0, 3000.0, 3000.0, 300.0, 300.0, 300.0)
ROTOR = 0.1
"""Inertia of a motor at the joint side of its gear [kg m²]; `armature` in the scenes."""
NULLSPACE_STIFFNESS = 100.0  # keeps the elbow while only the hand is commanded [N m/rad]
STILL, RESOLVED = 1e-10, 1e-8  # pose errors below which no first and no further Newton step is made [m, rad]
MIN_MANIPULABILITY, DAMPING = 0.04, 0.05  # manipulability below which steps are damped; largest damping λ
MARGIN, RETREAT = 0.12, 0.3  # distance from a joint limit [rad] below which joints retreat; largest speed [rad/s]


class TorqueSource(IntEnum):
    """The controller that computes the torques, as numbered on the wire."""

    JOINT_IMPEDANCE = 0
    CARTESIAN_IMPEDANCE = 1
    EXTERNAL = 2
    OTHER = 3


class InternalControl:
    """Joint torques of the robot's own controllers, without gravity and friction.

    Joint impedance: tau = K (q_d - q) + D (dq_d - dq) + C(q, dq) dq, with D = 2 sqrt(K M_ii) per joint.

    Cartesian impedance: tau = Jᵀ K_x e + N k (q_d - q) + D (dq_d - dq) + C(q, dq) dq, where e is the pose error from
    the stiffness frame in q to that in q_d, in its own axes, N projects into the null space of J and D damps each
    joint critically.

    Args:
        robot: the arm, or a model of it whose frames are shared; only the caller's thread may use it.
    """

    def __init__(self, robot: ArmModel | RobotModel) -> None:
        self.model = robot if isinstance(robot, RobotModel) else RobotModel(robot)
        self._tau_max = np.array(self.model.arm.tau_max)
        self._inertia = np.diag(self.model.mass(np.array(self.model.arm.home))) + ROTOR
        self.set_joint_impedance(np.array(JOINT_STIFFNESS))
        self.set_cartesian_impedance(np.array(CARTESIAN_STIFFNESS))

    def set_joint_impedance(self, stiffness: np.ndarray) -> None:
        """Sets the joint stiffness K, (7,) [N m/rad].

        Raises:
            WrongShape: `stiffness` is not (7,).
            UsageError: a stiffness the robot refuses.
        """
        self._joint = _check_stiffness("joint stiffness", stiffness, (JOINT_STIFFNESS_MAX,) * 7)
        self._joint_damping = 2 * np.sqrt(self._joint * self._inertia)

    def set_cartesian_impedance(self, stiffness: np.ndarray) -> None:
        """Sets the stiffness K_x, (6,): three [N/m], three [N m/rad], along the axes of the stiffness frame.

        Raises:
            WrongShape: `stiffness` is not (6,).
            UsageError: a stiffness the robot refuses.
        """
        self._cartesian = _check_stiffness("Cartesian stiffness", stiffness, CARTESIAN_STIFFNESS_MAX)

    def compute_torque(
        self, mode: int, state: PlantState, q_d: np.ndarray, dq_d: np.ndarray, tau_d: np.ndarray
    ) -> np.ndarray:
        """Computes the motor torques (7,) [N m], within their limits.

        Args:
            mode: a `TorqueSource`; `OTHER` holds `q_d` by joint impedance.
            state: the current state of the arm.
            q_d: desired joint positions (7,) [rad].
            dq_d: desired joint velocities (7,) [rad/s].
            tau_d: torques of an external controller (7,) [N m]; read in mode `EXTERNAL` only.
        """
        if mode == TorqueSource.EXTERNAL:
            tau = np.asarray(tau_d, float)
        elif mode == TorqueSource.CARTESIAN_IMPEDANCE:
            tau = self._compute_cartesian_torque(state, q_d, dq_d)
        else:
            tau = self._joint * (q_d - state.q) + self._joint_damping * (dq_d - state.dq)
            tau = tau + self.model.coriolis(state.q, state.dq)
        return np.minimum(np.maximum(tau, -self._tau_max), self._tau_max)

    def _compute_cartesian_torque(self, state: PlantState, q_d: np.ndarray, dq_d: np.ndarray) -> np.ndarray:
        model = self.model
        here, there = model.pose(state.q, "K"), model.pose(q_d, "K")
        jacobian = model.zero_jacobian(state.q, "K")
        axes = here[:3, :3]
        # The stiffness acts along the axes of the stiffness frame; `force` is a wrench in the base frame.
        error = pose_error(here, there)
        force = np.concatenate(
            [axes @ (self._cartesian[:3] * (axes.T @ error[:3])), axes @ (self._cartesian[3:] * (axes.T @ error[3:]))]
        )
        posture = NULLSPACE_STIFFNESS * (q_d - state.q)
        # Project into the null space of J: posture - Jᵀ (J Jᵀ + εI)⁻¹ J posture; ε keeps singular poses solvable.
        posture = posture - jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-4 * np.eye(6), jacobian @ posture)
        turned = np.concatenate([axes.T @ jacobian[:3], axes.T @ jacobian[3:]])
        # Stiffness that each joint feels, Σ K_k J_ki², for critical damping.
        stiffness = self._cartesian @ turned**2 + NULLSPACE_STIFFNESS
        damping = 2 * np.sqrt(stiffness * self._inertia)
        return jacobian.T @ force + posture + damping * (dq_d - state.dq) + model.coriolis(state.q, state.dq)


def solve_pose_ik(
    robot: ArmModel | RobotModel, q: np.ndarray, target: np.ndarray, dt: float, elbow: np.ndarray | None = None
) -> np.ndarray:
    """Returns joint positions (7,) [rad], near `q`, that put the end effector at a commanded pose.

    Newton steps dq = Jᵀ (J Jᵀ + λ² I)⁻¹ e, where λ grows as the manipulability sqrt(det(J Jᵀ)) vanishes (Nakamura and
    Hanafusa 1986); the elbow's motion in the null space leads away from joint limits, or to `elbow`. No joint exceeds
    its velocity or position limits; where they bind, the pose is not reached.

    Args:
        robot: the arm, or a model of it with its end effector; only the caller's thread may use it.
        q: the last commanded joint positions (7,) [rad].
        target: O_T_EE (4, 4).
        dt: time since the last command [s].
        elbow: the commanded angle of joint 3 [rad], first of (2,) as on the wire, or None to leave it free.
    """
    model = robot if isinstance(robot, RobotModel) else RobotModel(robot)
    arm, begun = model.arm, np.asarray(q, float)
    retreat = dt * _compute_limit_avoidance(arm, begun) if elbow is None else None
    found = begun
    for turn in range(3):
        error = pose_error(model.pose(found), target)
        if elbow is not None:
            error = np.append(error, elbow[0] - found[2])
        # The retreat from joint limits is a null-space motion of the first step only.
        retreating = not turn and retreat is not None and bool(retreat.any())
        if not retreating and np.abs(error).max() < (RESOLVED if turn else STILL):
            break
        found = found + _compute_newton_step(model.zero_jacobian(found), error, retreat if retreating else None)
    fastest = dt * np.array(arm.dq_max)
    step = found - begun
    # Scale the whole step, so that its direction is kept.
    step = step / max(1.0, float(np.max(np.abs(step) / fastest)))
    return np.minimum(np.maximum(begun + step, arm.q_min), arm.q_max)


def solve_twist_ik(
    robot: ArmModel | RobotModel, q: np.ndarray, twist: np.ndarray, dt: float, elbow: np.ndarray | None = None
) -> np.ndarray:
    """Returns joint positions (7,) [rad] after the end effector moved with a commanded twist for `dt`.

    Args:
        robot: as for `solve_pose_ik`.
        q: the last commanded joint positions (7,) [rad].
        twist: O_dP_EE (6,): linear [m/s] and angular velocity [rad/s] in the base frame.
        dt: time since the last command [s].
        elbow: as for `solve_pose_ik`.
    """
    model = robot if isinstance(robot, RobotModel) else RobotModel(robot)
    target = model.pose(q)
    target[:3, 3] += dt * np.asarray(twist[:3])
    target[:3, :3] = rotation_matrix(dt * np.asarray(twist[3:])) @ target[:3, :3]
    return solve_pose_ik(model, q, target, dt, elbow)


def pose_error(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Returns the error from a pose (4, 4) to another, (6,): translation [m], rotation vector [rad], base frame."""
    error = np.empty(6)
    error[:3] = there[:3, 3] - here[:3, 3]
    error[3:] = rotation_vector(there[:3, :3] @ here[:3, :3].T)
    return error


def rotation_vector(matrix: np.ndarray) -> np.ndarray:
    """Returns the rotation vector (3,) [rad], axis times angle, of a rotation matrix (3, 3)."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = matrix.tolist()
    x, y, z = zy - yz, xz - zx, yx - xy  # 2 sin(angle) axis
    sine, cosine = sqrt(x * x + y * y + z * z) / 2, (xx + yy + zz - 1) / 2
    angle = atan2(sine, cosine)
    if sine < 1e-6 and cosine < 0:  # near 180° the sine vanishes: take the axis from R + I
        column = int(np.argmax(np.diag(matrix)))
        axis = (matrix + np.eye(3))[:, column]
        return angle * axis / np.linalg.norm(axis)
    scale = 0.5 * (angle / sine if sine > 1e-9 else 1.0)
    return np.array((x * scale, y * scale, z * scale))


def rotation_matrix(vector: np.ndarray) -> np.ndarray:
    """Returns the rotation matrix (3, 3) of a rotation vector (3,) [rad], axis times angle (Rodrigues)."""
    x, y, z = (float(v) for v in vector)
    angle = sqrt(x * x + y * y + z * z)
    # Rodrigues: R = I + a [v]× + b [v]×², with the limits of a and b at angle 0.
    a = sin(angle) / angle if angle > 1e-9 else 1.0
    b = (1 - cos(angle)) / angle**2 if angle > 1e-9 else 0.5
    cross = np.array(((0, -z, y), (z, 0, -x), (-y, x, 0)), float)
    return np.eye(3) + a * cross + b * (cross @ cross)


def _compute_newton_step(jacobian: np.ndarray, error: np.ndarray, extra: np.ndarray | None) -> np.ndarray:
    """Computes a damped Newton step (7,), with the joint motion `extra` projected into the null space."""
    if len(error) == 7:
        jacobian = np.concatenate([jacobian, ELBOW_ROW])
    gram = jacobian @ jacobian.T
    manipulability = sqrt(max(0.0, float(np.linalg.det(gram))))
    if manipulability < MIN_MANIPULABILITY:
        # λ grows from 0 to `DAMPING` as the manipulability falls (Nakamura and Hanafusa 1986).
        gram = gram + (DAMPING * (1 - manipulability / MIN_MANIPULABILITY)) ** 2 * np.eye(len(gram))
    if extra is None:
        return jacobian.T @ np.linalg.solve(gram, error)
    # J extra is taken off the error, so only its null-space part remains.
    return extra + jacobian.T @ np.linalg.solve(gram, error - jacobian @ extra)


ELBOW_ROW = np.eye(7)[2:3]


def _compute_limit_avoidance(arm: ArmModel, q: np.ndarray) -> np.ndarray:
    """Computes a joint velocity (7,) [rad/s] away from near limits, which grows with the square of their proximity."""
    low = np.maximum(0.0, 1 - (q - arm.q_min) / MARGIN)
    high = np.maximum(0.0, 1 - (arm.q_max - q) / MARGIN)
    return RETREAT * (np.minimum(low, 1.0) ** 2 - np.minimum(high, 1.0) ** 2)


def _check_stiffness(name: str, values: np.ndarray, most: tuple[float, ...]) -> np.ndarray:
    values = np.array(values, float)
    if values.shape != (len(most),):
        raise WrongShape(name, values.shape, f"({len(most)},)")
    if not ((values >= 0) & (values <= most)).all():
        raise UsageError(f"{name} {values.tolist()}: expected numbers between 0 and {list(most)}")
    return values
