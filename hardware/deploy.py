"""Deployment: episodes of a policy on an arm, one after the other, none of them lost."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robo_reward.checks.proportion import wilson
from robo_reward.envs.task import Task
from robo_reward.episode import Episode, EpisodeStore
from robo_reward.errors import UsageError
from robo_reward.hardware.faults import Phase, Reaction, Step
from robo_reward.hardware.live import Ending, LiveEpisode, Rig
from robo_reward.hardware.match import require_match
from robo_reward.hardware.operator import Operator
from robo_reward.hardware.recording import Journal, Judge, finish, leftovers
from robo_reward.hardware.reset import Reset
from robo_reward.hardware.robot import ArmFault, Mode

log = logging.getLogger(__name__)
PATIENCE = 10
"""So many confirmations in a row that change nothing end a deployment."""
UNATTENDED = " (with confirm=false nobody can: start it without, in a terminal, to go on)"


@dataclass(frozen=True)
class DeploySettings:
    """What a user may choose.

    Args:
        episodes: how many there shall be in the end, those of an earlier run included.
        confirm: ask a person before the first motion and after each fault.
        label: ask a person after each episode whether it succeeded, where the task cannot tell.
        label_all: ask even where it can.
    """

    episodes: int = 1
    confirm: bool = True
    label: bool = True
    label_all: bool = False

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise UsageError(f"episodes={self.episodes}: expected at least one")


@dataclass
class Summary:
    """What came of a deployment.

    Args:
        episodes: one JSON object each: key, steps, reason, success, fault, interventions, peak force on the hand [N].
        faults: every fault: kind, cause, what was done.
        latency: histograms.
        stopped: why it ended before all episodes were made; empty if it did not.
    """

    episodes: list[dict[str, Any]] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    latency: dict[str, Any] = field(default_factory=dict)
    stopped: str = ""

    def to_json(self) -> dict[str, Any]:
        """All of it, with the success rate and its 95 % Wilson interval over episodes whose success is known."""
        known = [e["success"] for e in self.episodes if e["success"] is not None]
        forces = [e["peak_force"] for e in self.episodes]
        rate = sum(known) / len(known) if known else None
        low, high = wilson(sum(known), len(known)) if known else (None, None)
        return {
            "episodes": len(self.episodes),
            "judged": len(known),
            "successes": sum(known),
            "success": rate,
            "low": low,
            "high": high,
            "peak_force": {"median": float(np.median(forces)), "max": max(forces)} if forces else None,
            "faults": self.faults,
            "latency_ms": self.latency,
            "stopped": self.stopped,
            "each": self.episodes,
        }


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

    def run(self) -> Summary:
        """Saves what an earlier run left behind, then goes on with the next episode; the arm is at rest at the end."""
        self.summary = Summary()
        self._take_up()
        number = len(self.store)
        if number < self.settings.episodes and not self._begin():
            self.summary.stopped = "nobody confirmed the first motion"
        while number < self.settings.episodes and not self.summary.stopped:
            if self.rig.stop():
                self.summary.stopped = "it was asked to stop"
                break
            kept = self._episode(number)
            number += kept
            self._publish()
        self._publish()
        return self.summary

    def _take_up(self) -> None:
        """What is there already: stored episodes, and journals that were cut off."""
        for journal in leftovers(self.folder):
            episode = finish(journal, self.store, self.judge)
            if episode is not None:
                self.operator.tell(
                    f"{journal.name}: {len(episode)} steps saved that an earlier run left behind: its processes were "
                    "killed, or the computer went down. Look at the arm before it moves again"
                )
        for entry in self.store.entries():
            known = entry.meta.get("success_known")
            self.summary.episodes.append(
                {
                    "key": entry.key,
                    "steps": entry.steps,
                    "reason": entry.meta.get("ending", "cut off"),
                    "success": entry.success if known else None,
                    "interventions": entry.meta.get("interventions", 0),
                    "fault": entry.meta.get("fault", ""),
                    "peak_force": peak_force(entry.meta),
                }
            )

    def _begin(self) -> bool:
        arm = self.rig.arm
        where = arm.state().hand_position
        text = f"{arm.name}, its hand at {np.round(where, 3)} m, will move slowly. Is the space around it free"
        return not self.settings.confirm or self.operator.confirm(text)

    def _episode(self, number: int) -> int:
        """One episode, from reset to store; returns 1 if it was kept."""
        try:
            self.reset(number)
        except ArmFault as fault:
            self._fault(fault)
            return 0
        key = self._key(number)
        journal = Journal(self.folder / key, self.rig.task, self._about(number), self._frame_shape())
        live, ending = LiveEpisode(self.rig, journal), Ending("stop", "it was interrupted", 0)
        try:
            ending = live.run()
        finally:  # Ctrl-C pressed twice, or an error of ours: what was done is kept all the same
            journal.update(ending=ending.reason, interventions=live.interventions, latency_ms=live.latencies.to_json())
            journal.update(fault=str(ending.fault or ""), text=ending.text, clips=dict(live.clips))
            journal.close()
        return self._keep(key, ending, live.interventions)

    def _keep(self, key: str, ending: Ending, interventions: int) -> int:
        """Puts an episode into the store and says what follows from how it ended."""
        self.operator.tell(f"{key}: {ending.steps} steps, {ending.text}")
        if ending.reason == "discard":
            shutil.rmtree(self.folder / key)
        else:
            episode = finish(self.folder / key, self.store, self.judge, self._label(ending))
            self._count(key, episode, ending, interventions)
        if ending.fault is not None:
            self._fault(ending.fault)
        elif ending.reason == "policy":
            self.rig.machine.stop(ending.text)
        elif ending.reason in ("watchdog", "safety", "objects"):
            self._follow(self.rig.machine.stop(ending.text))
        else:
            self._finish()
        if ending.reason in ("stop", "policy"):
            self.summary.stopped = ending.text
        return int(ending.reason != "discard" and ending.steps > 0)

    def _label(self, ending: Ending) -> bool | None:
        """What a person says, if a person is wanted."""
        if ending.labelled is not None:
            return ending.labelled
        wanted = self.settings.label_all or (self.settings.label and bool(self.judge.unknown))
        return self.operator.success(f"{self.rig.task.goal} Did it succeed") if wanted and ending.steps else None

    def _count(self, key: str, episode: Episode | None, ending: Ending, interventions: int) -> None:
        if episode is None:
            return
        entry = self.store.entry(key)
        success = entry.success if entry.meta.get("success_known") else None
        self.summary.episodes.append(
            {
                "key": key,
                "steps": ending.steps,
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

    def _asked(self) -> bool:
        return self.settings.confirm and self.operator.confirm("Is the arm free, and shall it go on")

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

    def _key(self, number: int) -> str:
        return f"episode-{number:04d}"

    def _publish(self) -> None:
        self.summary.latency = self.rig.latencies.to_json()
        self.report(self.summary)


def peak_force(meta: Mapping[str, Any]) -> float:
    """The largest force on the hand [N] among an episode's measurements, of which there is one per control step."""
    wrench = np.array(meta["measured"]["wrench"], float).reshape(-1, 6)
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
