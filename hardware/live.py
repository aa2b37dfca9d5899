"""One episode on an arm: measure, ask the policy, filter what it says, stream, and write everything down."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

import numpy as np

from robo_reward.envs.panda.base import ArmTask
from robo_reward.envs.state import State
from robo_reward.hardware.chunks import ActionQueue
from robo_reward.hardware.explain import reasoned
from robo_reward.hardware.faults import FaultMachine, Phase
from robo_reward.hardware.frames import Frames
from robo_reward.hardware.latency import Latencies
from robo_reward.hardware.observe import ObjectsLost, Observer
from robo_reward.hardware.pace import Pace
from robo_reward.hardware.policy_process import PolicyDied, PolicySource
from robo_reward.hardware.recording import Journal
from robo_reward.hardware.robot import Arm, ArmFault, ArmState, Mode, Target
from robo_reward.hardware.safety import Decision, SafetyFilter, Verdict
from robo_reward.hardware.teleop import Teleop
from robo_reward.hardware.tempo import Tempo
from robo_reward.hardware.watchdog import Watchdog

LATENCIES = ("read_state", "inference", "answer", "first_command", "step", "frame_age")
"""Reading the arm's state; the policy's own time; from the question to its answer; from the measurement to the first
command that follows from it; a whole control step; how old the newest frame was [s]."""

ORDERLY = ("horizon", "end", "discard")
"""Endings without haste: the last state is that at the end of the last control step, before the arm brakes."""


_tickets = count(1)
"""Of questions to policies; none is used twice, so that no answer is taken for that to a later question."""


class Ending(NamedTuple):
    """How an episode ended.

    Attributes:
        reason: `horizon`, `end`, `discard`, `stop` (somebody asked), `watchdog`, `safety`, `fault`, `policy` or
            `objects`.
        text: in words.
        steps: control steps that were made.
        fault: of the arm, if that is why.
        labelled: what a person said of its success, or none.
    """

    reason: str
    text: str
    steps: int
    fault: ArmFault | None = None
    labelled: bool | None = None


@dataclass
class Rig:
    """Everything that an episode needs; made once per deployment.

    Args:
        task: whose convention holds.
        arm: connected.
        observer: makes the task's state.
        filter: between policy and arm.
        watchdog: on the policy's and the cameras' clocks.
        pace: of the stream.
        policy: decides; none where a person drives.
        teleop: the person's device.
        tempo: how fast time passes for the policy.
        machine: keeps the order of things.
        frames: what the cameras see, or none.
        stop: whether somebody asked to stop, by Ctrl-C or a signal.
        horizon: control steps of an episode at most.
        finger_speed: of the opening, when the arm is not streamed [m/s].
    """

    task: ArmTask
    arm: Arm
    observer: Observer
    filter: SafetyFilter
    watchdog: Watchdog
    pace: Pace
    policy: PolicySource | None
    teleop: Teleop
    tempo: Tempo = field(default_factory=Tempo)
    machine: FaultMachine = field(default_factory=FaultMachine)
    frames: Frames | None = None
    stop: Callable[[], bool] = lambda: False
    horizon: int = 60
    latencies: Latencies = field(default_factory=lambda: Latencies(LATENCIES))

    def duration(self, step: int) -> float:
        """How long a control step takes [s]."""
        return self.task.control_dt / self.tempo.at(step)


class _End(Exception):
    """Leaves the loop."""

    def __init__(self, ending: Ending) -> None:
        self.ending = ending


class LiveEpisode:
    """One episode. Whatever happens in it, the arm is at rest afterwards, or has been told to stop.

    Args:
        rig: what to use.
        journal: gets every step as it is made.

    Attributes:
        interventions: control steps in which a person drove.
        clips: how often each rule of the safety filter changed an action.
        stop_time: when the arm was told to stop, by this computer's monotonic clock [s].
        clipped: how many actions it changed.
    """

    def __init__(self, rig: Rig, journal: Journal) -> None:
        self.rig, self.journal = rig, journal
        self.latencies = Latencies(LATENCIES)
        self.interventions = self.clipped = 0
        self.stop_time = np.nan
        self.clips: Counter[str] = Counter()
        self._queue = ActionQueue(rig.task.control_dt)
        self._asked: dict[
            int, tuple[float, float]
        ] = {}  # ticket -> time of the observation, wall clock of the question
        self._last: tuple[np.ndarray, ArmState, np.ndarray | None, float] | None = None
        self._step = 0
        self._thought = np.nan
        self._begun = 0.0

    def run(self) -> Ending:
        """From the arm's present pose to the end of the episode."""
        rig, ending = self.rig, Ending("stop", "it was interrupted", 0)
        try:
            seed = rig.arm.state()
            rig.filter.start(seed)
            rig.machine.seed(seed)
            rig.teleop.reset()
            rig.watchdog.start()
            if rig.policy is not None:
                rig.policy.reset()
            rig.arm.start_streaming()
            rig.machine.start()
            rig.pace.start()
            while self._step < rig.horizon:
                self._one_step()
                self._step += 1
            ending = Ending("horizon", "all steps were made", self._step)
        except _End as end:
            ending = end.ending
        except ArmFault as fault:
            ending = Ending("fault", str(fault), self._step, fault)
        except PolicyDied as died:
            ending = Ending("policy", str(died), self._step)
        finally:
            ending = self._rest(ending)
            self.rig.latencies.extend(self.latencies)
        return ending._replace(steps=self.journal.steps)

    def _rest(self, ending: Ending) -> Ending:
        """Stops the arm where it is and takes the last state."""
        last = self._last
        try:
            try:
                if ending.reason in ORDERLY:
                    last = self._seen(self.rig.arm.state())
            finally:
                self.stop_time = time.monotonic()
                self.rig.arm.stop()
            if ending.reason not in ORDERLY:
                arm = self._stopped()
                if ending.fault is not None:
                    fault = reasoned(ending.fault, arm.mode)
                    ending = ending._replace(fault=fault, text=str(fault))
                last = self._seen(arm)
        except (ArmFault, ObjectsLost) as problem:
            if isinstance(problem, ArmFault) and ending.fault is None:
                ending = ending._replace(reason="fault", text=str(problem), fault=problem)
        if last is not None:
            self.journal.end(*last)
        return ending

    def _seen(self, arm: ArmState) -> tuple[np.ndarray, ArmState, np.ndarray | None, float]:
        """The task's state, the arm's, a frame and when it was taken [s]."""
        return self.rig.observer.state(arm).array, arm, *self._frame()

    def _stopped(self) -> ArmState:
        """The state after a stop; the first that a library gives then may be from before it."""
        arm, tries = self.rig.arm.state(), 20
        while arm.mode is Mode.MOVING and tries:
            time.sleep(0.005)
            arm, tries = self.rig.arm.state(), tries - 1
        return arm

    def _one_step(self) -> None:
        """One control step: `ticks` commands."""
        rig, begun = self.rig, time.monotonic()
        self._check_person_and_signals()
        arm = rig.arm.state()
        read = time.monotonic() - begun
        state, known = self._state(arm)
        frame, taken = self._look()
        frame_age = time.monotonic() - taken
        dt, self._begun = rig.duration(self._step), rig.pace.now()
        if known:
            self._ask(state)
        self._last = (state.array, arm, frame, taken)
        person = rig.teleop.read()
        self._obey(person.event)
        times = {"begun": begun, "stamp": arm.stamp, "robot_time": arm.robot_time, "late": 1.0, "frame": taken}
        action, verdict, sent = np.zeros(rig.task.action.dim), "hold", np.nan
        for tick in range(max(1, round(dt * rig.filter.settings.rate))):
            decided: Decision | None = None
            if person.action is not None and tick == 0:
                action, verdict, decided = person.action, "person", rig.filter.decide(person.action, arm, dt)
                self._queue.clear()
                rig.watchdog.answered()
            elif times["late"] and verdict == "hold":
                given = self._action()
                if given is not None and rig.watchdog.blind():
                    rig.watchdog.answered()  # the policy lives, but what it saw is too old to act upon
                elif given is not None:
                    times |= {"late": 0.0, "answered": time.monotonic(), "inference": self._thought}
                    action, verdict, decided = given, "follow", rig.filter.decide(given, arm, dt)
                    rig.watchdog.answered()
            if decided is not None:
                verdict = self._judged(decided, verdict, action, state, arm, times, frame)
            self._send()
            if decided is not None or tick == 0:
                sent = time.monotonic()
            rig.pace.wait()
        if person.action is not None:
            self.interventions += 1
        times["sent"] = sent
        self.journal.step(state.array, arm, action, verdict, times, frame)
        self.latencies.add(read_state=read, inference=times.get("inference", np.nan), step=time.monotonic() - begun)
        self.latencies.add(first_command=sent - arm.stamp, frame_age=frame_age)
        self._watch(verdict)

    def _judged(
        self,
        decided: Decision,
        verdict: str,
        action: np.ndarray,
        state: State,
        arm: ArmState,
        times: dict[str, float],
        frame: np.ndarray | None,
    ) -> str:
        """What the filter made of an action; ends the episode where it says stop."""
        self.clips.update(clip.rule for clip in decided.clips)
        self.clipped += bool(decided.clips)
        if decided.verdict is Verdict.STOP:
            self.journal.step(state.array, arm, action, "stop", times, frame)
            raise _End(Ending("safety", f"the safety filter stopped the arm: {decided.cause}", self._step))
        return "hold" if decided.verdict is Verdict.HOLD else verdict

    def _watch(self, verdict: str) -> None:
        """Asks the watchdog after every step."""
        rig = self.rig
        if verdict == "hold" and rig.policy is not None:
            rig.watchdog.missed()
        rig.watchdog.state(rig.arm.state().stamp)
        alarm = rig.watchdog.verdict()
        if alarm.verdict is Verdict.STOP:
            lost = rig.frames.lost() if rig.frames is not None else ""
            text = f"{alarm.cause}{f' ({lost})' if lost else ''}. {alarm.remedy}"
            raise _End(Ending("watchdog", text, self._step))
        if alarm.verdict is Verdict.HOLD:
            rig.machine.hold()
            rig.filter.hold()
            self._queue.clear()
        elif rig.machine.phase is Phase.HOLDING:
            rig.machine.resume()

    def _state(self, arm: ArmState) -> tuple[State, bool]:
        """The task's state and whether it is known: where the objects are lost it is the last one, and not shown."""
        try:
            return self.rig.observer.state(arm), True
        except ObjectsLost as lost:
            if self._last is None:
                raise _End(Ending("objects", str(lost), self._step)) from lost
            return State(self.rig.task.spec, self._last[0]), False

    def _look(self) -> tuple[np.ndarray | None, float]:
        """The newest frame and when it was taken [s]."""
        image, taken = self._frame()
        if image is not None:
            self.rig.watchdog.frame(taken)
        return image, taken

    def _frame(self) -> tuple[np.ndarray | None, float]:
        if self.rig.frames is None:
            return None, np.nan
        frame = self.rig.frames.read()
        return frame.image, frame.stamp

    def _now(self) -> float:
        """The policy's time [s]: control steps at the pace of training, however long they take."""
        tempo, dt = self.rig.tempo.at(self._step), self.rig.task.control_dt
        return self._step * dt + min((self.rig.pace.now() - self._begun) * tempo, dt)

    def _ask(self, state: State) -> None:
        """Shows the policy what is seen now, unless it still thinks about two questions."""
        while self._collect(0.0):
            pass
        if self.rig.policy is None or len(self._asked) >= 2:
            return
        ticket = next(_tickets)
        self._asked[ticket] = (self._step * self.rig.task.control_dt, time.monotonic())
        self.rig.policy.ask(ticket, self.rig.observer.observation(state, self.rig.tempo.at(self._step)))

    def _action(self) -> np.ndarray | None:
        """The action for this control step, if it is there before the next command is due."""
        now = self._step * self.rig.task.control_dt
        while True:
            ready = self._queue.at(now)
            if ready is not None or not self._collect(max(self.rig.pace.left(), 0.0)):
                return ready

    def _collect(self, timeout: float) -> bool:
        """Takes one answer of the policy, if one comes within the time [s]; drops it if it is of an earlier episode."""
        if self.rig.policy is None or not self._asked:
            return False
        reply = self.rig.policy.reply(timeout)
        if reply is None:
            return False
        if reply.ticket not in self._asked:
            return True
        start, asked = self._asked.pop(reply.ticket)
        self.latencies.add(answer=time.monotonic() - asked)
        self._thought = reply.seconds
        rows = reply.actions
        if rows.ndim < 2 or not len(rows):  # no chunk: the safety filter is to see that, and holds
            rows = np.zeros((1, 0))
        if self._queue.put(start, rows, self._now()) == len(rows):
            self.rig.watchdog.late()
        return True

    def _send(self) -> Target:
        """The next command."""
        target = self.rig.filter.tick()
        self.rig.arm.stream(target)
        self.journal.command(time.monotonic(), target)
        return target

    def _check_person_and_signals(self) -> None:
        if self.rig.stop():
            raise _End(Ending("stop", "it was asked to stop", self._step))

    def _obey(self, event: str) -> None:
        """What a person's key means."""
        if not event:
            return
        label = {"success": True, "failure": False}.get(event)
        reason = {"stop": "stop", "discard": "discard"}.get(event, "end")
        raise _End(Ending(reason, f"the person at the controls: {event}", self._step, labelled=label))
