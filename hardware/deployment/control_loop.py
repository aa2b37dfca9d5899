"""The control loop of one episode: reads the arm, queries the policy, filters, streams and records."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

import numpy as np

from robo_reward.envs.arm.base import ArmTask
from robo_reward.envs.state import State
from robo_reward.hardware.arm import ArmDriver, ArmFault, ArmState, Mode, Target
from robo_reward.hardware.deployment.clock import StreamClock
from robo_reward.hardware.deployment.journal import Journal
from robo_reward.hardware.deployment.latency import LatencyStatistics
from robo_reward.hardware.deployment.time_scale import TimeScale
from robo_reward.hardware.perception.camera_stream import FrameSource
from robo_reward.hardware.perception.state_estimator import ObjectsLost, Observer
from robo_reward.hardware.policy.action_queue import ActionQueue
from robo_reward.hardware.policy.process import PolicyDied, PolicySource
from robo_reward.hardware.policy.teleop import Teleop
from robo_reward.hardware.safety.fault_messages import add_mode_reason
from robo_reward.hardware.safety.filter import Decision, SafetyFilter, Verdict
from robo_reward.hardware.safety.recovery import FaultMachine, Phase
from robo_reward.hardware.safety.watchdog import Watchdog

LATENCIES = ("read_state", "inference", "answer", "first_command", "step", "frame_age")
"""Recorded durations [s]: reading the arm's state; the policy's inference; from query to reply; from the measurement to
the first command computed from it; a whole control step; age of the newest frame."""

ORDERLY_ENDINGS = ("horizon", "end", "discard")
"""Endings whose last state is recorded at the end of the last control step, before the arm brakes; after any other
ending it is recorded once the arm has stopped."""


_ticket_numbers = count(1)
"""Numbers of queries to policies; never reused, so that a late reply is not taken for the reply to a later query."""


class EpisodeEnding(NamedTuple):
    """The ending of an episode.

    Attributes:
        reason: `horizon`, `end`, `discard`, `stop` (a stop was requested), `watchdog`, `safety`, `fault`, `policy`
            or `objects`.
        text: the reason as a sentence for the operator.
        steps: number of control steps that were made.
        fault: the arm's fault if that ended the episode, otherwise None.
        labelled: the success label that a person gave, or None.
    """

    reason: str
    text: str
    steps: int
    fault: ArmFault | None = None
    labelled: bool | None = None


@dataclass
class ControlContext:
    """Components that the control loop works with; built once per deployment.

    Args:
        task: task whose action and observation convention holds.
        arm: connected arm.
        observer: makes the task's state.
        filter: safety filter between policy and arm.
        watchdog: supervises the policy's and the cameras' clocks.
        clock: clock of the command stream.
        policy: policy that decides, or None where a person drives.
        teleop: the person's input device.
        tempo: time scale at which the policy runs.
        machine: state machine of faults and recoveries.
        frames: source of camera frames, or None.
        stop: returns True once a stop was requested, by Ctrl-C or a signal.
        horizon: maximum number of control steps of an episode.
        latencies: durations in all episodes of the deployment [s].
    """

    task: ArmTask
    arm: ArmDriver
    observer: Observer
    filter: SafetyFilter
    watchdog: Watchdog
    clock: StreamClock
    policy: PolicySource | None
    teleop: Teleop
    tempo: TimeScale = field(default_factory=TimeScale)
    machine: FaultMachine = field(default_factory=FaultMachine)
    frames: FrameSource | None = None
    stop: Callable[[], bool] = lambda: False
    horizon: int = 60
    latencies: LatencyStatistics = field(default_factory=lambda: LatencyStatistics(LATENCIES))

    def compute_step_duration(self, step: int) -> float:
        """Computes the duration of a control step [s]."""
        return self.task.control_dt / self.tempo.scale_at(step)


class _EndEpisode(Exception):
    """Leaves the control loop with an ending."""

    def __init__(self, ending: EpisodeEnding) -> None:
        self.ending = ending


class ControlLoop:
    """Control loop of one episode.

    However the episode ends, the arm is at rest afterwards or has received a stop command.

    Args:
        rig: components to use.
        journal: records every step as it is made.

    Attributes:
        interventions: number of control steps in which a person drove.
        clips: number of actions that each rule of the safety filter changed.
        stop_time: when the arm received the stop command, by this computer's monotonic clock [s].
        clipped: number of actions that the safety filter changed.
    """

    def __init__(self, rig: ControlContext, journal: Journal) -> None:
        self.rig, self.journal = rig, journal
        self.latencies = LatencyStatistics(LATENCIES)
        self.interventions = self.clipped = 0
        self.stop_time = np.nan
        self.clips: Counter[str] = Counter()
        self._queue = ActionQueue(rig.task.control_dt)
        self._pending_queries: dict[
            int, tuple[float, float]
        ] = {}  # ticket -> time of the observation by the policy's clock, wall time of the query [s]
        self._last: tuple[np.ndarray, ArmState, np.ndarray | None, float] | None = None
        self._step = 0
        self._inference_time = np.nan
        self._step_start = 0.0

    def run(self) -> EpisodeEnding:
        """Runs the episode from the arm's present pose to its end and returns the ending."""
        rig, ending = self.rig, EpisodeEnding("stop", "it was interrupted", 0)
        try:
            seed = rig.arm.state()
            # The filter's first target is the measured pose; the fault machine checks the same state.
            rig.filter.start(seed)
            rig.machine.seed(seed)
            rig.teleop.reset()
            rig.watchdog.start()
            if rig.policy is not None:
                rig.policy.reset()
            rig.arm.start_streaming()
            rig.machine.start()
            rig.clock.start()
            while self._step < rig.horizon:
                self._run_step()
                self._step += 1
            ending = EpisodeEnding("horizon", "all steps were made", self._step)
        except _EndEpisode as end:
            ending = end.ending
        except ArmFault as fault:
            ending = EpisodeEnding("fault", str(fault), self._step, fault)
        except PolicyDied as died:
            ending = EpisodeEnding("policy", str(died), self._step)
        finally:
            ending = self._bring_to_rest(ending)
            self.rig.latencies.extend(self.latencies)
        return ending._replace(steps=self.journal.steps)

    def _bring_to_rest(self, ending: EpisodeEnding) -> EpisodeEnding:
        """Stops the arm where it is and records the last state."""
        last = self._last
        try:
            try:
                # Stop the arm even if the last state cannot be read.
                if ending.reason in ORDERLY_ENDINGS:
                    last = self._take_snapshot(self.rig.arm.state())
            finally:
                self.stop_time = time.monotonic()
                self.rig.arm.stop()
            if ending.reason not in ORDERLY_ENDINGS:
                arm = self._read_state_after_stop()
                if ending.fault is not None:
                    fault = add_mode_reason(ending.fault, arm.mode)
                    ending = ending._replace(fault=fault, text=str(fault))
                last = self._take_snapshot(arm)
        except (ArmFault, ObjectsLost) as problem:
            if isinstance(problem, ArmFault) and ending.fault is None:
                ending = ending._replace(reason="fault", text=str(problem), fault=problem)
        if last is not None:
            self.journal.write_last_state(*last)
        return ending

    def _take_snapshot(self, arm: ArmState) -> tuple[np.ndarray, ArmState, np.ndarray | None, float]:
        """Returns the task's state, the arm's state, a camera frame and the time of the frame [s]."""
        return self.rig.observer.estimate_state(arm).array, arm, *self._read_frame()

    def _read_state_after_stop(self) -> ArmState:
        """Returns the arm's state after a stop.

        The first state that a library returns then may be from before the stop; so it is read again while the arm
        moves.
        """
        arm, tries = self.rig.arm.state(), 20
        while arm.mode is Mode.MOVING and tries:
            time.sleep(0.005)
            arm, tries = self.rig.arm.state(), tries - 1
        return arm

    def _run_step(self) -> None:
        """Runs one control step, which is several commands (`ticks`)."""
        rig, begun = self.rig, time.monotonic()
        self._check_stop_request()
        arm = rig.arm.state()
        read = time.monotonic() - begun
        state, known = self._estimate_state(arm)
        frame, taken = self._read_monitored_frame()
        frame_age = time.monotonic() - taken
        dt, self._step_start = rig.compute_step_duration(self._step), rig.clock.read_time()
        if known:
            self._query_policy(state)
        self._last = (state.array, arm, frame, taken)
        person = rig.teleop.read()
        self._handle_event(person.event)
        times = {"begun": begun, "stamp": arm.stamp, "robot_time": arm.robot_time, "late": 1.0, "frame": taken}
        action, verdict, sent = np.zeros(rig.task.action.dim), "hold", np.nan
        for tick in range(max(1, round(dt * rig.filter.settings.rate))):
            decided: Decision | None = None
            # A person's action takes precedence over the policy and applies from the first command.
            if person.action is not None and tick == 0:
                action, verdict, decided = person.action, "person", rig.filter.filter_action(person.action, arm, dt)
                self._queue.clear()
                rig.watchdog.record_action()
            # No action yet: each tick waits for the reply until its command is due, then streams the old plan.
            elif times["late"] and verdict == "hold":
                given = self._get_due_action()
                if given is not None and rig.watchdog.is_blind():
                    rig.watchdog.record_action()  # the policy works, but its observation is too old to act on
                elif given is not None:
                    times |= {"late": 0.0, "answered": time.monotonic(), "inference": self._inference_time}
                    action, verdict, decided = given, "follow", rig.filter.filter_action(given, arm, dt)
                    rig.watchdog.record_action()
            if decided is not None:
                verdict = self._apply_decision(decided, verdict, action, state, arm, times, frame)
            self._send_command()
            if decided is not None or tick == 0:
                sent = time.monotonic()
            rig.clock.wait_until_next()
        if person.action is not None:
            self.interventions += 1
        times["sent"] = sent
        self.journal.write_step(state.array, arm, action, verdict, times, frame)
        self.latencies.add_durations(
            read_state=read, inference=times.get("inference", np.nan), step=time.monotonic() - begun
        )
        self.latencies.add_durations(first_command=sent - arm.stamp, frame_age=frame_age)
        self._check_watchdog(verdict)

    def _apply_decision(
        self,
        decided: Decision,
        verdict: str,
        action: np.ndarray,
        state: State,
        arm: ArmState,
        times: dict[str, float],
        frame: np.ndarray | None,
    ) -> str:
        """Counts the clips of a filter decision and returns the verdict to record.

        Raises:
            _EndEpisode: the decision is to stop.
        """
        self.clips.update(clip.rule for clip in decided.clips)
        self.clipped += bool(decided.clips)
        if decided.verdict is Verdict.STOP:
            self.journal.write_step(state.array, arm, action, "stop", times, frame)
            raise _EndEpisode(
                EpisodeEnding("safety", f"the safety filter stopped the arm: {decided.cause}", self._step)
            )
        return "hold" if decided.verdict is Verdict.HOLD else verdict

    def _check_watchdog(self, verdict: str) -> None:
        """Checks the watchdog after a control step; holds, resumes or ends the episode."""
        rig = self.rig
        if verdict == "hold" and rig.policy is not None:
            rig.watchdog.record_missed_step()
        # A new state shows the watchdog whether the robot still answers.
        rig.watchdog.record_state(rig.arm.state().stamp)
        alarm = rig.watchdog.check_alarms()
        if alarm.verdict is Verdict.STOP:
            lost = rig.frames.describe_failures() if rig.frames is not None else ""
            text = f"{alarm.cause}{f' ({lost})' if lost else ''}. {alarm.remedy}"
            raise _EndEpisode(EpisodeEnding("watchdog", text, self._step))
        if alarm.verdict is Verdict.HOLD:
            rig.machine.hold()
            rig.filter.hold()
            self._queue.clear()
        # The missing input is back: continue from where the arm rests.
        elif rig.machine.phase is Phase.HOLDING:
            rig.machine.resume()

    def _estimate_state(self, arm: ArmState) -> tuple[State, bool]:
        """Returns the task's state and whether it is valid.

        While the objects are lost it is the last valid state, which is not shown to the policy.
        """
        try:
            return self.rig.observer.estimate_state(arm), True
        except ObjectsLost as lost:
            if self._last is None:
                raise _EndEpisode(EpisodeEnding("objects", str(lost), self._step)) from lost
            return State(self.rig.task.spec, self._last[0]), False

    def _read_monitored_frame(self) -> tuple[np.ndarray | None, float]:
        """Returns the newest frame and its time [s], and reports that time to the watchdog."""
        image, taken = self._read_frame()
        if image is not None:
            self.rig.watchdog.record_frame(taken)
        return image, taken

    def _read_frame(self) -> tuple[np.ndarray | None, float]:
        if self.rig.frames is None:
            return None, np.nan
        frame = self.rig.frames.read()
        return frame.image, frame.stamp

    def _compute_policy_time(self) -> float:
        """Computes the policy's time [s].

        It advances by control steps at the time scale of training, however long the steps take on the arm.
        """
        tempo, dt = self.rig.tempo.scale_at(self._step), self.rig.task.control_dt
        # Within a step, real time is scaled by `tempo` and ends with the step.
        return self._step * dt + min((self.rig.clock.read_time() - self._step_start) * tempo, dt)

    def _query_policy(self, state: State) -> None:
        """Sends the present observation to the policy, unless two queries are still unanswered."""
        while self._collect_reply(0.0):
            pass
        if self.rig.policy is None or len(self._pending_queries) >= 2:
            return
        ticket = next(_ticket_numbers)
        # At most two queries are open: one in progress, and one that waits behind it.
        self._pending_queries[ticket] = (self._step * self.rig.task.control_dt, time.monotonic())
        self.rig.policy.send_observation(
            ticket, self.rig.observer.compute_observation(state, self.rig.tempo.scale_at(self._step))
        )

    def _get_due_action(self) -> np.ndarray | None:
        """Returns the action of this control step, or None when it is not there before the next command is due."""
        now = self._step * self.rig.task.control_dt
        while True:
            ready = self._queue.take_action(now)
            if ready is not None or not self._collect_reply(max(self.rig.clock.time_until_next(), 0.0)):
                return ready

    def _collect_reply(self, timeout: float) -> bool:
        """Receives one reply of the policy and queues its actions; returns False if none arrives within the time.

        A reply to a query of an earlier episode is dropped.

        Args:
            timeout: [s].
        """
        if self.rig.policy is None or not self._pending_queries:
            return False
        reply = self.rig.policy.receive_reply(timeout)
        if reply is None:
            return False
        if reply.ticket not in self._pending_queries:
            return True
        start, asked = self._pending_queries.pop(reply.ticket)
        self.latencies.add_durations(answer=time.monotonic() - asked)
        self._inference_time = reply.seconds
        rows = reply.actions
        if rows.ndim < 2 or not len(rows):  # not a chunk: an empty row makes the safety filter hold
            rows = np.zeros((1, 0))
        # Late only if every row of the chunk is for a step that has passed.
        if self._queue.add_chunk(start, rows, self._compute_policy_time()) == len(rows):
            self.rig.watchdog.record_late_action()
        return True

    def _send_command(self) -> Target:
        """Streams the next command to the arm, records and returns it."""
        target = self.rig.filter.next_command()
        self.rig.arm.stream(target)
        self.journal.add_command(time.monotonic(), target)
        return target

    def _check_stop_request(self) -> None:
        if self.rig.stop():
            raise _EndEpisode(EpisodeEnding("stop", "it was asked to stop", self._step))

    def _handle_event(self, event: str) -> None:
        """Ends the episode if the person's input event requests it."""
        if not event:
            return
        label = {"success": True, "failure": False}.get(event)
        reason = {"stop": "stop", "discard": "discard"}.get(event, "end")
        raise _EndEpisode(EpisodeEnding(reason, f"the person at the controls: {event}", self._step, labelled=label))
