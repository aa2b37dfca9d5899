"""`robo-reward search` and `demo`: from a sentence to a policy and a report."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from robo_reward.checks.proportion import format_success
from robo_reward.cli.film import film_run
from robo_reward.cli.folder import RunFolder, open_run
from robo_reward.cli.goals import GoalRecord
from robo_reward.cli.reward import keep_initial_programs, load_initial_programs
from robo_reward.cli.robot.view import SearchView
from robo_reward.cli.run_loggers import log_results, open_run_loggers, read_logger_keys
from robo_reward.cli.sittings import recorded_sitting
from robo_reward.cli.task import make_configured_task
from robo_reward.cli.terminal import Terminal
from robo_reward.cli.training.train import merge_parameters
from robo_reward.envs.arm.base import ArmTask
from robo_reward.envs.task import Task, task_names
from robo_reward.errors import UnknownName, UsageError
from robo_reward.jobs.executors import EXECUTORS, JobExecutor
from robo_reward.loggers.group import check_loggers
from robo_reward.policies.algorithms import merge_settings
from robo_reward.policies.evaluate import Evaluation, evaluate_policy
from robo_reward.policies.policy import load_policy
from robo_reward.report.runs import report_search
from robo_reward.reward_search.eureka import Eureka, SearchOutcome
from robo_reward.reward_search.job_curves import forward_job_curves
from robo_reward.reward_search.settings import SearchSettings
from robo_reward.seeds import FILM_SEEDS, WINNER_SEEDS
from robo_reward.writers.writer import make_writer


def run(config: DictConfig, arguments: list[str]) -> int:
    """Runs or resumes a search in its folder; returns 0 when it is finished, also for a success of 0."""
    console = Terminal()
    begun = time.monotonic()
    task, goal_record = make_configured_task(config, arguments)
    config.goal = config.goal or (task.goal if task.id not in task_names() else "")  # the report builds no such task
    settings = read_search_settings(config)
    if config.camera and config.camera not in task.cameras:
        raise UnknownName("camera", config.camera, task.cameras)
    initial = load_initial_programs(console, settings.initial, task)
    check_loggers(*read_logger_keys(config))
    with (
        open_run(config, arguments, arguments[0], keep_provenance=True) as run,
        open_run_loggers(console, config, run.path) as loggers,
    ):
        folder = run.path
        keep_initial_programs(initial, folder)
        writer = make_writer(_to_container(config.writer), folder)
        _print_greeting(console, task, config, folder, settings, goal_record)
        goal_record.save(run)
        view = SearchView(console, folder / "jobs")
        try:
            with recorded_sitting(folder / "sittings.json", begun):
                with create_executor(config) as executor, view.live_display():
                    options = _filter_job_options(task, {**_to_container(config.task.options), **task.options})
                    goal = config.goal or task.goal
                    search = Eureka(task, goal, writer, executor, folder, settings, options, view.handle_event, initial)
                    with forward_job_curves(folder / "jobs", loggers.log_point):
                        outcome = search.run()
                evaluation = _evaluate_winner(console, task, config, outcome, run)
                log_results(loggers, folder)
        finally:
            page = _write_report(folder)
    _print_outcome(console, outcome, evaluation, folder, page, begun)
    return 0


def read_search_settings(config: DictConfig) -> SearchSettings:
    """Returns the settings of a search from its configuration; the user's own override those that suit the task."""
    values = {k: v for k, v in _to_container(config.search).items() if k != "name"}
    params = merge_parameters(config)
    if config.policy.observation:
        raise UsageError(
            f"policy.observation={list(config.policy.observation)}: a search trains its candidates on the state, which "
            "is faster; train on what it finds with `robo-reward train reward=runs/NAME policy.observation=[front]`"
        )
    if config.policy.params or config.policy.algorithm != "ppo":
        merge_settings(config.policy.algorithm, params)  # reports a misspelt setting before the first job
    values["rungs"] = tuple(values["rungs"])
    chosen = {"algorithm": config.policy.algorithm, "params": params, "seed": config.seed}
    return SearchSettings(**values, **chosen, normalise_reward=config.policy.normalise_reward)


