"""The messages on the wire as packed little-endian numpy records, from one table for both protocol versions.

A message is a numpy record: `record["q"]` reads and writes. Matrices are column-major, as libfranka has them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache

import numpy as np

from robo_reward.errors import RoboRewardError, UnknownName
from robo_reward.hardware.emulator.wire.versions import GRIPPER_COMMANDS, ProtocolVersion

_STATE = (
    "O_T_EE:16 O_T_EE_d:16 F_T_EE:16 EE_T_K:16 F_T_NE:16 NE_T_EE:16 m_ee I_ee:9 F_x_Cee:3 m_load I_load:9 F_x_Cload:3 "
    "elbow:2 elbow_d:2 tau_J:7 tau_J_d:7 dtau_J:7 q:7 q_d:7 dq:7 dq_d:7 ddq_d:7 joint_contact:7 cartesian_contact:6 "
    "joint_collision:7 cartesian_collision:6 tau_ext_hat_filtered:7 O_F_ext_hat_K:6 K_F_ext_hat_K:6 O_dP_EE_d:6 "
    "O_ddP_O:3 elbow_c:2 delbow_c:2 ddelbow_c:2 O_T_EE_c:16 O_dP_EE_c:6 O_ddP_EE_c:6 theta:7 dtheta:7"
)
_ACCELEROMETERS = "accelerometer_top:18 accelerometer_bottom:18"
_MODES = "motion_generator_mode:u1 controller_mode:u1 errors:?41 reflex_reason:?41 robot_mode:u1"
_COMMAND = (
    "message_id:u8 q_c:7 dq_c:7 O_T_EE_c:16 O_dP_EE_c:6 elbow_c:2 valid_elbow:? motion_generation_finished:? tau_J_d:7"
)
_REQUESTS = {
    "Connect": "version:u2 udp_port:u2",
    "Move": "controller_mode:u4 motion_generator_mode:u4 path_deviation:3 goal_deviation:3",
    "StopMove": "",
    "GetCartesianLimit": "id:i4",
    "SetCollisionBehavior": (
        "lower_torque_acceleration:7 upper_torque_acceleration:7 lower_torque_nominal:7 upper_torque_nominal:7 "
        "lower_force_acceleration:6 upper_force_acceleration:6 lower_force_nominal:6 upper_force_nominal:6"
    ),
    "SetJointImpedance": "K_theta:7",
    "SetCartesianImpedance": "K_x:6",
    "SetGuidingMode": "guiding_mode:?6 nullspace:?",
    "SetEEToK": "EE_T_K:16",
    "SetNEToEE": "NE_T_EE:16",
    "SetLoad": "m_load F_x_Cload:3 I_load:9",
    "SetFilters": "joint_position joint_velocity cartesian_position cartesian_velocity controller",
    "AutomaticErrorRecovery": "",
    "GetRobotModel": "",
    "LoadModelLibrary": "architecture:u1 system:u1",
}
_ASYNC = "use_async_motion_generator:? maximum_velocity:7"
_RESPONSES = {
    "Connect": "status:u1 version:u2",
    "GetCartesianLimit": "status:u1 object_p_min:3 object_p_max:3 object_frame:16 object_activation:?",
}
_GRIPPER_REQUESTS = {
    "Connect": "version:u2 udp_port:u2",
    "Homing": "",
    "Grasp": "width epsilon_inner epsilon_outer speed force",
    "Move": "width speed",
    "Stop": "",
}
_GRIPPER_STATE = "message_id:u4 width max_width is_grasped:? temperature:u2"

ROBOT_HEADER = struct.Struct("<III")
GRIPPER_HEADER = struct.Struct("<HII")


class MalformedMessage(RoboRewardError):
    """Raised for bytes that are not a message of the protocol."""


def parse_layout(fields: str, real: type[np.floating] = np.float64) -> np.dtype:
    """Returns the dtype of a record from a line of fields `name`, `name:COUNT`, `name:TYPE` or `name:TYPECOUNT`.

    Args:
        fields: the fields, separated by blanks; a field without a type holds reals.
        real: the type of a real.
    """
    kinds = {"u1": "<u1", "u2": "<u2", "u4": "<u4", "u8": "<u8", "i4": "<i4"}
    out = []
    for field in fields.split():
        name, _, kind = field.partition(":")
        if kind.startswith("?"):
            kind, count = "?", kind[1:]
        elif kind in kinds:
            kind, count = kinds[kind], ""
        else:
            kind, count = np.dtype(real).newbyteorder("<"), kind
        out.append((name, kind, (int(count),)) if count else (name, kind))
    return np.dtype(out)


@cache
def state_layout(version: ProtocolVersion) -> np.dtype:
    """Returns the dtype of a robot state, which is sent by UDP every millisecond."""
    reals = f"{_STATE} {_ACCELEROMETERS}" if version.accelerometers else _STATE
    parts = (
        parse_layout("message_id:u8"),
        parse_layout(reals, version.real),
        parse_layout(_MODES),
        parse_layout("control_command_success_rate", version.real),
    )
    return np.dtype([field for part in parts for field in part.descr])


@cache
def command_layout(version: ProtocolVersion) -> np.dtype:
    """Returns the dtype of a robot command, the client's answer to a state."""
    return parse_layout(f"{_COMMAND} torque_command_finished:?" if version.has_torque_finished else _COMMAND)


