"""Trains candidates in rungs and stops the worst at each (successive halving, Jamieson and Talwalkar 2016)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import fmean
from typing import Any

from robo_reward.errors import BadArtifact, RoboRewardError
from robo_reward.files import write_text
from robo_reward.jobs.executors import JobExecutor
from robo_reward.jobs.failures import JobTimedOut
from robo_reward.jobs.job import Job
from robo_reward.policies.own_algorithm import compute_digest, find_sources, is_own_algorithm
from robo_reward.reward_search.candidate import Candidate, rank_candidates
from robo_reward.reward_search.job_validation import check_outcome, require_usable_job, set_aside, was_set_aside
from robo_reward.reward_search.racing import compute_interval, find_worse
from robo_reward.reward_search.settings import SearchSettings
from robo_reward.rewards.contract import fingerprint_spec
from robo_reward.seeds import FRESH_TRAINING_SEEDS

TRAIN = "robo_reward.policies.job:run"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CandidateTrainer:
    """Starts the training jobs of candidates.

    Args:
        executor: runs the jobs.
        folder: job folders go here.
        task: the task's id.
        options: options of the task.
        settings: budget and algorithm.
        observe: called with the candidate and an event at every change of a candidate.
        read: folders that every job may read, such as those of a scene file.
    """

    executor: JobExecutor
    folder: Path
    task: str
    options: dict[str, Any]
    settings: SearchSettings
    observe: Callable[[Candidate, str], None]
    read: tuple[Path, ...] = ()

    def submit_training(
        self, name: str, reward: dict[str, Any], seed: int, until: int, steps: int, start: Path | None = None
    ) -> tuple[Path, Future[dict[str, Any]]]:
        """Starts a training job; the folder's name contains a fingerprint, so that other settings use another folder.

        A damaged folder of that name is moved to `damaged/` next to the job folders, and the job is run again. An
        unusable result is replaced once; if the second one is unusable too, the candidate has failed.
        """
        spec = {
            "entry": TRAIN,
            "task": self.task,
            "options": self.options,
            "reward": reward,
            "algorithm": self.settings.algorithm,
            "params": dict(self.settings.params),
            "steps": steps,
            "until": until,
            "seed": seed,
            "episodes": self.settings.episodes,
            # Relative, since all job folders are siblings: a run can be moved, or started from any directory.
            "start": f"../{start.name}/checkpoint" if start else None,
        }
        if self.settings.normalise_reward:  # else the folders of earlier versions keep their names
            spec["normalise_reward"] = True
        sources = find_sources(self.settings.algorithm) if is_own_algorithm(self.settings.algorithm) else {}
        if sources:
            spec |= {"algorithm_sources": sources, "algorithm_digest": compute_digest(sources)}
        folder = self.folder / f"{name.replace('/', '-')}-{fingerprint_spec(spec)[:8]}"
        try:
            require_usable_job(folder, again=not was_set_aside(folder))
            Job.create(folder, spec)
        except BadArtifact as problem:
            log.warning("%s; the folder is moved to %s and the job is run again", problem, set_aside(folder))
            Job.create(folder, spec)
        write_text(folder / "reward.py", reward["source"])
        timeout = self.settings.compute_time_limit(until)
        read = [*self.read, *([start] if start else []), *map(Path, sources.values())]
        return folder, self.executor.submit_job(folder, timeout=timeout, read=read)


def run_successive_halving(
    trainer: CandidateTrainer, candidates: Sequence[Candidate], rewards: dict[str, dict[str, Any]]
) -> dict[str, Path]:
    """Trains the candidates from rung to rung and stores the results in them.

    With one seed, the best `keep` of each rung go on. With more, all candidates that are not worse than the best one
    with `confidence` do, see `racing.find_worse`.

    Args:
        trainer: starts the training jobs.
        candidates: accepted programs.
        rewards: reward spec by candidate id.

    Returns:
        The job folder of each candidate's best seed at its last rung, by candidate id.
    """
    settings = trainer.settings
    running = list(candidates)
    folders: dict[str, list[Path]] = {}  # of each seed; the next rung continues from the checkpoint of the one before
    best: dict[str, Path] = {}
    for rung in range(len(settings.rungs)):
        alive, folders = _train_rung(trainer, running, rewards, rung, folders)
        for candidate in alive:
            best[candidate.id] = folders[candidate.id][candidate.best_seed]
        running = _end_rung(trainer, rank_candidates(alive), rung)
    return best


def _end_rung(trainer: CandidateTrainer, alive: list[Candidate], rung: int) -> list[Candidate]:
    """Returns those of the ranked candidates that go on; the others are stopped. At the last rung all are finished."""
    settings = trainer.settings
    last = rung + 1 == len(settings.rungs)
    # Rounded up, so that at least one candidate continues.
    kept = alive if last or settings.seeds > 1 else alive[: ceil(len(alive) * settings.keep)]
    for candidate in alive:
        if last:
            candidate.status = "finished"
        elif candidate not in kept:
            candidate.status, candidate.note = (
                "stopped",
                f"other candidates were better at {settings.get_rung_end(rung):,} steps",
            )
        trainer.observe(candidate, candidate.status)
    return kept


def _train_rung(
    trainer: CandidateTrainer,
    running: list[Candidate],
    rewards: dict[str, Any],
    rung: int,
    before: dict[str, list[Path]],
) -> tuple[list[Candidate], dict[str, list[Path]]]:
    """Trains the running candidates up to the end of one rung, seed by seed, and stops those that fall behind.

    Args:
        trainer: starts the training jobs.
        running: the candidates.
        rewards: reward spec by candidate id.
        rung: counted from 0.
        before: folders of the rung before, by candidate id, one per seed.

    Returns:
        The candidates that are still in the race, and the folders of each by seed.
    """
    settings = trainer.settings
    folders: dict[str, list[Path]] = {candidate.id: [] for candidate in running}
    results: dict[str, list[dict[str, Any]]] = {candidate.id: [] for candidate in running}
    for number in range(settings.seeds):
        if number and len(running) == 1:
            break  # nothing is left to decide
        starts = {c.id: before[c.id][number] for c in running if number < len(before.get(c.id, ()))}
        _train_seed(trainer, running, rewards, rung, number, starts, folders, results)
        # Candidates that failed have another status and drop out.
        running = [candidate for candidate in running if candidate.status == "training"]
        outcomes = {c.id: [r["evaluation"]["success"] for r in results[c.id]] for c in running}
        for candidate in running:
            candidate.set_rung(rung, merge_seeds(results[candidate.id], compute_interval(outcomes, candidate.id)))
            trainer.observe(candidate, "rung")
        worse = find_worse(outcomes, settings.confidence) if number else []
        for candidate in (each for each in running if each.id in worse):
            candidate.status, candidate.note = "stopped", _describe_loss(candidate.id, outcomes, settings.confidence)
            trainer.observe(candidate, candidate.status)
        running = [candidate for candidate in running if candidate.id not in worse]
    return running, folders


def _train_seed(
    trainer: CandidateTrainer,
    running: list[Candidate],
    rewards: dict[str, Any],
    rung: int,
    number: int,
    starts: dict[str, Path],
    folders: dict[str, list[Path]],
    results: dict[str, list[dict[str, Any]]],
) -> None:
    """Trains the candidates with one seed up to the end of a rung, and appends their folders and results."""
    settings, futures = trainer.settings, {}
    for candidate in running:
        name = f"{candidate.id}-seed{number + 1}-rung{rung + 1}" if number else f"{candidate.id}-rung{rung + 1}"
        reward, until, seed = rewards[candidate.id], settings.get_rung_end(rung), settings.seed + number
        start = starts.get(candidate.id)
        folder, future = trainer.submit_training(name, reward, seed, until, settings.steps, start)
        candidate.status = "training"
        trainer.observe(candidate, f"job {folder.name}")
        folders[candidate.id].append(folder)
        futures[future] = (candidate, folder)
    # Jobs end in any order; an error fails only its own candidate.
    for future in as_completed(futures):
        candidate, folder = futures[future]
        try:
            results[candidate.id].append(check_outcome(folder, future.result()))
        except RoboRewardError as error:
            candidate.status, candidate.note = "failed", _describe_error(error)
            trainer.observe(candidate, candidate.status)


def merge_seeds(results: Sequence[dict[str, Any]], interval: tuple[float, float]) -> dict[str, Any]:
    """Returns one training result for several seeds: the mean success, with its interval, and the curve of the median.

    Args:
        results: of the seeds, in their order.
        interval: of the mean success.
    """
    if len(results) == 1:
        return results[0]
    rates = [result["evaluation"]["success"] for result in results]
    order = sorted(range(len(results)), key=lambda i: rates[i])
    evaluations = [result["evaluation"] for result in results]
    returns = [each["mean_return"] for each in evaluations if each.get("mean_return") is not None]
    merged = {
        **evaluations[0],
        "success": fmean(rates),
        "successes": sum(each["successes"] for each in evaluations),
        "episodes": sum(each["episodes"] for each in evaluations),
        "held": fmean(each["held"] for each in evaluations),
        "mean_return": fmean(returns) if returns else None,
        "low": interval[0],
        "high": interval[1],
    }
    return {
        **results[order[len(order) // 2]],
        "steps": sum(result["steps"] for result in results),
        "seconds": sum(result["seconds"] for result in results),
        "evaluation": merged,
        "seeds": rates,
    }


def _describe_loss(name: str, outcomes: Mapping[str, Sequence[float]], confidence: float) -> str:
    """Returns the note of a candidate that was stopped as worse than the best one."""
    best = max(outcomes, key=lambda each: fmean(outcomes[each]))
    rates = [f"{fmean(outcomes[each]):.2f}" for each in (name, best)]
    seeds = len(outcomes[name])
    return f"worse than {best} with {confidence:.0%} confidence: {rates[0]} instead of {rates[1]}, {seeds} seeds each"


def train_with_new_seeds(
    trainer: CandidateTrainer, candidate: Candidate, reward: dict[str, Any], prefix: str = ""
) -> list[tuple[Path, dict[str, Any]]]:
    """Trains one program with seeds that the search has not used.

    Args:
        trainer: starts the training jobs.
        candidate: the program.
        reward: its reward spec.
        prefix: of the names of the jobs, `final-1` and so on.

    Returns:
        The folder and the result of each training that succeeded, the best first.
    """
    settings = trainer.settings
    steps = settings.final_steps or settings.steps
    futures = {}
    for k in range(settings.final_seeds):
        seed = FRESH_TRAINING_SEEDS + settings.seed + k
        folder, future = trainer.submit_training(f"{prefix}final-{k + 1}", reward, seed, steps, steps)
        trainer.observe(candidate, f"job {folder.name}")
        futures[future] = folder
    done = []
    for future in as_completed(futures):
        try:
            done.append((futures[future], check_outcome(futures[future], future.result())))
        except RoboRewardError as error:
            candidate.note = f"training with another seed failed: {_describe_error(error)}"
        trainer.observe(candidate, "final")
    # The folder name makes the order of ties deterministic.
    return sorted(
        done, key=lambda item: (-item[1]["evaluation"]["success"], -item[1]["evaluation"]["held"], item[0].name)
    )


def _describe_error(error: RoboRewardError) -> str:
    """Returns the note of a candidate whose job failed."""
    slow = "; if it was only slow, raise search.timeout: the job resumes from its last checkpoint"
    return f"{error}{slow}" if isinstance(error, JobTimedOut) else str(error)
