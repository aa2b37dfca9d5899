"""Texts of libfranka 0.21, franky 2.0 and franka-rs 0.4, as in their sources and libraries, and what they mean."""

import pytest

from robo_reward.hardware.arm import ArmFault, FaultKind
from robo_reward.hardware.drivers.franka.errors import classify_error
from robo_reward.hardware.safety.fault_messages import ERRORS

CONTROL, REFLEX, USER_STOP, VERSION = FaultKind.CONTROL, FaultKind.REFLEX, FaultKind.USER_STOP, FaultKind.VERSION
LOST, NOBODY, GRIPPER = FaultKind.COMMUNICATION, FaultKind.UNREACHABLE, FaultKind.GRIPPER
SAFETY = " due to activated safety function! Please disable all safety functions."
TEXTS = [
    (f"libfranka: Move command rejected{SAFETY}", CONTROL, "Watchman", "responsible"),
    (f"libfranka: Move command preempted{SAFETY}", CONTROL, "Watchman", "responsible"),
    (f"libfranka: Set Collision Behavior command rejected{SAFETY} ", CONTROL, "Watchman", "responsible"),
    (f"libfranka: Get Robot Model command rejected{SAFETY}", CONTROL, "Watchman", "responsible"),
    (f"libfranka: Automatic Error Recovery command rejected{SAFETY}", CONTROL, "Watchman", "responsible"),
    (
        "libfranka: Automatic Error Recovery command rejected: manual error recovery required!",
        CONTROL, "recovered in Desk", "recovery that Desk offers",
    ),
    ("libfranka: Move command rejected: cannot start at singular pose!", CONTROL, "stretched", "Guide the arm"),
    ("libfranka: Move command rejected: maximum path deviation out of range!", CONTROL, "number", "compliance"),
    ("libfranka: Set Collision Behavior command rejected: invalid argument!", CONTROL, "number", "compliance"),
    ("libfranka: Move command aborted: invalid input provided!", CONTROL, "number", "report it"),
    (
        "libfranka: Move command rejected: command not possible in the current mode (Other)! Did you open the brakes?",
        CONTROL, "brakes", "Unlock the brakes",
    ),
    (
        "libfranka: Move command rejected: command not possible in the current mode (Guiding)!",
        CONTROL, "guided by hand", "Let go",
    ),
    (
        "libfranka: Move command rejected: command not possible in the current mode (User stopped)!",
        USER_STOP, "user stop", "release the user stop",
    ),
    (
        "libfranka: Move command rejected: command not possible in the current mode (Reflex)!",
        REFLEX, "stopped itself", "Look at the arm",
    ),
    ("libfranka: Move command aborted: User Stop pressed!", USER_STOP, "user stop", "release the user stop"),
    (
        'libfranka: Move command aborted: motion aborted by reflex! ["cartesian_reflex"]\n'
        "control_command_success_rate: 0.99",
        REFLEX, "collision threshold (cartesian_reflex)", "Look at the arm",
    ),
    (
        'libfranka: Move command aborted: motion aborted by reflex! ["communication_constraints_violation"]\n'
        "control_command_success_rate: 0.4 packets lost in a row in the last sample: 20",
        LOST, "missed 20 commands", "Close other programs",
    ),
    ("libfranka: Move command preempted!", CONTROL, "another command", "Desk's included"),
    (
        "libfranka robot: Cannot perform this operation while another control or read operation is running.",
        CONTROL, "another command", "Close other programs",
    ),
    ("libfranka robot: Attempted to start multiple motions!", CONTROL, "another command", "Close other programs"),
    ("Motion finished commanded, but the robot is still moving!", CONTROL, "ended too early", "Look at the arm"),
    (
        "franka target control: the control loop has ended; stop() returns its result.",
        CONTROL, "ended too early", "Look at the arm",
    ),
    (
        "libfranka: Unexpected response while handling Get Robot Model command!",
        VERSION, "does not know", "system version",
    ),
    ("libfranka: Protocol error during connection attempt", VERSION, "does not know", "system version"),
    ("libfranka: Incorrect TCP message size.", VERSION, "does not know", "system version"),
    (
        "libfranka: Incompatible library version (server version: 4, library version: 10). Please check "
        "https://frankarobotics.github.io for system updates or choose a libfranka version that uses the server "
        "version 4",
        VERSION, "server version 4, this library's is 5)", "4.2.1",
    ),
    ("Net Exception", LOST, "were lost", "cable"),
    ("libfranka: UDP receive: Timeout", LOST, "were lost", "cable"),
    ("libfranka: could not send UDP data", LOST, "were lost", "cable"),
    ("libfranka: TCP connection got interrupted.", LOST, "were lost", "cable"),
    ("libfranka: TCP receive: Connection reset by peer", LOST, "were lost", "cable"),
    ("libfranka: server closed connection", LOST, "were lost", "cable"),
    ("libfranka gripper: Command failed!", GRIPPER, "gripper did not", "home it"),
    ("libfranka gripper: Command aborted!", GRIPPER, "gripper did not", "home it"),
    ("libfranka gripper: Unexpected response while handling command!", GRIPPER, "gripper did not", "home it"),
    ("libfranka: Running kernel does not have realtime capabilities.", CONTROL, "not real-time", "PREEMPT_RT"),
    (
        "libfranka: unable to set realtime scheduling: Operation not permitted",
        CONTROL, "not real-time", "real-time priority",
    ),
    ("a sentence of a library to come", CONTROL, "refused a command", "Read the message in Desk"),
]  # fmt: skip
"""Text, kind, and words of the cause and of the remedy while the connection stands."""
CONNECTING = [
    (
        "libfranka: Connection to FCI refused. Please install FCI feature or enable FCI mode in Desk.",
        NOBODY, "FCI is refused, 10.0.0.9", "activate FCI",
    ),
    (
        "libfranka: Connection timeout. Please check your network connection or settings.",
        NOBODY, "no robot answers at this address, 10.0.0.9", "ping",
    ),
    ("libfranka: Connection error: Host not found", NOBODY, "no robot answers at this address", "ping"),
    ("Net Exception", NOBODY, "no robot answers at this address", "ping"),
    ("a sentence of a library to come", CONTROL, "was reached and could not be set up", "Restart the robot"),
]  # fmt: skip


