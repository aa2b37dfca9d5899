"""The gripper of a Franka, which blocks while it moves: in a thread of its own, told the newest wish only."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import exp
from typing import Any, Protocol

from robo_reward.hardware.robot import ArmFault

log = logging.getLogger(__name__)
NEAR = 0.001
"""Fingers this close to a target stay where they are [m]."""
WIDEST = 0.08
"""Opening of a Franka Hand [m]."""
SHUT = 0.005
"""A target below this means: close until something is held [m]."""
AWAY = 0.02
"""A running motion whose goal is this far from the newest target is ended for it [m]."""


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
    """Reads from a stream of widths what the hand shall do, which moves or grasps but cannot be servoed.

    The fingers are sent to the newest target one motion after the other. Where a closing motion ends above its goal
    something is between them, and it is grasped with a force; so it is when the target says closed. What is held is
    held until the target is wider than it.

    Fingers that hold nothing stand wider than asked: a simulated policy learns to pass a thing by a millimetre, which
    no calibration keeps, and a finger that comes down on its edge ends in a collision reflex.

    Args:
        force: to grasp with [N].
        clearance: how much wider [m].
    """

    def __init__(self, force: float = 20.0, clearance: float = 0.0) -> None:
        self.force, self.clearance, self.holding = force, clearance, False
        self._closing_to: float | None = None

    def reset(self) -> None:
        """Forgets what is held: the next target starts anew."""
        self.holding, self._closing_to = False, None

    def next(self, target: float, measured: float) -> Wish | None:
        """What to do next, or none where the fingers are as they should be.

        Args:
            target: newest streamed opening [m].
            measured: of the resting fingers now [m].
        """
        if self.holding and target <= measured + NEAR:
            return None
        goal = min(target + self.clearance, WIDEST)
        if goal > measured + NEAR:
            self.holding, self._closing_to = False, None
            return Wish(goal)
        if goal >= measured - NEAR and target > SHUT:
            return None
        blocked = self._closing_to is not None and measured > self._closing_to + NEAR
        if blocked or target <= SHUT:
            self.holding, self._closing_to = True, None
            return Wish(0.0, self.force)
        self._closing_to = goal
        return Wish(goal)


class Fingers:
    """Carries out the newest wish, or follows the newest target, in a thread of its own.

    Args:
        client: of the hand.
        fault: turns the library's exception into an `ArmFault`.
        force: of grasps that a target asks for [N].
        speed: of the opening [m/s].
        poll: how often the width is read [s].
        lag: how far the fingers shall be behind streamed targets [s], as simulated fingers are behind theirs.
        clearance: how much wider than asked fingers stand that hold nothing [m].
        period: of the stream [s].

    Attributes:
        width: opening between the fingers [m].
    """

    def __init__(
        self,
        client: Client,
        fault: Callable[[Exception], ArmFault],
        force: float = 20.0,
        speed: float = 0.1,
        poll: float = 0.01,
        lag: float = 0.0,
        clearance: float = 0.0,
        period: float = 0.005,
    ) -> None:
        self._share = 1.0 - exp(-period / lag) if lag > 0 else 1.0
        self._client, self._fault, self._speed, self._poll = client, fault, speed, poll
        self._intent = Intent(force, clearance)
        self._wish: tuple[Wish, float] | None = None
        self._target: float | None = None
        self._goal = 0.0
        self._problem: ArmFault | None = None
        self._news = threading.Condition()
        self._busy = self._closing = self._halted = False
        self.width = client.width()
        self._thread = threading.Thread(target=self._run, name="fingers", daemon=True)
        self._watch = threading.Thread(target=self._measure, name="finger-width", daemon=True)
        self._thread.start()
        self._watch.start()

    def do(self, wish: Wish, speed: float | None = None) -> None:
        """Takes a wish and returns at once; targets are followed from it on.

        Raises:
            ArmFault: an earlier wish failed; told once.
        """
        self.check()
        with self._news:
            self._target, self._wish = None, (wish, speed or self._speed)
            self._intent.reset()
            busy = self._busy
            self._news.notify_all()
        if busy:
            self._halt()

    def follow(self, target: float) -> None:
        """Takes the newest target [m] of a stream and returns at once.

        Raises:
            ArmFault: an earlier motion failed; told once.
        """
        self.check()
        with self._news:
            begin = self.width if self._target is None else self._target
            target = begin + self._share * (target - begin)
            self._target = target
            away = self._busy and not self._intent.holding and abs(target - self._goal) > AWAY
            self._news.notify_all()
        if away:
            self._halt()

    @property
    def alive(self) -> bool:
        """Whether the hand's width still comes; if not, the connection to it must be made anew."""
        return self._watch.is_alive()

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
        self._halted = True
        try:
            self._client.halt()
        except Exception as error:  # noqa: BLE001  the libraries' exceptions have no common base
            log.debug("the gripper could not be halted: %s", error)

    def _run(self) -> None:
        while True:
            with self._news:
                task = self._next()
                while task is None and not self._closing:
                    self._news.wait(self._poll)
                    task = self._next()
                if task is None or self._closing:
                    return
                (wish, speed), self._busy, self._goal = task, True, task[0].width
                self._halted = False
            try:
                if wish.force is None:
                    self._client.move(wish.width, speed)
                else:
                    self._client.grasp(speed, wish.force)
                self.width = self._client.width()  # what follows depends on where the fingers stopped
            except Exception as error:  # noqa: BLE001  likewise; it is told by the next call
                self._failed(error)
            with self._news:
                self._busy = False
                self._news.notify_all()

    def _next(self) -> tuple[Wish, float] | None:
        """What to do now; called with the lock held, while the fingers rest."""
        if self._wish is not None:
            task, self._wish = self._wish, None
            return task
        if self._target is None or self._problem is not None:
            return None
        wish = self._intent.next(self._target, self.width)
        return None if wish is None else (wish, self._speed)

    def _failed(self, error: Exception) -> None:
        with self._news:
            if not (self._halted or self._closing):  # else it was ended on purpose
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
