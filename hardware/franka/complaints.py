"""From what a client library says to a fault with cause, remedy and kind: the same words, whichever library it was."""

from __future__ import annotations

import re

from robo_reward.hardware.robot import ArmFault, FaultKind

NAMES = re.compile(r'"([a-z_]+)"')
LOST = "communication_constraints_violation"
RETREAT = "look at the arm, free it if it is pressed against something, then confirm the recovery"
LATENCY = (
    "the computer was late or the network lost packets: close other programs, use a cable and a real-time kernel; "
    "`robo-reward doctor` measures both"
)
RELEASE = "release the user stop (pull the button until the lights are blue or green), then confirm"
DESK = (
    "switch the robot on, unlock its brakes in Desk and activate FCI; the address must be the robot's, reachable by a "
    "cable: `ping` it"
)
TIMEOUT = "check the cable and the robot's power; connect again afterwards"


def classified(error: Exception, host: str, connected: bool = True) -> ArmFault:
    """The fault behind an exception of franky or franka-rs.

    Args:
        error: as raised by the library.
        host: the robot's address, for messages.
        connected: whether the robot had been reached before.
    """
    if isinstance(error, ArmFault):
        return error
    text, kind = _text(error), type(error).__name__
    variant = str(getattr(error, "kind", "") or "")
    errors = tuple(getattr(error, "errors", ()) or ()) or tuple(NAMES.findall(text))
    if kind == "IncompatibleVersionException" or "Incompatible" in variant or "incompatible" in text.lower():
        return incompatible(text)
    if kind == "RealtimeException" or "realtime" in text.lower() or "SCHED_FIFO" in text:
        return no_realtime(text)
    if "user stop" in text.lower() or "user_stopped" in text.lower() or "userstopped" in text.lower():
        return user_stop()
    if LOST in text or LOST in errors:
        return ArmFault(
            f"the robot missed commands ({text})", LATENCY, True, FaultKind.COMMUNICATION, errors or (LOST,)
        )
    if "reflex" in text.lower() or (errors and kind == "ControlException"):
        return reflex(errors or ("reflex",))
    if kind == "NetworkException" or variant in ("Network", "Io", "Timeout", "Connection") or _network(text):
        if connected:
            return ArmFault(f"the connection to {host} was lost ({text})", TIMEOUT, True, FaultKind.COMMUNICATION)
        return unreachable(host, text)
    if "gripper" in kind.lower() or "gripper" in text.lower():
        return ArmFault(
            f"the gripper failed ({text})", "see that nothing jams it; home it in Desk", True, FaultKind.GRIPPER
        )
    if not connected:
        return unreachable(host, text)
    return ArmFault(f"the robot refused a command ({text})", RETREAT, True, FaultKind.CONTROL, errors)


def _text(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _network(text: str) -> bool:
    words = ("timeout", "timed out", "refused", "connection", "network", "unreachable", "reset by peer", "broken pipe")
    return any(word in text.lower() for word in words)


def incompatible(text: str) -> ArmFault:
    """The robot's software speaks another version of the protocol."""
    remedy = (
        "robot=fr3 is for an FR3 with system 5.9 or later, robot=panda for a Panda with system 4.2; update either side"
    )
    return ArmFault(f"the robot speaks another version ({text})", remedy, False, FaultKind.VERSION)


def no_realtime(text: str) -> ArmFault:
    """The computer's kernel gives no guarantees."""
    remedy = (
        "install a PREEMPT_RT kernel and let your user have real-time priority (docs/deploy.md), or accept a robot that "
        "stops when the computer is late: robot.realtime=ignore"
    )
    return ArmFault(f"this computer's kernel is not real-time ({text})", remedy, False, FaultKind.CONTROL)


def unreachable(host: str, text: str) -> ArmFault:
    """Nobody answers."""
    return ArmFault(f"no robot answers at {host} ({text})", DESK, False, FaultKind.UNREACHABLE)


def user_stop() -> ArmFault:
    """Somebody pressed the button."""
    return ArmFault("the user stop is pressed", RELEASE, False, FaultKind.USER_STOP, ("user_stop",))


def reflex(errors: tuple[str, ...]) -> ArmFault:
    """The robot stopped itself."""
    return ArmFault(f"the robot stopped itself ({', '.join(errors)})", RETREAT, True, FaultKind.REFLEX, errors)
