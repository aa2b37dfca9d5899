"""Rank statistics against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo_reward.checks.rank import (
    average_ranks,
    correlate_within_clips,
    kendall_tau,
    pair_accuracy,
    spearman_correlation,
)
from robo_reward.errors import WrongShape

stats = pytest.importorskip("scipy.stats")

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=30)


@given(PAIRS)
def test_they_are_scipys(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs, float).T
    np.testing.assert_allclose(average_ranks(a), stats.rankdata(a) - 1)
    if np.ptp(a) and np.ptp(b):
        assert spearman_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
        assert kendall_tau(a, b) == pytest.approx(stats.kendalltau(a, b).statistic, abs=1e-12)


def test_a_constant_has_no_order() -> None:
    assert spearman_correlation(np.ones(5), np.arange(5.0)) == 0.0
    assert kendall_tau(np.arange(5.0), np.ones(5)) == 0.0


def test_lengths_must_agree() -> None:
    with pytest.raises(WrongShape, match="second values"):
        spearman_correlation(np.arange(3.0), np.arange(4.0))


def test_pairs_with_a_clear_gap() -> None:
    truth = np.array([0.0, 1.0, 10.0])
    assert pair_accuracy(np.array([1.0, 0.0, 2.0]), truth, gap=5.0) == 1.0
    assert pair_accuracy(np.array([1.0, 0.0, 2.0]), truth, gap=0.5) == pytest.approx(2 / 3)
    assert pair_accuracy(np.zeros(3), truth, gap=0.5) == 0.0  # equal scores decide nothing


def test_clips_that_stand_still_are_left_out() -> None:
    truth = np.stack([np.linspace(0, 1, 9), np.full(9, 0.5)])
    found = correlate_within_clips(-truth, truth, every=4, least=0.1)
    assert found[0] == pytest.approx(-1.0) and np.isnan(found[1])
