"""`robo-reward clone`: a policy that imitates demonstrations."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from robo_reward.checks.proportion import format_success
from robo_reward.cli.film import film_run
from robo_reward.cli.folder import RunFolder, open_run
from robo_reward.cli.goals import BY_TASK
from robo_reward.cli.interrupt import stop_on_signals
from robo_reward.cli.run_loggers import log_results, open_run_loggers, read_logger_keys
from robo_reward.cli.task import make_configured_task
from robo_reward.cli.terminal import Terminal
from robo_reward.configs.cloning import ChunkPolicyConfig
from robo_reward.data.cloning.demonstrations import DemonstrationSet, load_demonstration_set
from robo_reward.envs.task import Task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.loggers.group import LoggerGroup, check_loggers
from robo_reward.memory import format_bytes
from robo_reward.policies.diffusion.looking import ObservationSettings
from robo_reward.policies.diffusion.settings import DiffusionSettings
from robo_reward.policies.diffusion.train import ClonePoint, CloneResult, clone_policy
from robo_reward.policies.diffusion.windows import find_short_episodes
from robo_reward.policies.vision.settings import VisionSettings
from robo_reward.report.runs import report_clone
from robo_reward.seeds import FILM_SEEDS

OBJECTIVES = {"diffusion": "ddpm", "flow": "flow", "regression": "regression"}
"""Value of `policy=` -> objective."""
FREE = ("threads", "evaluate_every", "evaluate_episodes", "episodes")
"""Keys that do not change the weights, and may differ when a run goes on."""


def run(config: DictConfig, arguments: list[str]) -> int:
    """Clones in a run folder, or goes on where it was stopped; returns 130 if it was stopped again."""
    console, begun = Terminal(), time.monotonic()
    settings = read_settings(config)  # before the data is read, which takes longer
    check_loggers(*read_logger_keys(config))
    task, goal = make_configured_task(config, arguments)
    if config.camera and config.camera not in task.cameras:
        raise UnknownName("camera", config.camera, task.cameras)
    looking = read_looking(config, task)
    demonstrations = load_demonstrations(config, task, looking)
    short = find_short_episodes(demonstrations.episodes, settings)
    with (
        open_run(config, arguments, "clone", free=FREE) as run,
        open_run_loggers(console, config, run.path) as loggers,
    ):
        goal.save(run)
        _announce(console, task, demonstrations, config, run)
        if short:
            few = f"demonstrations of less than {settings.shortest_episode} steps are left out: {len(short)}"
            console.print(f"warning: {few}, such as {demonstrations.names[short[0]]}", style="yellow")
        if looking is not None:
            console.print(describe_looking(task, looking, demonstrations))
        if goal.success_by != BY_TASK:
            goal.print(console)
        result = _train(console, loggers, task, demonstrations, config, settings, looking, run)
        if result.stopped:
            console.print(f"stopped at {result.steps:,} updates; run the same command again to resume")
            return 130
        _write_results(console, task, config, result, run)
        log_results(loggers, run.path)
        page = report_clone(run.path)
    console.print(f"time: {time.monotonic() - begun:.0f} s\npolicy: {run.path / 'policy'}")
    console.print(f"report: {page.resolve()}")
    return 0


def read_settings(config: DictConfig) -> DiffusionSettings:
    """Returns the settings of the policy.

    Raises:
        UsageError: numbers that do not fit together.
    """
    given = {field.name: config[field.name] for field in fields(ChunkPolicyConfig)}
    return DiffusionSettings.from_json({"objective": OBJECTIVES[config.policy], **given})


def read_looking(config: DictConfig, task: Task) -> ObservationSettings | None:
    """Returns what the policy observes; None for the task's own observation.

    Raises:
        UnknownName: a field, camera or setting that does not exist.
        UsageError: a number out of range.
    """
    vision: Any = OmegaConf.to_container(config.vision)
    if not config.observation:
        if vision:
            raise UsageError(f"vision={vision} needs cameras: give observation=[{','.join(task.cameras[:2])}]")
        return None
    looking = ObservationSettings(
        tuple(config.observation),
        config.picture_size,
        VisionSettings.from_json(vision),
        config.reuse,
        config.auxiliary,
        config.picture_share,
    )
    looking.choose(task)
    return looking


def load_demonstrations(config: DictConfig, task: Task, looking: ObservationSettings | None) -> DemonstrationSet:
    """Returns the demonstrations, with the pictures of the cameras that the policy looks through.

    Raises:
        BadDemonstration: an episode has no pictures of a camera, or pictures of another size than the others.
    """
    frames = looking.choose(task)[1] if looking is not None else None
    cameras, size = (frames.cameras, frames.size) if frames is not None else ((), None)
    return load_demonstration_set(config.data, task, cameras, size, successes_only=not config.failures)


def describe_looking(task: Task, looking: ObservationSettings, demonstrations: DemonstrationSet) -> str:
    """Returns what the policy observes and how large the pictures are, as a line of text."""
    observation, frames = looking.choose(task)
    parts = []
    if frames is not None and demonstrations.pictures is not None:
        size = sum(array.nbytes for array in demonstrations.pictures.arrays.values())
        shown = f"pictures of {', '.join(frames.cameras)}, {frames.size} x {frames.size} pixels"
        parts.append(f"{shown} ({looking.vision.network}; {format_bytes(size)})")
    if observation.dim:
        parts.append(f"state fields {', '.join(observation.state.names)}")
    return f"observation: {'; '.join(parts)}"


def _announce(
    console: Terminal, task: Task, demonstrations: DemonstrationSet, config: DictConfig, run: RunFolder
) -> None:
    count, skipped = len(demonstrations.episodes), demonstrations.skipped
    left_out = f" ({skipped} failures left out)" if skipped else ""
    console.print(f"{task.id}: {config.policy}, {config.steps:,} updates; {run.path}")
    console.print(f"{count} demonstrations, {demonstrations.steps:,} steps{left_out}")
    for warning in demonstrations.warnings:
        console.print(f"warning: {warning}", style="yellow")


def _train(
    console: Terminal,
    loggers: LoggerGroup,
    task: Task,
    demonstrations: DemonstrationSet,
    config: DictConfig,
    settings: DiffusionSettings,
    looking: ObservationSettings | None,
    run: RunFolder,
) -> CloneResult:
    def report(point: ClonePoint) -> None:
        console.print(_format_point(point, config.steps))
        loggers.log_point(point.to_json())

    with stop_on_signals() as stop, _show_progress(console, config.steps) as tick:
        return clone_policy(
            task,
            demonstrations,
            run.path,
            settings,
            steps=config.steps,
            batch=config.batch,
            seed=config.seed,
            stop=stop,
            report=report,
            tick=tick,
            evaluate_every=config.evaluate_every,
            evaluate_episodes=config.evaluate_episodes,
            episodes=config.episodes,
            threads=config.threads or len(os.sched_getaffinity(0)),
            torch_threads=config.torch_threads,
            meta={"data": str(Path(config.data).absolute())},
            looking=looking,
        )


@contextmanager
def _show_progress(console: Terminal, steps: int) -> Iterator[Callable[[int, float], None]]:
    """Shows a bar of the updates; yields the function that moves it."""
    columns = (TextColumn("cloning"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console, transient=True) as bar:
        line = bar.add_task("", total=steps, note="")
        yield lambda update, loss: bar.update(line, completed=update, note=f"loss {loss:.4f}")


def _format_point(point: ClonePoint, steps: int) -> str:
    return f"{point.steps:>8,} / {steps:,}  {point.seconds:6.1f} s  success {point.success:.2f}  loss {point.loss:.4f}"


def _write_results(console: Terminal, task: Task, config: DictConfig, result: CloneResult, run: RunFolder) -> None:
    value: dict[str, Any] = {"verb": "clone", "task": task.id, "policy": config.policy, **result.to_json()}
    run.save("result.json", value)
    film_run(console, run, task, result.policy, config, FILM_SEEDS)
    found = result.evaluation
    if found is not None:
        success = format_success(found.success, found.low, found.high)
        console.print(f"{success} over {found.episodes} evaluation episodes")
