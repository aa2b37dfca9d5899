"""How far two ways of judging put things in the same order."""

from __future__ import annotations

import numpy as np

from robo_reward.errors import WrongShape


def ranks(values: np.ndarray) -> np.ndarray:
    """Places from 0 of values (n,); equal values share the mean of their places."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count + 1) / 2)[place]


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's ρ, the correlation of ranks; 0 where one side is constant and so has no order.

    Raises:
        WrongShape: not two arrays (n,) of one length.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.ndim != 1 or a.shape != b.shape:
        raise WrongShape("second values", b.shape, f"as the first, {a.shape}, and one-dimensional")
    x, y = ranks(a), ranks(b)
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else 0.0


def kendall(a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's τ-b: the surplus of pairs in the same order over pairs in the opposite one, corrected for ties."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    x, y = np.sign(a[:, None] - a), np.sign(b[:, None] - b)
    scale = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / scale if scale > 0 else 0.0


def pair_accuracy(scores: np.ndarray, truth: np.ndarray, gap: float) -> float:
    """Share of all pairs whose truth (n,) differs by more than `gap` that scores (n,) put in the same order."""
    truth_gap = truth[:, None] - truth
    clear = truth_gap > gap
    return float((scores[:, None] > scores)[clear].mean())


def within_clips(reward: np.ndarray, truth: np.ndarray, every: int = 4, least: float = 0.0) -> np.ndarray:
    """RAPL's figure: Spearman's ρ over the frames of each clip, of every 4th frame.

    Args:
        reward: (n, T) of each step.
        truth: (n, T).
        every: which frames.
        least: clips whose truth moves less have no order worth the name; they get NaN.

    Returns:
        (n,).
    """
    moves = np.ptp(truth, axis=1) >= max(least, 1e-12)
    rows = [spearman(r[::every], t[::every]) if m else np.nan for r, t, m in zip(reward, truth, moves, strict=True)]
    return np.array(rows)
