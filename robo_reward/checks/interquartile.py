"""The interquartile mean of scores, and its interval by a stratified bootstrap (Agarwal et al., 2021)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from robo_reward.errors import UsageError, WrongShape


class BootstrapInterval(NamedTuple):
    """A statistic with its 95 % percentile interval."""

    value: float
    low: float
    high: float


def interquartile_mean(values: np.ndarray) -> float:
    """Returns the mean of the middle half of the values: a quarter of them, rounded down, is cut at each end."""
    ordered = np.sort(np.asarray(values, float), axis=None)
    if not len(ordered):
        raise UsageError("0 values: an interquartile mean needs at least one")
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def bootstrap_difference(
    a: np.ndarray, b: np.ndarray, paired: bool, rng: np.random.Generator, draws: int = 2000, whole_rows: bool = False
) -> tuple[BootstrapInterval, BootstrapInterval, BootstrapInterval]:
    """Computes the interquartile means of A, of B and their difference, each with a stratified bootstrap interval.

    A draw resamples the rows of each column, which is a stratum, on its own, or the same rows of all columns: columns
    are never mixed.

    Args:
        a: scores (R, S) of A: rows are resampled, columns are strata.
        b: scores (R', S) of B.
        paired: whether row i of A and row i of B belong together, so that a draw takes the same rows of both.
        rng: of the resampling.
        draws: number of resamples.
        whole_rows: whether the values of a row depend on each other, as those of one policy do, so that a draw takes
            the same rows of all columns.

    Raises:
        WrongShape: scores that do not fit each other.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or (paired and a.shape != b.shape):
        raise WrongShape("scores of B", b.shape, f"as of A, {a.shape}" + ("" if paired else ", in the second axis"))

    def draw_rows(shape: tuple[int, ...]) -> np.ndarray:
        if whole_rows:
            return np.broadcast_to(rng.integers(shape[0], size=(shape[0], 1)), shape)
        return rng.integers(shape[0], size=shape)

    found = np.zeros((draws, 2))
    for k in range(draws):
        rows = draw_rows(a.shape)
        found[k, 0] = interquartile_mean(np.take_along_axis(a, rows, axis=0))
        rows = rows if paired else draw_rows(b.shape)
        found[k, 1] = interquartile_mean(np.take_along_axis(b, rows, axis=0))
    means = interquartile_mean(a), interquartile_mean(b)
    return (
        _summarise_draws(means[0], found[:, 0]),
        _summarise_draws(means[1], found[:, 1]),
        _summarise_draws(means[0] - means[1], found[:, 0] - found[:, 1]),
    )


def _summarise_draws(value: float, draws: np.ndarray) -> BootstrapInterval:
    low, high = np.quantile(draws, (0.025, 0.975))
    return BootstrapInterval(value, float(low), float(high))
