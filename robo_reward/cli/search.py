"""`robo-reward search` and `demo`: from a sentence to a policy and a report."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from robo_reward.cli.film import Film, film
from robo_reward.cli.folder import only_me, provenance, run_folder, write_json
from robo_reward.cli.sittings import recorded_sitting
from robo_reward.cli.terminal import Terminal
from robo_reward.cli.view import SearchView
from robo_reward.code.search.eureka import Eureka, Outcome
from robo_reward.code.search.settings import SearchSettings
from robo_reward.code.writers.writer import make_writer
from robo_reward.envs.gl import NoRenderer
from robo_reward.envs.panda.base import ArmTask
from robo_reward.envs.task import Task, make_task
from robo_reward.errors import UnknownName
from robo_reward.jobs.executors import EXECUTORS, JobExecutor
from robo_reward.policies.algorithms import settings as check_settings
from robo_reward.policies.evaluate import Evaluation, evaluate
from robo_reward.policies.policy import load_policy
from robo_reward.report.runs import report_search

FILM_SIZE = (480, 360)


def run(config: DictConfig, arguments: list[str]) -> int:
    """Runs a search in its folder, or goes on with it; returns 0 when it is finished, whatever its success."""
    console = Terminal()
    begun = time.monotonic()
    task = make_task(config.task.id, **config.task.options)
    settings = search_settings(config)
    if config.camera and config.camera not in task.cameras:
        raise UnknownName("camera", config.camera, task.cameras)
    folder = run_folder(config, arguments[0])
    with only_me(folder):
        writer = make_writer(_plain(config.writer), folder)
        _greet(console, task, config, folder, settings)
        view = SearchView(console, folder / "jobs")
        if not (folder / "provenance.json").exists():
            write_json(folder / "provenance.json", provenance(arguments))
        try:
            with recorded_sitting(folder / "sittings.json", begun):
                with executor_of(config) as executor, view.shown():
                    options = _for_jobs(task, _plain(config.task.options))
                    goal = config.goal or task.goal
                    search = Eureka(task, goal, writer, executor, folder, settings, options, view.observe)
                    outcome = search.run()
                evaluation = _judge(console, task, config, outcome, folder)
        finally:
            page = _report(folder)
    _farewell(console, outcome, evaluation, folder, page, begun)
    return 0


def search_settings(config: DictConfig) -> SearchSettings:
    """The settings of a search from its configuration; parameters that suit the task lie under the user's own."""
    values = {k: v for k, v in _plain(config.search).items() if k != "name"}
    given = _plain(config.policy.params)
    if given or config.policy.algorithm != "ppo":
        check_settings(config.policy.algorithm, given)  # a misspelt one is told now, not by the first job
    params = {**(_plain(config.task.params) if config.policy.algorithm == "ppo" else {}), **given}
    values["rungs"] = tuple(values["rungs"])
    return SearchSettings(**values, algorithm=config.policy.algorithm, params=params, seed=config.seed)


def executor_of(config: DictConfig) -> JobExecutor:
    """What runs the jobs, by name; one job per core unless told otherwise."""
    options = {k: v for k, v in _plain(config.executor).items() if k not in ("name", "workers")}
    return EXECUTORS.create(config.executor.name, config.executor.workers or None, **options)


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True)


def _greet(console: Terminal, task: Task, config: DictConfig, folder: Path, settings: SearchSettings) -> None:
    console.print(f"\n{config.goal or task.goal}", style="bold")
    console.print(f"task {task.id}, writer {config.writer.name}, seed {config.seed}: ", end="")
    console.print(f"{settings.rounds} rounds of {settings.candidates} programs, {settings.steps:,} steps each at most")
    console.print(f"run folder: {folder}\n", soft_wrap=True)


def _judge(console: Terminal, task: Task, config: DictConfig, outcome: Outcome, folder: Path) -> Evaluation:
    """Evaluates the final policy on fresh episodes, files it, and films it."""
    assert outcome.policy is not None
    assert outcome.winner is not None
    policy = load_policy(outcome.policy).with_meta(reward=outcome.winner.id, goal=config.goal or task.goal)
    policy.save(folder / "policy")
    (folder / "reward").mkdir(exist_ok=True)
    _save_reward(task, outcome.winner.source, folder / "reward")
    evaluation = evaluate(task, policy, config.search.episodes, seed=2_000_000 + config.seed)
    write_json(folder / "evaluation.json", evaluation.to_json())
    films: list[Film] = []
    try:
        if config.videos:
            films = film(
                task, policy, folder / "videos", config.videos, config.camera, 3_000_000 + config.seed, FILM_SIZE
            )
    except NoRenderer as missing:
        console.print(f"no videos: {missing}", style="yellow")
    write_json(folder / "videos.json", [{"path": str(f.path.relative_to(folder)), "success": f.success} for f in films])
    return evaluation


def _save_reward(task: Task, source: str, folder: Path) -> None:
    from robo_reward.artifact import save_reward
    from robo_reward.code.language import compile_program

    save_reward(compile_program(source, task.spec, task.action.dim), folder)


def _report(folder: Path) -> Path | None:
    """Writes the report, whatever the run came to; a run with nothing in it has none."""
    return report_search(folder) if (folder / "search.json").exists() else None


def _farewell(
    console: Terminal, outcome: Outcome, evaluation: Evaluation, folder: Path, page: Path | None, begun: float
) -> None:
    assert outcome.winner is not None
    write_json(folder / "result.json", {"winner": outcome.winner.id, "evaluation": evaluation.to_json()})
    seeds = ", ".join(f"{r['evaluation']['success']:.2f}" for r in outcome.finals)
    console.print(
        f"\nwinner: candidate {outcome.winner.id}" + (f"; trained afresh with other seeds: {seeds}" if seeds else "")
    )
    console.print(
        f"success {evaluation.success:.2f} (95 % interval {evaluation.low:.2f} to {evaluation.high:.2f}) "
        f"over {evaluation.episodes} evaluation episodes",
        highlight=False,
    )
    console.print(f"time: {time.monotonic() - begun:.0f} s", highlight=False)
    if not evaluation.successes:
        console.print("The policy never succeeds. Try more steps (search.steps=...), more rounds or another writer.")
    console.print(f"policy: {folder / 'policy'}\nreward: {folder / 'reward'}", soft_wrap=True, highlight=False)
    console.print(f"report: {page.resolve() if page else os.fspath(folder)}", soft_wrap=True, highlight=False)


def _for_jobs(task: Task, options: dict[str, Any]) -> dict[str, Any]:
    """A task's options as a job may have them: it reads no files, and looks do not matter to training."""
    if isinstance(task, ArmTask) and task.identified:
        options = {**options, "dynamics": task.identified.to_json()}
    return {k: v for k, v in options.items() if k != "assets"}
