"""Sizes and offsets as published by libfranka's headers; every message survives the wire."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo_reward.errors import UnknownName
from robo_reward.hardware.emulator.robot.reflex import ERRORS, error_flags
from robo_reward.hardware.emulator.wire.codec import (
    MalformedMessage,
    command_layout,
    decode_record,
    encode_record,
    gripper_framing,
    gripper_request_layout,
    gripper_response_layout,
    gripper_state_layout,
    request_layout,
    response_layout,
    robot_framing,
    state_layout,
)
from robo_reward.hardware.emulator.wire.versions import GRIPPER_COMMANDS, VERSIONS, get_protocol_version

V5, V10 = VERSIONS[5], VERSIONS[10]
OFFSETS = {  # as the compiler lays out libfranka's packed structs
    5: {"message_id": 0, "tau_J": 1016, "q": 1184, "motion_generator_mode": 2280, "errors": 2282, "robot_mode": 2364,
        "control_command_success_rate": 2365},
    10: {"message_id": 0, "O_T_EE": 8, "m_ee": 392, "I_ee": 396, "F_x_Cee": 432, "m_load": 444, "elbow": 496,
         "tau_J": 512, "dtau_J": 568, "q": 596, "q_d": 624, "dq": 652, "dq_d": 680, "ddq_d": 708, "joint_contact": 736,
         "cartesian_collision": 816, "tau_ext_hat_filtered": 840, "O_F_ext_hat_K": 868, "O_ddP_O": 940, "elbow_c": 952,
         "O_T_EE_c": 976, "O_ddP_EE_c": 1064, "theta": 1088, "accelerometer_top": 1144, "accelerometer_bottom": 1216,
         "motion_generator_mode": 1288, "controller_mode": 1289, "errors": 1290, "reflex_reason": 1331,
         "robot_mode": 1372, "control_command_success_rate": 1373},
}  # fmt: skip
COMMAND_OFFSETS = {"message_id": 0, "q_c": 8, "dq_c": 64, "O_T_EE_c": 120, "O_dP_EE_c": 248, "elbow_c": 296,
                   "valid_elbow": 312, "motion_generation_finished": 313, "tau_J_d": 314}  # fmt: skip


def offsets(dtype):
    """Where each field begins."""
    return {name: place[1] for name, place in dict(dtype.fields or {}).items()}


def test_sizes_are_the_published_ones():
    assert [state_layout(v).itemsize for v in (V5, V10)] == [2373, 1377]
    assert [command_layout(v).itemsize for v in (V5, V10)] == [370, 371]
    assert [request_layout(v, "Move").itemsize for v in (V5, V10)] == [56, 113]
    assert {request_layout(v, "SetCollisionBehavior").itemsize for v in (V5, V10)} == {416}
    assert gripper_state_layout().itemsize == 23
    assert robot_framing(V5).header.size == 12
    assert gripper_framing().header.size == 10
    assert request_layout(V10, "Connect").itemsize + 12 == 16
    assert response_layout("Connect").itemsize + 12 == 15
    assert gripper_response_layout("Connect").itemsize + 10 == 14
    assert request_layout(V5, "SetLoad").itemsize == 13 * 8
    assert len(ERRORS) == 41


@pytest.mark.parametrize("number", [5, 10])
def test_offsets_are_the_published_ones(number):
    state, command = offsets(state_layout(VERSIONS[number])), offsets(command_layout(VERSIONS[number]))
    assert {name: state[name] for name in OFFSETS[number]} == OFFSETS[number]
    assert {name: command[name] for name in COMMAND_OFFSETS} == COMMAND_OFFSETS
    assert number == 5 or command["torque_command_finished"] == 370
    assert number == 5 or offsets(request_layout(V10, "Move"))["maximum_velocity"] == 57


def test_command_numbers_are_the_published_ones():
    assert V5.commands.index("AutomaticErrorRecovery") == 12
    assert V5.commands.index("LoadModelLibrary") == 13
    assert V10.commands.index("AutomaticErrorRecovery") == 10
    assert V10.commands.index("GetRobotModel") == 11
    assert V10.status_code("Move", "reflex_aborted") == 8
    assert V10.status_code("Move", "emergency_aborted") == 9
    assert V5.status_code("Move", "reflex_aborted") == 6
    assert ERRORS.index("communication_constraints_violation") == 25
    assert ERRORS.index("tau_j_range_violation") == 34


MESSAGES = [
    *((f"state {v.number}", state_layout(v)) for v in (V5, V10)),
    *((f"command {v.number}", command_layout(v)) for v in (V5, V10)),
    *((f"{c} {v.number}", request_layout(v, c)) for v in (V5, V10) for c in v.commands),
    *((f"answer {c}", response_layout(c)) for c in V5.commands),
    *((f"gripper {c}", gripper_request_layout(c)) for c in GRIPPER_COMMANDS),
    ("gripper state", gripper_state_layout()),
]


@pytest.mark.parametrize(("name", "dtype"), MESSAGES, ids=[name for name, _ in MESSAGES])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_every_message_survives_the_wire(name, dtype, seed):
    rng, values = np.random.default_rng(seed), {}
    for field in dtype.names or ():
        kind = dtype[field]
        if kind.base.kind == "b":
            values[field] = rng.random(kind.shape) < 0.5
        else:
            bits = rng.bytes(max(kind.itemsize, 1))
            values[field] = np.nan_to_num(np.frombuffer(bits, kind.base).reshape(kind.shape))
    wire = encode_record(dtype, **values)
    assert len(wire) == dtype.itemsize
    back = decode_record(dtype, wire + b"more")
    for field, value in values.items():
        assert np.array_equal(back[field], value)


@given(st.sampled_from(V10.commands), st.integers(0, 2**32 - 1), st.binary(max_size=200))
def test_frames_say_what_they_hold(command, identifier, body):
    framing = robot_framing(V10)
    wire = framing.pack_message(command, identifier, body)
    assert framing.unpack_header(wire[:12]) == (command, identifier, len(body))
    assert int.from_bytes(wire[8:12], "little") == len(wire)  # the size counts the header


@given(st.binary(min_size=12, max_size=12))
def test_noise_is_no_frame_or_a_known_one(head):
    try:
        command, _, size = robot_framing(V10).unpack_header(head)
    except MalformedMessage:
        return
    assert command in V10.commands and 0 <= size < 1 << 16


def test_what_does_not_exist_is_refused_by_name():
    with pytest.raises(UnknownName, match="GetRobotModel"):
        request_layout(V5, "GetRobotModel")
    with pytest.raises(UnknownName, match="or 'q'"):
        encode_record(state_layout(V10), q_=0)
    with pytest.raises(MalformedMessage, match="370 bytes, expected 371"):
        decode_record(command_layout(V10), bytes(370))
    with pytest.raises(UnknownName, match="'7'"):
        get_protocol_version(7)
    with pytest.raises(UnknownName, match="joint_reflex"):
        error_flags(["joint_reflx"])
