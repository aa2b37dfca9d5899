"""Looks at clocks: a policy that falls silent and a camera that stands still make the arm hold, then stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from robo_reward.errors import UsageError
from robo_reward.hardware.safety import Verdict


class Alarm(NamedTuple):
    """What the clocks say.

    Attributes:
        verdict: go on, hold or stop.
        cause: why, in words.
    """

    verdict: Verdict
    cause: str = ""


class Watchdog:
    """The watchdog of one control loop; called from its thread only.

    Args:
        missed: so many control steps in a row without an action hold the arm ...
        silent: ... and so many seconds without one stop it [s].
        camera_age: a newest frame older than this holds the arm [s], and stops it after `silent` more.
        clock: [s]; frames are stamped by the same.

    Raises:
        UsageError: numbers that make no sense.
    """

    def __init__(
        self,
        missed: int = 3,
        silent: float = 0.75,
        camera_age: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if missed < 1 or not silent > 0 or not camera_age > 0:
            raise UsageError(f"missed={missed} silent={silent} camera_age={camera_age}: expected positive numbers")
        self._most, self._silent, self._camera_age, self._clock = missed, silent, camera_age, clock
        self._missed, self._answered = 0, 0.0
        self._frame: float | None = None

    def start(self) -> None:
        """An episode begins: nothing is overdue."""
        self._missed, self._answered, self._frame = 0, self._clock(), None

    def answered(self) -> None:
        """An action for this step is there."""
        self._missed, self._answered = 0, self._clock()

    def missed(self) -> None:
        """A control step passed without one."""
        self._missed += 1

    def frame(self, stamp: float) -> None:
        """The newest frame was taken at this time [s]."""
        self._frame = stamp

    def verdict(self) -> Alarm:
        """What follows, now."""
        now = self._clock()
        quiet = now - self._answered
        if self._missed and quiet >= self._silent:
            return Alarm(Verdict.STOP, f"the policy was silent for {quiet:.2f} s ({self._missed} control steps)")
        age = 0.0 if self._frame is None else now - self._frame
        if age >= self._camera_age + self._silent:
            return Alarm(Verdict.STOP, f"the newest camera frame is {age:.2f} s old")
        if self._missed >= self._most:
            return Alarm(Verdict.HOLD, f"{self._missed} control steps without an action")
        if age >= self._camera_age:
            return Alarm(Verdict.HOLD, f"the newest camera frame is {age:.2f} s old")
        return Alarm(Verdict.FOLLOW)
