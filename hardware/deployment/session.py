"""A deployment session: runs a policy's episodes on an arm one after the other and loses none of them."""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from robo_reward.configs.deployment import DeploySettings
from robo_reward.data.episode import CorruptEpisode, Episode, EpisodeStore
from robo_reward.envs.task import Task
from robo_reward.errors import BadArtifact, RoboRewardError, UsageError, WrongShape
from robo_reward.hardware.arm import ArmFault, Mode
from robo_reward.hardware.deployment.control_loop import ControlContext, ControlLoop, EpisodeEnding
from robo_reward.hardware.deployment.journal import (
    Journal,
    SuccessLabeler,
    convert_disk_errors,
    find_leftover_journals,
    is_empty_journal,
    set_aside,
    store_journal,
)
from robo_reward.hardware.deployment.operator import Operator
from robo_reward.hardware.deployment.reset import ResetProcedure
from robo_reward.hardware.deployment.summary import DeploymentSummary, EpisodeSummary
from robo_reward.hardware.policy.compatibility import require_compatible
from robo_reward.hardware.policy.observation import match_cameras
from robo_reward.hardware.safety.recovery import Phase, Reaction, RecoveryStep
from robo_reward.policies.rollout.chunk import ChunkSpec

log = logging.getLogger(__name__)
MAX_CONFIRMATIONS = 10
"""Number of confirmations in a row without any effect that ends a deployment."""
REOPENING = 10.0
"""Time that a lost camera has to reconnect before a person is asked [s]."""
MAX_CLIPPED_SHARE = 0.5
"""Share of clipped actions above which the operator is informed."""
UNATTENDED = " (with confirm=false no one can confirm; run it in a terminal without confirm=false)"


class CameraUnavailable(RoboRewardError):
    """A camera delivers no frames, and the operator could not restore it."""


class StopRequested(RoboRewardError):
    """A stop was requested before an episode began; nothing more is sent to the arm."""

    def __init__(self) -> None:
        super().__init__("it was asked to stop")