def create_executor(config: DictConfig) -> JobExecutor:
    """Returns the executor that runs the jobs, by name; one job per core unless the configuration says otherwise."""
    options = {k: v for k, v in _to_container(config.executor).items() if k not in ("name", "workers")}
    return EXECUTORS.create(config.executor.name, config.executor.workers or None, **options)


def _to_container(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True)


def _print_greeting(
    console: Terminal, task: Task, config: DictConfig, folder: Path, settings: SearchSettings, goal: GoalRecord
) -> None:
    console.print(f"\n{goal.goal}", style="bold")
    console.print(f"task {task.id}, writer {config.writer.name}, seed {config.seed}: ", end="")
    console.print(f"{settings.rounds} rounds of {settings.candidates} programs, {settings.steps:,} steps each at most")
    goal.print(console)
    console.print(f"run folder: {folder}\n", soft_wrap=True)


def _evaluate_winner(
    console: Terminal, task: Task, config: DictConfig, outcome: SearchOutcome, run: RunFolder
) -> Evaluation:
    """Evaluates the final policy on fresh episodes, files it, and films it."""
    assert outcome.policy is not None
    assert outcome.winner is not None
    policy = load_policy(outcome.policy).with_meta(reward=outcome.winner.id, goal=config.goal or task.goal)
    policy.save(run.path / "policy")
    _save_reward(task, outcome.winner.source, run.path / "reward")
    evaluation = evaluate_policy(task, policy, config.search.episodes, seed=WINNER_SEEDS + config.seed)
    run.save("evaluation.json", evaluation.to_json())
    film_run(console, run, task, policy, config, FILM_SEEDS + config.seed)
    run.save("result.json", {"winner": outcome.winner.id, "evaluation": evaluation.to_json()})
    return evaluation


def _save_reward(task: Task, source: str, folder: Path) -> None:
    from robo_reward.language.language import compile_program
    from robo_reward.rewards.artifact import save_reward

    save_reward(compile_program(source, task.spec, task.action.dim), folder)


def _write_report(folder: Path) -> Path | None:
    """Writes the report of a finished or unfinished run; returns None for a run with nothing in it."""
    return report_search(folder) if (folder / "search.json").exists() else None


def _print_outcome(
    console: Terminal, outcome: SearchOutcome, evaluation: Evaluation, folder: Path, page: Path | None, begun: float
) -> None:
    assert outcome.winner is not None
    seeds = ", ".join(f"{r['evaluation']['success']:.2f}" for r in outcome.finals)
    console.print(
        f"\nwinner: candidate {outcome.winner.id}" + (f"; retrained with other seeds: {seeds}" if seeds else "")
    )
    success = format_success(evaluation.success, evaluation.low, evaluation.high)
    console.print(f"{success} over {evaluation.episodes} evaluation episodes", highlight=False)
    console.print(f"time: {time.monotonic() - begun:.0f} s", highlight=False)
    if not evaluation.successes:
        console.print("The policy never succeeds. Try more steps (search.steps=...), more rounds or another writer.")
    console.print(f"policy: {folder / 'policy'}\nreward: {folder / 'reward'}", soft_wrap=True, highlight=False)
    console.print(f"report: {page.resolve() if page else os.fspath(folder)}", soft_wrap=True, highlight=False)


def _filter_job_options(task: Task, options: dict[str, Any]) -> dict[str, Any]:
    """Returns a task's options as a job may have them: without files to read and without appearance."""
    if isinstance(task, ArmTask) and task.identified_dynamics:
        options = {**options, "dynamics": task.identified_dynamics.to_json()}
    return {k: v for k, v in options.items() if k != "assets"}
