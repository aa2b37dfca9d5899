"""Decides which candidates of a race are worse than the leader, from few trainings of each with different seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import sqrt

import numpy as np

LEAST_SPREAD = 0.02
"""Smallest standard deviation between seeds that is assumed: two equal results do not prove that there is none."""
DRAWS = 100_000
"""Random draws behind a quantile, whose error is then below one percent."""

Outcomes = Mapping[str, Sequence[float]]
"""The success rates of each candidate, one per training seed."""


def estimate_spread(outcomes: Outcomes) -> tuple[float, int]:
    """Returns the standard deviation between seeds, pooled over all candidates, and its degrees of freedom."""
    squares = sum(float(np.var(each)) * len(each) for each in outcomes.values() if len(each))
    freedom = sum(max(0, len(each) - 1) for each in outcomes.values())
    return max(LEAST_SPREAD, sqrt(squares / freedom)) if freedom else 1.0, freedom


@lru_cache(maxsize=256)
def compute_range_quantile(groups: int, freedom: int, probability: float) -> float:
    """Returns a quantile of the studentised range, by simulation with a fixed seed.

    The studentised range is the range of `groups` standard normal numbers over an independent estimate of their
    standard deviation with `freedom` degrees of freedom.
    """
    rng = np.random.default_rng(0)
    ranges = np.ptp(rng.standard_normal((DRAWS, groups)), axis=1)
    return float(np.quantile(ranges / np.sqrt(rng.chisquare(freedom, DRAWS) / freedom), probability))


def find_worse(outcomes: Outcomes, confidence: float = 0.95) -> list[str]:
    """Returns the candidates that are worse than the one with the highest mean, by the Tukey-Kramer test.

    A candidate is worse if the difference of the means exceeds q s sqrt((1/n + 1/m) / 2), with the pooled standard
    deviation s between seeds and the quantile q of the studentised range: where all candidates are equal, any of them
    is dropped in at most 1 - `confidence` of the looks. No candidate is worse before one of them has two outcomes.

    Source: Kramer (1956), "Extension of multiple range tests to group means with unequal numbers of replications".

    Args:
        outcomes: success rates of each candidate, one per seed; candidates without any are left out.
        confidence: of all comparisons of one look together.
    """
    spread, freedom = estimate_spread(outcomes)
    tried = {name: np.asarray(each, float) for name, each in outcomes.items() if len(each)}
    if len(tried) < 2 or not freedom:
        return []
    best = max(tried.values(), key=lambda each: float(each.mean()))
    scale = compute_range_quantile(len(tried), freedom, confidence) * spread
    return [
        name
        for name, each in tried.items()
        if best.mean() - each.mean() > scale * sqrt((1 / len(best) + 1 / len(each)) / 2)
    ]


def compute_interval(outcomes: Outcomes, name: str, confidence: float = 0.95) -> tuple[float, float]:
    """Returns the interval of one candidate's mean success, within [0, 1], from the pooled spread of all.

    It is (0, 1) where every candidate has one outcome, so that nothing is known about the spread.
    """
    spread, freedom = estimate_spread(outcomes)
    if not freedom:
        return 0.0, 1.0
    # The range of two numbers is sqrt(2) times the absolute value of one.
    half = compute_range_quantile(2, freedom, confidence) / sqrt(2) * spread / sqrt(len(outcomes[name]))
    mean = float(np.mean(outcomes[name]))
    return max(0.0, mean - half), min(1.0, mean + half)
