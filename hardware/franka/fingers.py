"""The gripper of a Franka, which blocks while it moves: in a thread of its own, told the newest wish only."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from robo_reward.hardware.robot import ArmFault

log = logging.getLogger(__name__)
STEP = 0.003
"""A target must move by this much in one direction before it counts as opening or closing [m]."""
STEADY = 4
"""So many equal targets in a row count as a width that is meant."""
OPEN_ENOUGH = 0.006
"""How far the fingers may stand from a steady target before they are sent there [m]."""


class Client(Protocol):
    """What the hand's client library can do; every call blocks until the fingers are there."""

    def width(self) -> float:
        """Opening between the fingers [m]."""
        ...

    def move(self, width: float, speed: float) -> None:
        """Moves the fingers [m], [m/s]."""
        ...

    def grasp(self, speed: float, force: float) -> None:
        """Closes until something is held [m/s], [N]."""
        ...

    def halt(self) -> None:
        """Ends a running `move` or `grasp`; called from another thread."""
        ...


@dataclass(frozen=True)
class Wish:
    """What the fingers shall do.

    Args:
        width: opening [m].
        force: none to move there, else to close until something is held with that force [N].
    """

    width: float
    force: float | None = None


class Intent:
    """Reads from a stream of widths what is meant: a policy's targets creep, a hand moves or grasps in one go.

    Falling targets mean closing, rising ones opening, both as far as it goes; a target that then stays where it is
    while the fingers are elsewhere means that width. What is held, because the fingers stopped above the target, is held on.

    Args:
        widest: opening of the open hand [m].
        force: to grasp with [N].
    """

    def __init__(self, widest: float = 0.08, force: float = 20.0) -> None:
        self.widest, self.force = widest, force
        self._last: float | None = None
        self._extreme, self._steady = 0.0, 0
        self._direction = 0

    def reset(self) -> None:
        """Forgets everything: the next target starts anew."""
        self._last, self._direction, self._steady = None, 0, 0

    def update(self, target: float, measured: float) -> Wish | None:
        """The wish that a new target [m] brings, or none if what the fingers do is what is meant.

        Args:
            target: streamed opening [m].
            measured: of the fingers now [m].
        """
        if self._last is None:
            self._last = self._extreme = target
            return None
        self._steady = self._steady + 1 if abs(target - self._last) < 1e-6 else 0
        self._last = target
        before = self._direction
        if target <= self._extreme - STEP:
            self._direction, self._extreme = -1, target
        elif target >= self._extreme + STEP:
            self._direction, self._extreme = 1, target
        elif (target - self._extreme) * self._direction > 0:
            self._extreme = target
        if self._direction != before:
            return Wish(0.0, self.force) if self._direction < 0 else Wish(self.widest)
        if self._steady == STEADY:
            return self._settled(target, measured)
        return None

    def _settled(self, target: float, measured: float) -> Wish | None:
        """A target that stays: nothing to do at either end, or while something is held above it."""
        at_end = target <= OPEN_ENOUGH or target >= self.widest - OPEN_ENOUGH
        holding = self._direction < 0 and measured > target
        if at_end or holding or abs(measured - target) <= OPEN_ENOUGH:
            return None
        self._direction = 0
        return Wish(target)


class Fingers:
    """Carries out the newest wish in a thread of its own; an older one that is still running is ended.

    Args:
        client: of the hand.
        fault: turns the library's exception into an `ArmFault`.
        speed: of the opening [m/s].
        poll: how often the width is read while nothing moves [s].
    """

    def __init__(
        self, client: Client, fault: Callable[[Exception], ArmFault], speed: float = 0.1, poll: float = 0.02
    ) -> None:
        self._client, self._fault, self._speed, self._poll = client, fault, speed, poll
        self._wish: tuple[Wish, float] | None = None
        self._problem: ArmFault | None = None
        self._news = threading.Condition()
        self._busy = self._closing = False
        self.width = client.width()
        self._thread = threading.Thread(target=self._run, name="fingers", daemon=True)
        self._watch = threading.Thread(target=self._measure, name="finger-width", daemon=True)
        self._thread.start()
        self._watch.start()

    def do(self, wish: Wish, speed: float | None = None) -> None:
        """Takes a wish and returns at once.

        Raises:
            ArmFault: an earlier wish failed; told once.
        """
        self.check()
        with self._news:
            self._wish = (wish, speed or self._speed)
            busy = self._busy
            self._news.notify_all()
        if busy:
            self._halt()

    def check(self) -> None:
        """Tells the failure of an earlier wish, once.

        Raises:
            ArmFault: it failed.
        """
        with self._news:
            problem, self._problem = self._problem, None
        if problem:
            raise problem

    def wait(self, timeout: float = 5.0) -> bool:
        """Waits until no wish is open; false if that takes too long."""
        with self._news:
            return self._news.wait_for(lambda: not self._busy and self._wish is None, timeout)

    def close(self) -> None:
        """Ends the threads; what is held stays held."""
        with self._news:
            self._closing, self._wish = True, None
            busy = self._busy
            self._news.notify_all()
        if busy:
            self._halt()
        self._thread.join(2)
        self._watch.join(2)

    def _halt(self) -> None:
        try:
            self._client.halt()
        except Exception as error:  # noqa: BLE001  the libraries' exceptions have no common base
            log.debug("the gripper could not be halted: %s", error)

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._wish is not None or self._closing)
                if self._closing:
                    return
                (wish, speed), self._wish, self._busy = self._wish, None, True  # type: ignore[misc]
            try:
                if wish.force is None:
                    self._client.move(wish.width, speed)
                else:
                    self._client.grasp(speed, wish.force)
            except Exception as error:  # noqa: BLE001  likewise; it is told by the next call
                self._failed(error)
            with self._news:
                self._busy = False
                self._news.notify_all()

    def _failed(self, error: Exception) -> None:
        with self._news:
            if self._wish is None and not self._closing:  # else it was ended on purpose
                self._problem = self._fault(error)

    def _measure(self) -> None:
        while not self._closing:
            try:
                self.width = self._client.width()
            except Exception as error:  # noqa: BLE001  likewise
                with self._news:
                    self._problem = self._problem or self._fault(error)
                return
            time.sleep(self._poll)


class LibraryHand:
    """The hand's client of franky or franka-rs, which differ in names only.

    Args:
        gripper: `franky.Gripper` or `franka.Gripper`.
        width: reads the opening [m].
    """

    def __init__(self, gripper: Any, width: Callable[[], float]) -> None:
        self._gripper, self.width = gripper, width

    def move(self, width: float, speed: float) -> None:
        self._gripper.move(width, speed)

    def grasp(self, speed: float, force: float) -> None:
        self._gripper.grasp(0.0, speed, force, epsilon_inner=0.08, epsilon_outer=0.08)

    def halt(self) -> None:
        self._gripper.stop()
