"""`robo-reward train`: any algorithm on any task and reward."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from robo_reward.cli.film import film_episodes
from robo_reward.cli.folder import collect_provenance, lock_run, prepare_run_folder, write_json
from robo_reward.cli.interrupt import stop_on_signals
from robo_reward.cli.terminal import Terminal
from robo_reward.envs.rendering.gl import NoRenderer
from robo_reward.envs.task import Task, make_task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.language.language import RewardProgram, compile_program
from robo_reward.policies.algorithms import merge_settings
from robo_reward.policies.sb3 import CurvePoint, TrainingResult, train_policy
from robo_reward.report.runs import report_train
from robo_reward.rewards.artifact import load_reward, save_reward
from robo_reward.rewards.contract import EpisodeReward, StepReward

FILM_SIZE = (480, 360)


def run(config: DictConfig, arguments: list[str]) -> int:
    """Trains in a run folder, or goes on where it was stopped; returns 130 if it was stopped again."""
    console = Terminal()
    begun = time.monotonic()
    options: Any = OmegaConf.to_container(config.task.options)
    task = make_task(config.task.id, **options)
    if config.camera and config.camera not in task.cameras:
        raise UnknownName("camera", config.camera, task.cameras)
    merge_settings(config.policy.algorithm, merge_parameters(config))
    reward = load_chosen_reward(task, config.reward)
    _print_changes(console, reward)
    folder = prepare_run_folder(config, "train")
    with lock_run(folder), stop_on_signals() as stop:
        write_json(folder / "provenance.json", collect_provenance(arguments))
        if reward:
            save_reward(reward, folder / "reward")
        console.print(f"{task.id}: {config.policy.algorithm}, {config.steps:,} steps; {folder}", soft_wrap=True)
        training = train_policy(
            task,
            reward,
            folder,
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
        console.print(f"stopped at {training.steps:,} steps; the same command goes on from here")
        return 130
    _write_results(console, task, config, training, folder)
    page = report_train(folder)
    console.print(
        f"time: {time.monotonic() - begun:.0f} s\npolicy: {folder / 'policy'}", soft_wrap=True, highlight=False
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
    hints: Any = OmegaConf.to_container(config.task.params) if config.policy.algorithm == "ppo" else {}
    given: Any = OmegaConf.to_container(config.policy.params)
    return {**hints, **given}


def _format_point(point: CurvePoint, steps: int) -> str:
    terms = "  ".join(f"{name} {value:.2f}" for name, value in point.terms.items())
    return f"{point.steps:>10,} / {steps:,}  {point.seconds:6.1f} s  success {point.success:.2f}  {terms}"


def _write_results(console: Terminal, task: Task, config: DictConfig, training: TrainingResult, folder: Path) -> None:
    evaluation = training.evaluation
    write_json(folder / "result.json", {"task": task.id, **training.to_json()})
    films = []
    try:
        if config.videos:
            films = film_episodes(
                task, training.policy, folder / "videos", config.videos, config.camera, 3_000_000, FILM_SIZE
            )
    except NoRenderer as missing:
        console.print(f"no videos: {missing}", style="yellow")
    write_json(folder / "videos.json", [{"path": str(f.path.relative_to(folder)), "success": f.success} for f in films])
    console.print(
        f"success {evaluation.success:.2f} (95 % interval {evaluation.low:.2f} to {evaluation.high:.2f}) "
        f"over {evaluation.episodes} evaluation episodes",
        highlight=False,
    )
