"""`robo-reward deploy`: a policy on an arm, episode by episode."""

from __future__ import annotations

import contextlib
import os
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig, OmegaConf

from robo_reward.artifact import load_reward
from robo_reward.cli.folder import only_me, provenance, run_folder, write_json
from robo_reward.cli.interrupt import stop_on_signals
from robo_reward.cli.terminal import Terminal
from robo_reward.envs.panda.base import ArmTask
from robo_reward.episode import EpisodeStore
from robo_reward.hardware.arms import task_for
from robo_reward.hardware.assemble import Parts, Wishes, assemble, policy_source
from robo_reward.hardware.calibration import load_lenses
from robo_reward.hardware.deploy import Deployment, DeploySettings, Summary, check_fit
from robo_reward.hardware.dry_run import dry_run
from robo_reward.hardware.operator import AtTerminal, Operator, Unattended
from robo_reward.hardware.policy_process import PolicySource
from robo_reward.hardware.recording import STANDING, Judge
from robo_reward.hardware.reset import Reset
from robo_reward.hardware.robot import about
from robo_reward.hardware.teleop import HELP

TOKEN = "ROBO_REWARD_TOKEN"
FREE = ("episodes", "retries", "confirm", "label", "label_all", "host", "reset_speed", "clock")
"""What may differ between two starts of the same deployment."""
INCOMPLETE = 3
"""Exit code where an episode was cut short too often, so that fewer stand than were asked for."""


def run(config: DictConfig, arguments: list[str]) -> int:
    """Runs the episodes that are missing.

    Returns:
        0 if all episodes were made, 1 if a fault ended it early, 3 if an episode was cut short too often, 130 if
        somebody stopped it. With anything but 0 the result does not stand yet.
    """
    console = Terminal()
    tell = _teller(console)
    operator: Operator = AtTerminal(tell) if config.confirm and not config.dry_run else Unattended(tell)
    wishes = wishes_of(config)
    with ExitStack() as stack:
        policy = policy_source(wishes.policy_folder, wishes.policy_server, wishes.token)
        if policy is not None:
            stack.callback(policy.close)
        task = _task(config, policy)
        folder = _run_folder(config, task)
        with only_me(folder), stop_on_signals() as stop:
            write_json(folder / "provenance.json", provenance(arguments))
            tell(f"{task.id} on {config.robot.kind} {wishes.address}: {folder}")
            parts = assemble(wishes, task, policy, operator.confirm, stop, stack, operator.tell)
            write_json(folder / "provenance.json", {**provenance(arguments), "robot": about(parts.rig.arm)})
            check_fit(task, parts.rig)
            if wishes.teleop == "keyboard":
                tell(HELP)
            if config.dry_run:
                return _dry(parts, operator, folder)
            summary = _deployment(config, task, parts, operator, folder).run()
        _say(tell, summary, folder)
        if stop():
            return 130
        return INCOMPLETE if summary.exhausted else int(bool(summary.stopped))


def wishes_of(config: DictConfig) -> Wishes:
    """The settings that decide what is put together."""
    names = [f.name for f in fields(Wishes) if f.name != "token"]
    given: Any = OmegaConf.to_container(config, resolve=True)
    return Wishes(**{name: given[name] for name in names}, token=os.environ.get(TOKEN, ""))


def _task(config: DictConfig, policy: PolicySource | None) -> ArmTask:
    chosen = config.get("task")
    options: Any = OmegaConf.to_container(chosen.options) if chosen else {}
    trained_on = str(policy.meta.get("task", "")) if policy is not None else ""
    return task_for(config.robot.kind, chosen.id if chosen else "", options, trained_on)


def _run_folder(config: DictConfig, task: ArmTask) -> Path:
    """Where episodes go: more of them do not make another run."""
    return run_folder(config, "dry-run" if config.dry_run else "deploy", task.id.replace("/", "-"), FREE)


def _deployment(config: DictConfig, task: ArmTask, parts: Parts, operator: Operator, folder: Path) -> Deployment:
    rig = parts.rig
    reward = load_reward(_reward_folder(Path(config.reward_path))) if config.reward_path else None
    meta = {
        "robot": config.robot.kind,
        "policy": dict(rig.policy.meta) if rig.policy else {},
        "tempo": config.tempo,
        "cameras": list(config.cameras),
        "calibration": _calibration(config),
        "seed": config.seed,
        "goal": task.goal,
    }
    settings = DeploySettings(config.episodes, config.confirm, config.label, config.label_all, config.retries)
    hand, space = bool(config.robot.get("gripper", True)), rig.filter.workspace
    low, high = (None, None) if config.workspace is None and not config.table else (space.low, space.high)
    return Deployment(
        rig,
        Reset(task, rig.arm, parts.scene, config.reset_speed, hand=hand, low=low, high=high),
        Judge(task, rig.observer.unknown, reward),
        operator,
        EpisodeStore(folder / "episodes", frames=config.frames),
        folder / "live",
        settings,
        meta,
        lambda summary: write_json(folder / "result.json", {"task": task.id, **summary.to_json()}),
    )


def _calibration(config: DictConfig) -> dict[str, Any]:
    """Per camera its entry of the file, and the same for frames as they are kept."""
    lenses = load_lenses(config.calibration, config.cameras)
    kept = {name: lenses[name] for name in config.cameras if name in lenses}
    return {n: {"camera": lens.to_json(), "frame": lens.of_square(config.size).to_json()} for n, lens in kept.items()}


def _reward_folder(path: Path) -> Path:
    return path / "reward" if (path / "reward" / "reward.json").is_file() else path


def _dry(parts: Parts, operator: Operator, folder: Path) -> int:
    """Reads, decides, writes down; moves nothing."""
    report = dry_run(parts.rig, operator.tell)
    write_json(folder / "dry_run.json", report)
    operator.tell(f"dry run: {folder / 'dry_run.json'}")
    return int(bool(report["problem"]))


def _say(tell: Tell, summary: Summary, folder: Path) -> None:
    value = summary.to_json()
    if value["success"] is not None:
        tell(
            f"success {value['success']:.2f} (95 % interval {value['low']:.2f} to {value['high']:.2f}) over "
            f"{value['judged']} of {value['episodes']} episodes, {len(value['faults'])} faults"
        )
    cut = {name: n for name, n in value["outcomes"].items() if name not in STANDING}
    if cut:
        counts = ", ".join(f"{n} {name}" for name, n in cut.items())
        least = value["success_at_least"]
        tell(
            f"cut short and not counted: {counts}"
            + (f"; success {least:.2f} if each that was faulted or killed had failed" if least is not None else "")
        )
    if value["peak_force"] is not None:
        median, most = value["peak_force"]["median"], value["peak_force"]["max"]
        tell(f"force on the hand: {median:.0f} N in the median episode, {most:.0f} N at most")
    if summary.stopped:
        tell(f"ended early: {summary.stopped}", style="yellow")
    tell(f"episodes: {folder / 'episodes'}")
    tell(f"label clips: robo-reward label {folder / 'episodes'}")


class Tell(Protocol):
    """Shows a line."""

    def __call__(self, text: str, style: str | None = None) -> None: ...


def _teller(console: Terminal) -> Tell:
    """Shows lines for as long as there is a terminal; the arm is not let down because nobody can read any more."""

    def tell(text: str, style: str | None = None) -> None:
        with contextlib.suppress(OSError, SystemExit):  # what rich makes of a closed terminal or pipe
            console.print(text, style=style)

    return tell
