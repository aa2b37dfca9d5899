"""What goes wrong in `benchmarks.faults`, and within which time the arm must then stand."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from robo_reward.hardware.arm_process import TURN
from robo_reward.hardware.emulator.limits_check import LOST_IN_A_ROW
from robo_reward.hardware.franka.franky_arm import STOP_PATIENCE
from robo_reward.hardware.live import BRAKING

STEP = 0.08
"""A control step at half the tempo of training [s]."""
MISSED, SILENT, CAMERA_AGE = 3, 0.5, 0.5
"""The watchdog's settings: steps, [s], [s]."""
HALF_WAVE = 8 * STEP
"""The policy tells the fingers something new this often [s]."""
ROBOT = 0.5
"""The robot's own way to standstill, at the limits of acceleration: dq_max / ddq_max is 0.13 to 0.53 s [s]."""
LOST = LOST_IN_A_ROW / 1000 + ROBOT
"""The robot stops itself when so many commands in a row are missing [s]."""
FOLLOW = 0.5
"""The arm is behind its commands: some time constants of 0.19 s, the lag that the policy was trained with [s]."""
HOLD = (MISSED + 1) * STEP + BRAKING + FOLLOW
DEATH = STEP + BRAKING + FOLLOW
CAMERA = CAMERA_AGE + 2 * STEP + BRAKING + FOLLOW
ABANDONED = TURN + STOP_PATIENCE
GRIPPER = 2 * HALF_WAVE + STEP + STOP_PATIENCE
"""A gripper that fails is noticed when it is told something."""


class Victim(Protocol):
    """What a fault can be done to.

    Attributes:
        pids: processes of the deployment: `main`, `policy` and `arm`.
    """

    pids: dict[str, int]

    def call(self, name: str, *args: object) -> None:
        """One call of the emulator's fault service."""
        ...

    def kill_all(self) -> None:
        """SIGKILL to all processes of the deployment at once."""
        ...


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    Args:
        name: in the table.
        inject: makes it happen.
        within: the arm stands after this time [s]; none if it may go on.
        calls: what it uses of the public injection API.
        mute: whether nobody is left to tell anything until a new deployment begins.
    """

    name: str
    inject: Callable[[Victim], None]
    within: float | None
    calls: tuple[str, ...] = ()
    mute: bool = False


def _api(name: str, within: float | None, *calls: tuple[str, object]) -> Fault:
    """A fault of the injection API, which goes through its TCP service."""

    def inject(victim: Victim) -> None:
        for call, argument in calls:
            victim.call(call, argument)

    return Fault(name, inject, within, tuple(call for call, _ in calls))


def _signal(name: str, process: str, number: signal.Signals, within: float) -> Fault:
    return Fault(name, lambda victim: os.kill(victim.pids[process], number), within, mute=process == "main")


FAULTS = (
    _api("5 commands lost", None, ("drop_packets", 5)),
    _api("60 commands lost", LOST, ("drop_packets", 60)),
    _api("commands 40 ms late", LOST, ("delay", 40)),
    _api("network silent 0.3 s", LOST, ("stall", 0.3)),
    _api("network silent 3 s", LOST, ("stall", 3.0)),
    _api("network gone", LOST, ("stall", 3600.0)),
    _api("user stop", ROBOT, ("user_stop", True)),
    _api("guiding button", ROBOT, ("guiding", True)),
    _api("cartesian reflex", ROBOT, ("reflex", "cartesian_reflex")),
    _api("joint reflex", ROBOT, ("reflex", "joint_reflex")),
    _api("gripper fails", GRIPPER, ("gripper_failure", True)),
    _api("camera freezes", CAMERA, ("camera_freeze", True)),
    _api("connection refused", LOST, ("refuse_connections", True)),
    _api(
        "back with another version", LOST,
        ("version_mismatch", 9), ("refuse_connections", True), ("refuse_connections", False),
    ),
    _signal("policy stalls", "policy", signal.SIGSTOP, HOLD),
    _signal("policy killed", "policy", signal.SIGKILL, DEATH),
    _signal("control process killed", "arm", signal.SIGKILL, LOST),
    _signal("main process killed", "main", signal.SIGKILL, ABANDONED),
    Fault("all processes killed", lambda victim: victim.kill_all(), LOST, mute=True),
)  # fmt: skip
