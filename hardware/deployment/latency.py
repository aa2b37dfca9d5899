"""Latency statistics: a histogram on a logarithmic scale, mean, percentiles and maximum."""

from __future__ import annotations

from typing import Any

import numpy as np

EDGES = np.concatenate([[0.0], np.geomspace(1e-4, 10.0, 51), [np.inf]])
"""Edges of the histogram's bins [s]: ten per decade from 0.1 ms to 10 s, and one bin on either side."""


class LatencyStatistics:
    """Durations, collected by name.

    Args:
        names: such as `inference`.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._values: dict[str, list[float]] = {name: [] for name in names}

    def add_durations(self, **seconds: float) -> None:
        """Adds one duration [s] per name; NaN is skipped."""
        for name, value in seconds.items():
            if np.isfinite(value):
                self._values[name].append(value)

    def extend(self, other: LatencyStatistics) -> None:
        """Adds all durations of another object."""
        for name, values in other._values.items():
            self._values[name] += values

    def to_json(self) -> dict[str, Any]:
        """Returns, per name, count, mean, p50, p95, p99 and max [ms], and the histogram."""
        return {name: summarize_durations(values) for name, values in self._values.items()}


def summarize_durations(seconds: list[float]) -> dict[str, Any]:
    """Computes count, mean, p50, p95, p99 and max [ms] and the filled bins of the histogram.

    A bin is `[lower edge [ms], count]`.
    """
    if not seconds:
        return {"count": 0}
    values = np.asarray(seconds)
    counts, _ = np.histogram(values, EDGES)
    percentiles = dict(zip(("p50", "p95", "p99"), np.percentile(values, (50, 95, 99)), strict=True))
    numbers = {"mean": values.mean(), **percentiles, "max": values.max()}
    filled = [[round(1000 * float(EDGES[i]), 4), int(counts[i])] for i in np.flatnonzero(counts)]
    return {"count": len(values), **{k: round(1000 * float(v), 3) for k, v in numbers.items()}, "histogram_ms": filled}