@cache
def request_layout(version: ProtocolVersion, command: str) -> np.dtype:
    """Returns the dtype of a request's body.

    Raises:
        UnknownName: the version has no such command.
    """
    if command not in version.commands:
        raise UnknownName(f"command of version {version.number}", command, version.commands)
    fields = _REQUESTS[command]
    return parse_layout(f"{fields} {_ASYNC}" if command == "Move" and version.has_async else fields)


def response_layout(command: str) -> np.dtype:
    """Returns the dtype of the fixed part of the answer to a request; models follow it as bytes."""
    return parse_layout(_RESPONSES.get(command, "status:u1"))


def gripper_request_layout(command: str) -> np.dtype:
    """Returns the dtype of the body of a request to the gripper.

    Raises:
        UnknownName: no such command.
    """
    if command not in _GRIPPER_REQUESTS:
        raise UnknownName("command of the gripper", command, _GRIPPER_REQUESTS)
    return parse_layout(_GRIPPER_REQUESTS[command])


def gripper_response_layout(command: str) -> np.dtype:
    """Returns the dtype of the answer to a request to the gripper."""
    return parse_layout("status:u2 version:u2" if command == "Connect" else "status:u2")


def gripper_state_layout() -> np.dtype:
    """Returns the dtype of a gripper state, which is sent by UDP."""
    return parse_layout(_GRIPPER_STATE)


def make_blank_record(dtype: np.dtype) -> np.ndarray:
    """Returns a record () of zeros."""
    return np.zeros((), dtype)


def encode_record(dtype: np.dtype, **values: object) -> bytes:
    """Returns the bytes of a record with these fields; all other fields are zero.

    Raises:
        UnknownName: a field the record does not have.
    """
    record = make_blank_record(dtype)
    for name, value in values.items():
        if name not in (dtype.names or ()):
            raise UnknownName("field", name, dtype.names or ())
        record[name] = value
    return record.tobytes()


def decode_record(dtype: np.dtype, data: bytes) -> np.ndarray:
    """Returns the record () at the start of `data`; further bytes are ignored.

    Raises:
        MalformedMessage: too few bytes.
    """
    if len(data) < dtype.itemsize:
        raise MalformedMessage(f"a message has {len(data)} bytes, expected {dtype.itemsize}")
    if not dtype.itemsize:
        return make_blank_record(dtype)
    return np.frombuffer(data, dtype, count=1)[0]


@dataclass(frozen=True)
class Framing:
    """The framing of requests and answers on TCP.

    Args:
        header: command number, identifier, total size.
        commands: names in the order of their numbers.
        peer: the name of the peer in error messages.
    """

    header: struct.Struct
    commands: tuple[str, ...]
    peer: str

    def pack_message(self, command: str, identifier: int, body: bytes) -> bytes:
        """Returns a whole message: header and body."""
        return self.header.pack(self.commands.index(command), identifier, self.header.size + len(body)) + body

    def unpack_header(self, data: bytes) -> tuple[str, int, int]:
        """Returns the command, the identifier and the size of the body.

        Raises:
            MalformedMessage: the header has an unknown command or an impossible size.
        """
        number, identifier, size = self.header.unpack(data)
        if number >= len(self.commands) or not self.header.size <= size <= 1 << 16:
            raise MalformedMessage(f"{self.peer}: no command has number {number} and size {size}")
        return self.commands[number], identifier, size - self.header.size


def robot_framing(version: ProtocolVersion) -> Framing:
    """Returns the framing on the robot's port."""
    return Framing(ROBOT_HEADER, version.commands, "robot")


def gripper_framing() -> Framing:
    """Returns the framing on the gripper's port."""
    return Framing(GRIPPER_HEADER, GRIPPER_COMMANDS, "gripper")
