"""Two proportions of the same trials: their difference with an interval, and a test that there is none."""

from __future__ import annotations

from math import comb, sqrt
from typing import NamedTuple

import numpy as np

from robo_reward.checks.proportion import wilson_interval
from robo_reward.errors import UsageError, WrongShape


class PairedCounts(NamedTuple):
    """Outcomes of n trials that two sides A and B made under the same conditions.

    Attributes:
        both: trials that both succeeded at.
        only_a: trials that A alone succeeded at.
        only_b: trials that B alone succeeded at.
        neither: trials that both failed.
    """

    both: int
    only_a: int
    only_b: int
    neither: int

    @property
    def difference(self) -> float:
        """The success rate of A minus that of B."""
        return (self.only_a - self.only_b) / sum(self)


def count_pairs(a: np.ndarray, b: np.ndarray) -> PairedCounts:
    """Counts the paired outcomes of two arrays (n,) bool.

    Raises:
        WrongShape: arrays that are not of one length.
    """
    a, b = np.asarray(a, bool), np.asarray(b, bool)
    if a.ndim != 1 or a.shape != b.shape or not len(a):
        raise WrongShape("second outcomes", b.shape, f"as the first, {a.shape}, one-dimensional and not empty")
    return PairedCounts(int((a & b).sum()), int((a & ~b).sum()), int((~a & b).sum()), int((~a & ~b).sum()))


def newcombe_paired_interval(counts: PairedCounts, z: float = 1.96) -> tuple[float, float]:
    """Returns the interval of the difference of two paired proportions, 95 % by default.

    Method 10 of Newcombe, "Improved confidence intervals for the difference between binomial proportions based on
    paired data", Statistics in Medicine 17 (1998): the Wilson intervals of both proportions, combined with their
    correlation φ, which is corrected for continuity.

    Args:
        counts: the outcomes.
        z: quantile of the normal distribution.

    Raises:
        UsageError: no trials.
    """
    both, only_a, only_b, neither = counts
    n = sum(counts)
    if n < 1:
        raise UsageError("0 pairs: the interval of a difference needs at least one")
    a, b = both + only_a, both + only_b
    (low_a, high_a), (low_b, high_b) = wilson_interval(a, n, z), wilson_interval(b, n, z)
    below_a, above_a = a / n - low_a, high_a - a / n
    below_b, above_b = b / n - low_b, high_b - b / n
    margins = a * (n - a) * b * (n - b)
    excess = both * neither - only_a * only_b
    excess = max(excess - n / 2, 0.0) if excess > 0 else excess
    phi = excess / sqrt(margins) if margins else 0.0
    down = sqrt(max(below_a**2 - 2 * phi * below_a * above_b + above_b**2, 0.0))
    up = sqrt(max(above_a**2 - 2 * phi * above_a * below_b + below_b**2, 0.0))
    return counts.difference - down, counts.difference + up


def mcnemar_exact_test(counts: PairedCounts) -> float:
    """Returns the two-sided p-value of McNemar's exact test that A and B succeed equally often."""
    # Only trials that one side alone succeeded at count: under the hypothesis each is A's with probability 1/2.
    decided = counts.only_a + counts.only_b
    tail = sum(comb(decided, k) for k in range(min(counts.only_a, counts.only_b) + 1))
    return min(1.0, float(2 * tail / 2**decided))
