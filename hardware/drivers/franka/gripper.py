"""Gripper of a Franka, whose commands block: a thread executes only the newest command.

Known behaviour of the real hand (reports of its users; docs/emulator.md lists them): a `move` that meets an
object returns only after some 100 s, `stop` may wait for the command that runs, and every command takes 0.2 to 1
s more than the motion. So the fingers never `move` inwards on a streamed target: a target that closes is one
`grasp`, and `move` is for opening, where nothing is in the way.
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

from robo_reward.hardware.arm import ArmFault

log = logging.getLogger(__name__)
NEAR = 0.001
"""Difference from a target below which the fingers stay where they are [m]."""
WIDEST = 0.08
"""Largest opening of a Franka Hand [m]."""
SHUT = 0.005
"""Target opening up to which the fingers always close [m]."""
CLOSES = 0.75
"""Share of the present opening up to which a target closes the resting fingers."""
AWAY = 0.02
"""Distance of the newest target beyond a running command, in the opposite direction, that stops the command [m]."""
STIRS, RISES, RESTS = 1e-4, 0.005, 0.5
"""A target that falls by less than `STIRS` [m] counts as at rest. A grasp is released once its target has risen by
`RISES` [m], or has been at rest for `RESTS` [s]."""
SLOWEST, FASTEST = 0.03, 0.1
"""Smallest and largest speed of a grasp that follows a stream [m/s]."""
FRESH = 1.0
"""Age of the newest width from which the connection to the hand counts as lost [s]."""
HALT_PATIENCE = 2.0
"""Longest wait of the next command for a `stop` that has not returned [s]."""


class HandClient(Protocol):
    """Interface of the hand's client library; every call blocks until the fingers have arrived."""

    def read_width(self) -> float:
        """Returns the opening between the fingers [m]."""
        ...

    def move_fingers(self, width: float, speed: float) -> None:
        """Moves the fingers to a width [m] at a speed [m/s]."""
        ...

    def grasp_object(self, speed: float, force: float) -> None:
        """Closes at a speed [m/s] until something is held with a force [N]."""
        ...

    def halt_motion(self) -> None:
        """Ends a running motion or grasp; called from another thread, and may block until that has ended."""
        ...


@dataclass(frozen=True)
class FingerCommand:
    """A command for the fingers.

    Args:
        width: opening [m].
        force: None to move to `width`, else closes until something is held with that force [N].
        speed: of the opening [m/s], or None for the default.
    """

    width: float
    force: float | None = None
    speed: float | None = field(default=None, compare=False)


