"""The rule of the race: against scipy's distributions, and its errors by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from robo_reward.reward_search.racing import compute_interval, compute_range_quantile, find_worse

SAME_PROGRAM = [0.63, 0.20, 0.20, 0.10, 0.05, 0.98, 0.86, 0.11]
"""Success of one program on panda/lift after 64,000 steps, seeds 0 to 7: as noisy as early results are."""


@pytest.mark.parametrize(("groups", "freedom", "expected"), [(2, 2, 6.085), (4, 8, 4.529), (10, 30, 4.824)])
def test_the_quantile_is_that_of_the_published_tables(groups: int, freedom: int, expected: float) -> None:
    """Upper 5 % points of the studentised range (Pearson and Hartley, Biometrika Tables, table 29)."""
    assert compute_range_quantile(groups, freedom, 0.95) == pytest.approx(expected, rel=0.015)


@pytest.mark.parametrize("share", [0.97, 1.03])
def test_two_candidates_are_told_apart_as_by_a_t_test(share: float) -> None:
    """Two and four seeds: the two-sided 5 % point of Student's t with 4 degrees of freedom is 2.776."""
    low, high = np.array([0.2, 0.3]), np.array([0.4, 0.5, 0.5, 0.6])
    spread = np.sqrt((0.005 + 0.02) / 4)
    difference = share * 2.776 * spread * np.sqrt(1 / 2 + 1 / 4)
    shifted = list(high - high.mean() + low.mean() + difference)
    assert find_worse({"low": list(low), "high": shifted}) == (["low"] if share > 1 else [])


def test_equal_candidates_are_rarely_dropped() -> None:
    rng = np.random.default_rng(0)
    for draw in (lambda n: rng.choice(SAME_PROGRAM, n), lambda n: rng.normal(0.6, 0.1, n)):
        dropped = [bool(find_worse({str(i): draw(3) for i in range(4)})) for _ in range(400)]
        assert np.mean(dropped) < 0.08


def test_clear_differences_are_found_with_two_seeds() -> None:
    given = {"good": [0.97, 0.99], "middle": [0.90, 0.95], "bad": [0.10, 0.20]}
    assert find_worse(given) == ["bad"]


def test_nothing_is_decided_before_two_seeds() -> None:
    assert find_worse({"a": [1.0], "b": [0.0]}) == []
    assert compute_interval({"a": [1.0], "b": [0.0]}, "a") == (0.0, 1.0)
    assert find_worse({"a": [1.0, 1.0], "b": [0.9, 0.9]}) == ["b"]
    assert find_worse({"a": [1.0, 1.0], "b": [0.97, 0.97]}) == []  # no spread was seen, yet there is one


def test_the_interval_is_that_of_students_t() -> None:
    """3.182 is the two-sided 5 % point with 3 degrees of freedom."""
    values = [0.5, 0.6, 0.55, 0.7]
    half = 3.182 * np.std(values, ddof=1) / 2
    middle = np.mean(values)
    assert compute_interval({"a": values}, "a") == pytest.approx((middle - half, middle + half), abs=0.003)
