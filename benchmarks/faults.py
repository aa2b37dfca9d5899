"""What every fault does to a deployment: `python -m benchmarks.faults --json FILE [--quick]`.

The emulator serves an FR3 (through franky) and a Panda (through franka-rs) over real sockets; while a policy runs, a
fault is injected: idle (connected, nothing streamed), moving, or gripping. Per row: what the client saw, what the arm
did by the emulator's own log, and in what time; whether any command left the limits, whether the operator got a cause
and a remedy, whether the episode was saved, and whether deployment went on afterwards.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _fault_policy
from benchmarks.output import arguments, report
from robo_reward.envs.panda.arm import arm_named
from robo_reward.envs.panda.base import ArmTask
from robo_reward.envs.task import make_task
from robo_reward.episode import EpisodeStore
from robo_reward.errors import RoboRewardError
from robo_reward.hardware.assemble import Parts, Wishes, assemble
from robo_reward.hardware.deploy import Deployment, DeploySettings
from robo_reward.hardware.emulator.camera_server import CameraServer
from robo_reward.hardware.emulator.emulator import Emulator
from robo_reward.hardware.emulator.plant import KinematicPlant
from robo_reward.hardware.policy_process import PolicyProcess
from robo_reward.hardware.recording import Judge
from robo_reward.hardware.reset import Reset

HOSTS = {"fr3": "127.0.4.21", "panda": "127.0.4.22"}
SITUATIONS = ("idle", "moving", "gripping")
AFTER = 1.2
"""The fault comes this long after the first command of the episode [s]."""
AT_REST = 0.02
"""Joint speed below which the arm stands [rad/s]."""
HELD = 0.08
"""It stands when it has stood for this long [s]."""
SOON = 3000
"""A reaction comes within this time, or not at all [ms]."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        robot: `fr3` or `panda`.
        fault: its name.
        situation: `idle`, `moving` or `gripping`.
        seen: what the client saw: kind of the fault and the robot's names of it, or why the episode ended.
        reaction: of the arm: `hold`, `stop`, `reflex`, `user stop` or `goes on`.
        seconds: from the fault until the arm stood still, by the emulator's log; none if it never stopped.
        within_limits: whether every command and every measured speed kept the official limits.
        told: the operator got a cause and a remedy, where there was something to tell.
        saved: the episode is in the store.
        went_on: deployment ran another episode afterwards, in this process or, after a kill, in a new one.
    """

    robot: str
    fault: str
    situation: str
    seen: str
    reaction: str
    seconds: float | None
    within_limits: bool
    told: bool
    saved: bool
    went_on: bool

    @property
    def fine(self) -> bool:
        """Whether nothing is left to wish."""
        return self.within_limits and self.told and self.saved and self.went_on


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    Args:
        name: in the table.
        inject: makes it happen.
        heal: takes it back, before an operator confirms.
        stops: whether the arm must come to rest; else it may go on.
    """

    name: str
    inject: Callable[[Stage], None]
    heal: Callable[[Stage], None]
    stops: bool = True


class Stage:
    """An emulator and a deployment on it, and somebody who confirms everything.

    Args:
        robot: `fr3` or `panda`.
        situation: what the policy does.
        folder: for the episodes.
    """

    def __init__(self, robot: str, situation: str, folder: Path) -> None:
        self.robot, self.situation, self.folder = robot, situation, folder
        self.host = HOSTS[robot]
        task = make_task(f"{robot}/lift")
        assert isinstance(task, ArmTask)
        self.task: ArmTask = task
        plant = KinematicPlant(arm_named(robot), object_width=0.04 if situation == "gripping" else 0.0)
        self.emulator = Emulator(robot, self.host, plant)
        self.cameras = CameraServer(plant, self.host, faults=self.emulator.faults)
        self.said: list[str] = []
        self.heal: Callable[[Stage], None] = lambda _: None
        self.policy: PolicyProcess | None = None
        self.parts: Parts | None = None
        self.stopping = False

    # The person

    def confirm(self, question: str) -> bool:
        """Takes the fault back, and says yes."""
        self.said.append(question)
        self.heal(self)
        return True

    def success(self, question: str) -> bool | None:
        """Nobody looked."""
        return None

    def tell(self, text: str) -> None:
        """Remembers what an operator reads."""
        self.said.append(text)

    # The deployment

    @contextlib.contextmanager
    def deployment(self, episodes: int) -> Iterator[Deployment]:
        """A deployment of as many episodes in all, connected."""
        speed, gripper = {"idle": (0.0, 1.0), "moving": (0.8, 1.0), "gripping": (0.3, -1.0)}[self.situation]
        robot = {"kind": self.robot, "realtime": "ignore", "process": True}
        wishes = Wishes(
            robot, self.host, horizon=60, objects="none", teleop="none", cameras=("front",), size=16, silent=0.5
        )
        with contextlib.ExitStack() as stack:
            self.policy = PolicyProcess(f"{self.task.id} {speed} {gripper}", _fault_policy.load)
            stack.callback(self.policy.close)
            self.parts = assemble(wishes, self.task, self.policy, self.confirm, lambda: self.stopping, stack)
            rig = self.parts.rig
            yield Deployment(
                rig,
                Reset(self.task, rig.arm, self.parts.scene, speed=0.3),
                Judge(self.task, rig.observer.unknown),
                self,
                EpisodeStore(self.folder / "episodes"),
                self.folder / "live",
                DeploySettings(episodes),
                {},
            )

    def commanded(self) -> bool:
        """Whether an episode streams now."""
        journals = list((self.folder / "live").glob("*/commands"))
        return any(path.stat().st_size > 0 for path in journals)

    def robot_time(self) -> int:
        """Of the emulator [ms]."""
        return self.emulator.session.time