class DeploymentSession:
    """Runs episodes on an arm.

    Args:
        rig: components of the control loop; its arm is connected.
        reset: prepares an episode.
        judge: labels the success of a finished episode and adds its reward.
        operator: the person beside the robot.
        store: gets the episodes.
        folder: for journals of episodes that run.
        settings: the user's settings.
        meta: kept with every episode: robot, policy, versions.
        report: called with the summary after every episode.
    """

    def __init__(
        self,
        rig: ControlContext,
        reset: ResetProcedure,
        judge: SuccessLabeler,
        operator: Operator,
        store: EpisodeStore,
        folder: Path,
        settings: DeploySettings,
        meta: dict[str, Any],
        report: Callable[[DeploymentSummary], None] = lambda _: None,
    ) -> None:
        self.rig, self.reset, self.judge, self.operator = rig, reset, judge, operator
        self.store, self.folder, self.settings, self.meta, self.report = store, folder, settings, meta, report
        self.summary = DeploymentSummary()
        self._tries, self._cut_reason, self._next_start = 0, "", 0
        reset.ready, operator.stop = self._wait_for_cameras, rig.stop

    def run(self) -> DeploymentSummary:
        """Recovers what an earlier run left behind, then runs the missing episodes; the arm rests at the end.

        Returns:
            The summary of all episodes, those of earlier runs included.

        Raises:
            DiskFailed: a file could not be written; the arm is at rest, and what was made is kept.
            EpisodeNotStored: an episode could not be stored for another reason; the arm is at rest here, too.
        """
        self.summary, self._tries = DeploymentSummary(), 0
        self._next_start = len(self.store.keys())  # a start for each stored episode, readable or not
        with convert_disk_errors(self.folder.parent, "Episodes that are in the store are kept."):
            self._load_previous_episodes()
            missing = self.summary.completed_count < self.settings.episodes
            if missing and not self._confirm_start():
                self.summary.stopped = str(StopRequested()) if self.rig.stop() else "the first motion was not confirmed"
            while self.summary.completed_count < self.settings.episodes and not self.summary.stopped:
                if self.rig.stop():
                    self.summary.stopped = "it was asked to stop"
                    break
                self._attempt_episode(self.summary.completed_count)
                self._publish_summary()
            self._publish_summary()
        return self.summary

    def _attempt_episode(self, number: int) -> None:
        """Tries an episode once; ends the session after too many tries in a row that were cut short."""
        self._tries += 1
        try:
            self._next_start += 1  # a repeated episode gets another start, even if the reset to this one fails
            self._run_episode(self._next_start - 1)
        except (CameraUnavailable, StopRequested) as problem:
            self.summary.stopped = self.summary.stopped or str(problem)
        if self.summary.completed_count > number:
            self._tries = 0
        elif self._tries > self.settings.retries and not self.summary.stopped:
            self.summary.exhausted = True
            self.summary.stopped = (
                f"episode {number} was cut short {self._tries} times in a row, the last time because "
                f"{self._cut_reason}. "
                "The result is not valid; remove the cause, then run the same command again (`retries=` allows more)"
            )

    def _load_previous_episodes(self) -> None:
        """Recovers journals that were cut off and adds the stored episodes to the summary."""
        for journal in find_leftover_journals(self.folder):
            self._recover_journal(journal)
        for key in self.store.keys():  # noqa: SIM118  a store iterates over episodes
            try:
                entry = self.store.read_entry(key)
            except CorruptEpisode as error:
                self.operator.show_message(f"{key} is not counted: {error}")
                continue
            self._next_start = max(self._next_start, int(entry.meta.get("episode", -1)) + 1)
            self.summary.episodes.append(EpisodeSummary.from_entry(entry))

    def _recover_journal(self, journal: Path) -> None:
        """Stores a journal that an earlier run left behind."""
        if is_empty_journal(journal):
            shutil.rmtree(journal)
            return
        episode = self._store_journal(journal)
        if episode is not None:
            self.operator.show_message(
                f"{journal.name}: {len(episode)} steps saved that an earlier run left behind: its processes were "
                "killed, or the computer stopped. Look at the arm before it moves again"
            )

    def _store_journal(self, journal: Path, labelled: bool | None = None) -> Episode | None:
        """Stores a journal and returns its episode, or returns None when it cannot be read.

        Such a journal is moved aside, so that it does not keep the deployment from going on.

        Raises:
            DiskFailed: the store cannot be written; the journal stays where it is, here and below.
            EpisodeNotStored: the store cannot be written for another reason than the disk.
        """
        try:
            return store_journal(journal, self.store, self.judge, labelled)
        except (BadArtifact, UsageError, WrongShape) as error:
            place = set_aside(journal, self.folder.parent / "set_aside")
            self.operator.show_message(
                f"{journal.name}: its steps cannot be read ({error}). The files are kept in {place}, and the "
                "deployment continues without them"
            )
            return None

    def _confirm_start(self) -> bool:
        arm = self.rig.arm
        where = arm.state().hand_position
        text = f"{arm.name}, its hand at {np.round(where, 3)} m, will move slowly. Is the space around it free"
        return not self.settings.confirm or self._ask_confirmation(text)

    def _ask_confirmation(self, question: str) -> bool:
        """Returns whether the operator says yes.

        After a stop request the answer is always no, and no question is asked.
        """
        return not self.rig.stop() and self.operator.confirm(question) and not self.rig.stop()

    def _wait_for_cameras(self) -> None:
        """Waits until every camera delivers frames; nothing moves meanwhile.

        Raises:
            StopRequested: a stop was requested.
            CameraUnavailable: a camera delivers no frames, and the operator could not restore it.
        """
        if self.rig.stop():
            raise StopRequested
        asked = 0
        while lost := self._describe_lost_camera():
            if self.rig.frames is not None and self.rig.frames.lost_for_good():
                raise CameraUnavailable(f"{lost}. Remove the cause, then run the same command again")
            text = f"{lost}: the arm does not move while a camera delivers no frames; it is reopened automatically"
            self.operator.show_message(text)
            end = time.monotonic() + REOPENING
            while self._describe_lost_camera() and time.monotonic() < end and not self.rig.stop():
                time.sleep(0.05)
            if not (lost := self._describe_lost_camera()):
                return
            asked += 1
            if self.rig.stop():
                raise StopRequested
            if (
                not self.settings.confirm
                or asked > MAX_CONFIRMATIONS
                or not self._confirm_continuation("Is the camera plugged in")
            ):
                raise CameraUnavailable(
                    f"{lost}. Check whether it is plugged in and lit, then run the same command again"
                )

    def _describe_lost_camera(self) -> str:
        """Returns a description of the camera that delivers no frames; empty if all deliver."""
        frames = self.rig.frames
        if frames is None:
            return ""
        age = time.monotonic() - frames.read().stamp
        if age < self.rig.watchdog.camera_age:
            return ""
        return frames.describe_failures() or f"the newest camera frame is {age:.1f} s old"

    def _run_episode(self, start: int) -> None:
        """Runs one episode, from the reset of the arm to that start to the store."""
        try:
            self.reset(start)
        except ArmFault as fault:
            self._cut_reason = fault.cause
            self._handle_fault(fault)
            return
        key = self._choose_key()
        journal = Journal(self.folder / key, self.rig.task, self._make_metadata(start), self._frame_shape())
        live, ending = ControlLoop(self.rig, journal), EpisodeEnding("stop", "the run was interrupted", 0)
        try:
            ending = live.run()
        finally:  # the record is kept even after a second Ctrl-C or an internal error
            try:
                journal.update_metadata(ending=ending.reason, interventions=live.interventions)
                journal.update_metadata(
                    latency_ms=live.latencies.to_json(), fault=str(ending.fault or ""), text=ending.text
                )
                journal.update_metadata(clips=dict(live.clips), clipped=live.clipped)
                journal.update_metadata(stop_time=live.stop_time if np.isfinite(live.stop_time) else None)
            finally:
                journal.close()
        self._conclude_episode(key, ending, live)

    def _conclude_episode(self, key: str, ending: EpisodeEnding, live: ControlLoop) -> None:
        """Stores an episode and reacts to how it ended."""
        self.operator.show_message(f"{key}: {ending.steps} steps, {ending.text}")
        self._cut_reason = ending.fault.cause if ending.fault else ending.text.rstrip(".")
        if live.clipped > MAX_CLIPPED_SHARE * max(ending.steps, 1):
            rule = live.clips.most_common(1)[0][0]
            self.operator.show_message(
                f"{key}: the safety filter changed {live.clipped} of {ending.steps} actions, most often for {rule}: "
                "the policy's actions exceed the limits, so its success rate is not meaningful. Lower "
                "tempo=, or raise speed= and acceleration= with care"
            )
        if ending.reason == "discard":
            shutil.rmtree(self.folder / key)
            self._tries = 0
        else:
            episode = self._store_journal(self.folder / key, self._ask_success_label(ending))
            if episode is not None:
                self.summary.episodes.append(EpisodeSummary.from_entry(self.store.read_entry(key)))
        if ending.reason in ("stop", "policy"):
            self.summary.stopped = ending.text
        if ending.fault is not None:
            self._handle_fault(ending.fault)
        elif ending.reason == "policy":
            self.rig.machine.stop(ending.text)
        elif ending.reason in ("watchdog", "safety", "objects"):
            self._execute_recovery(self.rig.machine.stop(ending.text))
        else:
            self._finish_episode()

    def _ask_success_label(self, ending: EpisodeEnding) -> bool | None:
        """Returns the person's success label of an episode, or None when no label is needed or known."""
        if ending.labelled is not None:
            return ending.labelled
        wanted = self.settings.label_all or (self.settings.label and bool(self.judge.unknown))
        whole = ending.reason in ("horizon", "end") and ending.steps > 0
        if not wanted or not whole or self.rig.stop():
            return None
        return self.operator.ask_success(f"{self.rig.task.goal} Did it succeed")

    def _execute_recovery(self, step: RecoveryStep) -> None:
        """Executes recovery steps of the state machine until the arm may move again or the session ends."""
        machine, arm, asked = self.rig.machine, self.rig.arm, 0
        while step.reaction is not Reaction.NOTHING:
            asked += step.reaction is Reaction.ASK
            if step.message:
                self.operator.show_message(step.message)
            if step.reaction is Reaction.END or (
                step.reaction is Reaction.ASK and (asked > MAX_CONFIRMATIONS or not self._confirm_continuation())
            ):
                alone = step.reaction is Reaction.ASK and not self.settings.confirm
                self.summary.stopped = step.message + (UNATTENDED if alone else "")
                return
            try:
                if step.reaction is Reaction.ASK:
                    step = machine.confirm("the operator", self._read_mode())
                else:
                    arm.recover()
                    step = machine.finish_recovery(arm.state())
                    self._note_recovery(step.reaction is Reaction.NOTHING)
            except ArmFault as again:
                step = machine.handle_fault(again)

    def _finish_episode(self) -> None:
        """Reports a regular end of the episode to the state machine."""
        if self.rig.machine.phase in (Phase.READY, Phase.RUNNING, Phase.HOLDING):
            self.rig.machine.finish()

    def _confirm_continuation(self, condition: str = "Is the arm free") -> bool:
        return self.settings.confirm and self._ask_confirmation(f"{condition}, and may the deployment continue")

    def _read_mode(self) -> Mode:
        """Returns the robot's mode; `DISCONNECTED` if it cannot be read."""
        try:
            return self.rig.arm.state().mode
        except ArmFault:
            return Mode.DISCONNECTED

    def _note_recovery(self, recovered: bool) -> None:
        if self.summary.faults:
            self.summary.faults[-1]["recovered"] = recovered

    def _handle_fault(self, fault: ArmFault) -> None:
        """Records a fault of the arm in the summary and executes its recovery."""
        about = {"kind": fault.kind.value, "cause": fault.cause, "remedy": fault.remedy, "errors": list(fault.errors)}
        self.summary.faults.append({**about, "recovered": False})
        self._execute_recovery(self.rig.machine.handle_fault(fault))

    def _make_metadata(self, number: int) -> dict[str, Any]:
        rate = self.rig.task.action.rate_hz
        return {**self.meta, "episode": number, "fps": rate, "by": "policy" if self.rig.policy else "teleop"}

    def _frame_shape(self) -> tuple[int, int, int] | None:
        return None if self.rig.frames is None else self.rig.frames.shape

    def _choose_key(self) -> str:
        """Returns the first episode name after those in the store; an episode that is repeated gets a new name."""
        keys = self.store.keys()
        taken = [key for key in keys if re.fullmatch(r"episode-\d{4,}", key)]
        return f"episode-{max((int(key[8:]) for key in taken), default=-1) + 1:04d}"

    def _publish_summary(self) -> None:
        self.summary.latency = self.rig.latencies.to_json()
        self.report(self.summary)


def check_policy_compatibility(task: Task, rig: ControlContext) -> None:
    """Checks that the policy fits the robot, and warns of joints with other ranges.

    Raises:
        PolicyMismatch: the conventions differ; lists the differences.
        UsageError: the policy observes a quantity that is not measured, or looks through a camera that the robot does
            not have; names it.
    """
    policy = rig.policy
    if policy is None:
        return
    trained_on, arm = str(policy.meta.get("task", "")), rig.filter.arm
    horizons = getattr(policy, "horizons", ChunkSpec())
    # A policy of another task is recognised by its observation; of this one, it may have seen chosen fields only.
    own_view = horizons.frames is not None or trained_on.partition("/")[2] == task.id.partition("/")[2]
    for warning in require_compatible(
        policy.action, policy.observation, task.action, task.observation, trained_on, arm, own_view
    ):
        log.warning(warning)
    rig.observer.require_fields(policy.observation)
    if horizons.frames is not None:
        size = horizons.frames.size if rig.frames is None else rig.frames.shape[0]
        rig.views = match_cameras(horizons.frames, rig.cameras, size)
