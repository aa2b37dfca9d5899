"""`robo-reward train`: any algorithm on any task and reward."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from robo_reward.checks.proportion import format_success
from robo_reward.cli.film import film_run
from robo_reward.cli.folder import RunFolder, open_run
from robo_reward.cli.goals import BY_TASK
from robo_reward.cli.interrupt import stop_on_signals
from robo_reward.cli.run_loggers import log_results, open_run_loggers, read_logger_keys
from robo_reward.cli.task import make_configured_task
from robo_reward.cli.terminal import Terminal
from robo_reward.envs.task import Task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.language.language import RewardProgram, compile_program
from robo_reward.loggers.group import LoggerGroup, check_loggers
from robo_reward.policies.algorithms import find_base_algorithm, merge_settings
from robo_reward.policies.sb3 import CurvePoint, TrainingResult, train_policy
from robo_reward.report.runs import report_train
from robo_reward.rewards.artifact import load_reward, save_reward
from robo_reward.rewards.contract import EpisodeReward, StepReward
from robo_reward.scoring.resemblance import describe_strange_pictures, load_thumbnails, save_thumbnails
from robo_reward.seeds import FILM_SEEDS


def run(config: DictConfig, arguments: list[str]) -> int:
    """Trains in a run folder, or goes on where it was stopped; returns 130 if it was stopped again."""
    console = Terminal()
    begun = time.monotonic()
    task, goal = make_configured_task(config, arguments)
    if config.camera and config.camera not in task.cameras:
        raise UnknownName("camera", config.camera, task.cameras)
    merge_settings(config.policy.algorithm, merge_parameters(config))
    reward = load_chosen_reward(task, config.reward)
    _print_changes(console, reward)
    frames = reward.frames if isinstance(reward, EpisodeReward) else None
    known = load_thumbnails(Path(config.reward.path)) if frames and config.reward.kind == "artifact" else None
    if frames and known is not None and (warning := describe_strange_pictures(task, frames, known)):
        console.print(f"warning: {warning}", style="yellow", soft_wrap=True, highlight=False)
    check_loggers(*read_logger_keys(config))
    with open_run(config, arguments, "train") as run, open_run_loggers(console, config, run.path) as loggers:
        goal.save(run)
        if reward:
            save_reward(reward, run.path / "reward")
        if known is not None:
            save_thumbnails(known, run.path / "reward")
        console.print(f"{task.id}: {config.policy.algorithm}, {config.steps:,} steps; {run.path}", soft_wrap=True)
        if goal.success_by != BY_TASK:
            goal.print(console)
        with stop_on_signals() as stop:
            training = train_policy(
                task,
                reward,
                run.path,
                algorithm=config.policy.algorithm,
                steps=config.steps,
                seed=config.seed,
                params=merge_parameters(config),
                threads=config.threads or len(os.sched_getaffinity(0)),
                episodes=config.episodes,
                stop=stop,
                report=lambda point: _report_point(console, loggers, point, config.steps),
            )
        if training.stopped:
            console.print(f"stopped at {training.steps:,} steps; run the same command again to resume")
            return 130
        _write_results(console, task, config, training, run)
        log_results(loggers, run.path)
        page = report_train(run.path)
    console.print(
        f"time: {time.monotonic() - begun:.0f} s\npolicy: {run.path / 'policy'}", soft_wrap=True, highlight=False
    )
    console.print(f"report: {page.resolve()}", soft_wrap=True, highlight=False)
    return 0


def load_chosen_reward(task: Task, config: DictConfig) -> StepReward | EpisodeReward | None:
    """Returns the reward that `reward=...` names, or None for the sparse success.

    Raises:
        UsageError: a path that holds no reward.
        ProgramError: a program that is not in the language, and cannot be rewritten into it.
    """
    if config.kind == "sparse":
        return None
    if config.kind == "expert":
        return compile_program(task.expert_reward, task.spec, task.action.dim)
    path = Path(config.path)
    if path.suffix == ".py":
        if not path.is_file():
            raise UsageError(f"no reward program at {path}")
        return compile_program(path.read_text(), task.spec, task.action.dim, normalise=True)
    return load_reward(path)


def _print_changes(console: Terminal, reward: StepReward | EpisodeReward | None) -> None:
    """Prints what was rewritten in a program of the user."""
    if isinstance(reward, RewardProgram) and reward.changes:
        console.print("the program was rewritten for the reward language; the run folder holds the result:")
        for change in reward.changes:
            console.print(f"  {change}", soft_wrap=True, highlight=False, markup=False)


def merge_parameters(config: DictConfig) -> dict[str, Any]:
    """Returns the algorithm settings that suit the task, overridden by the user's."""
    hints: Any = (
        OmegaConf.to_container(config.task.params) if find_base_algorithm(config.policy.algorithm) == "ppo" else {}
    )
    given: Any = OmegaConf.to_container(config.policy.params)
    return {**hints, **given}


def _report_point(console: Terminal, loggers: LoggerGroup, point: CurvePoint, steps: int) -> None:
    console.print(_format_point(point, steps), highlight=False)
    loggers.log_point(asdict(point))


def _format_point(point: CurvePoint, steps: int) -> str:
    terms = "  ".join(f"{name} {value:.2f}" for name, value in point.terms.items())
    return f"{point.steps:>10,} / {steps:,}  {point.seconds:6.1f} s  success {point.success:.2f}  {terms}"


def _write_results(console: Terminal, task: Task, config: DictConfig, training: TrainingResult, run: RunFolder) -> None:
    evaluation = training.evaluation
    run.save("result.json", {"task": task.id, **training.to_json()})
    film_run(console, run, task, training.policy, config, FILM_SEEDS)
    success = format_success(evaluation.success, evaluation.low, evaluation.high)
    console.print(f"{success} over {evaluation.episodes} evaluation episodes", highlight=False)
