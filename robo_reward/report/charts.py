"""The data that the page's script draws, small and safe to embed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from robo_reward.report.data import RunReport, Series

MAX_POINTS = 300


def build_chart_data(report: RunReport) -> dict[str, Any]:
    """Returns the success curves, term curves and the lineage of the candidates, as JSON-able values."""
    rows = {row.id: row for row in report.candidates}
    winner = report.winner.id if report.winner else ""
    lone = len(report.curves) == 1
    curves = []
    for curve in report.curves:
        row = rows.get(curve.candidate)
        steps, values = downsample_series(curve.series)
        name = curve.label or (row.name or row.id if row else curve.candidate)
        is_winner = lone or curve.candidate == winner
        curves.append(
            {"id": curve.candidate, "name": name, "round": row.round if row else 1, "winner": is_winner}
            | {"x": steps, "y": values}
        )
    terms = []
    for name, series in (report.winner.terms if report.winner else {}).items():
        steps, values = downsample_series(series)
        terms.append({"name": name, "x": steps, "y": values})
    return {"curves": curves, "terms": terms, "rungs": list(report.rungs), "lineage": _build_lineage(report, winner)}


def downsample_series(series: Series, most: int = MAX_POINTS) -> tuple[list[float], list[float | None]]:
    """Downsamples a series to at most `most` points: the extremes of every bucket, so that no spike is lost.

    Returns:
        Steps and values; values that are not finite are None, which the chart shows as a gap.
    """
    pairs = [
        (float(step), float(value) if math.isfinite(value) else None)
        for step, value in zip(series.steps, series.values, strict=False)
        if math.isfinite(step)
    ]
    if len(pairs) > most:
        pairs = _keep_extremes(pairs, most)
    return [step for step, _ in pairs], [None if value is None else float(f"{value:.6g}") for _, value in pairs]


def _keep_extremes(pairs: list[tuple[float, float | None]], most: int) -> list[tuple[float, float | None]]:
    buckets = (most - 2) // 2
    inner = len(pairs) - 2
    keep = {0, len(pairs) - 1}
    for bucket in range(buckets):
        indices = range(1 + bucket * inner // buckets, 1 + (bucket + 1) * inner // buckets)
        known = [(pairs[i][1], i) for i in indices if pairs[i][1] is not None]
        if not known:
            keep.update(indices[:1])
            continue
        keep.update((min(known)[1], max(known)[1]))
    return [pairs[i] for i in sorted(keep)]


def _build_lineage(report: RunReport, winner: str) -> list[dict[str, Any]]:
    line = trace_ancestry(report, winner)
    return [
        {"id": row.id, "name": row.name or row.id, "round": row.round, "parent": row.parent, "status": row.status}
        | {"y": row.success if row.success is not None and math.isfinite(row.success) else None}
        | {"winner": row.id == winner, "line": row.id in line}
        for row in report.candidates
    ]


def trace_ancestry(report: RunReport, candidate: str) -> Sequence[str]:
    """Returns a candidate and its ancestors, youngest first; ends at an unknown parent or at a cycle."""
    parents = {row.id: row.parent for row in report.candidates}
    line: list[str] = []
    while candidate in parents and candidate not in line:
        line.append(candidate)
        candidate = parents[candidate] or ""
    return line


def dump_script_json(data: Any) -> Markup:
    """Returns JSON that is safe inside a script element: nothing in it can end the element or start a comment."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
