"""When the next command is due: by this computer's clock, by the robot's, or at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from robo_reward.errors import UnknownName

CLOCKS = ("wall", "robot", "none")
SLICE = 0.5e-3
"""How often the robot's clock is looked at [s]."""


class Pace(Protocol):
    """Paces the stream of commands."""

    def now(self) -> float:
        """The time by this clock [s]."""
        ...

    def start(self) -> None:
        """The first command is due now."""
        ...

    def left(self) -> float:
        """Until the next command is due [s], for whoever waits for something else meanwhile."""
        ...

    def wait(self) -> None:
        """Until the next command is due."""
        ...


class WallPace:
    """Commands at absolute times, so that a late one does not delay all others; time that was lost is not caught up.

    Args:
        period: between commands [s].
    """

    def __init__(self, period: float) -> None:
        self._period, self._due = period, 0.0

    def now(self) -> float:
        return time.monotonic()

    def start(self) -> None:
        self._due = time.monotonic() + self._period

    def left(self) -> float:
        return self._due - time.monotonic()

    def wait(self) -> None:
        left = self.left()
        if left > 0:
            time.sleep(left)
        self._due = max(self._due, time.monotonic() - self._period) + self._period


class RobotPace:
    """The robot's own time: for an emulator that runs in lock-step, faster or slower than the world.

    Args:
        period: between commands [s].
        robot_time: reads it [s].
        patience: how long the robot's clock may stand still [s].
    """

    def __init__(self, period: float, robot_time: Callable[[], float], patience: float = 1.0) -> None:
        self._period, self._robot_time, self._patience = period, robot_time, patience
        self._due, self._last = 0.0, 0.0

    def now(self) -> float:
        self._last = self._robot_time()
        return self._last

    def start(self) -> None:
        self._due = self.now() + self._period

    def left(self) -> float:
        return min(self._due - self.now(), 2e-3)

    def wait(self) -> None:
        begun = time.monotonic()
        while self.now() < self._due - 1e-6 and time.monotonic() - begun < self._patience:
            time.sleep(SLICE)
        self._due = max(self._due, self._last - self._period) + self._period


class StepPace:
    """No waiting: time is what the commands make of it, as in a simulation that they step.

    Args:
        period: between commands [s].
        patience: how long a policy may think [s]; nothing moves meanwhile.
    """

    def __init__(self, period: float, patience: float = 10.0) -> None:
        self._period, self._patience, self._time = period, patience, 0.0

    def now(self) -> float:
        return self._time

    def start(self) -> None:
        self._time = 0.0

    def left(self) -> float:
        return self._patience

    def wait(self) -> None:
        self._time += self._period


def make_pace(clock: str, period: float, robot_time: Callable[[], float]) -> Pace:
    """The clock of that name.

    Raises:
        UnknownName: none of `CLOCKS`.
    """
    if clock == "wall":
        return WallPace(period)
    if clock == "robot":
        return RobotPace(period, robot_time)
    if clock == "none":
        return StepPace(period)
    raise UnknownName("clock", clock, CLOCKS)
