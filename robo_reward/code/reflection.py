"""What a trained program's numbers say, in words for whoever writes the next one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robo_reward.code.writers.writer import RefusedProgram, ScoredProgram

SNAPSHOTS = 10
DEAD = 0.02
"""A term that moves less than this share of its size is called constant."""
LARGE = 10.0
"""A term this many times larger than the next is called dominating."""


def snapshots(values: Sequence[float], count: int = SNAPSHOTS) -> list[float]:
    """At most `count` values, evenly spread, first and last included."""
    if len(values) <= count:
        return [float(v) for v in values]
    return [float(values[i]) for i in np.linspace(0, len(values) - 1, count).round().astype(int)]


def curve_row(name: str, values: Sequence[float]) -> str:
    """A line with some values of a curve and the maximum, mean and minimum of all of it."""
    if not len(values):
        return f"{name}: nothing was recorded"
    shown = ", ".join(number(v) for v in snapshots(values))
    largest, mean, smallest = (number(float(f(values))) for f in (np.max, np.mean, np.min))
    return f"{name}: [{shown}], max {largest}, mean {mean}, min {smallest}"


def curve_rows(program: ScoredProgram) -> list[str]:
    """A line per term, then the success curve."""
    rows = [curve_row(name, values) for name, values in program.terms.items()]
    return [*rows, curve_row("success rate", program.curve)] if program.curve else rows


def signs(program: ScoredProgram) -> list[str]:
    """What stands out in the numbers: no success, constant terms, a dominating term."""
    found = []
    if max([*program.curve, program.success]) < 0.02:
        found.append("the success rate stayed near zero")
    sizes = {name: float(np.mean(np.abs(v))) for name, v in program.terms.items() if len(v)}
    for name, size in sizes.items():
        values = program.terms[name]
        if len(values) > 1 and np.ptp(values) <= DEAD * max(size, 1e-9):
            found.append(f"{name} is constant, about {number(float(np.mean(values)))}")
    ranked = sorted(sizes, key=lambda name: sizes[name], reverse=True)
    if len(ranked) > 1 and sizes[ranked[0]] > LARGE * max(sizes[ranked[1]], 1e-9):
        found.append(f"{ranked[0]} is more than {LARGE:.0f} times larger than every other term")
    return found


def refusal_lines(refused: Sequence[RefusedProgram], count: int = 5) -> list[str]:
    """The commonest first reasons, each once."""
    reasons = [f"{p.reason}{f' ({p.remedy})' if p.remedy else ''}" for r in refused for p in r.problems]
    return list(dict.fromkeys(reasons))[:count]


def number(value: float) -> str:
    """Three significant digits, without the noise of more."""
    return f"{value + 0.0:.3g}"
