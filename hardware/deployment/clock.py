"""Clocks of the command stream: by this computer's time, by the robot's time, or without waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from robo_reward.errors import UnknownName

CLOCKS = ("wall", "robot", "none")
POLL_PERIOD = 0.5e-3
"""Polling interval of the robot's clock [s]."""


class StreamClock(Protocol):
    """Times the stream of commands."""

    def read_time(self) -> float:
        """Returns the time by this clock [s]."""
        ...

    def start(self) -> None:
        """Starts the clock; the first command is due now."""
        ...

    def time_until_next(self) -> float:
        """Returns the time until the next command is due [s], for use as a timeout."""
        ...

    def wait_until_next(self) -> None:
        """Waits until the next command is due."""
        ...


class WallClock:
    """Clock with commands at absolute times, so that a late one does not delay all others.

    Time that was lost is not caught up.

    Args:
        period: between commands [s].
    """

    def __init__(self, period: float) -> None:
        self._period, self._due = period, 0.0

    def read_time(self) -> float:
        return time.monotonic()

    def start(self) -> None:
        self._due = time.monotonic() + self._period

    def time_until_next(self) -> float:
        return self._due - time.monotonic()

    def wait_until_next(self) -> None:
        left = self.time_until_next()
        if left > 0:
            time.sleep(left)
        # After a delay the next command is due at most one period late: lost time is not caught up.
        self._due = max(self._due, time.monotonic() - self._period) + self._period


class RobotClock:
    """Clock of the robot's own time, for an emulator that runs in lock-step, faster or slower than real time.

    Args:
        period: between commands [s].
        robot_time: reads the robot's time [s].
        patience: how long the robot's clock may stand still [s].
    """

    def __init__(self, period: float, robot_time: Callable[[], float], patience: float = 1.0) -> None:
        self._period, self._robot_time, self._patience = period, robot_time, patience
        self._due, self._last = 0.0, 0.0

    def read_time(self) -> float:
        self._last = self._robot_time()
        return self._last

    def start(self) -> None:
        self._due = self.read_time() + self._period

    def time_until_next(self) -> float:
        # Robot time may run slower or faster than wall time, so the timeout is limited to 2 ms.
        return min(self._due - self.read_time(), 2e-3)

    def wait_until_next(self) -> None:
        begun = time.monotonic()
        # `patience` counts wall time, in case the robot's clock has stopped; 1e-6 s absorbs rounding.
        while self.read_time() < self._due - 1e-6 and time.monotonic() - begun < self._patience:
            time.sleep(POLL_PERIOD)
        self._due = max(self._due, self._last - self._period) + self._period


class SteppedClock:
    """Clock without waiting: its time advances with the commands, as in a simulation that they step.

    Args:
        period: between commands [s].
        patience: how long a policy may think [s]; nothing moves meanwhile.
    """

    def __init__(self, period: float, patience: float = 10.0) -> None:
        self._period, self._patience, self._time = period, patience, 0.0

    def read_time(self) -> float:
        return self._time

    def start(self) -> None:
        self._time = 0.0

    def time_until_next(self) -> float:
        return self._patience

    def wait_until_next(self) -> None:
        self._time += self._period


def make_stream_clock(clock: str, period: float, robot_time: Callable[[], float]) -> StreamClock:
    """Returns the stream clock of that name.

    Raises:
        UnknownName: the name is not in `CLOCKS`.
    """
    if clock == "wall":
        return WallClock(period)
    if clock == "robot":
        return RobotClock(period, robot_time)
    if clock == "none":
        return SteppedClock(period)
    raise UnknownName("clock", clock, CLOCKS)
