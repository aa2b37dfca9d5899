"""Segmentation of demonstrations into the steps of a task.

A sequence has features `(T, F)`; cuts `0 < c_1 < ... < c_{n-1} < T` make n steps `[0, c_1), ..., [c_{n-1}, T)`.
Every objective is a table `cost[s, e]` with the cost of the step `[s, e)`, and the best cuts are found exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from robo_reward.errors import UnknownName, UsageError, WrongShape

MAX_STEPS = 16


def spread_cost(features: np.ndarray) -> np.ndarray:
    """Returns the paper's objective: the temporal standard deviation of a step, averaged over features.

    `cost[s, e] = mean_f std(x_f[s:e])` (Unsupervised Perceptual Rewards, algorithm 1, AverageStd). A sum over steps
    weighs a short step like a long one, so cuts are drawn to pieces of the smallest length allowed.

    Args:
        features: (T, F).

    Returns:
        (T + 1, T + 1) float64; infinite where e <= s.
    """
    x = _validate_features(features)
    x = x - x.mean(axis=0)
    length, first, second = len(x), _compute_prefix_sums(x), _compute_prefix_sums(x**2)
    cost = np.full((length + 1, length + 1), np.inf)
    for start in range(length):
        # Var(x) = E[x²] - E[x]² of all steps that begin at `start`.
        count = np.arange(1, length - start + 1)[:, None]
        mean = (first[start + 1 :] - first[start]) / count
        variance = (second[start + 1 :] - second[start]) / count - mean**2
        cost[start, start + 1 :] = np.sqrt(np.maximum(variance, 0.0)).mean(axis=1)
    return cost


def variance_cost(features: np.ndarray) -> np.ndarray:
    """Returns the squared distance of a step's frames from their mean, summed over the step.

    It is length times variance: `cost[s, e] = (1/F) sum_{t in [s, e)} |x_t - mean|^2`. Unlike `spread_cost` it does
    not favour tiny steps. It needs the Gram matrix alone, so it costs O(T^2), whatever the number of features.

    Args:
        features: (T, F).

    Returns:
        (T + 1, T + 1) float64; infinite where e <= s.
    """
    gram, width = _compute_gram(features)
    start, end = np.triu_indices(len(gram) + 1, 1)
    return _build_cost_table(len(gram), start, end, _sum_squared_distances(gram, start, end) / width)


def trend_cost(features: np.ndarray) -> np.ndarray:
    """Returns the squared distance of a step's frames from a straight line in time, summed over the step.

    `cost[s, e] = (1/F) min_{a,b} sum_{t in [s, e)} |x_t - a - b t|^2`: a step is one steady motion, not one place, so
    a cut lies where the motion changes its direction or stops. O(T^2) like `variance_cost`.

    Args:
        features: (T, F).

    Returns:
        (T + 1, T + 1) float64; infinite where e <= s.
    """
    gram, width = _compute_gram(features)
    start, end = np.triu_indices(len(gram) + 1, 1)
    time = np.arange(len(gram)) - (len(gram) - 1) / 2
    middle = (time[start] + time[end - 1]) / 2
    plain, one, both = (_sum_blocks(g, start, end) for g in (gram, time[:, None] * gram, np.outer(time, time) * gram))
    # |Σ_t (t - middle) x_t|² from block sums; by symmetry, Σ (t + u) G_tu over a block is 2 Σ t G_tu.
    lean = np.maximum(both - 2 * middle * one + middle**2 * plain, 0.0)
    count = (end - start).astype(float)
    moment = np.where(count > 1, count * (count**2 - 1) / 12, 1.0)  # Σ (t - middle)²
    # Residual of the regression: squared distances minus the part that the slope explains.
    rest = _sum_squared_distances(gram, start, end) - np.where(count > 1, lean / moment, 0.0)
    return _build_cost_table(len(gram), start, end, np.maximum(rest, 0.0) / width)


OBJECTIVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "paper": spread_cost,
    "variance": variance_cost,
    "trend": trend_cost,
}


def get_objective(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the cost function of a name.

    Raises:
        UnknownName: not one of `OBJECTIVES`.
    """
    if name not in OBJECTIVES:
        raise UnknownName("step objective", name, OBJECTIVES)
    return OBJECTIVES[name]


