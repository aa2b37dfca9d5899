"""The statistics that LeRobot keeps of each episode and of a whole data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
MAX_PICTURES = 100  # pictures of one episode that are looked at
MAX_SIDE = 150  # [pixels] pictures are thinned until their shorter side is at most this

Stats = dict[str, np.ndarray]


def compute_stats(values: np.ndarray) -> Stats:
    """Returns the statistics of a column.

    Args:
        values: (N, ...) numbers.

    Returns:
        `min`, `max`, `mean`, `std` and the quantiles `q01` to `q99`, each of the shape of a row, and `count` (1,).
    """
    rows = np.asarray(values, float).reshape(len(values), -1)
    found = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    found |= {
        f"q{round(100 * q):02d}": value
        for q, value in zip(QUANTILES, np.quantile(rows, QUANTILES, axis=0), strict=True)
    }
    shape = values.shape[1:] or (1,)
    return {**{name: value.reshape(shape) for name, value in found.items()}, "count": np.array([len(rows)])}


def compute_picture_stats(frames: np.ndarray) -> Stats:
    """Returns the statistics of pictures (T, H, W, 3) uint8, each (3, 1, 1) with values from 0 to 1."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), MAX_PICTURES)).round().astype(int))
    step = -(-min(frames.shape[1:3]) // MAX_SIDE)
    pixels = frames[chosen, ::step, ::step].reshape(-1, 3) / 255.0
    found = compute_stats(pixels)
    return {
        name: np.array([len(chosen)]) if name == "count" else value.reshape(3, 1, 1) for name, value in found.items()
    }


def aggregate_stats(parts: Sequence[Stats]) -> Stats:
    """Returns the statistics of a whole data set from those of its episodes.

    Quantiles are averaged with the counts as weights, as LeRobot does; the others are exact.
    """
    count = np.array([part["count"][0] for part in parts], float)
    weight = count / count.sum()

    def average(values: Sequence[np.ndarray]) -> np.ndarray:
        return np.tensordot(weight, np.stack(values), 1)

    mean = average([part["mean"] for part in parts])
    variance = average([part["std"] ** 2 + (part["mean"] - mean) ** 2 for part in parts])
    found = {name: average([part[name] for part in parts]) for name in parts[0] if name.startswith("q")}
    return {
        "min": np.min([part["min"] for part in parts], 0),
        "max": np.max([part["max"] for part in parts], 0),
        "mean": mean,
        "std": np.sqrt(variance),
        **found,
        "count": np.array([int(count.sum())]),
    }
