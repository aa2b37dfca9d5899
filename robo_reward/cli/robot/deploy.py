"""`robo-reward deploy`: a policy on an arm, episode by episode."""

from __future__ import annotations

import contextlib
import os
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig, OmegaConf

from robo_reward.checks.proportion import format_success
from robo_reward.cli.folder import RunFolder, open_run
from robo_reward.cli.interrupt import stop_on_signals
from robo_reward.cli.terminal import Terminal
from robo_reward.configs.deployment import DeployConfig
from robo_reward.data.episode import EpisodeStore
from robo_reward.envs.arm.base import ArmTask
from robo_reward.hardware.arm import describe_arm
from robo_reward.hardware.deployment.build import DeploymentParts, build_deployment, policy_source
from robo_reward.hardware.deployment.dry_run import dry_run
from robo_reward.hardware.deployment.journal import COMPLETED_OUTCOMES, SuccessLabeler
from robo_reward.hardware.deployment.operator import AtTerminal, Operator, UnattendedOperator
from robo_reward.hardware.deployment.reset import ResetProcedure
from robo_reward.hardware.deployment.session import (
    DeploymentSession,
    check_policy_compatibility,
)
from robo_reward.hardware.deployment.summary import DeploymentSummary
from robo_reward.hardware.drivers.registry import resolve_task
from robo_reward.hardware.perception.calibration import load_lenses
from robo_reward.hardware.policy.process import PolicySource
from robo_reward.hardware.policy.teleop import HELP
from robo_reward.rewards.artifact import load_reward

TOKEN = "ROBO_REWARD_TOKEN"
FREE = ("episodes", "retries", "confirm", "label", "label_all", "host", "reset_speed", "clock")
"""Keys that may differ between two starts of the same deployment."""
INCOMPLETE = 3
"""Exit code if fewer episodes than requested were completed, because one was cut short too often."""


def run(config: DictConfig, arguments: list[str]) -> int:
    """Runs the episodes that are missing.

    Returns:
        0 if all episodes were made, 1 if a fault ended it early, 3 if an episode was cut short too often, 130 if
        it was stopped by the operator. With anything but 0 the result is not final yet.
    """
    console = Terminal()
    print_line = _make_line_printer(console)
    operator: Operator = (
        AtTerminal(print_line) if config.confirm and not config.dry_run else UnattendedOperator(print_line)
    )
    deploy_config = read_deploy_config(config)
    with ExitStack() as stack:
        policy = policy_source(deploy_config.policy_folder, deploy_config.policy_server, os.environ.get(TOKEN, ""))
        if policy is not None:
            stack.callback(policy.close)
        task = _choose_task(config, policy)
        verb, subject = "dry-run" if config.dry_run else "deploy", task.id.replace("/", "-")
        with open_run(config, arguments, verb, subject, FREE) as run, stop_on_signals() as stop:
            print_line(f"{task.id} on {config.robot.kind} {deploy_config.address}: {run.path}")
            parts = build_deployment(deploy_config, task, policy, operator.confirm, stop, stack, operator.show_message)
            run.save_provenance(robot=describe_arm(parts.rig.arm))
            check_policy_compatibility(task, parts.rig)
            if deploy_config.teleop == "keyboard":
                print_line(HELP)
            if config.dry_run:
                return _run_dry(parts, operator, run)
            summary = _create_session(config, task, parts, operator, run).run()
        _print_summary(print_line, summary, run.path)
        if stop():
            return 130
        return INCOMPLETE if summary.exhausted else int(bool(summary.stopped))


def read_deploy_config(config: DictConfig) -> DeployConfig:
    """Returns the configuration as a dataclass."""
    given: Any = OmegaConf.to_container(config, resolve=True)
    return DeployConfig(**{field.name: given[field.name] for field in fields(DeployConfig)})


