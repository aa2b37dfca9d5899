"""Eureka (Ma et al. 2023): K programs, train, reflect on the best, K programs more.

Differences from the paper, unless `faithful`: candidates train in rungs, the best program so far stays in the writer's
context (the paper's loop keeps the last round's), refused programs are repaired, the winner is confirmed on new
seeds, and a search that reaches the wanted success rate ends early.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from robo_reward.envs.start_ranges import measure_start_ranges, sample_start_states
from robo_reward.envs.task import Task
from robo_reward.errors import RoboRewardError
from robo_reward.files import write_json
from robo_reward.jobs.executors import JobExecutor
from robo_reward.language.program import RewardProgram
from robo_reward.reward_search.candidate import Candidate, CandidateProblem, rank_candidates
from robo_reward.reward_search.propose import ProgramValidator, propose_programs, sample_random_rollout
from robo_reward.reward_search.settings import SearchSettings
from robo_reward.reward_search.successive_halving import (
    CandidateTrainer,
    run_successive_halving,
    train_with_new_seeds,
)
from robo_reward.writers.writer import Feedback, RejectedAnswer, ScoredProgram, Writer, WriteRequest

log = logging.getLogger(__name__)
SNAPSHOTS = 10


class SearchFailed(RoboRewardError):
    """Raised when no candidate could be trained; the run folder holds the results of each."""


@dataclass
class SearchOutcome:
    """The results of a search.

    Args:
        candidates: all of them, in the order of proposal.
        winner: the best, or `None`.
        policy: folder of the final policy, or `None`.
        finals: results of the winner's trainings with new seeds, best first.
        replaced: the same of candidates that were best in the search, but not with new seeds.
        seconds: wall time by phase since the last start of the run [s].
    """

    candidates: list[Candidate] = field(default_factory=list)
    winner: Candidate | None = None
    policy: Path | None = None
    finals: list[dict[str, Any]] = field(default_factory=list)
    replaced: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns all but the wall time, which differs from one start of the run to the next."""
        return {
            "candidates": [c.to_json() for c in self.candidates],
            "winner": self.winner.id if self.winner else None,
            "policy": self.policy.name if self.policy else None,
            "finals": self.finals,
            "replaced": self.replaced,
        }


