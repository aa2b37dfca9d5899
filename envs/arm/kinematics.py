"""Forward kinematics, Jacobian and inverse kinematics of an arm, for many configurations at once.

Vectors are kept as (3, n), so that every operation runs over contiguous rows.
"""

from __future__ import annotations

from functools import cached_property
from math import cos, sin
from typing import NamedTuple

import numpy as np

from robo_reward.envs.arm.model import ArmModel


class Pose(NamedTuple):
    """The hand's frame at the tool centre point, with what a Jacobian needs.

    Attributes:
        position: of the TCP in the base frame, (3, n) [m].
        x: the hand's x axis, (3, n), as y and z.
        y: the axis along which the fingers slide.
        z: the approach direction.
        joint_axes: the j joint axes, (j, 3, n).
        joint_origins: a point on each, (j, 3, n) [m].
    """

    position: np.ndarray
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    joint_axes: np.ndarray
    joint_origins: np.ndarray


def compute_forward_kinematics(arm: ArmModel, q: np.ndarray) -> Pose:
    """Computes the hand's pose for joint angles `q` (n, j) [rad], from the Denavit-Hartenberg chain."""
    n = len(q)
    cosines, sines = np.cos(q.T), np.sin(q.T)  # (j, n)
    # Columns of the current frame in base coordinates; each joint updates them in place of a 4 x 4 product.
    x, y, z = (np.repeat(axis[:, None], n, axis=1) for axis in np.eye(3))
    position = np.zeros((3, n))
    axes, origins = np.empty((arm.joint_count, 3, n)), np.empty((arm.joint_count, 3, n))
    for i, (a, d, alpha) in enumerate(arm.dh):
        # Craig's convention: move a along x, turn alpha about x, turn q about z, move d along z.
        if a:
            position = position + a * x
        if alpha:
            ca, sa = round(cos(alpha)), round(sin(alpha))  # the alphas of all arms are multiples of 90°
            y, z = ca * y + sa * z, ca * z - sa * y
        x, y = cosines[i] * x + sines[i] * y, cosines[i] * y - sines[i] * x
        if d:
            position = position + d * z
        axes[i], origins[i] = z, position
    # The hand is mounted at a fixed angle about the flange's z axis.
    cy, sy = cos(arm.hand_yaw), sin(arm.hand_yaw)
    x, y = cy * x + sy * y, cy * y - sy * x
    return Pose(position + (arm.flange + arm.tcp) * z, x, y, z, axes, origins)


def compute_jacobian(pose: Pose) -> np.ndarray:
    """Computes the geometric Jacobian at the TCP in the base frame, (n, 6, j): rows 3 [m/rad], 3 [rad/rad]."""
    # Revolute joints: linear velocity z_i × (p - p_i), angular velocity z_i.
    linear = _cross_product(pose.joint_axes, pose.position - pose.joint_origins)  # (j, 3, n)
    return np.concatenate([linear, pose.joint_axes], axis=1).transpose(2, 1, 0)


class Configuration:
    """Joint angles with the hand's pose and Jacobian, each computed once, when it is first needed.

    Args:
        arm: whose kinematics hold.
        q: joint angles (j,) [rad]; not to be changed afterwards.
    """

    def __init__(self, arm: ArmModel, q: np.ndarray) -> None:
        self.arm, self.q = arm, np.asarray(q, float)

    @cached_property
    def pose(self) -> Pose:
        """The hand's pose, of one configuration (n = 1)."""
        return compute_forward_kinematics(self.arm, self.q[None])

    @cached_property
    def jacobian(self) -> np.ndarray:
        """The Jacobian at the TCP in the base frame (6, j)."""
        return compute_jacobian(self.pose)[0]

    @property
    def position(self) -> np.ndarray:
        """Position of the TCP in the base frame (3,) [m]."""
        return self.pose.position[:, 0]


def _cross_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Computes the cross product of (k, 3, n) vectors; several times faster than `np.cross` here."""
    out = np.empty_like(a)
    for i, (j, k) in enumerate(((1, 2), (2, 0), (0, 1))):
        out[:, i] = a[:, j] * b[:, k] - a[:, k] * b[:, j]
    return out


def compute_orientation_error(pose: Pose, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Computes the small rotation (3, n) [rad] from the hand's axes to the wanted ones: ½ Σ axis × wanted axis."""
    have = np.stack([pose.x, pose.y, pose.z])  # (3 axes, 3, n)
    want = np.stack([np.broadcast_to(axis, pose.x.shape) for axis in (x, y, z)])
    return 0.5 * _cross_product(have, want).sum(axis=0)


def solve_damped_step(
    jac: np.ndarray, error: np.ndarray, posture: np.ndarray, damping: float = 0.02, posture_gain: float = 0.1
) -> np.ndarray:
    """Computes a joint step (n, j) [rad] by damped least squares with a posture task in the null space.

    dq = J⁺ e + (I - J⁺ J) k p, with J⁺ = Jᵀ (J Jᵀ + λ² I)⁻¹ (Nakamura and Hanafusa 1986).

    Args:
        jac: (n, 6, j), or its first rows (n, 3, j) where the orientation is free.
        error: the wanted Cartesian step, (n, 6) [m, rad], or (n, 3) [m].
        posture: from the configuration to the preferred one, (n, j) [rad].
        damping: λ.
        posture_gain: k.
    """
    wanted = posture_gain * posture
    # The same as k p + J⁺ (e - J k p), which needs one linear solve.
    gram = jac @ jac.transpose(0, 2, 1) + damping**2 * np.eye(jac.shape[1])
    residual = error - np.einsum("nij,nj->ni", jac, wanted)
    return wanted + np.einsum("nji,nj->ni", jac, np.linalg.solve(gram, residual[..., None])[..., 0])


def solve_position(arm: ArmModel, target: np.ndarray, iterations: int = 25) -> np.ndarray:
    """Computes joint angles (n, j) [rad] near home with the TCP at `target` (n, 3) [m], hand pointing down."""
    home, low, high = np.array(arm.home), np.array(arm.q_min), np.array(arm.q_max)
    q = np.repeat(home[None], len(target), axis=0)
    for _ in range(iterations):
        pose = compute_forward_kinematics(arm, q)
        turn = compute_orientation_error(pose, *DOWN)
        error = np.concatenate([target.T - pose.position, turn]).T
        step = solve_damped_step(compute_jacobian(pose), error, home - q, damping=1e-2, posture_gain=0.02)
        q = np.clip(q + np.clip(step, -0.25, 0.25), low, high)  # at most 0.25 rad per iteration
    return q


DOWN = tuple(np.array(axis, float)[:, None] for axis in ((1, 0, 0), (0, -1, 0), (0, 0, -1)))
"""The hand's axes (3, 1) when it points straight down: x forward, y to the right, z down."""
