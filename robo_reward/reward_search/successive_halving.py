"""Trains candidates in rungs and stops the worst at each (successive halving, Jamieson and Talwalkar 2016)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from robo_reward.errors import BadArtifact, RoboRewardError
from robo_reward.files import write_text
from robo_reward.jobs.executors import JobExecutor
from robo_reward.jobs.failures import JobTimedOut
from robo_reward.jobs.job import Job
from robo_reward.policies.own_algorithm import compute_digest, find_sources, is_own_algorithm
from robo_reward.reward_search.candidate import Candidate, rank_candidates
from robo_reward.reward_search.job_validation import check_outcome, require_usable_job, set_aside, was_set_aside
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
            "normalise_reward": self.settings.normalise_reward,
            "steps": steps,
            "until": until,
            "seed": seed,
            "episodes": self.settings.episodes,
            # Relative, since all job folders are siblings: a run can be moved, or started from any directory.
            "start": f"../{start.name}/checkpoint" if start else None,
        }
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

    Args:
        trainer: starts the training jobs.
        candidates: accepted programs.
        rewards: reward spec by candidate id.

    Returns:
        The job folder of each candidate's last rung, by candidate id.
    """
    settings = trainer.settings
    running = list(candidates)
    folders: dict[str, Path] = {}  # the next rung continues from the checkpoint of the one before
    for rung in range(len(settings.rungs)):
        folders |= _train_rung(trainer, running, rewards, rung, folders)
        # Candidates that failed in this rung have another status and drop out.
        alive = rank_candidates(c for c in running if c.status == "training")
        last = rung + 1 == len(settings.rungs)
        # Rounded up, so that at least one candidate continues.
        kept = alive if last else alive[: ceil(len(alive) * settings.keep)]
        for candidate in alive:
            if last:
                candidate.status = "finished"
            elif candidate not in kept:
                candidate.status, candidate.note = (
                    "stopped",
                    f"other candidates were better at {settings.get_rung_end(rung):,} steps",
                )
            trainer.observe(candidate, candidate.status)
        running = kept
    return folders


def _train_rung(
    trainer: CandidateTrainer,
    running: list[Candidate],
    rewards: dict[str, Any],
    rung: int,
    folders: dict[str, Path],
) -> dict[str, Path]:
    """Trains the running candidates up to the end of one rung, from their folders of the rung before.

    Returns:
        Their folders of this rung.
    """
    settings, futures = trainer.settings, {}
    for candidate in running:
        name = f"{candidate.id}-rung{rung + 1}"
        start = folders.get(candidate.id)
        reward, until = rewards[candidate.id], settings.get_rung_end(rung)
        folder, future = trainer.submit_training(name, reward, settings.seed, until, settings.steps, start)
        candidate.status = "training"
        trainer.observe(candidate, f"job {folder.name}")
        futures[future] = (candidate, folder)
    # Jobs end in any order; an error fails only its own candidate.
    for future in as_completed(futures):
        candidate, folder = futures[future]
        try:
            candidate.rungs.append(check_outcome(folder, future.result()))
        except RoboRewardError as error:
            candidate.status, candidate.note = "failed", _describe_error(error)
        trainer.observe(candidate, "rung")
    return {candidate.id: folder for candidate, folder in futures.values()}


def train_with_new_seeds(
    trainer: CandidateTrainer, candidate: Candidate, reward: dict[str, Any]
) -> list[tuple[Path, dict[str, Any]]]:
    """Trains one program with seeds that the search has not used.

    Returns:
        The folder and the result of each training that succeeded, the best first.
    """
    settings = trainer.settings
    steps = settings.final_steps or settings.steps
    futures = {}
    for k in range(settings.final_seeds):
        seed = FRESH_TRAINING_SEEDS + settings.seed + k
        folder, future = trainer.submit_training(f"final-{k + 1}", reward, seed, steps, steps)
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