def _choose_task(config: DictConfig, policy: PolicySource | None) -> ArmTask:
    chosen = config.get("task")
    options: Any = OmegaConf.to_container(chosen.options) if chosen else {}
    trained_on = str(policy.meta.get("task", "")) if policy is not None else ""
    return resolve_task(config.robot.kind, chosen.id if chosen else "", options, trained_on)


def _create_session(
    config: DictConfig, task: ArmTask, parts: DeploymentParts, operator: Operator, run: RunFolder
) -> DeploymentSession:
    rig = parts.rig
    reward = load_reward(config.reward_path) if config.reward_path else None
    meta = {
        "robot": config.robot.kind,
        "policy": dict(rig.policy.meta) if rig.policy else {},
        "tempo": config.tempo,
        "cameras": list(rig.cameras),
        "calibration": _read_calibration(config),
        "seed": config.seed,
        "goal": task.goal,
    }
    hand, space = bool(config.robot.get("gripper", True)), rig.filter.workspace
    low, high = (None, None) if config.workspace is None and not config.table else (space.low, space.high)
    return DeploymentSession(
        rig,
        ResetProcedure(task, rig.arm, parts.scene, config.reset_speed, hand=hand, low=low, high=high),
        SuccessLabeler(task, rig.observer.unknown, reward),
        operator,
        EpisodeStore(run.path / "episodes", frames=config.frames),
        run.path / "live",
        read_deploy_config(config),
        meta,
        lambda summary: run.save("result.json", {"task": task.id, **summary.to_json()}),
    )


def _read_calibration(config: DictConfig) -> dict[str, Any]:
    """Returns each camera's entry of the calibration file, and the same for frames as they are kept."""
    lenses = load_lenses(config.calibration, config.cameras)
    kept = [(name, lenses[name]) for name in config.cameras if name in lenses]
    return {n: {"camera": lens.to_json(), "frame": lens.scale_to_square(config.size).to_json()} for n, lens in kept}


def _run_dry(parts: DeploymentParts, operator: Operator, run: RunFolder) -> int:
    """Reads the state, computes the decision and writes it to the run's folder; moves nothing."""
    report = dry_run(parts.rig, operator.show_message)
    run.save("dry_run.json", report)
    operator.show_message(f"dry run: {run.path / 'dry_run.json'}")
    return int(bool(report["problem"]))


def _print_summary(print_line: LinePrinter, summary: DeploymentSummary, folder: Path) -> None:
    value = summary.to_json()
    if value["success"] is not None:
        print_line(
            f"{format_success(value['success'], value['low'], value['high'])} over "
            f"{value['judged']} of {value['episodes']} episodes, {len(value['faults'])} faults"
        )
    cut = {name: n for name, n in value["outcomes"].items() if name not in COMPLETED_OUTCOMES}
    if cut:
        counts = ", ".join(f"{n} {name}" for name, n in cut.items())
        least = value["success_at_least"]
        print_line(
            f"cut short and not counted: {counts}"
            + (
                f"; success {least:.2f} if every episode ended by a fault or a kill counts as a failure"
                if least is not None
                else ""
            )
        )
    if value["peak_force"] is not None:
        median, most = value["peak_force"]["median"], value["peak_force"]["max"]
        print_line(f"force on the hand: {median:.0f} N in the median episode, {most:.0f} N at most")
    if summary.stopped:
        print_line(f"ended early: {summary.stopped}", style="yellow")
    print_line(f"episodes: {folder / 'episodes'}")
    print_line(f"label clips: robo-reward label {folder / 'episodes'}")


class LinePrinter(Protocol):
    """Prints a line."""

    def __call__(self, text: str, style: str | None = None) -> None: ...


def _make_line_printer(console: Terminal) -> LinePrinter:
    """Returns a function that prints lines while there is a terminal; without one, the deployment still goes on."""

    def print_line(text: str, style: str | None = None) -> None:
        with contextlib.suppress(OSError, SystemExit):  # rich raises these for a closed terminal or pipe
            console.print(text, style=style)

    return print_line
