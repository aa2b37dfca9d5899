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
from robo_reward.cli.reward import examine_reward, keep_answers, load_chosen_reward, require_same_reward
from robo_reward.cli.run_loggers import log_results, open_run_loggers, read_logger_keys
from robo_reward.cli.task import make_configured_task
from robo_reward.cli.terminal import Terminal
from robo_reward.envs.task import Task
from robo_reward.errors import UnknownName
from robo_reward.loggers.group import LoggerGroup, check_loggers
from robo_reward.policies.algorithms import find_base_algorithm, merge_settings
from robo_reward.policies.sb3 import CurvePoint, TrainingResult, train_policy
from robo_reward.policies.vision.sight import LookingSettings, Sight
from robo_reward.report.runs import report_train
from robo_reward.rewards.artifact import save_reward
from robo_reward.rewards.contract import EpisodeReward, fingerprint_spec
from robo_reward.scoring.resemblance import describe_strange_pictures, load_thumbnails, save_thumbnails
from robo_reward.seeds import FILM_SEEDS


def run(config: DictConfig, arguments: list[str]) -> int:
    """Trains in a run folder, or goes on where it was stopped; returns 130 if it was stopped again."""
    console = Terminal()
    begun = time.monotonic()
    task, goal = make_configured_task(config, arguments)
    if config.camera and config.camera not in task.cameras:
        raise UnknownName("camera", config.camera, task.cameras)
    looking = read_looking(config)
    chosen = merge_settings(config.policy.algorithm, merge_parameters(config))
    described = describe_sight(task, looking, config.policy.algorithm, chosen, merge_parameters(config))
    reward = load_chosen_reward(task, config.reward, config.goal)
    examine_reward(console, task, reward, config.seed, "; the run folder holds the result")
    frames = reward.frames if isinstance(reward, EpisodeReward) else None
    known = load_thumbnails(Path(config.reward.path)) if frames and config.reward.kind == "artifact" else None
    if frames and known is not None and (warning := describe_strange_pictures(task, frames, known)):
        console.print(f"warning: {warning}", style="yellow", soft_wrap=True, highlight=False)
    check_loggers(*read_logger_keys(config))
    fingerprint = fingerprint_spec(reward.spec()) if reward else ""
    subject = name_run_subject(task, config, fingerprint)
    with open_run(config, arguments, "train", subject) as run, open_run_loggers(console, config, run.path) as loggers:
        goal.save(run)
        if reward:
            require_same_reward(run.path, fingerprint)
            save_reward(reward, run.path / "reward")
            keep_answers(reward, config.reward, run.path)
        if known is not None:
            save_thumbnails(known, run.path / "reward")
        console.print(f"{task.id}: {config.policy.algorithm}, {config.steps:,} steps; {run.path}", soft_wrap=True)
        if described:
            console.print(described, soft_wrap=True, highlight=False)
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
                looking=looking,
                normalise_reward=config.policy.normalise_reward,
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


def name_run_subject(task: Task, config: DictConfig, fingerprint: str) -> str:
    """Returns the middle of the run folder's name: a file that is edited gives another run."""
    name = task.id.replace("/", "-")
    is_file = config.reward.kind == "python" or str(config.reward.get("path", "")).endswith(".py")
    return f"{name}-{fingerprint[:6]}" if is_file else name


def merge_parameters(config: DictConfig) -> dict[str, Any]:
    """Returns the algorithm settings that suit the task, overridden by the user's."""
    hints: Any = (
        OmegaConf.to_container(config.task.params) if find_base_algorithm(config.policy.algorithm) == "ppo" else {}
    )
    given: Any = OmegaConf.to_container(config.policy.params)
    return {**hints, **given}


def read_looking(config: DictConfig) -> LookingSettings:
    """Returns what the policy observes, as the keys of `policy` say."""
    policy = config.policy
    encoder: Any = OmegaConf.to_container(policy.encoder)
    return LookingSettings(tuple(policy.observation), policy.picture_size, policy.features, encoder)


def describe_sight(
    task: Task, looking: LookingSettings, algorithm: str, chosen: dict[str, Any], given: dict[str, Any]
) -> str:
    """Returns what the policy observes and the memory that it takes, as a line; empty for the task's own observation.

    Raises:
        UsageError: a field or camera that the task does not have, or pictures that do not fit into memory.
    """
    if not looking.observation:
        return ""
    sight = Sight(task, looking)
    sight.adapt_settings(algorithm, chosen, given)
    return sight.describe(chosen)


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
