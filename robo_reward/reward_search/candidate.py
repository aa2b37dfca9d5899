"""A reward program on its way through a search."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class CandidateProblem:
    """A reason why a version of a program was sent back.

    Args:
        stage: `answer` (no usable code), `language` or `probe`.
        reason: what is wrong.
        remedy: what to do instead.
        line: of the source, or `None`.
        source: the refused text.
    """

    stage: str
    reason: str
    remedy: str = ""
    line: int | None = None
    source: str = ""


@dataclass
class Candidate:
    """A program and its results in the search.

    Args:
        id: `ROUND.INDEX`, counted from 1, with `rR/` before it in restart R.
        round: counted from 0.
        index: within the round.
        source: program text, once accepted; in the reward language.
        changes: what was rewritten in the writer's text to make it that source.
        parent: id of the best program its writer had seen.
        status: `refused`, `duplicate`, `accepted`, `training`, `stopped` (at a rung), `failed` or `finished`.
        refusals: the problems of all versions that were sent back before acceptance.
        rungs: the result of training at each rung reached; that of several seeds has the success of each in `seeds`.
        note: why it ended as it did.
    """

    id: str
    round: int
    index: int
    source: str = ""
    parent: str | None = None
    status: str = "refused"
    changes: list[str] = field(default_factory=list)
    refusals: list[CandidateProblem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    rungs: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""

    @property
    def fitness(self) -> tuple[float, ...]:
        """The key of the ranking: rungs reached, success, return of the sparse success, success in training.

        The last two distinguish candidates that never, or always, succeed at the end.
        """
        if not self.rungs or self.status == "failed":
            return (0.0,)
        result = self.rungs[-1]
        explored = max((p["success"] for p in result["points"]), default=0.0)
        evaluation = result["evaluation"]
        return (float(len(self.rungs)), evaluation["success"], evaluation["held"], explored)

    def set_rung(self, rung: int, result: dict[str, Any]) -> None:
        """Stores the result of a rung, counted from 0, over an earlier one with fewer seeds."""
        self.rungs[rung:] = [result]

    @property
    def best_seed(self) -> int:
        """The place of the best seed of the last rung among its seeds, counted from 0."""
        seeds = self.rungs[-1].get("seeds", [0.0])
        return seeds.index(max(seeds))

    @property
    def success(self) -> float | None:
        """The success rate at the last rung, the mean of its seeds, or `None` if it was never trained."""
        return self.rungs[-1]["evaluation"]["success"] if self.rungs else None

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as JSON."""
        return asdict(self)


def rank_candidates(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Returns the candidates, best first; equal ones in the order in which they were proposed."""
    return sorted(candidates, key=lambda c: c.fitness, reverse=True)