class GraspPlanner:
    """Derives commands from a stream of widths for a hand that moves or grasps but cannot be servoed.

    A target that closes (at or below `CLOSES` of the present opening, or `SHUT`) is a grasp at once: the fingers
    close until something is between them, or to the end. They are released when the target is wider than they
    are and has either risen or come to rest, since the fingers overtake a falling target. A release is a
    move, as is every target wider than the fingers. Targets a little below the present opening do not move the
    fingers: fingers that hold nothing may be wider than commanded. So a half-open target with nothing to hold is
    reached by closing once and opening to it.

    A grasp is twice as fast as the target falls: fingers that start when the target has fallen by a quarter catch
    up with it at half the opening, and are wider than it until then. A policy may begin to close while the hand
    still moves down, and fingers that close faster than commanded would land on the object.

    Fingers are opened wider than commanded: a simulated policy learns to pass an object by a millimetre, which is
    below the accuracy of a calibration, and a finger that lands on the object's edge causes a collision reflex.

    Args:
        force: to grasp with [N].
        clearance: how much wider [m].

    Attributes:
        target: newest streamed opening [m], or None before the first.
        holding: whether the last command was a grasp.
    """

    def __init__(self, force: float = 20.0, clearance: float = 0.0) -> None:
        self.force, self.clearance = force, clearance
        self.forget_all()

    def forget_all(self) -> None:
        """Forgets the stream and what is held."""
        self.target: float | None = None
        self.holding = False
        self._lowest, self._fell = WIDEST, 0.0
        self._recent: deque[tuple[float, float]] = deque()

    def end_stream(self) -> None:
        """Forgets the stream but not what is held."""
        holding = self.holding
        self.forget_all()
        self.holding = holding

    def add_target(self, target: float, now: float) -> None:
        """Adds the newest target [m] of the stream, at a time [s]."""
        self.target = target
        self._recent.append((now, target))
        while self._recent[0][0] < now - RESTS:
            self._recent.popleft()
        if target < self._lowest - STIRS:
            self._lowest, self._fell = target, now

    def next_command(self, measured: float, now: float) -> FingerCommand | None:
        """Returns the next command, or None where the fingers are as they should be.

        Args:
            measured: opening of the resting fingers [m].
            now: the time [s].
        """
        if self.target is None or (self.holding and not self._should_release(measured, now)):
            return None
        if self.goal_width > measured + NEAR:
            self.holding = False
            return FingerCommand(self.goal_width)
        if not self.holding and self._should_close(measured):
            self.holding, self._lowest, self._fell = True, self.target, now
            return FingerCommand(0.0, self.force, self._compute_grasp_speed())
        return None

    def _compute_grasp_speed(self) -> float:
        """Returns the speed of a grasp: twice the target's recent rate of fall [m/s]."""
        (begun, high), (now, low) = self._recent[0], self._recent[-1]
        rate = (high - low) / (now - begun) if now > begun else FASTEST
        return min(max(2.0 * rate, SLOWEST), FASTEST)

    @property
    def goal_width(self) -> float:
        """Opening of fingers that hold nothing for the newest target [m]."""
        return min((self.target or 0.0) + self.clearance, WIDEST)

    def is_opposed_to(self, command: FingerCommand, measured: float, now: float) -> bool:
        """Returns whether the newest target requires the opposite of a running command.

        The fingers are at a width `measured` [m], at the time `now` [s].
        """
        if self.target is None:
            return False
        if command.force is not None:
            return self.goal_width > measured + AWAY and self._should_release(measured, now)
        return self.target < command.width - AWAY and self._should_close(measured)

    def _should_close(self, measured: float) -> bool:
        """Returns whether the newest target closes fingers that are at a width [m]."""
        return self.target is not None and (self.target <= SHUT or self.goal_width <= CLOSES * measured)

    def _should_release(self, measured: float, now: float) -> bool:
        """Returns whether fingers that grasped, and are at a width [m], should open."""
        if self.target is None or self.target <= measured + NEAR:
            return False
        return self.target >= self._lowest + RISES or now - self._fell >= RESTS


