"""Confidence intervals of measured proportions, and their wording."""

from __future__ import annotations

from math import sqrt


def wilson_interval(successes: float, episodes: float, z: float = 1.96) -> tuple[float, float]:
    """Returns the Wilson score interval of a proportion (Wilson 1927), 95 % by default.

    Args:
        successes: how many of the trials succeeded; a fraction where the trials are an effective number.
        episodes: how many trials.
        z: quantile of the normal distribution.
    """
    p, n = successes / episodes, episodes
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def format_success(success: float, low: float, high: float, digits: int = 2) -> str:
    """Returns a success rate with its 95 % interval as text, such as "success 0.90 (95 % interval 0.77 to 0.96)"."""
    return f"success {success:.{digits}f} (95 % interval {low:.{digits}f} to {high:.{digits}f})"
