"""The texts and numbers of the page, derived from the report, without HTML."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import groupby
from math import isfinite
from typing import Any

from robo_reward.report.charts import trace_ancestry
from robo_reward.report.data import CandidateRow, Headline, RefusedRow, RunReport, Winner
from robo_reward.report.program import DiffLine, count_changes, diff_lines, program_lines
from robo_reward.report.wording import format_count, format_duration, format_percent, format_plural

STATUS_WORDS = {
    "winner": "winner",
    "finished": "finished",
    "stopped": "stopped early",
    "refused": "refused",
    "failed": "failed",
    "running": "running",
}
KIND_WORDS = {
    "search": "Reward search",
    "train": "Training run",
    "evaluate": "Evaluation",
    "clone": "Cloning",
    "finetune": "Fine-tuning",
}


@dataclass(frozen=True)
class ProgramView:
    """The winning program and its difference from its parent."""

    lines: list[DiffLine]
    diff: list[DiffLine]
    added: int
    removed: int
    parent: str
    why: str


def drop_non_finite(report: RunReport) -> RunReport:
    """Returns the report with every rate that is not finite replaced by None (not measured)."""
    head = report.headline
    rates = {name: _finite_or_none(getattr(head, name)) for name in ("success", "low", "high", "seconds")}
    rows = tuple(replace(row, success=_finite_or_none(row.success)) for row in report.candidates)
    return replace(report, headline=replace(head, **rates), candidates=rows)


def _finite_or_none(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None


STEP_UNITS = {"clone": "updates of the network", "finetune": "steps of the fine-tuning"}
"""Meaning of a headline's steps, where they are not environment steps: updates, but for method=dsrl."""


def list_facts(report: RunReport) -> list[tuple[str, str]]:
    """Returns the numbers beside the headline: (value, its label)."""
    head = report.headline
    rows: list[tuple[str, str]] = []
    if head.seconds is not None:
        rows.append(
            (format_duration(head.seconds), "from command to report" if report.kind == "search" else "wall time")
        )
    if head.steps is not None:
        rows.append((format_count(head.steps), STEP_UNITS.get(report.kind, "training steps of the policy")))
    if head.total_steps is not None:
        rows.append((format_count(head.total_steps), "training steps of the whole search"))
    if report.kind == "search" and report.candidates:
        rounds = max(row.round for row in report.candidates)
        rows.append((str(len(report.candidates)), f"reward programs in {format_plural(rounds, 'round')}"))
    if report.costs and report.costs.dollars:
        rows.append((f"${report.costs.dollars:.2f}", "paid to the writer"))
    elif head.episodes is not None and len(rows) < 3:
        rows.append((format_count(head.episodes), "evaluation episodes"))
    return rows


def summarise_outcome(report: RunReport) -> tuple[str, str]:
    """Returns the message shown instead of a success rate, and the next step: (message, next step)."""
    head = report.headline
    if head.success is not None:
        return head.message, head.next_step
    if report.kind != "search":
        return head.message or "There is no result yet.", head.next_step or "Run the same command again; it resumes."
    return head.message or _describe_failure(report), head.next_step or _suggest_next_step(report)


def _describe_failure(report: RunReport) -> str:
    if not report.candidates:
        return "No reward program was written."
    ends = Counter(row.status for row in report.candidates)
    text = ", ".join(f"{number} {STATUS_WORDS[status]}" for status, number in ends.most_common())
    return f"None of the {format_plural(len(report.candidates), 'candidate')} became a policy: {text}."


def _suggest_next_step(report: RunReport) -> str:
    ends = {row.status for row in report.candidates}
    if not report.candidates:
        return "Check the writer with `robo-reward doctor`, then run the same command again; it resumes."
    if ends <= {"refused"}:
        return "Read below what was refused and why, then search again with more rounds or another writer."
    if "running" in ends:
        return "Run the same command again; it resumes where it stopped."
    return "Train longer, or search again with more candidates per round; what was learnt so far is kept."


def build_program_view(report: RunReport, winner: Winner) -> ProgramView:
    """Returns the winner's program, its diff and the reason why it won."""
    diff = [] if winner.parent_source is None else diff_lines(winner.parent_source, winner.source)
    added, removed = count_changes(diff)
    names = {row.id: row.name or row.id for row in report.candidates}
    parent = names.get(winner.parent or "", winner.parent or "its parent")
    return ProgramView(
        program_lines(winner.source), diff, added, removed, parent, winner.why or _explain_win(report, winner)
    )


def _explain_win(report: RunReport, winner: Winner) -> str:
    rows = {row.id: row for row in report.candidates}
    row = rows.get(winner.id)
    if row is None or row.success is None:
        return ""
    text = f"{row.name or row.id} reached {format_percent(row.success)} success"
    rivals = [(r.success, r.name or r.id) for r in report.candidates if r.id != row.id and r.success is not None]
    if rivals:
        best, name = max(rivals)
        text += f"; the next best, {name}, reached {format_percent(best)}"
    line = trace_ancestry(report, winner.id)
    first = rows[line[-1]]
    if len(line) > 1 and first.success is not None:
        text += f". Its lineage began with {first.name or first.id} at {format_percent(first.success)}"
    return text + "."


def position_interval(head: Headline) -> dict[str, str] | None:
    """Returns the position of the confidence interval, in percent of the width; None where there is none."""
    if head.success is None or head.low is None or head.high is None:
        return None
    low, mid, high = (100 * min(max(value, 0.0), 1.0) for value in (head.low, head.success, head.high))
    return {"low": f"{low:.2f}", "mid": f"{mid:.2f}", "width": f"{max(high - low, 0.5):.2f}"}


def compute_time_shares(report: RunReport) -> list[dict[str, Any]]:
    """Returns the phases of the run with their share of the wall time."""
    total = sum(timing.seconds for timing in report.timings) or 1.0
    return [{"phase": t.phase, "seconds": t.seconds, "share": t.seconds / total} for t in report.timings]


def group_by_candidate(report: RunReport) -> list[tuple[str, list[RefusedRow]]]:
    """Groups the refusals by candidate, candidates in the order of their first refusal."""
    order = {row.candidate: place for place, row in reversed(list(enumerate(report.refused)))}
    rows = sorted(report.refused, key=lambda row: order[row.candidate])
    return [(candidate, list(group)) for candidate, group in groupby(rows, key=lambda row: row.candidate)]


def candidate_names(report: RunReport) -> dict[str, str]:
    """Returns the display name of each candidate id."""
    return {row.id: row.name or row.id for row in report.candidates}


def sort_candidates(rows: tuple[CandidateRow, ...]) -> list[CandidateRow]:
    """Returns the candidates sorted: winner first, then by success, then by the number of finished rungs."""
    return sorted(rows, key=lambda r: (r.status != "winner", -(r.success if r.success is not None else -1.0), -r.rung))
