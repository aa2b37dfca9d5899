"""Forward kinematics and Jacobian of a site or body of any model, for many configurations at once."""

from __future__ import annotations

import mujoco
import numpy as np

from robo_reward.envs.arm import kinematics
from robo_reward.envs.arm.kinematics import Pose
from robo_reward.errors import UsageError

_FREE, _BALL, _SLIDE = (int(getattr(mujoco.mjtJoint, f"mjJNT_{name}")) for name in ("FREE", "BALL", "SLIDE"))


class KinematicChain:
    """The bodies and joints between the world and a site or body.

    The frame of each body follows from its parent's by `p = p_parent + R_parent (p_body + ...)`, as in MuJoCo's
    `mj_kinematics`. All frames are kept as (3, 3, n), so that every operation runs over contiguous rows.

    Args:
        model: the compiled model.
        site: name of the site, or empty.
        body: name of the body, where there is no site.

    Attributes:
        joints: the hinge and slide joints of the chain, the outermost last.

    Raises:
        UsageError: the chain begins at a mocap body.
    """

    def __init__(self, model: mujoco.MjModel, site: str = "", body: str = "") -> None:
        self._model = model
        last = int(model.site(site).bodyid[0]) if site else model.body(body).id
        self._offset = (model.site(site).pos.copy(), _to_matrix(model.site(site).quat)) if site else None
        self._bodies: list[int] = []
        while last:
            if model.body_mocapid[last] >= 0:
                raise UsageError(f"{site or body!r} hangs on the mocap body {model.body(last).name!r}, not on joints")
            self._bodies.insert(0, last)
            last = int(model.body_parentid[last])
        self._turns = [_to_matrix(model.body_quat[b]) for b in self._bodies]
        every = [
            j for b in self._bodies for j in range(model.body_jntadr[b], model.body_jntadr[b] + model.body_jntnum[b])
        ]
        self.joints = [j for j in every if int(model.jnt_type[j]) not in (_FREE, _BALL)]
        self.slides = np.array([int(model.jnt_type[j]) == _SLIDE for j in self.joints], bool)

    def compute_pose(self, qpos: np.ndarray) -> Pose:
        """Returns the pose in the world for configurations `qpos` (n, nq), with the axes and origins of `joints`."""
        model, n, q = self._model, len(qpos), qpos.T
        position, frame = np.zeros((3, n)), np.repeat(np.eye(3)[..., None], n, axis=2)
        axes, origins = np.empty((len(self.joints), 3, n)), np.empty((len(self.joints), 3, n))
        count = 0
        for body, turn in zip(self._bodies, self._turns, strict=True):
            position = position + _rotate(frame, model.body_pos[body])
            frame = _turn_by(frame, turn)
            first = int(model.body_jntadr[body])
            for joint in range(first, first + int(model.body_jntnum[body])):
                kind, at = int(model.jnt_type[joint]), int(model.jnt_qposadr[joint])
                if kind == _FREE:
                    position, frame = q[at : at + 3].copy(), _to_matrices(q[at + 3 : at + 7])
                    continue
                anchor = position + _rotate(frame, model.jnt_pos[joint])
                if kind == _BALL:
                    frame = _turn_by(frame, _to_matrices(q[at : at + 4]))
                else:
                    axis = _rotate(frame, model.jnt_axis[joint])
                    axes[count], origins[count] = axis, anchor
                    count += 1
                    value = q[at] - model.qpos0[at]
                    if kind == _SLIDE:
                        position = position + axis * value
                        continue
                    frame = _turn_by(frame, _to_rotation(model.jnt_axis[joint], value))
                position = anchor - _rotate(frame, model.jnt_pos[joint])
        if self._offset is not None:
            position = position + _rotate(frame, self._offset[0])
            frame = _turn_by(frame, self._offset[1])
        return Pose(position, frame[:, 0], frame[:, 1], frame[:, 2], axes, origins)

    def compute_jacobian(self, pose: Pose) -> np.ndarray:
        """Returns the geometric Jacobian in the world (n, 6, j): rows 3 [m/rad or m/m], 3 [rad/rad or rad/m]."""
        jac = kinematics.compute_jacobian(pose)
        # A slide moves the point along its axis and turns nothing.
        jac[:, :3, self.slides] = pose.joint_axes[self.slides].transpose(2, 1, 0)
        jac[:, 3:, self.slides] = 0.0
        return jac


def _rotate(frame: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Returns a local vector (3,) in the world (3, n), for frames (3, 3, n) whose columns are the axes."""
    if not vector.any():
        return np.zeros((3, 1))
    return frame[:, 0] * vector[0] + frame[:, 1] * vector[1] + frame[:, 2] * vector[2]


def _turn_by(frame: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Returns frames (3, 3, n) turned by a local rotation (3, 3) or rotations (3, 3, n)."""
    if turn.ndim == 2:
        if np.array_equal(turn, np.eye(3)):
            return frame
        turn = turn[..., None]
    return np.stack(
        [frame[:, 0] * turn[0, k] + frame[:, 1] * turn[1, k] + frame[:, 2] * turn[2, k] for k in range(3)], axis=1
    )


def _to_matrix(quat: np.ndarray) -> np.ndarray:
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, np.ascontiguousarray(quat))
    return matrix.reshape(3, 3)


def _to_matrices(quats: np.ndarray) -> np.ndarray:
    """Returns the rotations (3, 3, n) of quaternions (4, n), which need not have unit length."""
    w, x, y, z = quats / np.linalg.norm(quats, axis=0)
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


def _to_rotation(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Returns the rotations (3, 3, n) about an axis (3,) by angles (n,) [rad]."""
    return _to_matrices(np.stack([np.cos(angle / 2), *(np.sin(angle / 2) * a for a in axis)]))
