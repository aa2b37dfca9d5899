"""Cuts are the best there are, costs are what they say."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo_reward.errors import UnknownName, UsageError, WrongShape
from robo_reward.rewards.perceptual.steps import (
    OBJECTIVES,
    compute_total_cost,
    cuts_to_labels,
    find_best_cuts,
    find_cuts_recursively,
    get_objective,
    spread_cost,
    trend_cost,
    variance_cost,
)

EVERY = pytest.mark.parametrize("name", OBJECTIVES)


def series(seed: int, length: int = 12, width: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(length, width)).cumsum(axis=0)


def naive(name: str, x: np.ndarray) -> float:
    """The cost of one step from its definition."""
    if name == "paper":
        return float(x.std(axis=0).mean())
    if name == "variance":
        return float(((x - x.mean(axis=0)) ** 2).sum() / x.shape[1])
    time = np.arange(len(x))
    if len(x) < 2:
        return 0.0
    line = np.polynomial.polynomial.polyval(time, np.polynomial.polynomial.polyfit(time, x, 1)).T
    return float(((x - line) ** 2).sum() / x.shape[1])


@EVERY
def test_costs_are_what_they_say(name: str) -> None:
    x = series(0)
    cost = OBJECTIVES[name](x)
    assert cost.shape == (13, 13)
    for start, end in combinations(range(13), 2):
        assert cost[start, end] == pytest.approx(naive(name, x[start:end]), abs=1e-6), (start, end)
    assert np.isinf(cost[np.tril_indices(13)]).all()


@EVERY
@given(seed=st.integers(0, 10**6), steps=st.integers(1, 4), min_size=st.integers(1, 3), length=st.integers(1, 13))
def test_dynamic_programming_finds_what_trying_everything_finds(
    name: str, seed: int, steps: int, min_size: int, length: int
) -> None:
    cost = OBJECTIVES[name](series(seed, length))
    if steps * min_size > length:
        with pytest.raises(UsageError, match="do not fit"):
            find_best_cuts(cost, steps, min_size)
        return
    every = [
        cuts
        for cuts in combinations(range(1, length), steps - 1)
        if all(end - start >= min_size for start, end in pairwise((0, *cuts, length)))
    ]
    found = find_best_cuts(cost, steps, min_size)
    assert found in every
    assert compute_total_cost(cost, found) == pytest.approx(
        min(compute_total_cost(cost, cuts) for cuts in every), abs=1e-9
    )


@EVERY
@given(seed=st.integers(0, 10**6), steps=st.integers(1, 4), min_size=st.integers(1, 3))
def test_the_paper_s_recursion_agrees(name: str, seed: int, steps: int, min_size: int) -> None:
    cost = OBJECTIVES[name](series(seed, 14))
    fast, slow = find_best_cuts(cost, steps, min_size), find_cuts_recursively(cost, steps, min_size)
    assert compute_total_cost(cost, fast) == pytest.approx(compute_total_cost(cost, slow), abs=1e-9)


def test_each_step_may_have_a_cost_of_its_own() -> None:
    cost = np.random.default_rng(1).uniform(size=(3, 11, 11))
    best = min(combinations(range(1, 10), 2), key=lambda cuts: compute_total_cost(cost, cuts))
    assert find_best_cuts(cost, 3) == best


@pytest.mark.parametrize("name", ["variance", "trend"])
@given(seed=st.integers(0, 10**6))
def test_rotation_shift_and_scale_change_no_cut(name: str, seed: int) -> None:
    rng, x = np.random.default_rng(seed), series(seed, 20, 4)
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    moved = 3.0 * x @ rotation + rng.normal(size=4)
    before, after = OBJECTIVES[name](x), OBJECTIVES[name](moved)
    known = np.isfinite(before)
    np.testing.assert_allclose(after[known], 9.0 * before[known], atol=1e-7 * (1 + before[known].max()))


def test_a_steady_drift_costs_a_trend_nothing() -> None:
    time = np.arange(30.0)[:, None]
    bend = np.concatenate([time[:12] * (1, 2), time[:12][-1] * (1, 2) + (time[12:] - 11) * (3, -1)])
    assert find_best_cuts(trend_cost(bend), 2, 3)[0] in (11, 12)  # the corner lies on both lines
    assert compute_total_cost(trend_cost(bend), (12,)) == pytest.approx(0, abs=1e-9)


def test_the_paper_s_objective_likes_tiny_steps_and_ours_do_not() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.3, (40, 8)) + np.repeat([[0.0], [1.0]], [22, 18], axis=0) * rng.normal(size=8)
    drift = x + np.linspace(0, 4, 40)[:, None]
    assert find_best_cuts(spread_cost(drift), 2, 2)[0] in (*range(2, 6), *range(35, 39))
    assert find_best_cuts(variance_cost(x), 2, 2) == (22,)


def test_labels_count_the_cuts() -> None:
    np.testing.assert_array_equal(cuts_to_labels((2, 5), 7), [0, 0, 1, 1, 1, 2, 2])
    np.testing.assert_array_equal(cuts_to_labels((), 3), [0, 0, 0])


def test_wrong_input_is_named() -> None:
    with pytest.raises(UnknownName, match="'variance'"):
        get_objective("varianse")
    for name in OBJECTIVES:
        with pytest.raises(WrongShape, match=r"\(T, F\)"):
            OBJECTIVES[name](np.zeros(4))
    with pytest.raises(UsageError, match="at least 0 frames"):
        find_best_cuts(np.zeros((5, 5)), 2, 0)
    with pytest.raises(UsageError, match="1 to 16 steps"):
        find_best_cuts(np.zeros((50, 50)), 17)


def test_a_long_demonstration_is_quick() -> None:
    x = series(3, 600, 2000)
    assert len(find_best_cuts(trend_cost(x), 5, 5)) == 4
