"""The keys of `robo-reward emulate`."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import ClassVar

from robo_reward.configs.values import Flag, Natural, Port, Real, Seed
from robo_reward.errors import UsageError

LONGEST = 600.0
"""Largest value of any time in `HandBehavior` [s]."""


@dataclass(frozen=True)
class Checks:
    """The reflexes of the emulated robot; false disables one.

    Args:
        start_pose: a motion starts at the arm's current pose
        limits: positions and velocities
        discontinuity: commanded acceleration and jerk
        torque_rate: 1000 N m/s
        communication: twenty consecutive lost packets
        collision: external torques and forces
    """

    start_pose: Flag = True
    limits: Flag = True
    discontinuity: Flag = True
    torque_rate: Flag = True
    communication: Flag = True
    collision: Flag = True


@dataclass(frozen=True)
class HandBehavior:
    """Deviations of the emulated hand from an ideal one; none by default.

    Reported of real hands: a `move` that is blocked returns after some 100 s (franka_ros#281), `stop` waits or
    does nothing (libfranka#28, #52, #111), a command takes a second (libfranka#18, #151, franka_ros2#100), and before
    homing the widest opening is 0 (franka_ros#276).

    Args:
        blocked_move_hangs: time from the start of a move that meets an object until it is answered, unless the object
            goes first; 0: answered at once [s]
        stop_waits: a stop, or a newer command, waits until the running command ends
        command_delay: from a command to its first motion [s]
        needs_homing: until it is homed, it reports a maximum width of 0 and neither moves nor grasps

    Raises:
        UsageError: a time that is negative, not finite or above ten minutes.
    """

    blocked_move_hangs: Real = 0.0
    stop_waits: Flag = False
    command_delay: Real = 0.0
    needs_homing: Flag = False

    def __post_init__(self) -> None:
        for name in ("blocked_move_hangs", "command_delay"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and isfinite(value) and 0 <= value <= LONGEST):
                raise UsageError(f"hand.{name}={value}: expected a number from 0 to {LONGEST:g}, in seconds")


REPORTED = HandBehavior(blocked_move_hangs=100.0, stop_waits=True, command_delay=0.5)
"""A homed hand that behaves as users report."""


@dataclass(frozen=True, kw_only=True)
class EmulateConfig:
    """The keys of `robo-reward emulate`; with `robot=`, the task's objects stand in front of that arm.

    Args:
        host: address to serve on; the ports are fixed, so a second arm needs a second address such as 127.0.0.2
        lockstep: true: robot time waits for the client's commands, so no command is ever late
        speed: in lock-step, the maximum speed relative to the wall clock; 0: as fast as possible
        version: protocol version: 10 (FR3) or 5 (Panda); 0: the robot's default
        seed: seed of the object placement
        view: serve a page that shows the arm and has buttons for faults
        view_port: port of that page; 0: any free port
        faults: other processes on this machine may inject faults and rearrange the scene; needs a 127.x.x.x address
        log: file that records every cycle, 1 kB each; empty: no log
        checks: reflexes; false disables one
        friction: joint friction: identified, or none (nearly frictionless)
        inertia: link inertia: gaz2019 (default of a Panda) or franka_description (default of an FR3)
        hand: behaviour of the gripper; the defaults are ideal, users report 100, true, 0.5 of the real one for the
            next three keys
    """

    groups: ClassVar[dict[str, str | None]] = {"task": "panda/push", "robot": None}

    host: str = "127.0.0.1"
    lockstep: Flag = False
    speed: Real = 0.0
    version: Natural = 0
    seed: Seed = 0
    view: Flag = True
    view_port: Port = 0
    faults: Flag = True
    log: str = ""
    checks: Checks = field(default_factory=Checks)
    friction: str = "identified"
    inertia: str = ""
    hand: HandBehavior = field(default_factory=HandBehavior)