class NetworkException(Exception):
    """franky's, by name."""


@pytest.mark.parametrize(("text", "kind", "cause", "remedy"), TEXTS)
def test_what_the_libraries_say_is_told_with_the_right_cause_and_remedy(
    text: str, kind: FaultKind, cause: str, remedy: str
) -> None:
    fault = classify_error(RuntimeError(text), "10.0.0.9", speaks=5)
    assert fault.kind is kind and cause in fault.cause and remedy in fault.remedy
    assert fault.recoverable == (kind not in (VERSION, NOBODY) and "real-time" not in fault.cause)
    assert ("onfirm" in fault.remedy) or kind in (LOST, VERSION) or not fault.recoverable or "to come" in text


@pytest.mark.parametrize(
    ("text", "kind", "cause", "remedy"), [case for case in TEXTS if case[1] is not LOST and "to come" not in case[0]]
    + CONNECTING,
)  # fmt: skip
def test_on_connect_nothing_but_a_dead_address_is_told_as_one(
    text: str, kind: FaultKind, cause: str, remedy: str
) -> None:
    fault = classify_error(RuntimeError(text), "10.0.0.9", connected=False, first=True, speaks=5)
    assert fault.kind is kind and cause in fault.cause and remedy in fault.remedy
    assert "confirm" not in fault.remedy, "nothing runs yet that somebody could confirm to go on"


def test_an_exception_of_the_network_is_one_whatever_it_says() -> None:
    assert classify_error(NetworkException("Rien ne va plus"), "h").kind is LOST
    assert classify_error(NetworkException("Rien ne va plus"), "h", connected=False).kind is NOBODY
    fault = ArmFault("a", "b", True, REFLEX)
    assert classify_error(fault, "h") is fault


def test_names_that_the_libraries_spell_differently_are_one() -> None:
    flags = '"tau_J_range_violation", "cartesian_position_motion_generator_invalid_frame_flag"'
    fault = classify_error(RuntimeError(f"libfranka: Move command aborted: motion aborted by reflex! [{flags}]"), "h")
    assert all(name in ERRORS for name in fault.errors) and len(fault.errors) == 2


@pytest.mark.parametrize("name", ERRORS)
def test_every_flag_of_a_reflex_is_named_with_its_own_words(name: str) -> None:
    fault = classify_error(RuntimeError(f'libfranka: Move command aborted: motion aborted by reflex! ["{name}"]'), "h")
    lost = name == "communication_constraints_violation"
    assert fault.kind is (LOST if lost else REFLEX) and ERRORS[name].cause in fault.cause and fault.errors == (name,)
    assert "then start again" not in fault.remedy.lower()


@pytest.mark.parametrize("connected", [True, False])
def test_nobody_is_told_to_switch_a_safety_rule_off(connected: bool) -> None:
    fault = classify_error(RuntimeError(f"libfranka: Move command rejected{SAFETY}"), "h", connected, not connected)
    said = str(fault).lower()
    assert not any(word in said for word in ("switch off", "disable", "delete", "deactivate"))
    assert "leave the protected space" in said
