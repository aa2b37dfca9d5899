"""Training many candidates in rungs: the worse part stops at each (successive halving, Jamieson and Talwalkar 2016)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Protocol

from robo_reward.code.search.candidate import Candidate, ranked
from robo_reward.code.search.outcome import check_outcome, require_sound, set_aside, was_set_aside
from robo_reward.code.search.settings import SearchSettings
from robo_reward.errors import BadArtifact, RoboRewardError
from robo_reward.files import replace_file
from robo_reward.jobs.failures import JobTimedOut
from robo_reward.jobs.job import Job
from robo_reward.reward import fingerprint

TRAIN = "robo_reward.policies.job:run"

log = logging.getLogger(__name__)


class JobExecutor(Protocol):
    """What runs job folders; `robo_reward.jobs.local.LocalExecutor` is one."""

    def submit_job(self, folder: Path, *, timeout: float | None, read: Sequence[Path]) -> Future[dict[str, Any]]:
        """Starts the job in a folder, or returns its result at once if it has one; it may also read some folders."""
        ...


@dataclass(frozen=True)
class Track:
    """Where and how candidates are trained.

    Args:
        executor: runs the jobs.
        folder: job folders go here.
        task: the task's id and options.
        options: options of the task.
        settings: budget and algorithm.
        observe: told of every change of a candidate.
    """

    executor: JobExecutor
    folder: Path
    task: str
    options: dict[str, Any]
    settings: SearchSettings
    observe: Callable[[Candidate, str], None]

    def submit(
        self, name: str, reward: dict[str, Any], seed: int, until: int, steps: int, start: Path | None = None
    ) -> tuple[Path, Future[dict[str, Any]]]:
        """Starts a training job; its folder's name holds a fingerprint, so that other settings make another folder.

        A folder of that name which is damaged is moved to `damaged/` beside the job folders, and the job is run again.
        That is done once for a result that cannot be used: a training that ended so twice is a failed candidate.
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
            # All job folders are neighbours: so a run may be started from anywhere, or moved.
            "start": f"../{start.name}/checkpoint" if start else None,
        }
        folder = self.folder / f"{name.replace('/', '-')}-{fingerprint(spec)[:8]}"
        try:
            require_sound(folder, again=not was_set_aside(folder))
            Job.create(folder, spec)
        except BadArtifact as problem:
            log.warning("%s; the folder is moved to %s and the job is run again", problem, set_aside(folder))
            Job.create(folder, spec)
        replace_file(folder / "reward.py", reward["source"].encode())
        timeout = self.settings.time_limit(until)
        return folder, self.executor.submit_job(folder, timeout=timeout, read=[start] if start else [])


def race(track: Track, candidates: Sequence[Candidate], rewards: dict[str, dict[str, Any]]) -> None:
    """Trains the candidates from rung to rung and leaves the results in them.

    Args:
        track: where and how.
        candidates: accepted programs.
        rewards: reward spec by candidate id.
    """
    settings = track.settings
    running = list(candidates)
    places: dict[str, Path | None] = {c.id: None for c in candidates}
    for rung in range(len(settings.rungs)):
        places = _rung(track, running, rewards, rung, places)
        alive = ranked(c for c in running if c.status == "training")
        last = rung + 1 == len(settings.rungs)
        kept = alive if last else alive[: ceil(len(alive) * settings.keep)]
        for candidate in alive:
            if last:
                candidate.status = "finished"
            elif candidate not in kept:
                candidate.status, candidate.note = "stopped", f"behind the others at {settings.until(rung):,} steps"
            track.observe(candidate, candidate.status)
        running = kept


def _rung(
    track: Track, running: list[Candidate], rewards: dict[str, Any], rung: int, places: dict[str, Path | None]
) -> dict[str, Path | None]:
    """Trains all that still run up to the end of one rung; returns their folders."""
    settings, futures = track.settings, {}
    for candidate in running:
        name = f"{candidate.id}-rung{rung + 1}"
        start = places[candidate.id]
        reward, until = rewards[candidate.id], settings.until(rung)
        folder, future = track.submit(name, reward, settings.seed, until, settings.steps, start)
        candidate.status = "training"
        track.observe(candidate, f"job {folder.name}")
        futures[future] = (candidate, folder)
    for future in as_completed(futures):
        candidate, folder = futures[future]
        try:
            candidate.rungs.append(check_outcome(folder, future.result()))
        except RoboRewardError as error:
            candidate.status, candidate.note = "failed", _describe(error)
        places[candidate.id] = folder
        track.observe(candidate, "rung")
    return places


def confirm(track: Track, candidate: Candidate, reward: dict[str, Any]) -> list[tuple[Path, dict[str, Any]]]:
    """Trains one program afresh with seeds that the search has not used; the best training comes first."""
    settings = track.settings
    steps = settings.final_steps or settings.steps
    futures = {}
    for k in range(settings.final_seeds):
        folder, future = track.submit(f"final-{k + 1}", reward, settings.seed + 100 + k, steps, steps)
        track.observe(candidate, f"job {folder.name}")
        futures[future] = folder
    done = []
    for future in as_completed(futures):
        try:
            done.append((futures[future], check_outcome(futures[future], future.result())))
        except RoboRewardError as error:
            candidate.note = f"training with another seed failed: {_describe(error)}"
        track.observe(candidate, "final")
    return sorted(
        done, key=lambda item: (-item[1]["evaluation"]["success"], -item[1]["evaluation"]["held"], item[0].name)
    )


def _describe(error: RoboRewardError) -> str:
    """What a candidate's note says of a failed job."""
    slow = "; if it was only slow, raise search.timeout: the job goes on from its last checkpoint"
    return f"{error}{slow}" if isinstance(error, JobTimedOut) else str(error)
