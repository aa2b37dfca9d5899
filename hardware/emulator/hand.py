"""The Franka hand as a machine of its own: it moves to a width, or closes until it holds something."""

from __future__ import annotations

from typing import NamedTuple

from robo_reward.hardware.emulator.plant import DT, GripperCommand

STIFFNESS = 1000.0
"""Of each finger's servo [N/m], as in the tasks' scenes."""
MAX_WIDTH = 0.08  # [m]
MAX_SPEED = 0.1  # of the opening [m/s]: 50 mm/s a finger (Franka Robotics, hand data sheet)
MAX_FORCE = 70.0  # that the hand can keep up [N] (likewise)
MOVE_FORCE = 20.0  # most that a finger presses with while it only moves [N]
STILL = 0.2  # of the commanded speed: slower than this counts as blocked
PATIENCE = 60  # steps of being blocked before a motion ends [ms]
ARRIVED = 5e-4  # [m]


class Fingers(NamedTuple):
    """What the servos shall do.

    Attributes:
        target: where each finger shall be [m].
        force: most that it may press with [N].
    """

    target: float
    force: float


class Hand:
    """Turns commands into targets of the finger servos.

    A move ends at its width or when the fingers are blocked. A grasp goes on closing beyond its width until the fingers
    press with its force, and keeps pressing; a grasp of something wider than the hand is open first opens.

    Attributes:
        moving: whether the last command is still being done.
        holding: whether a grasp has met something, its force is acting.
    """

    def __init__(self) -> None:
        self.rest(MAX_WIDTH)

    def rest(self, width: float) -> None:
        """Stands still at a width [m]."""
        self.moving = self.holding = False
        self._command: GripperCommand | None = None
        self._squeezing = False
        self._reference, self._last, self._blocked = width / 2, width, 0

    def command(self, command: GripperCommand, width: float) -> None:
        """Begins something else, from the width [m] where the fingers are.

        A hand that is told again what it does goes on.
        """
        if command == self._command:
            return
        self._command, self.moving, self.holding = command, True, False
        self._squeezing = command.force is not None and command.width <= width
        self._reference, self._last, self._blocked = width / 2, width, 0

    def step(self, width: float) -> Fingers:
        """The targets for the next millisecond, from the width [m] now."""
        if self._command is None:
            return Fingers(self._reference, MOVE_FORCE)
        goal, speed, force = self._command.width, min(self._command.speed, MAX_SPEED), self._command.force
        goal = min(max(goal, 0.0), MAX_WIDTH) / 2
        most = MOVE_FORCE if force is None else min(force, MAX_FORCE)
        if self._squeezing:
            goal = width / 2 - most / STIFFNESS
        pace = speed * DT / 2
        self._reference += min(max(goal - self._reference, -pace), pace)
        if self.moving:
            self._watch(width, speed, arrived=abs(2 * goal - width) < ARRIVED)
        return Fingers(self._reference, most)

    def _watch(self, width: float, speed: float, arrived: bool) -> None:
        """Ends the motion when it has arrived or does not get on."""
        slow = abs(width - self._last) < STILL * speed * DT
        self._blocked = self._blocked + 1 if slow else 0
        self._last = width
        if (arrived and not self._squeezing) or self._blocked >= PATIENCE:
            self.moving, self.holding = False, self._squeezing
