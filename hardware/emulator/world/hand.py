"""The emulated Franka hand: it moves to a width, or closes until it holds something."""

from __future__ import annotations

from typing import NamedTuple

from robo_reward.hardware.emulator.world.plant import DT, GripperCommand

STIFFNESS = 1000.0
"""Stiffness of each finger's servo [N/m], as in the tasks' scenes."""
MAX_WIDTH = 0.08  # opening between the fingers [m]
MAX_SPEED = 0.1  # of the opening [m/s]: 50 mm/s per finger (Franka Robotics, hand data sheet)
MAX_FORCE = 70.0  # continuous force [N] (same data sheet)
MOVE_FORCE = 20.0  # largest force of a finger during a move [N]
STILL = 0.2  # share of the commanded speed below which a finger counts as blocked
PATIENCE = 60  # steps of 1 ms that the fingers must be blocked before a motion ends
ARRIVED = 5e-4  # difference from the commanded width at which a move ends [m]


class FingerTarget(NamedTuple):
    """The target of the finger servos.

    Attributes:
        target: desired position of each finger [m].
        force: largest force of each finger [N].
    """

    target: float
    force: float


class EmulatedHand:
    """Converts gripper commands into targets of the finger servos.

    A move ends at its width or when the fingers are blocked. A grasp goes on closing beyond its width until the
    fingers press with its force, and keeps pressing; a grasp of something wider than the hand is open first opens.

    Attributes:
        moving: whether the last command is still being executed.
        holding: whether a grasp has met an object and its force is acting.
    """

    def __init__(self) -> None:
        self.hold_width(MAX_WIDTH)

    def hold_width(self, width: float) -> None:
        """Drops the command and holds a width [m]."""
        self.moving = self.holding = False
        self._command: GripperCommand | None = None
        self._squeezing = False
        self._reference, self._last, self._blocked = width / 2, width, 0

    def start_command(self, command: GripperCommand, width: float) -> None:
        """Starts a new command from the current width [m]; the hand goes on with one that is repeated."""
        if command != self._command:
            self._command, self.moving, self.holding = command, True, False
            self._squeezing = command.force is not None and command.width <= width
            self._reference, self._last, self._blocked = width / 2, width, 0

    def step(self, width: float) -> FingerTarget:
        """Returns the finger target for the next millisecond, given the current width [m]."""
        if self._command is None:
            return FingerTarget(self._reference, MOVE_FORCE)
        goal, speed, force = self._command.width, min(self._command.speed, MAX_SPEED), self._command.force
        goal = min(max(goal, 0.0), MAX_WIDTH) / 2
        most = MOVE_FORCE if force is None else min(force, MAX_FORCE)
        if self._squeezing:
            # A servo whose target is force / stiffness inside the object presses with that force.
            goal = width / 2 - most / STIFFNESS
        # Widths count both fingers; servo targets are per finger, hence the halves.
        pace = speed * DT / 2
        self._reference += min(max(goal - self._reference, -pace), pace)
        if self.moving:
            self._check_motion_end(width, speed, arrived=abs(2 * goal - width) < ARRIVED)
        return FingerTarget(self._reference, most)

    def _check_motion_end(self, width: float, speed: float, arrived: bool) -> None:
        """Ends the motion when it has arrived or is blocked."""
        slow = abs(width - self._last) < STILL * speed * DT
        self._blocked = self._blocked + 1 if slow else 0
        self._last = width
        if (arrived and not self._squeezing) or self._blocked >= PATIENCE:
            self.moving, self.holding = False, self._squeezing
