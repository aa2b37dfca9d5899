"""The start distribution of a scene: a keyframe or the model's own pose, with ranges for joints and bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import mujoco
import numpy as np

from robo_reward.envs.task import Start
from robo_reward.errors import UnknownName, UsageError

_FREE = int(mujoco.mjtJoint.mjJNT_FREE)
SCALAR_JOINTS = tuple(int(t) for t in (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE))
"""Types of joints with one degree of freedom."""
Range = float | tuple[float, float]


class BodyStart(msgspec.Struct, forbid_unknown_fields=True):
    """Start pose of a free or mocap body; what is not given stays as in the model.

    Args:
        x: position [m], or its range.
        y: position [m], or its range.
        z: position [m], or its range.
        yaw: rotation about the vertical [rad], or its range.
        vx: velocity of a free body in the world [m/s], or its range; so are `vy` and `vz`.
        vy: as `vx`.
        vz: as `vx`.
    """

    x: Range | None = None
    y: Range | None = None
    z: Range | None = None
    yaw: Range | None = None
    vx: Range | None = None
    vy: Range | None = None
    vz: Range | None = None


class JointStart(msgspec.Struct, forbid_unknown_fields=True):
    """Start angle and velocity of a hinge or slide joint.

    Args:
        position: angle [rad] or displacement [m], or its range; not given: as in the model.
        velocity: [rad/s] or [m/s], or its range.
    """

    position: Range | None = None
    velocity: Range = 0.0


class StartSettings(msgspec.Struct, forbid_unknown_fields=True):
    """Start distribution as in a scene file.

    Args:
        keyframe: name or number of the keyframe; empty: the first one, or the model's own pose if it has none.
        noise: every hinge and slide joint starts within ± this of its start angle [rad or m].
        joints: start angle of a joint [rad or m], its range, or `{position: ..., velocity: ...}`, by name.
        bodies: start poses of free and mocap bodies, by name.
    """

    keyframe: str | int = ""
    noise: float = 0.005
    joints: dict[str, Range | JointStart] = {}
    bodies: dict[str, BodyStart] = {}


class StartDistribution:
    """Draws initial conditions.

    Args:
        model: the compiled model.
        settings: of the scene file.

    Attributes:
        act: activations of the actuators at the start (na,).

    Raises:
        UnknownName: a keyframe, joint or body that the model does not have.
        UsageError: a body that is neither free nor mocap, or a range of which the lower end is above the upper.
    """

    def __init__(self, model: mujoco.MjModel, settings: StartSettings) -> None:
        self._model, self._noise = model, settings.noise
        self._qpos, self._mocap, self.act, self._qvel = self._find_pose(settings.keyframe)
        self._joints: list[tuple[int, tuple[float, float]]] = []  # address in qpos, range
        self._speeds: list[tuple[int, tuple[float, float]]] = []  # address in qvel, range
        for name, start in settings.joints.items():
            self._add_joint(name, start if isinstance(start, JointStart) else JointStart(start))
        self._bodies = [self._place_body(name, body) for name, body in settings.bodies.items()]

    @property
    def pose(self) -> np.ndarray:
        """The configuration (nq,) in the middle of the starts."""
        pose = self._qpos.copy()
        for at, ends in self._joints:
            pose[at] = np.mean(ends)
        return pose

    def sample(self, rng: np.random.Generator, n: int) -> Start:
        """Draws n initial conditions."""
        model = self._model
        qpos, mocap = np.repeat(self._qpos[None], n, axis=0), np.repeat(self._mocap[None], n, axis=0)
        for joint in range(model.njnt):
            if int(model.jnt_type[joint]) in SCALAR_JOINTS:
                at = int(model.jnt_qposadr[joint])
                angle = qpos[:, at] + rng.uniform(-self._noise, self._noise, n)
                if model.jnt_limited[joint]:  # a keyframe outside the limits stays where it is
                    low, high = model.jnt_range[joint]
                    angle = np.clip(angle, np.minimum(low, qpos[:, at]), np.maximum(high, qpos[:, at]))
                qpos[:, at] = angle
        for at, (low, high) in self._joints:
            qpos[:, at] = rng.uniform(low, high, n)
        for array, position, rotation, ranges in self._bodies:
            target = qpos if array == "qpos" else mocap
            for axis, (low, high) in ranges.items():
                value = rng.uniform(low, high, n)
                if axis == "yaw":
                    turn = np.stack([np.cos(value / 2), *np.zeros((2, n)), np.sin(value / 2)], axis=1)
                    target[:, rotation : rotation + 4] = _multiply(turn, target[:, rotation : rotation + 4])
                else:
                    target[:, position + "xyz".index(axis)] = value
        return Start(qpos, mocap, qvel=self._sample_velocities(rng, n))

    def _sample_velocities(self, rng: np.random.Generator, n: int) -> np.ndarray | None:
        """Draws generalised velocities (n, nv); None where all are zero."""
        if not self._speeds and not self._qvel.any():
            return None
        qvel = np.repeat(self._qvel[None], n, axis=0)
        for at, (low, high) in self._speeds:
            qvel[:, at] = rng.uniform(low, high, n)
        return qvel

    def _find_pose(self, keyframe: str | int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Returns qpos (nq,), mocap poses (7 nmocap,), activations (na,) and qvel (nv,) of a keyframe or the model."""
        model = self._model
        positions, quats = model.body_pos[model.body_mocapid >= 0], model.body_quat[model.body_mocapid >= 0]
        if keyframe == "" and not model.nkey:
            mocap = np.concatenate([positions.ravel(), quats.ravel()])
            return model.qpos0.copy(), mocap, np.zeros(model.na), np.zeros(model.nv)
        names = [model.key(k).name for k in range(model.nkey)]
        if isinstance(keyframe, str) and keyframe and keyframe not in names:
            raise UnknownName("keyframe", keyframe, [name for name in names if name])
        index = keyframe if isinstance(keyframe, int) else names.index(keyframe) if keyframe else 0
        if not 0 <= index < model.nkey:
            raise UsageError(f"start.keyframe={index}: the model has {model.nkey} keyframes, counted from 0")
        key = model.key(index)
        mocap = np.concatenate([key.mpos.ravel(), key.mquat.ravel()])
        return key.qpos.copy(), mocap, key.act.copy(), key.qvel.copy()

    def _add_joint(self, name: str, start: JointStart) -> None:
        model = self._model
        names = [model.joint(j).name for j in range(model.njnt) if int(model.jnt_type[j]) in SCALAR_JOINTS]
        if name not in names:
            raise UnknownName("hinge or slide joint", name, names)
        key, joint = f"start.joints.{name}", model.joint(name)
        if start.position is not None:
            self._joints.append((int(joint.qposadr[0]), _read_range(key, start.position)))
        if start.velocity != 0.0:
            self._speeds.append((int(joint.dofadr[0]), _read_range(f"{key}.velocity", start.velocity)))

    def _place_body(self, name: str, body: BodyStart) -> tuple[str, int, int, Mapping[str, tuple[float, float]]]:
        model = self._model
        names = [model.body(b).name for b in range(1, model.nbody)]
        if name not in names:
            raise UnknownName("body", name, names)
        ranges = {axis: _read_range(f"start.bodies.{name}.{axis}", value)
                  for axis in ("x", "y", "z", "yaw") if (value := getattr(body, axis)) is not None}  # fmt: skip
        index = model.body(name).id
        mocap = int(model.body_mocapid[index])
        speeds = {axis: value for axis in ("vx", "vy", "vz") if (value := getattr(body, axis)) is not None}
        if mocap >= 0 and speeds:
            raise UsageError(f"start.bodies.{name}.{next(iter(speeds))}: a mocap body stands still, leave this out")
        if mocap >= 0:
            return "mocap", 3 * mocap, 3 * model.nmocap + 4 * mocap, ranges
        joint = int(model.body_jntadr[index])
        if joint < 0 or int(model.jnt_type[joint]) != _FREE:
            movable = [model.body(b).name for b in range(1, model.nbody)
                       if model.body_mocapid[b] >= 0 or _is_free(model, b)]  # fmt: skip
            raise UsageError(
                f"start.bodies.{name}: the body has no free joint and is no mocap body, so that it cannot be placed. "
                f"Bodies that can: {', '.join(movable) or 'none'}. Give its joints in start.joints, or add a "
                "<freejoint/> to it"
            )
        for axis, value in speeds.items():
            dof = int(model.jnt_dofadr[joint]) + ("vx", "vy", "vz").index(axis)
            self._speeds.append((dof, _read_range(f"start.bodies.{name}.{axis}", value)))
        at = int(model.jnt_qposadr[joint])
        return "qpos", at, at + 3, ranges


def _is_free(model: mujoco.MjModel, body: int) -> bool:
    joint = int(model.body_jntadr[body])
    return joint >= 0 and int(model.jnt_type[joint]) == _FREE


def _read_range(key: str, value: Any) -> tuple[float, float]:
    low, high = (value, value) if isinstance(value, int | float) else value
    if not (np.isfinite(low) and np.isfinite(high)) or low > high:
        raise UsageError(f"{key}={value}: expected a number, or [LOWEST, HIGHEST]")
    return float(low), float(high)


def _multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the products (n, 4) of quaternions (w, x, y, z)."""
    w, x, y, z = a.T
    v, i, j, k = b.T
    return np.stack(
        [w * v - x * i - y * j - z * k, w * i + x * v + y * k - z * j, w * j - x * k + y * v + z * i,
         w * k + x * j - y * i + z * v], axis=1)  # fmt: skip
