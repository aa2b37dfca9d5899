"""Deployment: episodes of a policy on an arm, one after the other, none of them lost."""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robo_reward.checks.proportion import wilson
from robo_reward.envs.task import Task
from robo_reward.episode import CorruptEpisode, Episode, EpisodeStore
from robo_reward.errors import BadArtifact, RoboRewardError, UsageError, WrongShape
from robo_reward.hardware.faults import Phase, Reaction, Step
from robo_reward.hardware.live import Ending, LiveEpisode, Rig
from robo_reward.hardware.match import require_match
from robo_reward.hardware.operator import Operator
from robo_reward.hardware.recording import (
    STANDING,
    Journal,
    Judge,
    finish,
    is_empty,
    leftovers,
    outcome_of,
    set_aside,
    writing,
)
from robo_reward.hardware.reset import Reset
from robo_reward.hardware.robot import ArmFault, Mode

log = logging.getLogger(__name__)
PATIENCE = 10
"""So many confirmations in a row that change nothing end a deployment."""
REOPENING = 10.0
"""How long a lost camera may take to be opened again before a person is asked [s]."""
CLIPPED = 0.5
"""A share of changed actions above this is told to the operator."""
UNATTENDED = " (nobody can confirm with confirm=false; run it in a terminal without confirm=false)"


@dataclass(frozen=True)
class DeploySettings:
    """What a user may choose.

    Args:
        episodes: how many that say something of the policy there shall be in the end, those of an earlier run included.
        confirm: ask a person before the first motion and after each fault.
        label: ask a person after each episode whether it succeeded, where the task cannot tell.
        label_all: ask even where it can.
        retries: how often in a row an episode that was cut short is made again.
    """

    episodes: int = 1
    confirm: bool = True
    label: bool = True
    label_all: bool = False
    retries: int = 3

    def __post_init__(self) -> None:
        if self.episodes < 1 or self.retries < 0:
            raise UsageError(
                f"episodes={self.episodes} retries={self.retries}: expected at least one episode, and 0 or more retries"
            )


@dataclass
class Summary:
    """What came of a deployment.

    Args:
        episodes: one JSON object each: key, outcome, steps, reason, success, fault, interventions, peak force on the
            hand [N].
        faults: every fault: kind, cause, what was done.
        latency: histograms.
        stopped: why it ended before all episodes were made; empty if it did not.
        exhausted: whether it ended because an episode was cut short too often.
    """

    episodes: list[dict[str, Any]] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    latency: dict[str, Any] = field(default_factory=dict)
    stopped: str = ""
    exhausted: bool = False

    @property
    def standing(self) -> int:
        """How many episodes say something of the policy."""
        return sum(e["outcome"] in STANDING for e in self.episodes)

    def to_json(self) -> dict[str, Any]:
        """Returns all of it, with the success rate and its 95 % Wilson interval.

        Only episodes count that were made to their end and whose success is known. `success_at_least` is the rate if
        every episode that was cut short by a fault had failed.
        """
        known = [e["outcome"] == "success" for e in self.episodes if e["outcome"] in ("success", "failure")]
        cut = sum(e["outcome"] in ("faulted", "killed") for e in self.episodes)
        forces = [e["peak_force"] for e in self.episodes]
        rate = sum(known) / len(known) if known else None
        low, high = wilson(sum(known), len(known)) if known else (None, None)
        return {
            "episodes": self.standing,
            "made": len(self.episodes),
            "outcomes": dict(Counter(e["outcome"] for e in self.episodes)),
            "judged": len(known),
            "successes": sum(known),
            "success": rate,
            "low": low,
            "high": high,
            "success_at_least": sum(known) / (len(known) + cut) if known else None,
            "peak_force": {"median": float(np.median(forces)), "max": max(forces)} if forces else None,
            "faults": self.faults,
            "latency_ms": self.latency,
            "stopped": self.stopped,
            "each": self.episodes,
        }


class CamerasBlind(RoboRewardError):
    """A camera delivers nothing, and nobody could help."""


class StopAsked(RoboRewardError):
    """Somebody asked to stop before an episode began; nothing more is sent to the arm."""

    def __init__(self) -> None:
        super().__init__("it was asked to stop")


