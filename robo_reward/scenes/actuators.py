"""The action convention of a scene: the model's own actuators, scaled to [-1, 1]."""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np

from robo_reward.envs.model.names import make_identifier
from robo_reward.envs.task import ActionSpec
from robo_reward.errors import UsageError
from robo_reward.scenes.starts import SCALAR_JOINTS

_POSITION, _VELOCITY = 1, 2
_HINGE = int(mujoco.mjtJoint.mjJNT_HINGE)
_JOINT_TRANSMISSIONS = (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT))
_AFFINE = int(mujoco.mjtBias.mjBIAS_AFFINE)


class Servo(NamedTuple):
    """An actuator that holds a joint at a position: its control is `scale * position + offset`.

    Attributes:
        actuator: its index.
        joint: the joint's index.
        address: of the joint in `qpos`.
        scale: change of the control per rad or m.
        offset: control at position 0.
    """

    actuator: int
    joint: int
    address: int
    scale: float
    offset: float


class ActuatorController:
    """Maps each component of an action in [-1, 1] to the control range of one actuator.

    Args:
        model: the compiled model.
        rate_hz: how often an action is chosen [Hz].

    Attributes:
        unlimited: names of actuators without a control range, whose range is taken from their joint, force limit or
            as [-1, 1].
        servos: position servos on joints.
        filtered_servos: position servos whose target passes a filter: actuator, and index of its activation.

    Raises:
        UsageError: the model has no actuators.
    """

    def __init__(self, model: mujoco.MjModel, rate_hz: float) -> None:
        if not model.nu:
            raise UsageError(
                "the model has no actuators, so that nothing can move it: add an <actuator> section, such as "
                '<position joint="NAME" kp="100"/> for each joint, or `actuators: {kind: position}` to a scene file'
            )
        self._model, self.unlimited = model, []
        names, scales, units = [], [], []
        low, high = np.empty(model.nu), np.empty(model.nu)
        taken: set[str] = set()
        for index in range(model.nu):
            low[index], high[index] = self._find_range(index)
            names.append(_make_unique(_name_actuator(model, index), taken))
            scales.append(float((high[index] - low[index]) / 2) or 1.0)
            units.append(_find_unit(model, index))
        self._middle, self._half = (low + high) / 2, (high - low) / 2
        self.servos = [found for i in range(model.nu) if (found := find_servo(model, i)) is not None]
        self.filtered_servos = [
            (s.actuator, int(model.actuator_actadr[s.actuator]))
            for s in self.servos
            if model.actuator_actadr[s.actuator] >= 0
        ]
        self.low, self.high = low, high
        self.spec = ActionSpec("native", tuple(names), tuple(scales), tuple(units), round(rate_hz, 6))

    def start(self, qpos: np.ndarray) -> np.ndarray:
        """Returns the targets (n, nu) that hold the configuration `qpos` (n, nq): position servos at their joints."""
        ctrl = np.repeat(np.clip(0.0, self.low, self.high)[None], len(qpos), axis=0)
        for servo in self.servos:
            ctrl[:, servo.actuator] = servo.scale * qpos[:, servo.address] + servo.offset
        return np.clip(ctrl, self.low, self.high)

    def advance(self, ctrl: np.ndarray, qpos: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Returns the targets (n, nu) for actions (n, A) in [-1, 1]."""
        return self._middle + self._half * action

    def _find_range(self, index: int) -> tuple[float, float]:
        """Returns the control range of an actuator."""
        model = self._model
        if model.actuator_ctrllimited[index]:
            low, high = model.actuator_ctrlrange[index]
            return float(low), float(high)
        self.unlimited.append(_name_actuator(model, index))
        joint = _find_joint(model, index)
        servo = find_servo(model, index)
        if servo is not None and joint is not None and model.jnt_limited[joint]:
            ends = model.jnt_range[joint] * servo.scale + servo.offset
            return float(min(ends)), float(max(ends))
        if model.actuator_forcelimited[index] and servo is None:
            low, high = model.actuator_forcerange[index]
            return float(low), float(high)
        return -1.0, 1.0


def _name_actuator(model: mujoco.MjModel, index: int) -> str:
    """Returns the actuator's own name, or else that of its joint."""
    joint = _find_joint(model, index)
    name = model.actuator(index).name or (model.joint(joint).name if joint is not None else "")
    return make_identifier(name, f"actuator_{index}")


def _make_unique(name: str, taken: set[str]) -> str:
    unique = next(n for k in range(len(taken) + 1) if (n := f"{name}_{k + 1}" if k else name) not in taken)
    taken.add(unique)
    return unique


def _find_joint(model: mujoco.MjModel, index: int) -> int | None:
    if int(model.actuator_trntype[index]) in _JOINT_TRANSMISSIONS:
        return int(model.actuator_trnid[index, 0])
    return None


def find_servo(model: mujoco.MjModel, index: int) -> Servo | None:
    """Returns the position servo that an actuator is, or None for another actuator.

    The force is `gain ctrl + b0 + b1 gear q + ...`, with b1 < 0; it holds q where this is zero.
    """
    joint, gain = _find_joint(model, index), float(model.actuator_gainprm[index, 0])
    bias, gear = model.actuator_biasprm[index], float(model.actuator_gear[index, 0])
    is_servo = int(model.actuator_biastype[index]) == _AFFINE and bias[_POSITION] < 0 and gain * gear != 0
    if joint is None or not is_servo or int(model.jnt_type[joint]) not in SCALAR_JOINTS:
        return None
    address = int(model.jnt_qposadr[joint])
    return Servo(index, joint, address, float(-bias[_POSITION] * gear / gain), float(-bias[0] / gain))


def _find_unit(model: mujoco.MjModel, index: int) -> str:
    """Returns the unit of the control of an actuator: what a servo follows, or the force of a motor."""
    joint = _find_joint(model, index)
    if joint is None:
        return "1"
    turns = int(model.jnt_type[joint]) == _HINGE
    bias = model.actuator_biasprm[index]
    if int(model.actuator_biastype[index]) == _AFFINE and bias[_POSITION] < 0:
        return "rad" if turns else "m"
    if int(model.actuator_biastype[index]) == _AFFINE and bias[_VELOCITY] < 0:
        return "rad/s" if turns else "m/s"
    motor = model.actuator_gear[index, 0] == 1.0 and model.actuator_gainprm[index, 0] == 1.0
    return ("N m" if turns else "N") if motor else "1"
