"""Training many candidates in rungs: the worse part stops at every rung (successive halving, Jamieson and Talwalkar 2016)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Protocol

from robo_reward.code.search.candidate import Candidate, ranked
from robo_reward.code.search.settings import SearchSettings
from robo_reward.errors import RoboRewardError
from robo_reward.reward import fingerprint

TRAIN = "robo_reward.policies.job:run"


class JobExecutor(Protocol):
    """What runs job folders; `robo_reward.jobs.local.LocalExecutor` is one."""

    def submit_job(self, folder: Path, *, timeout: float | None = None) -> Future[dict[str, Any]]:
        """Starts the job in a folder, or returns its result at once if it has one."""
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

    def job(self, name: str, reward: dict[str, Any], seed: int, steps: int, until: int, start: Path | None) -> Path:
        """Writes a job folder; its name holds a fingerprint, so that other settings make another folder."""
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
            "start": str(start / "checkpoint") if start else None,
            "read": [str(start)] if start else [],
        }
        identity = {**spec, "start": start.name if start else None, "read": None}
        folder = self.folder / f"{name.replace('/', '-')}-{fingerprint(identity)[:8]}"
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "reward.py", reward["source"])
        write_atomically(folder / "spec.json", json.dumps(spec, indent=1))
        return folder


def write_atomically(path: Path, text: str) -> None:
    """Writes a file under a temporary name and renames it."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    partial.write_text(text)
    partial.replace(path)


def race(track: Track, candidates: Sequence[Candidate], rewards: dict[str, dict[str, Any]]) -> None:
    """Trains the candidates from rung to rung and leaves the results in them.

    Args:
        track: where and how.
        candidates: accepted programs.
        rewards: reward spec by candidate id.
    """
    settings = track.settings
    running, places = list(candidates), {c.id: None for c in candidates}
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
        folder = track.job(name, rewards[candidate.id], settings.seed, settings.steps, settings.until(rung), start)
        candidate.status = "training"
        track.observe(candidate, f"job {folder.name}")
        futures[track.executor.submit_job(folder, timeout=settings.timeout or None)] = (candidate, folder)
    for future in as_completed(futures):
        candidate, folder = futures[future]
        try:
            candidate.rungs.append(future.result())
        except RoboRewardError as error:
            candidate.status, candidate.note = "failed", str(error)
        places[candidate.id] = folder
        track.observe(candidate, "rung")
    return places


def confirm(track: Track, candidate: Candidate, reward: dict[str, Any]) -> list[tuple[Path, dict[str, Any]]]:
    """Trains one program afresh with seeds that the search has not used; the best training comes first."""
    settings = track.settings
    steps = settings.final_steps or settings.steps
    futures = {}
    for k in range(settings.final_seeds):
        folder = track.job(f"final-{k + 1}", reward, settings.seed + 100 + k, steps, steps, None)
        track.observe(candidate, f"job {folder.name}")
        futures[track.executor.submit_job(folder, timeout=settings.timeout or None)] = folder
    done = []
    for future in as_completed(futures):
        try:
            done.append((futures[future], future.result()))
        except RoboRewardError as error:
            candidate.note = f"training with another seed failed: {error}"
        track.observe(candidate, "final")
    return sorted(done, key=lambda item: (-item[1]["evaluation"]["success"], -item[1]["evaluation"]["held"], item[0].name))
