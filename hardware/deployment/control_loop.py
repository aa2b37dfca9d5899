"""The control loop of one episode: reads the arm, queries the policy, filters, streams and records."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from robo_reward.envs.arm.base import ArmTask
from robo_reward.envs.state import State
from robo_reward.hardware.arm import ArmDriver, ArmFault, ArmState, Mode
from robo_reward.hardware.deployment.clock import StreamClock
from robo_reward.hardware.deployment.journal import Journal, StepRecord, StepTiming
from robo_reward.hardware.deployment.latency import LatencyStatistics
from robo_reward.hardware.deployment.policy_queries import ActionRequest, PolicyQueries
from robo_reward.hardware.deployment.time_scale import TimeScale
from robo_reward.hardware.perception.camera_stream import FrameSource
from robo_reward.hardware.perception.state_estimator import ObjectsLost, Observer
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


class Snapshot(NamedTuple):
    """State of robot and scene at one moment.

    Attributes:
        state: the task's state.
        arm: the arm's measured state.
        frame: newest camera frame (H, W, 3), or None.
        frame_stamp: when it was captured, by this computer's monotonic clock [s].
        valid: False while the objects are lost; `state` is then the last valid one.
    """

    state: State
    arm: ArmState
    frame: np.ndarray | None
    frame_stamp: float
    valid: bool = True


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
        cameras: names of the cameras in a frame, from left to right.
        views: for each camera that the policy looks through, its place in a frame.
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
    cameras: tuple[str, ...] = ()
    views: tuple[int, ...] = ()
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
        self._policy = PolicyQueries(rig, self.latencies)
        self._last: Snapshot | None = None
        self._step = 0

    def run(self) -> EpisodeEnding:
        """Runs the episode from the arm's present pose to its end and returns the ending."""
        rig, ending = self.rig, EpisodeEnding("stop", "the run was interrupted", 0)
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
            self.journal.write_last_state(last.state.array, last.arm, last.frame, last.frame_stamp)
        return ending

    def _take_snapshot(self, arm: ArmState) -> Snapshot:
        """Returns the state of robot and scene for a measured state of the arm.

        Raises:
            ObjectsLost: the scene does not know where the objects are.
        """
        return Snapshot(self.rig.observer.estimate_state(arm), arm, *self._read_frame())

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
        """Runs one control step: observes, queries the policy, streams the commands and records."""
        begun = time.monotonic()
        self._check_stop_request()
        seen = self._observe()
        self._policy.start_step(self._step)
        if seen.valid and not (self._policy.looks and self.rig.watchdog.is_blind()):
            self._policy.send_observation(seen.state, seen.frame)
        else:
            self._policy.skip_observation()
        request, decision, sent = self._stream_step(seen.arm, self._read_person())
        record = _make_record(seen, request, decision, begun, sent)
        self.journal.write_step(record)
        self.interventions += request is not None and request.verdict == "person"
        self.latencies.add_durations(
            inference=record.timing.inference, first_command=sent - seen.arm.stamp, step=time.monotonic() - begun
        )
        if decision.verdict is Verdict.STOP:
            text = f"the safety filter stopped the arm: {decision.cause}"
            raise _EndEpisode(EpisodeEnding("safety", text, self._step))
        self._check_watchdog(decision.verdict)

    def _observe(self) -> Snapshot:
        """Returns the present state of robot and scene; while objects are lost, with the last valid task state."""
        rig, begun = self.rig, time.monotonic()
        arm = rig.arm.state()
        read = time.monotonic() - begun
        state, valid = self._estimate_state(arm)
        frame, stamp = self._read_frame()
        if frame is not None:
            rig.watchdog.record_frame(stamp)
        self.latencies.add_durations(read_state=read, frame_age=time.monotonic() - stamp)
        self._last = Snapshot(state, arm, frame, stamp, valid)
        return self._last

    def _read_person(self) -> ActionRequest | None:
        """Returns the action of the person at the input device, or None where the policy decides.

        A person's action takes precedence over the policy, whose queued actions are dropped.
        """
        person = self.rig.teleop.read()
        self._handle_event(person.event)
        if person.action is None:
            return None
        self._policy.restart(pause=True)
        self.rig.watchdog.record_action()
        return ActionRequest(person.action, "person")

    def _stream_step(self, arm: ArmState, person: ActionRequest | None) -> tuple[ActionRequest | None, Decision, float]:
        """Streams the commands of one control step.

        Until an action is there, each command waits for it as long as it can, and then continues the previous plan.
        After a decision to stop, no command is sent.

        Args:
            arm: measured state at the beginning of the step.
            person: the action of a person, or None where the policy decides.

        Returns:
            The action, or None where none came in time; the filter's decision on it; and when the first command that
            follows it was sent, by this computer's monotonic clock [s].
        """
        dt = self.rig.compute_step_duration(self._step)
        request, decision, sent = None, Decision(Verdict.HOLD), np.nan
        for _ in range(self.rig.filter.count_commands(dt)):
            if request is None and (request := person or self._take_policy_action()) is not None:
                decision, sent = self._filter_action(request.action, arm, dt), np.nan
                if decision.verdict is Verdict.STOP:
                    break
            self._send_command()
            sent = time.monotonic() if np.isnan(sent) else sent
            self.rig.clock.wait_until_next()
        return request, decision, sent

    def _take_policy_action(self) -> ActionRequest | None:
        """Returns the policy's action for this control step, or None while there is none to act upon."""
        request = self._policy.take_action()
        if request is not None:
            self.rig.watchdog.record_action()
        # Behind a blind camera the policy works, but its observation is too old to act upon.
        return None if request is None or self.rig.watchdog.is_blind() else request

    def _filter_action(self, action: np.ndarray, arm: ArmState, dt: float) -> Decision:
        """Returns the filter's decision on an action, and counts the clips."""
        decision = self.rig.filter.filter_action(action, arm, dt)
        self.clips.update(clip.rule for clip in decision.clips)
        self.clipped += bool(decision.clips)
        return decision

    def _check_watchdog(self, verdict: Verdict) -> None:
        """Checks the watchdog after a control step; holds, resumes or ends the episode."""
        rig = self.rig
        if verdict is Verdict.HOLD and rig.policy is not None:
            rig.watchdog.record_missed_step()
        # A new state shows the watchdog whether the robot still answers.
        rig.watchdog.record_state(rig.arm.state().stamp)
        alarm = rig.watchdog.check_alarms()
        if alarm.verdict is Verdict.STOP:
            lost = rig.frames.describe_failures() if rig.frames is not None else ""
            text = f"{alarm.cause}{f' ({lost})' if lost else ''}. {alarm.remedy}"
            raise _EndEpisode(EpisodeEnding("watchdog", text, self._step))
        if alarm.verdict is Verdict.HOLD:
            begins = rig.machine.phase is not Phase.HOLDING
            rig.machine.hold()
            rig.filter.hold()
            # While the arm rests, a slow policy's reply to what it saw at rest may still come.
            self._policy.restart() if begins else self._policy.clear()
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
            return self._last.state, False

    def _read_frame(self) -> tuple[np.ndarray | None, float]:
        """Returns the newest camera frame and when it was captured [s]; None and NaN without cameras."""
        if self.rig.frames is None:
            return None, np.nan
        frame = self.rig.frames.read()
        return frame.image, frame.stamp

    def _send_command(self) -> None:
        """Streams the next command to the arm and records it."""
        target = self.rig.filter.next_command()
        self.rig.arm.stream(target)
        self.journal.add_command(time.monotonic(), target)

    def _check_stop_request(self) -> None:
        if self.rig.stop():
            raise _EndEpisode(EpisodeEnding("stop", "it was asked to stop", self._step))

    def _handle_event(self, event: str) -> None:
        """Ends the episode if the person's input event requests it."""
        if not event:
            return
        label = {"success": True, "failure": False}.get(event)
        reason = {"stop": "stop", "discard": "discard"}.get(event, "end")
        raise _EndEpisode(EpisodeEnding(reason, f"the operator's input: {event}", self._step, labelled=label))


def _make_record(
    seen: Snapshot, request: ActionRequest | None, decision: Decision, begun: float, sent: float
) -> StepRecord:
    """Returns the record of a control step that began at `begun`, with its first command at `sent` [s]."""
    request = request or ActionRequest(np.zeros(0), "")  # recorded as zeros
    verdict = request.verdict if decision.verdict is Verdict.FOLLOW else decision.verdict.value
    timing = StepTiming(begun, request.answered, request.inference, sent, late=bool(np.isnan(request.answered)))
    return StepRecord(seen.state.array, seen.arm, request.action, verdict, timing, seen.frame, seen.frame_stamp)
