"""Summaries of a trained program's numbers, as text for the writer of the next one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robo_reward.writers.writer import RejectedAnswer, ScoredProgram

SNAPSHOTS = 10
DEAD = 0.02
"""A term that varies by less than this share of its size is reported as constant."""
LARGE = 10.0
"""A term that is this many times larger than the next is reported as dominating."""


def sample_evenly(values: Sequence[float], count: int = SNAPSHOTS) -> list[float]:
    """Returns at most `count` values, evenly spread, first and last included."""
    if len(values) <= count:
        return [float(v) for v in values]
    return [float(values[i]) for i in np.linspace(0, len(values) - 1, count).round().astype(int)]


def format_curve_row(name: str, values: Sequence[float]) -> str:
    """Returns a line with some values of a curve and the maximum, mean and minimum of all of it."""
    if not len(values):
        return f"{name}: nothing was recorded"
    shown = ", ".join(format_number(v) for v in sample_evenly(values))
    largest, mean, smallest = (format_number(float(f(values))) for f in (np.max, np.mean, np.min))
    return f"{name}: [{shown}], max {largest}, mean {mean}, min {smallest}"


def format_curve_rows(program: ScoredProgram) -> list[str]:
    """Returns a line for each term, then one for the success curve."""
    rows = [format_curve_row(name, values) for name, values in program.terms.items()]
    return [*rows, format_curve_row("success rate", program.curve)] if program.curve else rows


def find_warning_signs(program: ScoredProgram) -> list[str]:
    """Returns warnings about the numbers: no success, constant terms, a dominating term."""
    found = []
    if max([*program.curve, program.success]) < 0.02:
        found.append("the success rate stayed near zero")
    sizes = {name: float(np.mean(np.abs(v))) for name, v in program.terms.items() if len(v)}
    for name, size in sizes.items():
        values = program.terms[name]
        if len(values) > 1 and np.ptp(values) <= DEAD * max(size, 1e-9):
            found.append(f"{name} is constant, about {format_number(float(np.mean(values)))}")
    ranked = sorted(sizes, key=lambda name: sizes[name], reverse=True)
    if len(ranked) > 1 and sizes[ranked[0]] > LARGE * max(sizes[ranked[1]], 1e-9):
        found.append(f"{ranked[0]} is more than {LARGE:.0f} times larger than every other term")
    return found


def list_refusal_reasons(refused: Sequence[RejectedAnswer], count: int = 5) -> list[str]:
    """Returns the first `count` reasons of the refused programs, each once."""
    reasons = [f"{p.reason}{f' ({p.remedy})' if p.remedy else ''}" for r in refused for p in r.problems]
    return list(dict.fromkeys(reasons))[:count]


def format_number(value: float) -> str:
    """Returns the value with three significant digits."""
    return f"{value + 0.0:.3g}"