class Eureka:
    """One search in one folder; running it again continues where it was interrupted.

    Only completions (in the writer's ledger) and job folders are stored: the loop is deterministic, so that another
    run finds both and repeats neither.

    Args:
        task: the task to learn.
        goal: the sentence; the task's own if empty.
        writer: the writer of the programs.
        executor: the executor of the jobs.
        folder: of the run.
        settings: budget and algorithm of the search.
        options: of the task, for the workers.
        observe: called with the candidate and an event at every change of a candidate.
        initial: programs of a person to start from: trained first, and the writer improves on the best of them (human
            initialisation, section 4.3 of the paper).
    """

    def __init__(
        self,
        task: Task,
        goal: str,
        writer: Writer,
        executor: JobExecutor,
        folder: Path,
        settings: SearchSettings,
        options: dict[str, Any] | None = None,
        observe: Callable[[Candidate, str], None] = lambda candidate, event: None,
        initial: Sequence[RewardProgram] = (),
    ) -> None:
        self.task, self.goal, self.writer, self.settings = task, goal or task.goal, writer, settings
        self.folder, self.observe, self.initial = folder, observe, tuple(initial)
        self.trainer = CandidateTrainer(
            executor, folder / "jobs", task.id, options or {}, settings, observe, task.files
        )
        self.outcome = SearchOutcome()
        self._rewards: dict[str, dict[str, Any]] = {}  # spec of each accepted program, by candidate id
        self._start: dict[str, list[tuple[float, float]]] = {}  # values of each field when episodes begin
        self._folders: dict[str, Path] = {}  # job folder of each candidate's last rung

    def run(self) -> SearchOutcome:
        """Runs the search and returns its results.

        Raises:
            SearchFailed: not one program could be trained.
        """
        validator = ProgramValidator(self.task, sample_random_rollout(self.task, self.settings.seed))
        self._start = measure_start_ranges(sample_start_states(self.task))
        initial = self._train_initial()
        for restart in range(self.settings.restarts):
            self._run_restart(restart, validator, initial)
        finished = [c for c in self.outcome.candidates if c.status == "finished"]
        if not finished:
            self._save()
            raise SearchFailed(_explain_failure(self.outcome.candidates, self.folder))
        self._train_winner(finished)
        self._save()
        return self.outcome

    def _train_initial(self) -> list[Candidate]:
        """Trains the programs to start from, candidates 0 of the first round, and returns them."""
        found, begun = [], time.monotonic()
        for index, program in enumerate(self.initial):
            name = "1.0" if len(self.initial) == 1 else f"1.0{chr(ord('a') + index)}"
            candidate = Candidate(name, 0, index, program.source, status="accepted")
            candidate.changes = [str(change) for change in program.changes]
            self._rewards[name] = program.spec()
            self.observe(candidate, candidate.status)
            found.append(candidate)
        self.outcome.candidates += found
        self._folders |= run_successive_halving(self.trainer, found, self._rewards) if found else {}
        self._add_wall_time("training candidates", begun)
        return found

    def _run_restart(self, restart: int, validator: ProgramValidator, initial: list[Candidate]) -> None:
        """Runs all rounds once, with a separate context for the writer."""
        mine = list(initial)
        seen = {program.fingerprint for program in self.initial}
        feedback = self._make_feedback(mine, mine)
        for round_ in range(self.settings.rounds):
            prefix = f"r{restart + 1}/" if self.settings.restarts > 1 else ""
            request = WriteRequest(
                goal=self.goal,
                spec=self.task.spec,
                action=self.task.action,
                round=round_,
                seed=self.settings.seed + 1000 * restart,
                success_rule=describe_rules(self.task),
                feedback=feedback,
                start=self._start,
            )
            fresh = self._run_round(request, validator, seen, lambda i, r=round_, p=prefix: f"{p}{r + 1}.{i + 1}")
            parent = feedback.best.name if feedback and feedback.best else None
            for candidate in fresh:
                candidate.parent = parent
            mine += fresh
            self._save()
            feedback = self._make_feedback(mine, fresh) or feedback
            if round_ + 1 >= self.settings.least_rounds and self._has_enough_success(mine):
                break

    def _run_round(
        self, request: WriteRequest, validator: ProgramValidator, seen: set[str], name: Callable[[int], str]
    ) -> list[Candidate]:
        """Proposes and trains the candidates of one round, and returns them."""
        begun = time.monotonic()
        settings = self.settings
        pairs = propose_programs(
            self.writer, validator, request, settings.candidates, settings.repairs, name, seen, self.observe
        )
        fresh = [candidate for candidate, _ in pairs]
        self.outcome.candidates += fresh
        self._add_wall_time("writing", begun)
        begun = time.monotonic()
        self._rewards |= {c.id: program.spec() for c, program in pairs if program is not None}
        accepted = [c for c in fresh if c.id in self._rewards]
        self._folders |= run_successive_halving(self.trainer, accepted, self._rewards)
        self._add_wall_time("training candidates", begun)
        return fresh

    def _make_feedback(self, all_: list[Candidate], fresh: list[Candidate]) -> Feedback | None:
        """Returns the feedback for the writer: the best program with its statistics, the others, and those refused."""
        trained = rank_candidates(
            c for c in (fresh if self.settings.faithful else all_) if c.rungs and c.status != "failed"
        )
        if not trained:
            return None
        scored = [self._score_candidate(c) for c in trained]
        refused = tuple(
            RejectedAnswer(c.refusals[-1].source, tuple(c.refusals))
            for c in fresh
            if c.status == "refused" and c.refusals
        )
        return Feedback(best=scored[0], others=tuple(scored[1:]), refused=refused)

    def _score_candidate(self, candidate: Candidate) -> ScoredProgram:
        """Returns a candidate's statistics: mean of each term per step, at about ten moments of its training."""
        points = candidate.rungs[-1]["points"]
        chosen = (
            [points[i] for i in np.unique(np.linspace(0, len(points) - 1, SNAPSHOTS).astype(int))] if points else []
        )
        horizon = self.task.horizon
        terms = {n: [p["terms"][n] / horizon for p in chosen] for n in (chosen[0]["terms"] if chosen else ())}
        return ScoredProgram(
            name=candidate.id,
            source=candidate.source,
            success=candidate.success or 0.0,
            fitness=candidate.fitness,
            episode_length=float(horizon),
            terms=terms,
            curve=[p["success"] for p in chosen],
        )

    def _has_enough_success(self, mine: list[Candidate]) -> bool:
        return any(c.status == "finished" and (c.success or 0) >= self.settings.enough for c in mine)

    def _train_winner(self, finished: list[Candidate]) -> None:
        """Trains the best candidate with new seeds, and the next one where it fails, and takes the best policy.

        A candidate makes room for the next one whose own interval lies above that of its new trainings.
        """
        begun = time.monotonic()
        outcome, waiting = self.outcome, rank_candidates(finished)
        tried: list[tuple[Candidate, list[tuple[Path, dict[str, Any]]]]] = []
        while waiting:
            candidate = waiting.pop(0)
            prefix = f"{candidate.id}-" if tried else ""
            results = train_with_new_seeds(self.trainer, candidate, self._rewards[candidate.id], prefix)
            tried.append((candidate, results))
            waiting = [each for each in waiting if results and _is_above(each, max(map(_pool_finals, tried)))]
        outcome.winner, finals = max(tried, key=_pool_finals)
        for candidate, results in tried:
            if candidate is not outcome.winner:
                rates = ", ".join(f"{result['evaluation']['success']:.2f}" for _, result in results)
                candidate.note = f"trained with new seeds: {rates or 'failed'}; {outcome.winner.id} does better"
                outcome.replaced += [result for _, result in results]
        outcome.finals = [result for _, result in finals]
        outcome.policy = (finals[0][0] if finals else self._folders[outcome.winner.id]) / "policy"
        self._add_wall_time("training the winner", begun)

    def _add_wall_time(self, phase: str, begun: float) -> None:
        self.outcome.seconds[phase] = self.outcome.seconds.get(phase, 0.0) + time.monotonic() - begun

    def _save(self) -> None:
        """Writes the results so far to `search.json`, for people and reports; the search itself never reads it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "search.json", self.outcome.to_json())


def _pool_finals(tried: tuple[Candidate, list[tuple[Path, dict[str, Any]]]]) -> float:
    """Returns the success rate over all new trainings of a candidate; -1 where none succeeded."""
    rates = [result["evaluation"]["success"] for _, result in tried[1]]
    return fmean(rates) if rates else -1.0


def _is_above(candidate: Candidate, success: float) -> bool:
    """Returns whether the interval of a candidate's success in the search lies above a rate."""
    return candidate.rungs[-1]["evaluation"]["low"] > success


def _explain_failure(candidates: list[Candidate], folder: Path) -> str:
    """Returns a message that names the commonest reason and the next step."""
    if not candidates:
        return "the writer gave no program at all; see the log of the run"
    refusals: list[CandidateProblem] = [r for c in candidates for r in c.refusals]
    failed = [c for c in candidates if c.status == "failed"]
    if failed:
        reason = f"{len(failed)} failed in training, the last one: {failed[-1].note}"
    elif refusals:
        reason = f"the last reason: {refusals[-1].reason}"
    else:
        reason = "all were duplicates of one another"
    return (
        f"none of {len(candidates)} candidates could be trained; {reason}\n"
        f"All programs and reasons are in {folder / 'search.json'}. "
        "More candidates, more repairs or another writer may help."
    )


def describe_rules(task: Task) -> str:
    """Returns the task's conditions of success and failure, as a writer reads them."""
    text = task.success_rule
    if task.failure_rule:
        text += f"; an episode ends at once, as failed, if {task.failure_rule}"
    return f"{text}; success ends an episode" if task.ends_on_success else text
