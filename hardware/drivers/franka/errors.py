"""Translates errors of the client libraries into uniform faults with cause, remedy and kind."""

from __future__ import annotations

import re
from typing import NamedTuple

from robo_reward.hardware.arm import ArmFault, FaultKind
from robo_reward.hardware.safety.fault_messages import FREE, GUIDED, LOCKED, START, SUPPORT, Explanation, make_fault

ADVICE = re.compile(r"\s*please disable all safety functions\.?", re.IGNORECASE)
"""Advice of a library to disable safety functions; removed from messages, so that no operator follows it."""
NAMES = re.compile(r'"([A-Za-z0-9_]+)"')
LOST = "communication_constraints_violation"
REALTIME = (
    "Install a PREEMPT_RT kernel and let your user have real-time priority (docs/deploy.md), or accept a robot that "
    "stops when this computer is late: robot.realtime=ignore."
)
BUSY = "Close other programs that command this robot, Desk's included; then confirm"


class ErrorPattern(NamedTuple):
    """Meaning of an error text of a library.

    Attributes:
        pattern: regular expression for the text in lower case.
        kind: of the fault.
        words: cause and remedy, where those of the kind do not fit.
    """

    pattern: str
    kind: FaultKind
    words: Explanation | None = None


ERROR_PATTERNS = (
    ErrorPattern(r"gripper", FaultKind.GRIPPER),
    ErrorPattern(r"incompatible", FaultKind.VERSION),
    ErrorPattern(
        r"unexpected (response|reply)|protocol error|incorrect (tcp message|object) size|unexpected motion started",
        FaultKind.VERSION,
        Explanation(
            "the robot sent an answer that this library does not know",
            "Compare the robot's system version with `robo-reward doctor`; update the robot, or install the "
            "library for it",
        ),
    ),
    ErrorPattern(
        r"safety function",
        FaultKind.CONTROL,
        Explanation(
            "a safety rule of the robot is active (Watchman in Desk)",
            "Leave the protected space or end its cause; only the person responsible for the cell may change the rule; "
            "then confirm",
        ),
    ),
    ErrorPattern(
        r"manual error recovery",
        FaultKind.CONTROL,
        Explanation(
            "the robot must be recovered in Desk",
            "Follow the recovery that Desk offers, such as for a joint beyond its end; then confirm",
        ),
    ),
    ErrorPattern(r"user.?stop", FaultKind.USER_STOP),
    ErrorPattern(LOST, FaultKind.COMMUNICATION),
    ErrorPattern(r"open the brakes", FaultKind.CONTROL, LOCKED),
    ErrorPattern(r"current mode \(guiding\)", FaultKind.CONTROL, GUIDED),
    ErrorPattern(r"reflex", FaultKind.REFLEX),
    ErrorPattern(
        r"singular pose", FaultKind.CONTROL, Explanation("the arm is too stretched or folded for this command", START)
    ),
    ErrorPattern(
        r"fci refused|enable fci",
        FaultKind.UNREACHABLE,
        Explanation(
            "the connection for FCI is refused",
            "Check the address (`ping`); activate FCI in Desk (the feature must be installed) and unlock the brakes",
        ),
    ),
    ErrorPattern(
        r"invalid argument|out of range|invalid input",
        FaultKind.CONTROL,
        Explanation(
            "the robot refused a number that it was given",
            "Compare robot.compliance with its defaults; then confirm. If they are, report it with the text",
        ),
    ),
    ErrorPattern(
        r"preempted|another control or read operation|multiple motions",
        FaultKind.CONTROL,
        Explanation("another command replaced the one of this program", BUSY),
    ),
    ErrorPattern(
        r"still moving|loop (has )?ended|no controller running|no motion generator running|thread panicked",
        FaultKind.CONTROL,
        Explanation("the motion ended too early", FREE),
    ),
    ErrorPattern(
        r"net exception|tim(ed ?|e)out|refused|connection|network|unreachable|reset by peer|broken pipe|hung up"
        r"|host not found|(tcp|udp) (send|receive)|send udp|no route",
        FaultKind.COMMUNICATION,
    ),
)
"""Patterns of error texts and their faults; the first match counts. See `tests/hardware/drivers/test_errors.py`."""

SET_UP = Explanation("the robot was reached and could not be set up", SUPPORT)