class FingerController:
    """Executes the newest command, or follows the newest target, in a thread of its own.

    Args:
        client: of the hand.
        fault: turns the library's exception into an `ArmFault`.
        force: of grasps that a target requires [N].
        speed: of the opening [m/s].
        poll: how often the width is read [s].
        lag: time by which the fingers follow behind streamed targets [s], as in simulation.
        clearance: extra opening of fingers that hold nothing [m].
        period: of the stream [s].

    Attributes:
        width: opening between the fingers [m].
    """

    def __init__(
        self,
        client: HandClient,
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
        self._planner = GraspPlanner(force, clearance)
        self._pending: tuple[FingerCommand, float] | None = None
        self._running: FingerCommand | None = None
        self._problem: ArmFault | None = None
        self._changed = threading.Condition()
        self._closing = self._halted = False
        self._halting: threading.Thread | None = None
        self.width = client.read_width()
        self._stamp = time.monotonic()
        self._thread = threading.Thread(target=self._run_commands, name="fingers", daemon=True)
        self._watch = threading.Thread(target=self._measure_width, name="finger-width", daemon=True)
        self._thread.start()
        self._watch.start()

    def submit_command(self, command: FingerCommand, speed: float | None = None) -> None:
        """Accepts a command and returns at once; later targets are followed from it on.

        Raises:
            ArmFault: an earlier command failed; raised once.
        """
        self.raise_failure()
        with self._changed:
            self._pending = (command, speed or self._speed)
            self._planner.forget_all()
            self._request_halt()
            self._changed.notify_all()

    def follow_target(self, target: float) -> None:
        """Accepts the newest target [m] of a stream and returns at once.

        Raises:
            ArmFault: an earlier motion failed; raised once.
        """
        self.raise_failure()
        with self._changed:
            begin, now = self._planner.target, time.monotonic()
            begin = self.width if begin is None else begin
            self._planner.add_target(begin + self._share * (target - begin), now)
            if self._running is not None and self._planner.is_opposed_to(self._running, self.width, now):
                self._request_halt()
            self._changed.notify_all()

    def end_stream(self) -> None:
        """Ends the stream and an earlier command: no opening begins or goes on, what is held stays held."""
        with self._changed:
            self._end_locked()  # a grasp that runs goes on: stopped, the hand would release what it begins to hold

    def _end_locked(self) -> None:
        """Ends the stream and an earlier command; called with the lock held."""
        self._planner.end_stream()
        self._pending = None
        if self._running is not None and self._running.force is None:
            self._request_halt()

    @property
    def is_alive(self) -> bool:
        """True if the hand's width is still received; if not, the connection to it must be restored."""
        return self._watch.is_alive() and time.monotonic() - self._stamp < FRESH

    def raise_failure(self) -> None:
        """Raises the failure of an earlier command, once.

        Raises:
            ArmFault: an earlier command failed.
        """
        with self._changed:
            problem, self._problem = self._problem, None
            if problem:
                self._end_locked()
        if problem:
            raise problem

    @property
    def is_busy(self) -> bool:
        """True if a command is pending or running."""
        with self._changed:
            return self._running is not None or self._pending is not None

    def wait_until_idle(self, timeout: float = 5.0) -> bool:
        """Waits until no command is pending or running; returns false if that takes too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.is_busy, timeout)

    def close(self) -> None:
        """Ends the threads; what is held stays held. A command that does not return is abandoned."""
        with self._changed:
            self._closing, self._pending = True, None
            self._request_halt()
            self._changed.notify_all()
        self._thread.join(2)
        self._watch.join(2)

    def _request_halt(self) -> None:
        """Stops the running command once, in a thread since the hand's `stop` may wait; called with the lock held."""
        if self._running is not None and not self._halted:
            self._halted = True
            self._halting = threading.Thread(target=self._stop_hand, name="finger-stop", daemon=True)
            self._halting.start()

    def _await_halt(self) -> None:
        """Waits for a `stop` in progress: a late one would end the next command."""
        with self._changed:
            halting, self._halted = self._halting, True
        if halting is not None and not self._closing:
            halting.join(HALT_PATIENCE)

    def _stop_hand(self) -> None:
        try:
            self._client.halt_motion()
        except Exception as error:  # noqa: BLE001  the libraries' exceptions have no common base
            log.debug("the gripper could not be stopped: %s", error)

    def _run_commands(self) -> None:
        while True:
            with self._changed:
                task = self._next_command()
                while task is None and not self._closing:
                    self._changed.wait(self._poll)
                    task = self._next_command()
                if task is None or self._closing:
                    return
                command, speed = task
                self._running, self._halted, self._halting = command, False, None
            try:
                if command.force is None:
                    self._client.move_fingers(command.width, speed)
                else:
                    self._client.grasp_object(speed, command.force)
                self.width = self._client.read_width()  # the next command depends on where the fingers stopped
            except Exception as error:  # noqa: BLE001  no common base either; the next call raises it
                self._record_failure(error)
            self._await_halt()
            with self._changed:
                self._running = None
                self._changed.notify_all()

    def _next_command(self) -> tuple[FingerCommand, float] | None:
        """Returns the next command with its speed, or None; called with the lock held, while the fingers rest."""
        if self._pending is not None:
            task, self._pending = self._pending, None
            return task
        if self._problem is not None:
            return None
        command = self._planner.next_command(self.width, time.monotonic())
        return None if command is None else (command, command.speed or self._speed)

    def _record_failure(self, error: Exception) -> None:
        with self._changed:
            if not (self._halted or self._closing):  # otherwise the command was interrupted on purpose
                self._problem = self._fault(error)

    def _measure_width(self) -> None:
        while not self._closing:
            try:
                self.width, self._stamp = self._client.read_width(), time.monotonic()
            except Exception as error:  # noqa: BLE001  the libraries' exceptions share no base
                with self._changed:
                    if self._closing:  # another controller may use the hand by now
                        return
                    self._problem = self._problem or self._fault(error)
                return
            time.sleep(self._poll)


class LibraryHand:
    """Client of the hand for franky or franka-rs, which differ in names only.

    Args:
        gripper: `franky.Gripper` or `franka.Gripper`.
        read: reads the hand's state, with `width` and `max_width` [m].

    Attributes:
        max_width: the widest opening [m], as last read; 0 before the hand was homed.
    """

    def __init__(self, gripper: Any, read: Callable[[], Any]) -> None:
        self._gripper, self._read = gripper, read
        self.max_width = WIDEST

    def read_width(self) -> float:
        state = self._read()
        self.max_width = float(state.max_width)
        return float(state.width)

    def move_fingers(self, width: float, speed: float) -> None:
        self._gripper.move(width, speed)

    def grasp_object(self, speed: float, force: float) -> None:
        self._gripper.grasp(0.0, speed, force, epsilon_inner=0.08, epsilon_outer=0.08)

    def halt_motion(self) -> None:
        self._gripper.stop()
