"""The behavior of the emulated hand: ideal, or as users report of real hands."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from robo_reward.errors import UsageError

LONGEST = 600.0
"""Largest value of any time in `HandBehavior` [s]."""


@dataclass(frozen=True)
class HandBehavior:
    """Deviations of the emulated hand from an ideal one; none by default.

    Reported of real hands: a `move` that is blocked returns after some 100 s (franka_ros#281), `stop` waits or
    does nothing (libfranka#28, #52, #111), a command takes a second (libfranka#18, #151, franka_ros2#100), and before
    homing the widest opening is 0 (franka_ros#276).

    Args:
        blocked_move_hangs: a `Move` that meets an object is answered this long after its start [s], or when the object
            is gone and the fingers have arrived; 0 for immediately.
        stop_waits: whether `Stop`, and any other command, waits for the one that runs instead of ending it.
        command_delay: from a command's arrival to its first motion [s].
        needs_homing: whether the hand reports a widest opening of 0 and fails to move or grasp until it was homed.

    Raises:
        UsageError: a time that is negative, not finite or above ten minutes.
    """

    blocked_move_hangs: float = 0.0
    stop_waits: bool = False
    command_delay: float = 0.0
    needs_homing: bool = False

    def __post_init__(self) -> None:
        for name in ("blocked_move_hangs", "command_delay"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and isfinite(value) and 0 <= value <= LONGEST):
                raise UsageError(f"hand.{name}={value}: expected a number from 0 to {LONGEST:g}, in seconds")


REPORTED = HandBehavior(blocked_move_hangs=100.0, stop_waits=True, command_delay=0.5)
"""A homed hand that behaves as users report."""
