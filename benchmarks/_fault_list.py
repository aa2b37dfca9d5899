"""What goes wrong in `benchmarks.faults`, and within which time the arm must then stand."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from robo_reward.hardware.drivers.franka.base import BRAKE_PATIENCE
from robo_reward.hardware.drivers.isolated import CALL_POLL
from robo_reward.hardware.emulator.robot.limits import LOST_IN_A_ROW
from robo_reward.hardware.safety.filter import SafetySettings

TEMPO = 0.5
"""Faster than is usual, so that the arm moves fast."""
STEP = 0.04 / TEMPO
"""A control step [s]."""
MISSED, SILENT, CAMERA_AGE = 3, 0.5, 0.5
"""The watchdog's settings: steps, [s], [s]."""
SHAPE_FILE = "shape"
"""While a file of this name is in the deployment's folder, actions have as many numbers as it says."""
HALF_WAVE = 8 * STEP
"""The policy tells the fingers something new this often [s]."""
ROBOT = 0.5
"""The robot's own way to standstill, at the limits of acceleration: dq_max / ddq_max is 0.13 to 0.53 s [s]."""
LOST = LOST_IN_A_ROW / 1000 + ROBOT
"""The robot stops itself when so many commands in a row are missing [s]."""
STOP = ROBOT + BRAKE_PATIENCE
"""The driver's stop: the brake takes dq / ddq at the share of both that a policy gets, then the arm comes to rest."""
HOLD = (MISSED + 1) * STEP + STOP
DEATH = STEP + STOP
SHAPE = (SafetySettings().bad_actions + 1) * STEP + STOP
CAMERA = CAMERA_AGE + 2 * STEP + STOP
ABANDONED = CALL_POLL + STOP
GRIPPER = 2 * HALF_WAVE + STEP + STOP
"""A gripper that fails is noticed when it is told something."""
SLOW_HAND = "slow hand"
"""The situation in which the hand treats commands as users report of the real one."""


class Victim(Protocol):
    """What a fault can be done to.

    Attributes:
        folder: of the deployment.
        pids: processes of the deployment: `main`, `policy` and `arm`.
    """

    folder: Path
    pids: dict[str, int]

    def call(self, name: str, *args: object) -> None:
        """One call of the emulator's fault service."""
        ...

    def signal_all(self, number: signal.Signals) -> None:
        """A signal to all processes of the deployment at once."""
        ...


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    Args:
        name: in the table.
        inject: makes it happen.
        within: the arm stands after this time [s]; none if it may go on.
        calls: what it uses of the public injection API.
        sign: what the client's message has in it when this fault, and nothing else, ended the episode.
        mute: whether nobody is left to tell anything until a new deployment begins.
        asked: whether somebody asked for the stop, so that there is nothing to tell.
        optional: whether the deployment may also go on, with a stop or without.
        only: the situations in which it is tried; all three usual ones if empty.
        still: whether the arm must not move from the fault until a person put it right.
        unseen: the bridge may know of it so much later [s].
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
    """A fault of the injection API, which goes through its TCP service."""

    def inject(victim: Victim) -> None:
        for call, *given in calls:
            victim.call(str(call), *given)

    return Fault(name, inject, within, tuple(str(call) for call, *_ in calls), sign, **more)


def _signal(name: str, process: str, number: signal.Signals, within: float, sign: str = "", **more: Any) -> Fault:
    def inject(victim: Victim) -> None:
        with contextlib.suppress(ProcessLookupError):  # it died before: the row will say so
            os.kill(victim.pids[process], number)

    return Fault(name, inject, within, sign=sign, **more)


def _group(name: str, number: signal.Signals, within: float, **more: Any) -> Fault:
    """A signal to all processes, as a terminal sends it."""
    return Fault(name, lambda victim: victim.signal_all(number), within, **more)


def _shape(size: int) -> Fault:
    """From now on the policy answers with so many numbers."""
    text = f"the action has shape ({size},)"
    inject: Callable[[Victim], None] = lambda victim: _write(victim.folder / SHAPE_FILE, str(size))  # noqa: E731
    return Fault(f"action of {size} numbers", inject, SHAPE, sign=text)


def _write(file: Path, text: str) -> None:
    """Writes a small file, whole at once."""
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


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
    _signal("policy killed", "policy", signal.SIGKILL, DEATH, "the policy is gone"),
    _signal("control process frozen", "arm", signal.SIGSTOP, LOST, "control process"),
    _signal("control process killed", "arm", signal.SIGKILL, LOST, "control process"),
    _signal("main process killed", "main", signal.SIGKILL, ABANDONED, mute=True, unseen=CALL_POLL),
    _group("Ctrl-C", signal.SIGINT, DEATH, asked=True, sign="asked to stop"),
    _group("terminal closed", signal.SIGHUP, DEATH, asked=True, sign="asked to stop"),
    _group("all processes killed", signal.SIGKILL, LOST, mute=True),
    Fault("hand as users report it", lambda victim: None, None, only=(SLOW_HAND,)),
)  # fmt: skip
BESIDE = ("policy killed", "main process killed", "Ctrl-C", "terminal closed")
"""Endings that are tried with a slow hand, too."""


def faults_in(situation: str) -> tuple[Fault, ...]:
    """Returns what is tried in a situation."""
    if situation == SLOW_HAND:
        return tuple(f for f in FAULTS if situation in f.only or f.name in BESIDE)
    return tuple(f for f in FAULTS if not f.only or situation in f.only)
