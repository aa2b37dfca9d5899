"""Weights of cloning by a reward: what raises the reward is imitated, the rest less."""

from __future__ import annotations

import numpy as np

from robo_reward.errors import UsageError, WrongShape

KAPPA = 0.01
EPSILON = 1e-6


def compute_progress_weights(progress: np.ndarray, kappa: float = KAPPA) -> np.ndarray:
    """Computes the weight (N,) of each chunk from the progress that follows it, with mean 1.

    The rule of LeRobot's RA-BC: with the progress δ of a chunk, its mean μ and standard deviation s over all chunks,
    the weight is 1 for δ > κ, and else clip((δ - (μ - 2 s)) / (4 s), 0, 1) for δ ≥ 0 and 0 for δ < 0.

    Args:
        progress: (N,) progress in [-1, 1] of each chunk: the difference of a progress in [0, 1] between its end and
            its beginning.
        kappa: κ, from which a chunk counts fully.

    Raises:
        WrongShape: not one number per chunk.
        UsageError: values that are not finite, or all weights are 0.
    """
    if progress.ndim != 1 or not len(progress):
        raise WrongShape("progress", progress.shape, "(N,), one number per chunk")
    if not np.isfinite(progress).all():
        raise UsageError("the reward gives a progress that is not finite; check it with `robo-reward check`")
    mean, spread = float(progress.mean()), float(progress.std())
    soft = np.clip((progress - (mean - 2 * spread)) / (4 * spread + EPSILON), 0.0, 1.0)
    weights = np.where(progress > kappa, 1.0, np.where(progress >= 0, soft, 0.0))
    return _scale_to_mean_one(weights)


def compute_return_weights(returns: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Computes the weight (N,) ∝ exp(z / temperature) of each episode, z its standardised return, with mean 1.

    Reward-weighted regression (Peters and Schaal, 2007) over whole episodes.

    Args:
        returns: (N,) return of each episode.
        temperature: small values imitate the best episodes only.

    Raises:
        WrongShape: not one number per episode.
        UsageError: values that are not finite, all equal, or a temperature that is not positive.
    """
    if returns.ndim != 1 or not len(returns):
        raise WrongShape("returns", returns.shape, "(N,), one number per episode")
    if not np.isfinite(returns).all() or not temperature > 0:
        raise UsageError(f"{temperature=}, returns {returns}: expected a positive temperature and finite returns")
    spread = float(returns.std())
    if spread <= 1e-12 * max(1.0, float(np.abs(returns).max())):
        raise UsageError(f"the reward gives all {len(returns)} episodes {returns[0]:.4g}: it prefers none of them")
    score = (returns - returns.max()) / (spread * temperature)
    return _scale_to_mean_one(np.exp(score))


def _scale_to_mean_one(weights: np.ndarray) -> np.ndarray:
    total = weights.sum()
    if not total > 0:
        raise UsageError("the reward falls during every chunk, so that all weights are 0; give another reward")
    return weights * (len(weights) / total)
