"""Coordinates in which a plan runs from one target to the next: the joints, or the hand's pose and the elbow."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from robo_reward.envs.arm.kinematics import (
    Configuration,
    Pose,
    compute_forward_kinematics,
    compute_jacobian,
    compute_orientation_error,
)
from robo_reward.envs.arm.model import ArmModel
from robo_reward.hardware.safety.limits import MotionLimits
from robo_reward.hardware.safety.trajectory.profiles import ProfileBounds

CONVERGED = 1e-11
"""Largest residual of the inverse kinematics [m, rad]; third differences at 1 kHz amplify it by up to 8e9."""


SMALL = 3e-3
"""Smallest distance for which the limits of an angular coordinate are computed [rad]."""


class Coordinates(Protocol):
    """A smooth one-to-one map between joint angles and the coordinates of a plan.

    Attributes:
        straight: whether all coordinates should arrive together, on a straight line where they can.
    """

    straight: bool

    def from_joints(self, joints: Configuration, near: np.ndarray | None = None) -> np.ndarray:
        """Returns the coordinates (7,) of a configuration, without a jump from coordinates `near` (7,)."""
        ...

    def to_joints(self, path: np.ndarray, start: np.ndarray, goal: np.ndarray) -> np.ndarray | None:
        """Returns joint angles (K, 7) [rad] of coordinates (K, 7) between joint angles `start` and `goal`,
        or None where they cannot be found.
        """
        ...

    def compute_bounds(
        self, limits: MotionLimits, start: Configuration, goal: Configuration, line: np.ndarray, reach: np.ndarray
    ) -> ProfileBounds:
        """Returns the limits of each coordinate's profile from one configuration to another.

        `line` (7,) is the distance of each coordinate to the goal, `reach` (7,) the larger of it and the
        braking distance.
        """
        ...


class JointCoordinates:
    """The joint angles themselves: for policies that command joints."""

    straight = True

    def from_joints(self, joints: Configuration, near: np.ndarray | None = None) -> np.ndarray:
        return joints.q.copy()

    def to_joints(self, path: np.ndarray, start: np.ndarray, goal: np.ndarray) -> np.ndarray | None:
        return path

    def compute_bounds(
        self, limits: MotionLimits, start: Configuration, goal: Configuration, line: np.ndarray, reach: np.ndarray
    ) -> ProfileBounds:
        (low, high), (low_end, high_end) = limits.speed_bounds(start.q), limits.speed_bounds(goal.q)
        return ProfileBounds(np.maximum(low, low_end), np.minimum(high, high_end), limits.ddq, limits.dddq)


class HandCoordinates:
    """Position x, y, z of the TCP, its yaw, its tilt as a vector (2,), and joint 3, which turns the elbow.

    The hand's axes are Rz(yaw) Exp(tilt) R_down, so that straight down is zero tilt whatever the yaw, and each
    position coordinate stays between those of the targets: a box of targets is a box of commands.

    Args:
        arm: whose kinematics hold.
    """

    straight = False  # otherwise a coordinate that reverses its direction would delay the others

    def __init__(self, arm: ArmModel) -> None:
        self.arm = arm

    def from_joints(self, joints: Configuration, near: np.ndarray | None = None) -> np.ndarray:
        pose = joints.pose
        z = pose.z[:, 0]
        sine = np.hypot(z[0], z[1])
        angle = np.arctan2(sine, -z[2])
        # Swing-twist decomposition: the swing is the smallest rotation from straight down to the approach direction;
        # the remaining rotation is the yaw.
        swing = np.array((z[1], -z[0], 0.0)) * (angle / sine if sine > 1e-12 else 1.0)
        x = _rotation_matrix(-swing) @ pose.x[:, 0]
        yaw = np.arctan2(x[1], x[0])
        lean = _rotation_matrix(np.array((0.0, 0.0, -yaw))) @ swing
        if near is not None:  # choose the turn of the yaw nearest to `near`: -π and π are the same
            yaw = near[3] + (yaw - near[3] + np.pi) % (2 * np.pi) - np.pi
        return np.array((*pose.position[:, 0], yaw, lean[0], lean[1], joints.q[2]))

    def to_joints(self, path: np.ndarray, start: np.ndarray, goal: np.ndarray) -> np.ndarray | None:
        """Computes joint angles (K, 7) [rad] by Newton's method on seven equations, for all K at once.

        The iteration starts from a straight line between the ends. Returns None where it does not converge.
        """
        span = path[-1] - path[0]
        # Initial guess: the joints interpolated by the progress along the straight line; joint 3 is given.
        share = np.clip((path - path[0]) @ span / max(span @ span, 1e-18), 0.0, 1.0)[:, None]
        q = start + share * (goal - start)
        q[:, 2] = path[:, 6]
        axes = self._compute_hand_axes(path)
        for _ in range(8):
            pose = compute_forward_kinematics(self.arm, q)
            error = self._compute_pose_error(pose, path, axes)
            if np.abs(error).max() < CONVERGED:
                return q
            try:
                step = np.linalg.solve(self._reduced_jacobian(pose), error[..., None])[..., 0]
            except np.linalg.LinAlgError:
                return None
            if not np.abs(step).max() < 1.0:  # near a singularity, or NaN: the iteration diverges
                return None
            q[:, [0, 1, 3, 4, 5, 6]] += step
        return None

    def compute_bounds(
        self, limits: MotionLimits, start: Configuration, goal: Configuration, line: np.ndarray, reach: np.ndarray
    ) -> ProfileBounds:
        """Computes limits in proportion to the distances, so that all coordinates need about the same time.

        On the straight line to the goal joint j turns by dq_j; a coordinate's overshoot beyond the line adds
        |dq_j/dc_i| of it. Speed and acceleration are the largest for which joints and hand keep their limits.
        """
        floor = np.full(7, SMALL)
        floor[:3] = 0.35 * np.linalg.norm(reach[:3])  # otherwise the shortest distance would take longest to reverse
        reach = np.maximum(reach, floor)
        # The larger |dq_j/dc_i| of start and goal. A joint turns by its straight line plus the share of the overshoot.
        gain = np.maximum(np.abs(_compute_coordinate_jacobian(start)), np.abs(_compute_coordinate_jacobian(goal)))
        turns = np.abs(goal.q - start.q) + gain @ np.maximum(reach - line, 0.0)
        (low, high), (low_end, high_end) = limits.speed_bounds(start.q), limits.speed_bounds(goal.q)
        # Speed that is free in both directions at both ends, at least 5 % of the limit.
        room = np.maximum(np.minimum.reduce([-low, high, -low_end, high_end]), 0.05 * limits.dq)
        hand = np.array((np.linalg.norm(reach[:3]), np.linalg.norm(reach[3:6])))
        ways = np.maximum(np.concatenate([turns, hand]), 1e-9)
        # Common rates [1/s], [1/s²]: distance times rate must keep each limit of joints and hand.
        speed = (np.concatenate([room, (limits.translation[0], limits.rotation[0])]) / ways).min()
        acceleration = (np.concatenate([limits.ddq, (limits.translation[1], limits.rotation[1])]) / ways).min()
        jerk = (limits.dddq / limits.ddq).min()
        # Margin of 20 %: the Jacobians are those at the two ends only.
        acceleration *= 0.8
        return ProfileBounds(-speed * reach, speed * reach, acceleration * reach, jerk * acceleration * reach)

    def _compute_hand_axes(self, path: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Computes the desired axes of the hand, (3, K) each."""
        yaw, lean = path[:, 3], np.zeros((3, len(path)))
        lean[:2] = path[:, 4:6].T
        down = np.eye(3) * (1.0, -1.0, -1.0)
        leaned = [_rotate_vectors(lean, np.repeat(axis[:, None], len(path), axis=1)) for axis in down.T]
        # Rotate the tilted axes about the vertical by the yaw.
        c, s = np.cos(yaw), np.sin(yaw)
        x, y, z = (np.stack([c * v[0] - s * v[1], s * v[0] + c * v[1], v[2]]) for v in leaned)
        return x, y, z

    def _compute_pose_error(self, pose: Pose, path: np.ndarray, axes: tuple[np.ndarray, ...]) -> np.ndarray:
        turn = compute_orientation_error(pose, *axes)
        return np.concatenate([path[:, :3].T - pose.position, turn]).T  # (K, 6)

    def _reduced_jacobian(self, pose: Pose) -> np.ndarray:
        return compute_jacobian(pose)[..., [0, 1, 3, 4, 5, 6]]  # (K, 6, 6)