FAULTS = (
    Fault("5 packets lost", lambda s: s.emulator.faults.drop_packets(5), lambda s: None, stops=False),
    Fault("60 packets lost", lambda s: s.emulator.faults.drop_packets(60), lambda s: None),
    Fault("commands 40 ms late", lambda s: s.emulator.faults.delay(40), lambda s: s.emulator.faults.delay(0)),
    Fault("network silent 0.3 s", lambda s: s.emulator.faults.stall(0.3), lambda s: None),
    Fault("network silent 2 s", lambda s: s.emulator.faults.stall(2.0), lambda s: None),
    Fault("user stop", lambda s: s.emulator.faults.user_stop(True), lambda s: s.emulator.faults.user_stop(False)),
    Fault("cartesian reflex", lambda s: s.emulator.faults.reflex("cartesian_reflex"), lambda s: None),
    Fault("joint reflex", lambda s: s.emulator.faults.reflex("joint_reflex"), lambda s: None),
    Fault("gripper fails", lambda s: s.emulator.faults.gripper_failure(True), lambda s: s.emulator.faults.clear()),
    Fault("camera freezes", lambda s: s.emulator.faults.camera_freeze(True), lambda s: s.emulator.faults.clear()),
    Fault("connection refused", lambda s: s.emulator.faults.refuse_connections(), lambda s: s.emulator.faults.clear()),
    Fault("policy stalls", lambda s: _signal(s, signal.SIGSTOP), lambda s: _signal(s, signal.SIGCONT)),
    Fault("policy killed", lambda s: _signal(s, signal.SIGKILL), lambda s: None),
    Fault("control process killed", lambda s: _kill_arm(s), lambda s: None),
)


def _signal(stage: Stage, number: int) -> None:
    assert stage.policy is not None and stage.policy.process.pid is not None
    os.kill(stage.policy.process.pid, number)


def _kill_arm(stage: Stage) -> None:
    assert stage.parts is not None
    arm: Any = stage.parts.rig.arm
    os.kill(arm.process.pid, signal.SIGKILL)


