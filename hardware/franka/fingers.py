"""The gripper of a Franka, whose commands block: carried out in a thread of its own, the newest wish only.

What is known of the real hand (reports of its users; docs/emulator.md lists them): a `move` that meets an object
returns only after some 100 s, `stop` may wait for the command that runs, and every command takes 0.2 to 1 s more than
the motion. So fingers never `move` inwards on a streamed target: a target that closes is one `grasp`, and `move` is for
opening, where nothing is in the way.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import exp
from typing import Any, Protocol

from robo_reward.hardware.robot import ArmFault

log = logging.getLogger(__name__)
NEAR = 0.001
"""Fingers this close to a target stay where they are [m]."""
WIDEST = 0.08
"""Opening of a Franka Hand [m]."""
SHUT = 0.005
"""A target below this always closes [m]."""
CLOSES = 0.75
"""A target that would leave the resting fingers less than this share of their opening closes them."""
AWAY = 0.02
"""A running command is stopped when the newest target is this far on the other side of it [m]."""
STIRS, RISES, RESTS = 1e-4, 0.005, 0.5
"""A target that falls by less has come to rest [m]; one that rises by so much, or rests so long, lets go [m, s]."""
SLOWEST, FASTEST = 0.03, 0.1
"""Of a grasp that follows a stream [m/s]."""
FRESH = 1.0
"""A hand whose newest width is older than this is lost [s]."""
HALT_PATIENCE = 2.0
"""How long the next command waits for a `stop` that has not returned [s]."""


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
        """Ends a running `move` or `grasp`; called from another thread, and may block until that has ended."""
        ...


@dataclass(frozen=True)
class Wish:
    """What the fingers shall do.

    Args:
        width: opening [m].
        force: none to move there, else to close until something is held with that force [N].
        speed: of the opening [m/s], or none for the usual one.
    """

    width: float
    force: float | None = None
    speed: float | None = field(default=None, compare=False)


class Intent:
    """Reads from a stream of widths what the hand shall do, which moves or grasps but cannot be servoed.

    A target that closes (at or below `CLOSES` of the present opening, or `SHUT`) is a grasp at once: the fingers close
    until something is between them, or to the end. They are let go when the target is wider than they are and has
    either risen or come to rest, for a falling target is overtaken by the fingers. To let go is a move, as is every
    target wider than the fingers. Targets a little below the present opening leave the fingers alone: fingers that hold
    nothing may stand wider than asked. So a half-open target with nothing to hold is reached by closing once and
    opening to it.

    A grasp is twice as fast as the target falls: from a quarter behind, the fingers catch up with it when they are half
    closed, and are never narrower before. A policy may begin to close while the hand still comes down, and fingers that
    run ahead of it come down on the thing.

    Fingers that are opened stand wider than asked: a simulated policy learns to pass a thing by a millimetre, which
    no calibration keeps, and a finger that comes down on its edge ends in a collision reflex.

    Args:
        force: to grasp with [N].
        clearance: how much wider [m].

    Attributes:
        target: newest streamed opening [m], or None before the first.
        holding: whether the last command was a grasp.
    """

    def __init__(self, force: float = 20.0, clearance: float = 0.0) -> None:
        self.force, self.clearance = force, clearance
        self.reset()

    def reset(self) -> None:
        """Forgets the stream and what is held."""
        self.target: float | None = None
        self.holding = False
        self._lowest, self._fell = WIDEST, 0.0
        self._recent: deque[tuple[float, float]] = deque()

    def end(self) -> None:
        """Forgets the stream; what is held stays held."""
        holding = self.holding
        self.reset()
        self.holding = holding

    def follow(self, target: float, now: float) -> None:
        """Takes the newest target [m], at a time [s]."""
        self.target = target
        self._recent.append((now, target))
        while self._recent[0][0] < now - RESTS:
            self._recent.popleft()
        if target < self._lowest - STIRS:
            self._lowest, self._fell = target, now

    def next(self, measured: float, now: float) -> Wish | None:
        """Returns what to do next, or None where the fingers are as they should be.

        Args:
            measured: opening of the resting fingers [m].
            now: the time [s].
        """
        if self.target is None or (self.holding and not self._lets_go(measured, now)):
            return None
        if self.goal > measured + NEAR:
            self.holding = False
            return Wish(self.goal)
        if not self.holding and self._closes(measured):
            self.holding, self._lowest, self._fell = True, self.target, now
            return Wish(0.0, self.force, self._pace())
        return None

    def _pace(self) -> float:
        """Of a grasp: twice what the target fell by of late [m/s]."""
        (begun, high), (now, low) = self._recent[0], self._recent[-1]
        rate = (high - low) / (now - begun) if now > begun else FASTEST
        return min(max(2.0 * rate, SLOWEST), FASTEST)

    @property
    def goal(self) -> float:
        """Where fingers that hold nothing stand for the newest target [m]."""
        return min((self.target or 0.0) + self.clearance, WIDEST)

    def opposes(self, wish: Wish, measured: float, now: float) -> bool:
        """Whether the newest target wants the opposite of a command that runs, with the fingers at a width [m]."""
        if self.target is None:
            return False
        if wish.force is not None:
            return self.goal > measured + AWAY and self._lets_go(measured, now)
        return self.target < wish.width - AWAY and self._closes(measured)

    def _closes(self, measured: float) -> bool:
        """Whether the newest target closes fingers that stand at a width [m]."""
        return self.target is not None and (self.target <= SHUT or self.goal <= CLOSES * measured)

    def _lets_go(self, measured: float, now: float) -> bool:
        """Whether fingers that grasped, and stand at a width [m], shall open."""
        if self.target is None or self.target <= measured + NEAR:
            return False
        return self.target >= self._lowest + RISES or now - self._fell >= RESTS


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
        self._running: Wish | None = None
        self._problem: ArmFault | None = None
        self._news = threading.Condition()
        self._closing = self._halted = False
        self._halting: threading.Thread | None = None
        self.width = client.width()
        self._stamp = time.monotonic()
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
            self._wish = (wish, speed or self._speed)
            self._intent.reset()
            self._halt()
            self._news.notify_all()

    def follow(self, target: float) -> None:
        """Takes the newest target [m] of a stream and returns at once.

        Raises:
            ArmFault: an earlier motion failed; told once.
        """
        self.check()
        with self._news:
            begin, now = self._intent.target, time.monotonic()
            begin = self.width if begin is None else begin
            self._intent.follow(begin + self._share * (target - begin), now)
            if self._running is not None and self._intent.opposes(self._running, self.width, now):
                self._halt()
            self._news.notify_all()

    def end(self) -> None:
        """Ends what the stream and an earlier wish ask for: no opening begins or goes on, what is held stays held.

        A grasp that runs goes on: stopped, the hand would let go of what it has begun to hold.
        """
        with self._news:
            self._end()

    def _end(self) -> None:
        """Called with the lock held."""
        self._intent.end()
        self._wish = None
        if self._running is not None and self._running.force is None:
            self._halt()

    @property
    def alive(self) -> bool:
        """Whether the hand's width still comes; if not, the connection to it must be made anew."""
        return self._watch.is_alive() and time.monotonic() - self._stamp < FRESH

    def check(self) -> None:
        """Tells the failure of an earlier wish, once.

        Raises:
            ArmFault: it failed.
        """
        with self._news:
            problem, self._problem = self._problem, None
            if problem:
                self._end()
        if problem:
            raise problem

    @property
    def busy(self) -> bool:
        """Whether a wish is open or carried out."""
        with self._news:
            return self._running is not None or self._wish is not None

    def wait(self, timeout: float = 5.0) -> bool:
        """Waits until no wish is open; false if that takes too long."""
        with self._news:
            return self._news.wait_for(lambda: not self.busy, timeout)

    def close(self) -> None:
        """Ends the threads; what is held stays held. A command that does not return is left to itself."""
        with self._news:
            self._closing, self._wish = True, None
            self._halt()
            self._news.notify_all()
        self._thread.join(2)
        self._watch.join(2)

    def _halt(self) -> None:
        """Stops the running command, once, from another thread: the hand's `stop` may wait. Called with the lock."""
        if self._running is None or self._halted:
            return
        self._halted = True
        self._halting = threading.Thread(target=self._stop_hand, name="finger-stop", daemon=True)
        self._halting.start()

    def _await_halt(self) -> None:
        """Waits for a `stop` that is under way: a late one would end the next command."""
        with self._news:
            halting, self._halted = self._halting, True
        if halting is not None and not self._closing:
            halting.join(HALT_PATIENCE)

    def _stop_hand(self) -> None:
        try:
            self._client.halt()
        except Exception as error:  # noqa: BLE001  the libraries' exceptions have no common base
            log.debug("the gripper could not be stopped: %s", error)

    def _run(self) -> None:
        while True:
            with self._news:
                task = self._next()
                while task is None and not self._closing:
                    self._news.wait(self._poll)
                    task = self._next()
                if task is None or self._closing:
                    return
                wish, speed = task
                self._running, self._halted, self._halting = wish, False, None
            try:
                if wish.force is None:
                    self._client.move(wish.width, speed)
                else:
                    self._client.grasp(speed, wish.force)
                self.width = self._client.width()  # what follows depends on where the fingers stopped
            except Exception as error:  # noqa: BLE001  likewise; it is told by the next call
                self._failed(error)
            self._await_halt()
            with self._news:
                self._running = None
                self._news.notify_all()

    def _next(self) -> tuple[Wish, float] | None:
        """What to do now; called with the lock held, while the fingers rest."""
        if self._wish is not None:
            task, self._wish = self._wish, None
            return task
        if self._problem is not None:
            return None
        wish = self._intent.next(self.width, time.monotonic())
        return None if wish is None else (wish, wish.speed or self._speed)

    def _failed(self, error: Exception) -> None:
        with self._news:
            if not (self._halted or self._closing):  # else it was ended on purpose
                self._problem = self._fault(error)

    def _measure(self) -> None:
        while not self._closing:
            try:
                self.width, self._stamp = self._client.width(), time.monotonic()
            except Exception as error:  # noqa: BLE001  likewise
                with self._news:
                    if self._closing:  # another hand may have taken its place
                        return
                    self._problem = self._problem or self._fault(error)
                return
            time.sleep(self._poll)


class LibraryHand:
    """The hand's client of franky or franka-rs, which differ in names only.

    Args:
        gripper: `franky.Gripper` or `franka.Gripper`.
        read: reads the hand's state, with `width` and `max_width` [m].

    Attributes:
        max_width: the widest opening [m], as last read; 0 before the hand was homed.
    """

    def __init__(self, gripper: Any, read: Callable[[], Any]) -> None:
        self._gripper, self._read = gripper, read
        self.max_width = WIDEST

    def width(self) -> float:
        state = self._read()
        self.max_width = float(state.max_width)
        return float(state.width)

    def move(self, width: float, speed: float) -> None:
        self._gripper.move(width, speed)

    def grasp(self, speed: float, force: float) -> None:
        self._gripper.grasp(0.0, speed, force, epsilon_inner=0.08, epsilon_outer=0.08)

    def halt(self) -> None:
        self._gripper.stop()
