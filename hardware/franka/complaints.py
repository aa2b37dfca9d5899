"""From what a client library says to a fault with cause, remedy and kind: the same words, whichever library it was."""

from __future__ import annotations

import re

from robo_reward.hardware.explain import fault_of
from robo_reward.hardware.robot import ArmFault, FaultKind

NAMES = re.compile(r'"([a-z_]+)"')
LOST = "communication_constraints_violation"
REALTIME = (
    "Install a PREEMPT_RT kernel and let your user have real-time priority (docs/deploy.md), or accept a robot that "
    "stops when this computer is late: robot.realtime=ignore."
)
SEEN = (
    (("incompatible",), FaultKind.VERSION),
    (("user stop", "user_stopped", "userstopped"), FaultKind.USER_STOP),
    ((LOST,), FaultKind.COMMUNICATION),
    (("reflex",), FaultKind.REFLEX),
    (("gripper",), FaultKind.GRIPPER),
)
"""What in a message means which kind, the first that fits."""
NETWORK = ("timeout", "timed out", "refused", "connection", "network", "unreachable", "reset by peer", "broken pipe")


def classified(error: Exception, host: str, connected: bool = True) -> ArmFault:
    """The fault behind an exception of franky or franka-rs.

    Args:
        error: as raised by the library.
        host: the robot's address, for messages.
        connected: whether the robot had been reached before.
    """
    if isinstance(error, ArmFault):
        return error
    text = " ".join(str(error).split()) or type(error).__name__
    errors = tuple(getattr(error, "errors", ()) or ()) or tuple(NAMES.findall(text))
    if type(error).__name__ == "RealtimeException" or "realtime" in text.lower() or "SCHED_FIFO" in text:
        return ArmFault(f"this computer's kernel is not real-time ({text})", REALTIME, False, FaultKind.CONTROL)
    kind = _kind(type(error).__name__, text.lower(), errors, connected)
    return told(kind, text, host, errors if kind in (FaultKind.REFLEX, FaultKind.COMMUNICATION) else ())


def told(kind: FaultKind, text: str = "", host: str = "", errors: tuple[str, ...] = ()) -> ArmFault:
    """A fault in an operator's words, with those of the library.

    Args:
        kind: of the fault.
        text: what the library said.
        host: the robot's address.
        errors: the robot's own names.
    """
    known = [name for name in errors if name != "reflex"]
    fault = fault_of(kind, known, recoverable=kind not in (FaultKind.VERSION, FaultKind.UNREACHABLE))
    where = f", {host}" if kind is FaultKind.UNREACHABLE and host else ""
    why = f" ({text})" if text and not known and kind is not FaultKind.USER_STOP else ""
    return ArmFault(f"{fault.cause}{where}{why}", fault.remedy, fault.recoverable, kind, errors)


def _kind(name: str, text: str, errors: tuple[str, ...], connected: bool) -> FaultKind:
    for words, kind in SEEN:
        if any(word in text for word in words) or any(word in errors for word in words):
            return kind
    if name == "ControlException" and errors:
        return FaultKind.REFLEX
    if name == "NetworkException" or any(word in text for word in NETWORK) or not connected:
        return FaultKind.COMMUNICATION if connected else FaultKind.UNREACHABLE
    return FaultKind.CONTROL