def run(robot: str, fault: Fault, situation: str) -> Row:
    """One row: a fault in a situation."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(robot, situation, Path(folder))
        stage.heal = fault.heal
        with stage.emulator, stage.cameras:
            return _idle(stage, fault) if situation == "idle" else _running(stage, fault)


def _running(stage: Stage, fault: Fault) -> Row:
    """The fault comes in the middle of an episode; another episode follows."""
    when: list[int] = []

    def strike() -> None:
        end = time.monotonic() + 60
        while not stage.commanded() and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(AFTER)
        when.append(stage.robot_time())
        fault.inject(stage)

    trouble = threading.Thread(target=strike, daemon=True)
    trouble.start()
    ended, went_on = _first(stage, fault)
    trouble.join(5)
    if not went_on:
        went_on = _again(stage, fault)
    entries = EpisodeStore(stage.folder / "episodes").entries()
    about = entries[0].meta if entries else {}
    seen = _seen(about) if entries else ended
    return replace(_judged(stage, fault, when[0] if when else 0, seen), saved=bool(entries), went_on=went_on)


def _first(stage: Stage, fault: Fault) -> tuple[str, bool]:
    """The deployment in which the fault comes: why it ended, and whether it went on."""
    try:
        with stage.deployment(2) as deployment:
            summary = deployment.run()
            return summary.stopped, len(summary.episodes) >= 2
    except RoboRewardError as error:
        stage.tell(str(error))
        return str(error), False


def _again(stage: Stage, fault: Fault) -> bool:
    """A new deployment in the same folder, after somebody took the fault back."""
    fault.heal(stage)
    before = len(EpisodeStore(stage.folder / "episodes"))
    try:
        with stage.deployment(before + 1) as deployment:
            deployment.rig.arm.recover()
            return len(deployment.run().episodes) > before
    except RoboRewardError as error:
        stage.tell(str(error))
        return False


def _idle(stage: Stage, fault: Fault) -> Row:
    """The fault comes before the first episode, while nothing is streamed."""
    ended = ""
    try:
        with stage.deployment(1) as deployment:
            when = stage.robot_time()
            fault.inject(stage)
            time.sleep(0.3)
            ended = deployment.run().stopped
            seen = deployment.summary.faults[0]["kind"] if deployment.summary.faults else ended or "nothing"
            done = len(deployment.summary.episodes) >= 1
    except RoboRewardError as error:
        stage.tell(str(error))
        seen, done = type(error).__name__, False
    went_on = done or _again(stage, fault)
    row = _judged(stage, fault, when, seen)
    return replace(row, seconds=0.0, saved=True, went_on=went_on)


def _seen(meta: Any) -> str:
    """What the client saw."""
    if meta.get("fault"):
        return str(meta["fault"]).split(". ")[0][:90]
    return f"{meta.get('ending', 'cut off')}: {meta.get('text', '')}".split(". ")[0][:90]


def _judged(stage: Stage, fault: Fault, when: int, seen: str) -> Row:
    """By the emulator's own log."""
    cycles = stage.emulator.log.cycles()
    limits = arm_named(stage.robot)
    fastest = np.array(limits.dq_max)
    inside = bool(
        (np.abs(cycles["dq"]) <= fastest).all()
        and (cycles["q"] >= np.array(limits.q_min)).all()
        and (cycles["q"] <= np.array(limits.q_max)).all()
    )
    told = any("?" not in text and len(text) > 30 for text in stage.said) or not fault.stops
    rest = _standstill(cycles[cycles["message_id"] >= when][:SOON]) if when else None
    reaction = _reaction(cycles, when) if rest is not None else "goes on"
    return Row(stage.robot, fault.name, stage.situation, seen, reaction, rest, inside, told, False, False)


def _standstill(cycles: np.ndarray) -> float | None:
    """How long after the first cycle the arm stood, and stayed so for a while [s]."""
    still = np.abs(cycles["dq"]).max(axis=1) < AT_REST
    run, need = 0, int(1000 * HELD)
    for i, quiet in enumerate(still):
        run = run + 1 if quiet else 0
        if run == need:
            return (i - need + 1) / 1000
    return None


def _reaction(cycles: np.ndarray, when: int) -> str:
    """What made the arm stand: the robot's own reflex or user stop, or a stop of ours."""
    after = cycles[cycles["message_id"] >= when]
    modes = set(after["robot_mode"][:SOON].tolist())
    if 5 in modes:
        return "user stop"
    if 4 in modes:
        return "reflex"
    return "stop" if 1 in modes else "hold"


def table(rows: list[Row]) -> str:
    """The rows as aligned text."""
    head = ("robot", "fault", "when", "seen by the client", "reaction", "s", "limits", "told", "saved", "goes on")
    body = [
        (
            r.robot, r.fault, r.situation, r.seen, r.reaction, "-" if r.seconds is None else f"{r.seconds:.2f}",
            *("yes" if ok else "NO" for ok in (r.within_limits, r.told, r.saved, r.went_on)),
        )
        for r in rows
    ]  # fmt: skip
    widths = [max(len(str(line[i])) for line in (head, *body)) for i in range(len(head))]
    lines = ["  ".join(str(cell).ljust(w) for cell, w in zip(line, widths, strict=True)) for line in (head, *body)]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Prints the table and writes JSON."""
    args = arguments(__doc__, argv)
    robots = ("fr3",) if args.quick else ("fr3", "panda")
    situations = ("moving",) if args.quick else SITUATIONS
    rows = []
    for robot in robots:
        for fault in FAULTS:
            for situation in situations:
                rows.append(run(robot, fault, situation))
                print(table(rows[-1:]).splitlines()[1], flush=True)
    print()
    print(table(rows))
    print()
    slowest = max((r.seconds for r in rows if r.seconds is not None), default=0.0)
    values = {"rows": len(rows), "fine": sum(r.fine for r in rows), "slowest_stop_s": slowest}
    report(args, {**values, "table": [asdict(r) for r in rows]} if args.json else values)


if __name__ == "__main__":
    main()