class Deployment:
    """Runs episodes on an arm.

    Args:
        rig: everything an episode needs; its arm is connected.
        reset: prepares an episode.
        judge: says what came of one.
        operator: the person.
        store: gets the episodes.
        folder: for journals of episodes that run.
        settings: what the user chose.
        meta: kept with every episode: robot, policy, versions.
        report: called with the summary after every episode.
    """

    def __init__(
        self,
        rig: Rig,
        reset: Reset,
        judge: Judge,
        operator: Operator,
        store: EpisodeStore,
        folder: Path,
        settings: DeploySettings,
        meta: dict[str, Any],
        report: Callable[[Summary], None] = lambda _: None,
    ) -> None:
        self.rig, self.reset, self.judge, self.operator = rig, reset, judge, operator
        self.store, self.folder, self.settings, self.meta, self.report = store, folder, settings, meta, report
        self.summary = Summary()
        self._tries, self._cut = 0, ""
        reset.ready, operator.stop = self._see, rig.stop

    def run(self) -> Summary:
        """Saves what an earlier run left behind, then makes the episodes that are missing; the arm rests at the end.

        Raises:
            DiskFailed: a file could not be written; the arm is at rest, and what was made is kept.
            NotStored: an episode could not be stored for another reason; likewise.
        """
        self.summary, self._tries = Summary(), 0
        with writing(self.folder.parent, "Episodes that are in the store stay there."):
            self._take_up()
            missing = self.summary.standing < self.settings.episodes
            if missing and not self._begin():
                self.summary.stopped = str(StopAsked()) if self.rig.stop() else "nobody confirmed the first motion"
            while self.summary.standing < self.settings.episodes and not self.summary.stopped:
                if self.rig.stop():
                    self.summary.stopped = "it was asked to stop"
                    break
                self._attempt(self.summary.standing)
                self._publish()
            self._publish()
        return self.summary

    def _attempt(self, number: int) -> None:
        """One try at an episode; too many in a row that are cut short end the deployment."""
        self._tries += 1
        try:
            self._episode(number)
        except (CamerasBlind, StopAsked) as problem:
            self.summary.stopped = self.summary.stopped or str(problem)
        if self.summary.standing > number:
            self._tries = 0
        elif self._tries > self.settings.retries and not self.summary.stopped:
            self.summary.exhausted = True
            self.summary.stopped = (
                f"episode {number} was cut short {self._tries} times in a row, at last: {self._cut}. The result does "
                "not stand; remove the cause, then give the same command again (`retries=` allows more)"
            )

    def _take_up(self) -> None:
        """Takes up what is there already: stored episodes, and journals that were cut off."""
        for journal in leftovers(self.folder):
            self._take_up_journal(journal)
        for key in self.store.keys():  # noqa: SIM118  a store iterates over episodes
            try:
                entry = self.store.entry(key)
            except CorruptEpisode as error:
                self.operator.tell(f"{key} is not counted: {error}")
                continue
            known, ending = bool(entry.meta.get("success_known")), str(entry.meta.get("ending", ""))
            self.summary.episodes.append(
                {
                    "key": entry.key,
                    "outcome": outcome_of(ending, known, entry.success),
                    "steps": entry.steps,
                    "reason": ending or "cut off",
                    "success": entry.success if known else None,
                    "interventions": entry.meta.get("interventions", 0),
                    "fault": entry.meta.get("fault", ""),
                    "peak_force": peak_force(entry.meta),
                }
            )

    def _take_up_journal(self, journal: Path) -> None:
        """Stores what an earlier run left behind."""
        if is_empty(journal):
            shutil.rmtree(journal)
            return
        episode = self._stored(journal)
        if episode is not None:
            self.operator.tell(
                f"{journal.name}: {len(episode)} steps saved that an earlier run left behind: its processes were "
                "killed, or the computer went down. Look at the arm before it moves again"
            )

    def _stored(self, journal: Path, labelled: bool | None = None) -> Episode | None:
        """Stores a journal, or sets it aside: what cannot be read must not keep the deployment from going on.

        Raises:
            DiskFailed: the store cannot be written; the journal stays where it is, here and below.
            NotStored: likewise, for another reason than the disk.
        """
        try:
            return finish(journal, self.store, self.judge, labelled)
        except (BadArtifact, UsageError, WrongShape) as error:
            place = set_aside(journal, self.folder.parent / "set_aside")
            self.operator.tell(
                f"{journal.name}: its steps cannot be read ({error}). The files are kept in {place}, and the "
                "deployment goes on without them"
            )
            return None

    def _begin(self) -> bool:
        arm = self.rig.arm
        where = arm.state().hand_position
        text = f"{arm.name}, its hand at {np.round(where, 3)} m, will move slowly. Is the space around it free"
        return not self.settings.confirm or self._confirmed(text)

    def _confirmed(self, question: str) -> bool:
        """Whether a person says yes; nobody is asked after a request to stop, which is always a no."""
        return not self.rig.stop() and self.operator.confirm(question) and not self.rig.stop()

    def _see(self) -> None:
        """Returns as soon as every camera delivers; nothing moves meanwhile.

        Raises:
            StopAsked: somebody asked to stop.
            CamerasBlind: a camera delivers nothing, and nobody could help.
        """
        if self.rig.stop():
            raise StopAsked
        asked = 0
        while lost := self._lost():
            if self.rig.frames is not None and self.rig.frames.lost_for_good():
                raise CamerasBlind(f"{lost}. Remove the cause, then give the same command again")
            text = f"{lost}: nothing moves while a camera is blind; it is opened again by itself"
            self.operator.tell(text)
            end = time.monotonic() + REOPENING
            while self._lost() and time.monotonic() < end and not self.rig.stop():
                time.sleep(0.05)
            if not (lost := self._lost()):
                return
            asked += 1
            if self.rig.stop():
                raise StopAsked
            if not self.settings.confirm or asked > PATIENCE or not self._asked("Is the camera plugged in"):
                raise CamerasBlind(f"{lost}. See whether it is plugged in and lit, then give the same command again")

    def _lost(self) -> str:
        """Which camera delivers nothing, in words; empty if all do."""
        frames = self.rig.frames
        if frames is None:
            return ""
        age = time.monotonic() - frames.read().stamp
        if age < self.rig.watchdog.camera_age:
            return ""
        return frames.lost() or f"the newest camera frame is {age:.1f} s old"

    def _episode(self, number: int) -> None:
        """One episode, from reset to store."""
        try:
            self.reset(number)
        except ArmFault as fault:
            self._cut = fault.cause
            self._fault(fault)
            return
        key = self._key()
        journal = Journal(self.folder / key, self.rig.task, self._about(number), self._frame_shape())
        live, ending = LiveEpisode(self.rig, journal), Ending("stop", "it was interrupted", 0)
        try:
            ending = live.run()
        finally:  # Ctrl-C pressed twice, or an error of ours: what was done is kept all the same
            try:
                journal.update(ending=ending.reason, interventions=live.interventions)
                journal.update(latency_ms=live.latencies.to_json(), fault=str(ending.fault or ""), text=ending.text)
                journal.update(clips=dict(live.clips), clipped=live.clipped)
                journal.update(stop_time=live.stop_time if np.isfinite(live.stop_time) else None)
            finally:
                journal.close()
        self._keep(key, ending, live)

    def _keep(self, key: str, ending: Ending, live: LiveEpisode) -> None:
        """Puts an episode into the store and says what follows from how it ended."""
        self.operator.tell(f"{key}: {ending.steps} steps, {ending.text}")
        self._cut = ending.fault.cause if ending.fault else ending.text.rstrip(".")
        if live.clipped > CLIPPED * max(ending.steps, 1):
            rule = live.clips.most_common(1)[0][0]
            self.operator.tell(
                f"{key}: the safety filter changed {live.clipped} of {ending.steps} actions, most often for {rule}: "
                "the policy asks for more than it gets, and its success says little. Lower tempo=, or raise speed= and "
                "acceleration= with care"
            )
        if ending.reason == "discard":
            shutil.rmtree(self.folder / key)
            self._tries = 0
        else:
            episode = self._stored(self.folder / key, self._label(ending))
            self._count(key, episode, ending, live.interventions)
        if ending.reason in ("stop", "policy"):
            self.summary.stopped = ending.text
        if ending.fault is not None:
            self._fault(ending.fault)
        elif ending.reason == "policy":
            self.rig.machine.stop(ending.text)
        elif ending.reason in ("watchdog", "safety", "objects"):
            self._follow(self.rig.machine.stop(ending.text))
        else:
            self._finish()

    def _label(self, ending: Ending) -> bool | None:
        """What a person says, if a person is wanted."""
        if ending.labelled is not None:
            return ending.labelled
        wanted = self.settings.label_all or (self.settings.label and bool(self.judge.unknown))
        whole = ending.reason in ("horizon", "end") and ending.steps > 0
        if not wanted or not whole or self.rig.stop():
            return None
        return self.operator.success(f"{self.rig.task.goal} Did it succeed")

    def _count(self, key: str, episode: Episode | None, ending: Ending, interventions: int) -> None:
        if episode is None:
            return
        entry = self.store.entry(key)
        success = entry.success if entry.meta.get("success_known") else None
        outcome = outcome_of(ending.reason, success is not None, bool(success))
        self.summary.episodes.append(
            {
                "key": key,
                "outcome": outcome,
                "steps": entry.steps,
                "reason": ending.reason,
                "success": success,
                "interventions": interventions,
                "fault": str(ending.fault or ""),
                "peak_force": peak_force(entry.meta),
                "reward": entry.total,
            }
        )

    def _follow(self, step: Step) -> None:
        """Does what the state machine says, until the arm may move again or the deployment ends."""
        machine, arm, asked = self.rig.machine, self.rig.arm, 0
        while step.reaction is not Reaction.NOTHING:
            asked += step.reaction is Reaction.ASK
            if step.message:
                self.operator.tell(step.message)
            if step.reaction is Reaction.END or (
                step.reaction is Reaction.ASK and (asked > PATIENCE or not self._asked())
            ):
                alone = step.reaction is Reaction.ASK and not self.settings.confirm
                self.summary.stopped = step.message + (UNATTENDED if alone else "")
                return
            try:
                if step.reaction is Reaction.ASK:
                    step = machine.confirm("the operator", self._mode())
                else:
                    arm.recover()
                    step = machine.recovered(arm.state())
                    self._noted(step.reaction is Reaction.NOTHING)
            except ArmFault as again:
                step = machine.fault(again)

    def _finish(self) -> None:
        """The episode ended as it should, wherever in it."""
        if self.rig.machine.phase in (Phase.READY, Phase.RUNNING, Phase.HOLDING):
            self.rig.machine.finish()

    def _asked(self, condition: str = "Is the arm free") -> bool:
        return self.settings.confirm and self._confirmed(f"{condition}, and shall it go on")

    def _mode(self) -> Mode:
        """What the robot says; a dead connection says nothing."""
        try:
            return self.rig.arm.state().mode
        except ArmFault:
            return Mode.DISCONNECTED

    def _noted(self, recovered: bool) -> None:
        if self.summary.faults:
            self.summary.faults[-1]["recovered"] = recovered

    def _fault(self, fault: ArmFault) -> None:
        """What follows from a fault of the arm."""
        about = {"kind": fault.kind.value, "cause": fault.cause, "remedy": fault.remedy, "errors": list(fault.errors)}
        self.summary.faults.append({**about, "recovered": False})
        self._follow(self.rig.machine.fault(fault))

    def _about(self, number: int) -> dict[str, Any]:
        rate = self.rig.task.action.rate_hz
        return {**self.meta, "episode": number, "fps": rate, "by": "policy" if self.rig.policy else "teleop"}

    def _frame_shape(self) -> tuple[int, int, int] | None:
        return None if self.rig.frames is None else self.rig.frames.shape

    def _key(self) -> str:
        """The first name after those that are taken; an episode that is made again gets a name of its own."""
        keys = self.store.keys()
        taken = [key for key in keys if re.fullmatch(r"episode-\d{4,}", key)]
        return f"episode-{max((int(key[8:]) for key in taken), default=-1) + 1:04d}"

    def _publish(self) -> None:
        self.summary.latency = self.rig.latencies.to_json()
        self.report(self.summary)


def peak_force(meta: Mapping[str, Any]) -> float:
    """The largest force on the hand [N] among an episode's measurements, of which there is one per control step."""
    wrench = np.array(meta.get("measured", {}).get("wrench", []), float).reshape(-1, 6)
    return round(float(np.linalg.norm(np.nan_to_num(wrench[:, :3]), axis=1).max(initial=0.0)), 1)


def check_fit(task: Task, rig: Rig) -> None:
    """Refuses a policy of another convention, or one that sees what nobody measures; warns of joints with other ranges.

    Raises:
        PolicyMismatch: listing what differs.
        UsageError: naming what nobody measures.
    """
    policy = rig.policy
    if policy is None:
        return
    trained_on, arm = str(policy.meta.get("task", "")), rig.filter.arm
    for warning in require_match(policy.action, policy.observation, task.action, task.observation, trained_on, arm):
        log.warning(warning)
    rig.observer.require(policy.observation)
