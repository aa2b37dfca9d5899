"""Rank correlations: how far two scores put the same items in the same order."""

from __future__ import annotations

import numpy as np

from robo_reward.errors import WrongShape


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Returns the ranks of values (n,), from 0; equal values share the mean of their ranks."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count + 1) / 2)[place]


def spearman_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Computes Spearman's ρ, the correlation of ranks; 0 where one side is constant and so has no order.

    Raises:
        WrongShape: not two arrays (n,) of one length.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.ndim != 1 or a.shape != b.shape:
        raise WrongShape("second values", b.shape, f"as the first, {a.shape}, and one-dimensional")
    x, y = average_ranks(a), average_ranks(b)
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else 0.0


def kendall_tau(a: np.ndarray, b: np.ndarray) -> float:
    """Computes Kendall's τ-b: pairs in the same order minus pairs in the opposite one, corrected for ties."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    x, y = np.sign(a[:, None] - a), np.sign(b[:, None] - b)
    scale = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / scale if scale > 0 else 0.0


def pair_accuracy(scores: np.ndarray, truth: np.ndarray, gap: float) -> float:
    """Computes the share of pairs with truth (n,) more than `gap` apart that scores (n,) put in the same order."""
    truth_gap = truth[:, None] - truth
    clear = truth_gap > gap
    return float((scores[:, None] > scores)[clear].mean())


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """Computes the area under the ROC curve: the probability that a positive scores above a negative, ties half.

    Args:
        scores: (n,).
        positive: (n,) bool.

    Returns:
        The area, or None where one class has no members.
    """
    scores, positive = np.asarray(scores, float), np.asarray(positive, bool)
    hits = int(positive.sum())
    misses = len(positive) - hits
    if not hits or not misses:
        return None
    ranks = average_ranks(scores)
    return float((ranks[positive].sum() - hits * (hits - 1) / 2) / (hits * misses))


def correlate_within_clips(reward: np.ndarray, truth: np.ndarray, every: int = 4, least: float = 0.0) -> np.ndarray:
    """Computes RAPL's figure: Spearman's ρ over the frames of each clip, of every 4th frame.

    Args:
        reward: (n, T) of each step.
        truth: (n, T).
        every: the stride between the frames that count.
        least: clips whose truth varies less than this have no meaningful order; they get NaN.

    Returns:
        (n,).
    """
    moves = np.ptp(truth, axis=1) >= max(least, 1e-12)
    rows = [
        spearman_correlation(r[::every], t[::every]) if m else np.nan
        for r, t, m in zip(reward, truth, moves, strict=True)
    ]
    return np.array(rows)