def classify_error(
    error: Exception, host: str, connected: bool = True, first: bool = False, speaks: int | None = None
) -> ArmFault:
    """Returns the fault behind an exception of franky or franka-rs.

    Args:
        error: as raised by the library.
        host: the robot's address, for messages.
        connected: whether the connection was made; false while connecting.
        first: whether nothing runs yet that a confirmation could continue.
        speaks: the version of the protocol that the driver's library speaks.
    """
    if isinstance(error, ArmFault):
        return error
    name, text = type(error).__name__, ADVICE.sub("", " ".join(str(error).split())) or type(error).__name__
    errors = tuple(map(normalize_error_name, getattr(error, "errors", ()) or NAMES.findall(text)))
    if name == "RealtimeException" or "realtime" in text.lower() or "SCHED_FIFO" in text:
        return ArmFault(f"this computer's kernel is not real-time ({text})", REALTIME, False, FaultKind.CONTROL)
    kind, words = _match_pattern(name, text.lower(), errors, connected)
    if kind is FaultKind.VERSION and (found := re.search(r"server version:? (\d+)", text)):
        text = f"server version {found[1]}" + (f", this library's is {speaks}" if speaks else "")
    known = errors if kind in (FaultKind.REFLEX, FaultKind.COMMUNICATION) else ()
    fault = (
        make_library_fault(kind, text, host, known) if words is None else _make_explained_fault(words, kind, text, host)
    )
    if first:
        remedy = re.sub(r"(then|Then) confirm( the recovery)?", r"\1 start again", fault.remedy)
        return ArmFault(fault.cause, remedy, fault.recoverable, kind, fault.errors)
    return fault


def normalize_error_name(name: str) -> str:
    """Returns the name of an error as in `fault_messages.ERRORS`: the libraries differ in capitals and one ending."""
    return name.lower().removesuffix("_flag")


def make_library_fault(kind: FaultKind, text: str = "", host: str = "", errors: tuple[str, ...] = ()) -> ArmFault:
    """Returns a fault with an operator's message and the library's text.

    Args:
        kind: of the fault.
        text: the library's error text.
        host: the robot's address.
        errors: the robot's own names.
    """
    known = [name for name in errors if name != "reflex"]
    fault = make_fault(kind, known, recoverable=kind not in (FaultKind.VERSION, FaultKind.UNREACHABLE))
    where = f", {host}" if kind is FaultKind.UNREACHABLE and host else ""
    why = f" ({text})" if text and not known and kind is not FaultKind.USER_STOP else ""
    return ArmFault(f"{fault.cause}{where}{why}", fault.remedy, fault.recoverable, kind, errors)


def make_hand_lost_fault(text: str, tried: bool = False) -> ArmFault:
    """Returns the fault of a gripper whose connection broke.

    Args:
        text: the library's error text.
        tried: whether reconnecting failed, so that a person must look.
    """
    if not tried:
        cause = f"the connection to the gripper was lost ({text})"
        return ArmFault(cause, "It is re-established before anything moves.", True, FaultKind.COMMUNICATION)
    cause = f"the gripper does not answer ({text})"
    remedy = "Without a hand give robot.gripper=false; else check its plug and that Desk shows the hand as ready."
    return ArmFault(cause, remedy, True, FaultKind.GRIPPER)


def _make_explained_fault(words: Explanation, kind: FaultKind, text: str, host: str) -> ArmFault:
    recoverable = kind not in (FaultKind.VERSION, FaultKind.UNREACHABLE)
    where = f", {host}" if kind is FaultKind.UNREACHABLE and host else ""
    return ArmFault(f"{words.cause}{where} ({text})", f"{words.remedy}.", recoverable, kind)


def _match_pattern(
    name: str, text: str, errors: tuple[str, ...], connected: bool
) -> tuple[FaultKind, Explanation | None]:
    for pattern, kind, words in ERROR_PATTERNS:
        if re.search(pattern, text) or any(re.search(pattern, error) for error in errors):
            nobody = kind is FaultKind.COMMUNICATION and not connected and pattern != LOST
            return (FaultKind.UNREACHABLE if nobody else kind), words
    if name == "ControlException" and errors:
        return FaultKind.REFLEX, None
    if name == "NetworkException":
        return (FaultKind.COMMUNICATION if connected else FaultKind.UNREACHABLE), None
    return FaultKind.CONTROL, None if connected else SET_UP
