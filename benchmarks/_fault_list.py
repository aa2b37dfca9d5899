"""The faults of `benchmarks.faults`, and the time within which the arm must then have stopped."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from robo_reward.files import write_text
from robo_reward.hardware.drivers.franka.base import BRAKE_PATIENCE
from robo_reward.hardware.drivers.isolated import CALL_POLL
from robo_reward.hardware.emulator.robot.limit_checks import LOST_IN_A_ROW
from robo_reward.hardware.safety.filter import SafetySettings

TEMPO = 0.5
"""Time scale of the deployment, higher than usual so that the arm moves fast."""
STEP = 0.04 / TEMPO
"""Control period [s]."""
MISSED, SILENT, CAMERA_AGE = 3, 0.5, 0.5
"""Settings of the watchdog: [steps], [s], [s]."""
SHAPE_FILE = "shape"
"""While a file of this name is in the deployment's folder, actions have the size written in it."""
HALF_WAVE = 8 * STEP
"""Interval between gripper commands of the policy [s]."""
ROBOT = 0.5
"""Time that the robot itself needs to stop [s]; at its acceleration limits dq_max / ddq_max is 0.13 to 0.53 s."""
LOST = LOST_IN_A_ROW / 1000 + ROBOT
"""Time until the robot has stopped itself after `LOST_IN_A_ROW` missing commands [s]."""
STOP = ROBOT + BRAKE_PATIENCE
"""Time of a stop by the driver [s]: braking takes dq / ddq, at the share of both granted to a policy, then settling."""
HOLD = (MISSED + 1) * STEP + STOP
DEATH = STEP + STOP
SHAPE = (SafetySettings().bad_actions + 1) * STEP + STOP
CAMERA = CAMERA_AGE + 2 * STEP + STOP
ABANDONED = CALL_POLL + STOP
GRIPPER = 2 * HALF_WAVE + STEP + STOP
"""A gripper failure is noticed at the next gripper command [s]."""
SLOW_HAND = "slow hand"
"""Situation in which the gripper handles commands as users report of the real one."""


class Victim(Protocol):
    """The target of a fault.

    Attributes:
        folder: of the deployment.
        pids: processes of the deployment: `main`, `policy` and `arm`.
    """

    folder: Path
    pids: dict[str, int]

    def call(self, name: str, *args: object) -> None:
        """Calls the emulator's fault service once."""
        ...

    def signal_all(self, number: signal.Signals) -> None:
        """Sends a signal to all processes of the deployment at once."""
        ...


@dataclass(frozen=True)
class Fault:
    """A fault to inject.

    Args:
        name: in the table.
        inject: causes the fault.
        within: the arm must have stopped after this time [s]; None if it may continue.
        calls: what it uses of the public injection API.
        sign: text in the client's message if this fault, and nothing else, ended the episode.
        mute: whether no process is left to report anything until a new deployment starts.
        asked: whether the stop was requested, so that there is nothing to report.
        optional: whether the deployment may also continue, with or without a stop.
        only: the situations in which it is injected; all three usual ones if empty.
        still: whether the arm must not move from the fault until a person has fixed it.
        unseen: largest delay until the bridge can notice it [s].
    """

    name: str
    inject: Callable[[Victim], None]
    within: float | None
    calls: tuple[str, ...] = ()
    sign: str = ""
    mute: bool = False
    asked: bool = False
    optional: bool = False
    only: tuple[str, ...] = ()
    still: bool = False
    unseen: float | None = None


def _api(name: str, within: float | None, *calls: tuple[object, ...], sign: str = "", **more: Any) -> Fault:
    """Returns a fault that is injected through the TCP service of the injection API."""

    def inject(victim: Victim) -> None:
        for call, *given in calls:
            victim.call(str(call), *given)

    return Fault(name, inject, within, tuple(str(call) for call, *_ in calls), sign, **more)


def _signal(name: str, process: str, number: signal.Signals, within: float, sign: str = "", **more: Any) -> Fault:
    def inject(victim: Victim) -> None:
        with contextlib.suppress(ProcessLookupError):  # it ended before; the row reports that
            os.kill(victim.pids[process], number)

    return Fault(name, inject, within, sign=sign, **more)


def _group(name: str, number: signal.Signals, within: float, **more: Any) -> Fault:
    """Returns a fault that signals all processes, as a terminal does."""
    return Fault(name, lambda victim: victim.signal_all(number), within, **more)


def _shape(size: int) -> Fault:
    """Returns a fault after which the policy's actions have another size."""
    text = f"the action has shape ({size},)"
    inject: Callable[[Victim], None] = lambda victim: write_text(victim.folder / SHAPE_FILE, str(size))  # noqa: E731
    return Fault(f"action of {size} numbers", inject, SHAPE, sign=text)


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
    _api("gripper fails", GRIPPER, ("gripper_failure", True), sign="gripper", only=("moving", "gripping")),
    _api("gripper fails at start", None, ("gripper_failure", True), only=("idle",), still=True),
    _api("camera freezes", CAMERA, ("camera_freeze", True), sign="camera"),
    _api("connection refused", LOST, ("refuse_connections", True)),
    _api(
        "back with another version", LOST,
        ("version_mismatch", 9), ("refuse_connections", True), ("refuse_connections", False),
    ),
    _api("safety function", ROBOT, ("activate_safety_function", True)),
    _api("brakes closed", ROBOT, ("close_brakes", True)),
    _api("reflex and no automatic recovery", ROBOT, ("require_manual_recovery", True), ("reflex", "joint_reflex")),
    _api("robot's connection cut", LOST, ("cut_robot_connection",)),
    _api("connection cut and no model", LOST, ("fail_robot_model", True), ("cut_robot_connection",)),
    _api("reflex at a singular pose", ROBOT, ("refuse_singular_start", True), ("reflex", "joint_reflex")),
    _api("gripper's connection cut", GRIPPER, ("cut_gripper_connection",), sign="gripper", optional=True),
    _api("camera cut and back", CAMERA, ("cut_camera",), sign="camera", optional=True),
    _shape(1),
    _shape(3),
    _shape(7),
    _signal("policy stalls", "policy", signal.SIGSTOP, HOLD, "the policy was silent"),
    _signal("policy killed", "policy", signal.SIGKILL, DEATH, "the policy is not available"),
    _signal("control process frozen", "arm", signal.SIGSTOP, LOST, "control process"),
    _signal("control process killed", "arm", signal.SIGKILL, LOST, "control process"),
    _signal("main process killed", "main", signal.SIGKILL, ABANDONED, mute=True, unseen=CALL_POLL),
    _group("Ctrl-C", signal.SIGINT, DEATH, asked=True, sign="asked to stop"),
    _group("terminal closed", signal.SIGHUP, DEATH, asked=True, sign="asked to stop"),
    _group("all processes killed", signal.SIGKILL, LOST, mute=True),
    Fault("hand as users report it", lambda victim: None, None, only=(SLOW_HAND,)),
)  # fmt: skip
BESIDE = ("policy killed", "main process killed", "Ctrl-C", "terminal closed")
"""Faults that are also injected with a slow gripper."""


def faults_in(situation: str) -> tuple[Fault, ...]:
    """Returns the faults to inject in a situation."""
    if situation == SLOW_HAND:
        return tuple(f for f in FAULTS if situation in f.only or f.name in BESIDE)
    return tuple(f for f in FAULTS if not f.only or situation in f.only)
