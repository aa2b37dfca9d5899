"""The differences between the protocol versions that the emulator speaks: numbers of commands and of their answers.

Version 5 is the Panda's (libfranka 0.9), version 10 the FR3's (libfranka from 0.18).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from robo_reward.errors import UnknownName

ROBOT_PORT = 1337
GRIPPER_PORT = 1338
GRIPPER_VERSION = 3


class RobotMode(IntEnum):
    """The mode of the arm as a whole."""

    OTHER = 0
    IDLE = 1
    MOVE = 2
    GUIDING = 3
    REFLEX = 4
    USER_STOPPED = 5
    RECOVERY = 6


class GeneratorMode(IntEnum):
    """The motion generator, as in a state; a Move request counts from 0 with JOINT_POSITION and ends on NONE."""

    IDLE = 0
    JOINT_POSITION = 1
    JOINT_VELOCITY = 2
    CARTESIAN_POSITION = 3
    CARTESIAN_VELOCITY = 4
    NONE = 5


class ControllerMode(IntEnum):
    """The controller that turns the motion into torques."""

    JOINT_IMPEDANCE = 0
    CARTESIAN_IMPEDANCE = 1
    EXTERNAL = 2
    OTHER = 3


_MOVE = "success started preempted {}not_possible singular_start invalid_argument reflex_aborted emergency_aborted "
_MOVE += "input_error_aborted aborted"
_PREEMPTED = "preempted_by_safety "
_REJECTED = "rejected_by_safety "
_SETTER = "success not_possible invalid_argument {}"
_STOP = "success not_possible {}emergency_aborted reflex_aborted aborted"
_RECOVERY = "success not_possible {}manual_recovery_required reflex_aborted emergency_aborted aborted"
_FETCH = "success error"

_COMMANDS_5 = (
    "Connect Move StopMove GetCartesianLimit SetCollisionBehavior SetJointImpedance SetCartesianImpedance "
    "SetGuidingMode SetEEToK SetNEToEE SetLoad SetFilters AutomaticErrorRecovery LoadModelLibrary"
)
_COMMANDS_10 = (
    "Connect Move StopMove SetCollisionBehavior SetJointImpedance SetCartesianImpedance SetGuidingMode SetEEToK "
    "SetNEToEE SetLoad AutomaticErrorRecovery GetRobotModel"
)
GRIPPER_COMMANDS = ("Connect", "Homing", "Grasp", "Move", "Stop")
GRIPPER_STATUSES = ("success", "fail", "unsuccessful", "aborted")


@dataclass(frozen=True, eq=False)
class ProtocolVersion:
    """One version of the robot's protocol.

    Args:
        number: the number in Connect.
        commands: the commands in the order of their numbers.
        statuses: the statuses of each command in the order of their numbers.
        real: the type of reals in a robot state.
        accelerometers: whether a robot state has them.
        has_torque_finished: whether a robot command can end pure torque control.
        has_async: whether a Move may ask the robot to interpolate.
    """

    number: int
    commands: tuple[str, ...]
    statuses: dict[str, tuple[str, ...]]
    real: type[np.floating]
    accelerometers: bool
    has_torque_finished: bool
    has_async: bool

    def status_code(self, command: str, name: str) -> int:
        """Returns the number of a status in the answer to a command.

        Raises:
            UnknownName: no such status.
        """
        known = self.statuses[command]
        if name not in known:
            raise UnknownName(f"status of {command}", name, known)
        return known.index(name)


def _build_statuses(commands: str, preempted: str = "", rejected: str = "") -> dict[str, tuple[str, ...]]:
    """Returns the statuses of each command; those of safety functions exist in version 10 only (libfranka-common)."""
    special = {
        "Connect": "success incompatible",
        "Move": _MOVE.format(preempted + rejected),
        "StopMove": _STOP.format(rejected),
        "AutomaticErrorRecovery": _RECOVERY.format(rejected),
        "LoadModelLibrary": _FETCH,
        "GetRobotModel": f"success not_possible {rejected}",
    }
    return {name: tuple(special.get(name, _SETTER.format(rejected)).split()) for name in commands.split()}


VERSIONS = {
    5: ProtocolVersion(
        number=5,
        commands=tuple(_COMMANDS_5.split()),
        statuses=_build_statuses(_COMMANDS_5),
        real=np.float64,
        accelerometers=False,
        has_torque_finished=False,
        has_async=False,
    ),
    10: ProtocolVersion(
        number=10,
        commands=tuple(_COMMANDS_10.split()),
        statuses=_build_statuses(_COMMANDS_10, _PREEMPTED, _REJECTED),
        real=np.float32,
        accelerometers=True,
        has_torque_finished=True,
        has_async=True,
    ),
}


def get_protocol_version(number: int) -> ProtocolVersion:
    """Returns one of `VERSIONS`.

    Raises:
        UnknownName: the emulator does not speak this version.
    """
    if number not in VERSIONS:
        raise UnknownName("protocol version", str(number), map(str, VERSIONS))
    return VERSIONS[number]
