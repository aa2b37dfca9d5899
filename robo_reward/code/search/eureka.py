"""Eureka (Ma et al. 2023): K programs, train, reflect on the best, K programs more.

Differences from the paper, unless `faithful`: candidates train in rungs, the best program so far stays in the writer's
context (the paper's loop keeps the last round's), refused programs are repaired, the winner is confirmed on new
seeds, and a search that has found enough ends early.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robo_reward.code.search.candidate import Candidate, Refusal, ranked
from robo_reward.code.search.propose import Gate, everyday_transitions, propose
from robo_reward.code.search.race import JobExecutor, Track, confirm, race
from robo_reward.code.search.settings import SearchSettings
from robo_reward.code.writers.writer import Feedback, RefusedProgram, ScoredProgram, Writer, WriteRequest
from robo_reward.envs.task import Task
from robo_reward.errors import RoboRewardError
from robo_reward.files import replace_file

log = logging.getLogger(__name__)
SNAPSHOTS = 10


class SearchFailed(RoboRewardError):
    """No candidate could be trained; the run folder says what became of each."""


@dataclass
class Outcome:
    """What a search found.

    Args:
        candidates: all of them, in the order of proposal.
        winner: the best, or none.
        policy: folder of the final policy, or none.
        finals: results of the winner's trainings with fresh seeds, best first.
        seconds: wall time by phase in this sitting [s].
    """

    candidates: list[Candidate] = field(default_factory=list)
    winner: Candidate | None = None
    policy: Path | None = None
    finals: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """All but the wall time, which differs from sitting to sitting."""
        return {
            "candidates": [c.to_json() for c in self.candidates],
            "winner": self.winner.id if self.winner else None,
            "policy": self.policy.name if self.policy else None,
            "finals": self.finals,
        }


class Eureka:
    """One search in one folder; running it again goes on where it was interrupted.

    Nothing is stored but completions (in the writer's ledger) and job folders: the loop is deterministic and, run
    again, finds both and repeats neither.

    Args:
        task: what to do.
        goal: the sentence; the task's own if empty.
        writer: who writes programs.
        executor: who runs jobs.
        folder: of the run.
        settings: what may be spent.
        options: of the task, for the workers.
        observe: told of every change of a candidate.
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
    ) -> None:
        self.task, self.goal, self.writer, self.settings = task, goal or task.goal, writer, settings
        self.folder, self.observe = folder, observe
        self.track = Track(executor, folder / "jobs", task.id, options or {}, settings, observe)
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Searches.

        Raises:
            SearchFailed: not one program could be trained.
        """
        gate = Gate(self.task, everyday_transitions(self.task, self.settings.seed))
        for restart in range(self.settings.restarts):
            self._restart(restart, gate)
        finished = [c for c in self.outcome.candidates if c.status == "finished"]
        if not finished:
            self._save()
            raise SearchFailed(_why_none(self.outcome.candidates, self.folder))
        self.outcome.winner = ranked(finished)[0]
        self._finish(self.outcome.winner)
        self._save()
        return self.outcome

    def _restart(self, restart: int, gate: Gate) -> None:
        """All rounds once, with a context of their own."""
        mine: list[Candidate] = []
        seen: set[str] = set()
        feedback = None
        for round_ in range(self.settings.rounds):
            prefix = f"r{restart + 1}/" if self.settings.restarts > 1 else ""
            request = WriteRequest(
                goal=self.goal,
                spec=self.task.spec,
                action=self.task.action,
                round=round_,
                seed=self.settings.seed + 1000 * restart,
                success_rule=self.task.success_rule,
                feedback=feedback,
            )
            fresh = self._round(request, gate, seen, lambda i, r=round_, p=prefix: f"{p}{r + 1}.{i + 1}")
            parent = feedback.best.name if feedback and feedback.best else None
            for candidate in fresh:
                candidate.parent = parent
            mine += fresh
            self._save()
            feedback = self._feedback(mine, fresh) or feedback
            if round_ + 1 >= self.settings.least_rounds and self._enough(mine):
                break

    def _round(self, request: WriteRequest, gate: Gate, seen: set[str], name: Callable[[int], str]) -> list[Candidate]:
        """Proposes and trains."""
        begun = time.monotonic()
        settings = self.settings
        pairs = propose(self.writer, gate, request, settings.candidates, settings.repairs, name, seen, self.observe)
        fresh = [candidate for candidate, _ in pairs]
        self.outcome.candidates += fresh
        self._spent("writing", begun)
        begun = time.monotonic()
        rewards = {c.id: program.spec() for c, program in pairs if program is not None}
        race(self.track, [c for c in fresh if c.id in rewards], rewards)
        self._spent("training candidates", begun)
        return fresh

    def _feedback(self, all_: list[Candidate], fresh: list[Candidate]) -> Feedback | None:
        """What the writer learns: the best program with its statistics, the others, and what was refused."""
        trained = ranked(c for c in (fresh if self.settings.faithful else all_) if c.rungs and c.status != "failed")
        if not trained:
            return None
        scored = [self._scored(c) for c in trained]
        refused = tuple(
            RefusedProgram(c.refusals[-1].source, tuple(c.refusals))
            for c in fresh
            if c.status == "refused" and c.refusals
        )
        return Feedback(best=scored[0], others=tuple(scored[1:]), refused=refused)

    def _scored(self, candidate: Candidate) -> ScoredProgram:
        """A candidate's statistics: mean of each term per step, at about ten moments of its training."""
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

    def _enough(self, mine: list[Candidate]) -> bool:
        return any(c.status == "finished" and (c.success or 0) >= self.settings.enough for c in mine)

    def _finish(self, winner: Candidate) -> None:
        """Confirms the winner on fresh seeds and takes the best policy there is."""
        begun = time.monotonic()
        reward = {
            "kind": "program",
            "source": winner.source,
            "state": self.task.spec.to_json(),
            "action_dim": self.task.action.dim,
        }
        finals = confirm(self.track, winner, reward)
        self.outcome.finals = [result for _, result in finals]
        if finals:
            self.outcome.policy = finals[0][0] / "policy"
        else:
            last = len(self.settings.rungs)
            found = sorted(self.track.folder.glob(f"{winner.id.replace('/', '-')}-rung{last}-*"))
            self.outcome.policy = found[0] / "policy"
        self._spent("training the winner", begun)

    def _spent(self, phase: str, begun: float) -> None:
        self.outcome.seconds[phase] = self.outcome.seconds.get(phase, 0.0) + time.monotonic() - begun

    def _save(self) -> None:
        """Writes what is known to `search.json`, for people and reports; the search itself never reads it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_file(self.folder / "search.json", json.dumps(self.outcome.to_json(), indent=1).encode())


def _why_none(candidates: list[Candidate], folder: Path) -> str:
    """A message that names the commonest reason and the next step."""
    if not candidates:
        return "the writer gave no program at all; see the log of the run"
    refusals: list[Refusal] = [r for c in candidates for r in c.refusals]
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