def find_best_cuts(cost: np.ndarray, steps: int, min_size: int = 1) -> tuple[int, ...]:
    """Returns the n - 1 cuts with the smallest summed cost, by dynamic programming: exact, O(n T^2).

    Args:
        cost: (T + 1, T + 1), the same for every step, or (n, T + 1, T + 1), one table per step.
        steps: n.
        min_size: fewest frames of a step.

    Raises:
        UsageError: n steps of that size do not fit into T frames.
    """
    length = cost.shape[-1] - 1
    _require_room(length, steps, min_size)
    tables = np.broadcast_to(cost, (steps, length + 1, length + 1))
    allowed = np.arange(length + 1)[:, None] + min_size <= np.arange(length + 1)
    best = np.full(length + 1, np.inf)  # cost of the first k steps, by the end of the k-th
    best[0] = 0.0
    origins = []
    for table in tables:
        # Best start of this step for each possible end.
        total = np.where(allowed, best[:, None] + table, np.inf)
        origins.append(np.argmin(total, axis=0))
        best = total[origins[-1], np.arange(length + 1)]
    # Follow the best starts back from the last frame.
    cuts, end = [], length
    for origin in reversed(origins[1:]):
        end = int(origin[end])
        cuts.append(end)
    return tuple(reversed(cuts))


def find_cuts_recursively(cost: np.ndarray, steps: int, min_size: int = 1) -> tuple[int, ...]:
    """Returns the best cuts by the paper's recursion (algorithm 1), O(T^(n-1)).

    It tries every first cut and recurs to its right. The cut is kept that gives the smallest *mean* of all segment
    costs. For a fixed n this is their sum divided by n, which is separable, so `find_best_cuts` finds the same cuts;
    the recursion serves as a reference.

    Args:
        cost: (T + 1, T + 1).
        steps: n.
        min_size: fewest frames of a step.
    """
    length = len(cost) - 1
    _require_room(length, steps, min_size)

    def split_rest(start: int, count: int) -> tuple[list[float], tuple[int, ...]]:
        if count == 1:
            return [float(cost[start, length])], ()
        found: tuple[list[float], tuple[int, ...]] | None = None
        for cut in range(start + min_size, length - (count - 1) * min_size + 1):
            costs, cuts = split_rest(cut, count - 1)
            costs = [float(cost[start, cut]), *costs]
            if found is None or np.mean(costs) < np.mean(found[0]):
                found = costs, (cut, *cuts)
        assert found is not None
        return found

    return split_rest(0, steps)[1]


def cuts_to_labels(cuts: Sequence[int], length: int) -> np.ndarray:
    """Returns the step (T,) of each frame, counted from 0."""
    return np.searchsorted(np.asarray(cuts, int), np.arange(length), side="right")


def compute_total_cost(cost: np.ndarray, cuts: Sequence[int]) -> float:
    """Returns the summed cost of the steps that the cuts make; `cost` as for `find_best_cuts`."""
    edges = [0, *cuts, cost.shape[-1] - 1]
    tables = np.broadcast_to(cost, (len(edges) - 1, *cost.shape[-2:]))
    return float(sum(table[s, e] for table, (s, e) in zip(tables, pairwise(edges), strict=True)))


def _require_room(length: int, steps: int, min_size: int) -> None:
    """Raises if n steps of at least `min_size` frames do not fit into `length` frames."""
    if not 1 <= steps <= MAX_STEPS or min_size < 1:
        raise UsageError(f"{steps} steps of at least {min_size} frames: expected 1 to {MAX_STEPS} steps of 1 or more")
    if steps * min_size > length:
        raise UsageError(f"{steps} steps of at least {min_size} frames do not fit into {length} frames")


def _validate_features(features: np.ndarray) -> np.ndarray:
    """Returns the features as float64 (T, F); raises if they are empty or have another shape."""
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or 0 in features.shape:
        raise WrongShape("features", features.shape, "(T, F), nothing empty")
    return features


def _compute_prefix_sums(x: np.ndarray) -> np.ndarray:
    """Returns the sums of the first 0, 1, ..., T rows, (T + 1, ...)."""
    return np.concatenate([np.zeros((1, *x.shape[1:])), np.cumsum(x, axis=0)])


def _compute_gram(features: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns the Gram matrix (T, T) of the centred features, and F."""
    x = _validate_features(features)
    x = x - x.mean(axis=0)  # changes no cost, and reduces cancellation
    return x @ x.T, x.shape[1]


def _sum_blocks(gram: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Returns the sums of the diagonal blocks [start, end) x [start, end)."""
    # Two-dimensional prefix sums.
    sums = _compute_prefix_sums(_compute_prefix_sums(gram).T)
    return sums[end, end] - sums[start, end] - sums[end, start] + sums[start, start]


def _sum_squared_distances(gram: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Returns the squared distances from the mean, summed over each step."""
    norms = _compute_prefix_sums(np.diag(gram))
    return np.maximum(norms[end] - norms[start] - _sum_blocks(gram, start, end) / (end - start), 0.0)


def _build_cost_table(length: int, start: np.ndarray, end: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns the table (T + 1, T + 1) with `values` at [start, end], infinite elsewhere."""
    cost = np.full((length + 1, length + 1), np.inf)
    cost[start, end] = values
    return cost
