"""`robo-reward train`: any algorithm on any task and reward."""

from __future__ import annotations

import os
import time
from typing import Any

from omegaconf import DictConfig, OmegaConf

from robo_reward.checks.proportion import format_success
from robo_reward.cli.film import film_run
from robo_reward.cli.folder import RunFolder, open_run
from robo_reward.cli.interrupt import stop_on_signals
from robo_reward.cli.reward import examine_reward, keep_answers, load_chosen_reward, require_same_reward
from robo_reward.cli.task import make_configured_task
from robo_reward.cli.terminal import Terminal
from robo_reward.envs.task import Task
from robo_reward.errors import UnknownName
from robo_reward.policies.algorithms import merge_settings
from robo_reward.policies.sb3 import CurvePoint, TrainingResult, train_policy
from robo_reward.report.runs import report_train
from robo_reward.rewards.artifact import save_reward
from robo_reward.rewards.contract import fingerprint_spec
from robo_reward.seeds import FILM_SEEDS


def run(config: DictConfig, arguments: list[str]) -> int:
    """Trains in a run folder, or goes on where it was stopped; returns 130 if it was stopped again."""
    console = Terminal()
    begun = time.monotonic()
    task = make_configured_task(config)
    if config.camera and config.camera not in task.cameras:
        raise UnknownName("camera", config.camera, task.cameras)
    merge_settings(config.policy.algorithm, merge_parameters(config))
    reward = load_chosen_reward(task, config.reward, config.goal)
    examine_reward(console, task, reward, config.seed, "; the run folder holds the result")
    fingerprint = fingerprint_spec(reward.spec()) if reward else ""
    with open_run(config, arguments, "train", name_run_subject(task, config, fingerprint)) as run:
        if reward:
            require_same_reward(run.path, fingerprint)
            save_reward(reward, run.path / "reward")
            keep_answers(reward, config.reward, run.path)
        console.print(f"{task.id}: {config.policy.algorithm}, {config.steps:,} steps; {run.path}", soft_wrap=True)
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
                report=lambda point: console.print(_format_point(point, config.steps), highlight=False),
            )
        if training.stopped:
            console.print(f"stopped at {training.steps:,} steps; run the same command again to resume")
            return 130
        _write_results(console, task, config, training, run)
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
    hints: Any = OmegaConf.to_container(config.task.params) if config.policy.algorithm == "ppo" else {}
    given: Any = OmegaConf.to_container(config.policy.params)
    return {**hints, **given}


def _format_point(point: CurvePoint, steps: int) -> str:
    terms = "  ".join(f"{name} {value:.2f}" for name, value in point.terms.items())
    return f"{point.steps:>10,} / {steps:,}  {point.seconds:6.1f} s  success {point.success:.2f}  {terms}"


def _write_results(console: Terminal, task: Task, config: DictConfig, training: TrainingResult, run: RunFolder) -> None:
    evaluation = training.evaluation
    run.save("result.json", {"task": task.id, **training.to_json()})
    film_run(console, run, task, training.policy, config, FILM_SEEDS)
    success = format_success(evaluation.success, evaluation.low, evaluation.high)
    console.print(f"{success} over {evaluation.episodes} evaluation episodes", highlight=False)
