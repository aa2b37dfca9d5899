"""Paired proportions and interquartile means against published examples, scipy and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo_reward.checks.interquartile import bootstrap_difference, interquartile_mean
from robo_reward.checks.paired import PairedCounts, count_pairs, mcnemar_exact_test, newcombe_paired_interval
from robo_reward.checks.rank import area_under_curve
from robo_reward.errors import UsageError, WrongShape

stats = pytest.importorskip("scipy.stats")
COUNTS = st.tuples(*[st.integers(0, 60)] * 4).filter(any)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        # Cavo et al. (2012), as computed by `Newcombe_square_and_add_CI_paired_2x2` of R's contingencytables.
        ((59, 6, 16, 80), -0.1186, -0.0046),
        # Altman, Machin, Bryant and Gardner, "Statistics with confidence" (2000), table 6.2.
        ((14, 5, 0, 22), 0.011, 0.226),
        # Newcombe (1998), Statistics in Medicine 17, 2635-2650: a table with an empty cell.
        ((36, 12, 2, 0), 0.0569, 0.3404),
    ],
)
def test_newcombes_interval_is_the_published_one(counts: tuple[int, ...], low: float, high: float) -> None:
    digits = 5e-4 if low == 0.011 else 6e-5
    assert newcombe_paired_interval(PairedCounts(*counts)) == pytest.approx((low, high), abs=digits)


@given(COUNTS)
def test_the_interval_holds_the_difference_and_turns_with_the_sides(counts: tuple[int, ...]) -> None:
    both, only_a, only_b, neither = counts
    low, high = newcombe_paired_interval(PairedCounts(*counts))
    difference = PairedCounts(*counts).difference
    assert -1 - 1e-9 <= low <= difference + 1e-9 and difference - 1e-9 <= high <= 1 + 1e-9
    turned = newcombe_paired_interval(PairedCounts(both, only_b, only_a, neither))
    assert turned == pytest.approx((-high, -low), abs=1e-12)


@pytest.mark.parametrize(("common", "own_a", "own_b"), [(0.1, 0.15, 0.05), (0.0, 0.3, 0.2), (0.5, 0.1, 0.1)])
def test_the_interval_covers_the_truth_in_95_of_100(
    common: float, own_a: float, own_b: float, rng: np.random.Generator
) -> None:
    """Outcomes with a shared cause of success and causes of their own."""
    truth = (1 - common) * (own_a - own_b)
    covered = 0
    for _ in range(2000):
        shared = rng.random(200) < common
        a, b = shared | (rng.random(200) < own_a), shared | (rng.random(200) < own_b)
        low, high = newcombe_paired_interval(count_pairs(a, b))
        covered += low <= truth <= high
    assert 0.935 < covered / 2000 < 0.985


@given(COUNTS)
def test_mcnemars_test_is_scipys_binomial_test(counts: tuple[int, ...]) -> None:
    _, only_a, only_b, _ = counts
    expected = stats.binomtest(only_a, only_a + only_b, 0.5).pvalue if only_a + only_b else 1.0
    assert mcnemar_exact_test(PairedCounts(*counts)) == pytest.approx(expected, abs=1e-12)


def test_pairs_are_counted() -> None:
    a = np.array([1, 1, 1, 0, 0], bool)
    b = np.array([1, 0, 0, 1, 0], bool)
    assert count_pairs(a, b) == (1, 2, 1, 1)
    assert count_pairs(a, b).difference == pytest.approx(a.mean() - b.mean())
    with pytest.raises(WrongShape):
        count_pairs(a, b[:3])
    with pytest.raises(UsageError, match="at least one"):
        newcombe_paired_interval(PairedCounts(0, 0, 0, 0))


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=50))
def test_the_interquartile_mean_is_scipys_trimmed_mean(values: list[float]) -> None:
    assert interquartile_mean(np.array(values)) == pytest.approx(stats.trim_mean(values, 0.25), abs=1e-9)


def test_the_bootstrap_interval_is_scipys(rng: np.random.Generator) -> None:
    """One stratum, where scipy's percentile bootstrap resamples the same way."""
    a, b = rng.normal(1.0, 1.0, 200), rng.normal(0.0, 2.0, 200)
    ours = bootstrap_difference(a[:, None], b[:, None], paired=False, rng=rng)
    for data, found in zip((a, b), ours, strict=False):
        theirs = stats.bootstrap(
            (data,), interquartile_mean, vectorized=False, method="percentile", n_resamples=2000, rng=rng
        ).confidence_interval
        assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.05)
    assert ours[2].value == pytest.approx(interquartile_mean(a) - interquartile_mean(b))
    assert ours[2].low < 1.0 < ours[2].high


def test_strata_are_never_mixed_and_pairs_stay_together(rng: np.random.Generator) -> None:
    """Without variation inside the strata nothing varies; a paired constant shift has no uncertainty."""
    strata = np.tile([0.0, 100.0, 7.0, 3.0], (5, 1))
    for found in bootstrap_difference(strata, strata + 1.0, paired=False, rng=rng, draws=50):
        assert found.low == found.value == found.high
    a = rng.normal(size=(30, 1))
    shift = bootstrap_difference(a, a - 0.5, paired=True, rng=rng, draws=200)[2]
    assert (shift.low, shift.high) == pytest.approx((0.5, 0.5))
    apart = bootstrap_difference(a, a - 0.5, paired=False, rng=rng, draws=200)[2]
    assert apart.high - apart.low > 0.3


def test_whole_rows_stay_together(rng: np.random.Generator) -> None:
    """Columns that are copies of one another add nothing: the interval is that of one column."""
    a, b = rng.normal(size=(8, 1)), rng.normal(size=(8, 1))
    one, copies, apart = (
        bootstrap_difference(
            np.tile(a, (1, count)), np.tile(b, (1, count)), False, np.random.default_rng(0), 2000, whole
        )[2]
        for count, whole in ((1, False), (16, True), (16, False))
    )
    assert (copies.low, copies.high) == pytest.approx((one.low, one.high))
    assert apart.high - apart.low < 0.5 * (one.high - one.low)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_the_area_under_the_curve_is_mann_whitneys(pairs: list[tuple[int, bool]]) -> None:
    scores, positive = np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs])
    found = area_under_curve(scores, positive)
    if positive.all() or not positive.any():
        assert found is None
    else:
        u = stats.mannwhitneyu(scores[positive], scores[~positive], method="asymptotic").statistic
        assert found == pytest.approx(u / (positive.sum() * (~positive).sum()))
