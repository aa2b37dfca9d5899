"""What the page says, derived from what the report holds; no HTML here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import groupby
from math import isfinite
from typing import Any

from robo_reward.report.charts import ancestry
from robo_reward.report.data import CandidateRow, Headline, RefusedRow, RunReport, Winner
from robo_reward.report.program import Line, diff_counts, diff_lines, program_lines
from robo_reward.report.wording import count, duration, percent, plural

STATUS_WORDS = {
    "winner": "winner",
    "finished": "finished",
    "stopped": "stopped early",
    "refused": "refused",
    "failed": "failed",
    "running": "running",
}
KIND_WORDS = {"search": "Reward search", "train": "Training run", "evaluate": "Evaluation"}


@dataclass(frozen=True)
class ProgramView:
    """The winning program and what changed from its parent."""

    lines: list[Line]
    diff: list[Line]
    added: int
    removed: int
    parent: str
    why: str


def cleaned(report: RunReport) -> RunReport:
    """The report with every rate that is not finite taken as not measured."""
    head = report.headline
    rates = {name: _known(getattr(head, name)) for name in ("success", "low", "high", "seconds")}
    rows = tuple(replace(row, success=_known(row.success)) for row in report.candidates)
    return replace(report, headline=replace(head, **rates), candidates=rows)


def _known(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None


def facts(report: RunReport) -> list[tuple[str, str]]:
    """The numbers beside the headline: (value, what it is)."""
    head = report.headline
    rows: list[tuple[str, str]] = []
    if head.seconds is not None:
        rows.append((duration(head.seconds), "from command to report" if report.kind == "search" else "wall time"))
    if head.steps is not None:
        rows.append((count(head.steps), "training steps of the policy"))
    if head.total_steps is not None:
        rows.append((count(head.total_steps), "training steps of the whole search"))
    if report.kind == "search" and report.candidates:
        rounds = max(row.round for row in report.candidates)
        rows.append((str(len(report.candidates)), f"reward programs in {plural(rounds, 'round')}"))
    if report.costs and report.costs.dollars:
        rows.append((f"${report.costs.dollars:.2f}", "paid to the writer"))
    elif head.episodes is not None and len(rows) < 3:
        rows.append((count(head.episodes), "evaluation episodes"))
    return rows


def verdict(report: RunReport) -> tuple[str, str]:
    """What to say instead of a success rate, and the next step: (message, next step)."""
    head = report.headline
    if head.success is not None:
        return head.message, head.next_step
    if report.kind != "search":
        return head.message or "There is no result yet.", head.next_step or "Start the same command again; it resumes."
    return head.message or _failure(report), head.next_step or _next_step(report)


def _failure(report: RunReport) -> str:
    if not report.candidates:
        return "No reward program was written."
    ends = Counter(row.status for row in report.candidates)
    told = ", ".join(f"{number} {STATUS_WORDS[status]}" for status, number in ends.most_common())
    return f"None of the {plural(len(report.candidates), 'candidate')} became a policy: {told}."


def _next_step(report: RunReport) -> str:
    ends = {row.status for row in report.candidates}
    if not report.candidates:
        return "Check the writer with `robo-reward doctor`, then start the same command again; it resumes."
    if ends <= {"refused"}:
        return "Read below what was refused and why, then search again with more rounds or another writer."
    if "running" in ends:
        return "Start the same command again; it resumes where it stopped."
    return "Train longer, or search again with more candidates per round; what was learnt so far is kept."


def program_view(report: RunReport, winner: Winner) -> ProgramView:
    """The winner's program, its diff and why it won."""
    diff = [] if winner.parent_source is None else diff_lines(winner.parent_source, winner.source)
    added, removed = diff_counts(diff)
    names = {row.id: row.name or row.id for row in report.candidates}
    parent = names.get(winner.parent or "", winner.parent or "its parent")
    return ProgramView(program_lines(winner.source), diff, added, removed, parent, winner.why or _why(report, winner))


def _why(report: RunReport, winner: Winner) -> str:
    rows = {row.id: row for row in report.candidates}
    row = rows.get(winner.id)
    if row is None or row.success is None:
        return ""
    told = f"{row.name or row.id} reached {percent(row.success)} success"
    rivals = [(r.success, r.name or r.id) for r in report.candidates if r.id != row.id and r.success is not None]
    if rivals:
        best, name = max(rivals)
        told += f"; the next best, {name}, reached {percent(best)}"
    line = ancestry(report, winner.id)
    first = rows[line[-1]]
    if len(line) > 1 and first.success is not None:
        told += f". Its line began with {first.name or first.id} at {percent(first.success)}"
    return told + "."


def interval(head: Headline) -> dict[str, str] | None:
    """Where to draw the confidence interval, in percent of the width."""
    if head.success is None or head.low is None or head.high is None:
        return None
    low, mid, high = (100 * min(max(value, 0.0), 1.0) for value in (head.low, head.success, head.high))
    return {"low": f"{low:.2f}", "mid": f"{mid:.2f}", "width": f"{max(high - low, 0.5):.2f}"}


def shares(report: RunReport) -> list[dict[str, Any]]:
    """Phases of the run with their share of the wall time."""
    total = sum(timing.seconds for timing in report.timings)
    return [
        {"phase": t.phase, "seconds": t.seconds, "share": t.seconds / total if total > 0 else 0.0}
        for t in report.timings
    ]


def by_candidate(report: RunReport) -> list[tuple[str, list[RefusedRow]]]:
    """The refusals of each candidate together, candidates in the order of their first refusal."""
    order = {row.candidate: place for place, row in reversed(list(enumerate(report.refused)))}
    rows = sorted(report.refused, key=lambda row: order[row.candidate])
    return [(candidate, list(group)) for candidate, group in groupby(rows, key=lambda row: row.candidate)]


def candidate_names(report: RunReport) -> dict[str, str]:
    """Candidate id -> what to call it."""
    return {row.id: row.name or row.id for row in report.candidates}


def order_of_interest(rows: tuple[CandidateRow, ...]) -> list[CandidateRow]:
    """Winner first, then by success, then by how far they came."""
    return sorted(rows, key=lambda r: (r.status != "winner", -(r.success if r.success is not None else -1.0), -r.rung))