def _compute_coordinate_jacobian(joints: Configuration) -> np.ndarray:
    """Computes dq/dc (7, 7) of a configuration: with joint 3 given, the other six follow from the pose."""
    pose, full = joints.pose, joints.jacobian
    others = [0, 1, 3, 4, 5, 6]
    try:
        inverse = np.linalg.inv(full[:, others])
    except np.linalg.LinAlgError:
        # Singular: a huge gain makes the limits almost zero.
        return np.full((7, 7), 1e6)
    gain = np.zeros((7, 7))
    # Angular velocity per rate of yaw (about the vertical) and of tilt (about axes that the yaw has rotated).
    yaw = np.arctan2(pose.x[1, 0], pose.x[0, 0])
    turns = np.array(((0, np.cos(yaw), -np.sin(yaw)), (0, np.sin(yaw), np.cos(yaw)), (1, 0, 0)))
    # J_o dq_o + j_3 dq_3 = (v, ω), solved for the six other joints.
    gain[others, :3], gain[others, 3:6] = inverse[:, :3], inverse[:, 3:] @ turns
    gain[others, 6], gain[2, 6] = -inverse @ full[:, 2], 1.0
    return gain


def _rotate_vectors(vector: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Rotates vectors (3, K) by rotation vectors (3, K) [rad]: Rodrigues' formula, smooth at zero."""
    angle = np.linalg.norm(vector, axis=0)
    # sin(θ)/θ and (1 - cos θ)/θ², from `np.sinc(x)` = sin(πx)/(πx), which is smooth at zero.
    sine, cosine = np.sinc(angle / np.pi), 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    across = _cross_product(vector, axis)
    return axis + sine * across + cosine * _cross_product(vector, across)


def _cross_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the cross product of (3, K) vectors; several times faster than `np.cross`."""
    return np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def _rotation_matrix(vector: np.ndarray) -> np.ndarray:
    """Returns the rotation matrix (3, 3) of a rotation vector (3,) [rad]."""
    return _rotate_vectors(np.repeat(vector[:, None], 3, axis=1), np.eye(3))
