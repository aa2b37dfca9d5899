"""Small drawn clips in which every position is known: an arm-like grey bar and coloured squares over a shaded floor."""

from __future__ import annotations

import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.envs.state import Field, StateSpec

RED, BLUE = (214, 44, 38), (40, 80, 210)
SPEC = StateSpec([Field("red_position", (2,)), Field("blue_position", (2,))])


def scene(red: np.ndarray, blue: np.ndarray, arm: float, size: int = 48, side: int = 6) -> np.ndarray:
    """One frame (size, size, 3); positions in [-1, 1] are the squares' centres."""
    rows, columns = np.mgrid[:size, :size]
    frame = np.repeat((150 + 40 * rows / size)[..., None], 3, axis=2) * (1.0, 0.97, 0.92)
    column = int((arm + 1) / 2 * size)
    frame[: size // 3, max(column - 3, 0) : column + 3] = 235
    for place, colour in ((red, RED), (blue, BLUE)):
        left, top = (np.round((np.asarray(place) + 1) / 2 * size - side / 2)).astype(int)
        inside = (columns >= left) & (columns < left + side) & (rows >= top) & (rows < top + side)
        frame[inside] = colour
        frame[inside & (rows >= top + side // 2)] = np.array(colour) * 0.6  # the shaded half
    return frame.astype(np.uint8)


def snapped(place: np.ndarray, size: int = 48, side: int = 6) -> np.ndarray:
    """Where a square's centre is after rounding to pixels."""
    return (np.round((place + 1) / 2 * size - side / 2) + side / 2) * 2 / size - 1


def episode(seed: int, steps: int = 14, size: int = 48) -> Episode:
    """The squares and the arm walk about; actions are the squares' steps."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(-0.7, 0.7, 5)
    path = np.clip(start + np.cumsum(rng.normal(0, 0.12, (steps + 1, 5)), axis=0), -0.8, 0.8)
    frames = np.stack([scene(p[:2], p[2:4], p[4], size) for p in path])
    action = np.clip(np.diff(path[:, :4], axis=0) * 3, -1, 1)
    return Episode(snapped(path[:, :4], size), action, np.zeros(steps, bool), SPEC, "drawn", frames=frames)


def pictures(found: list[Episode]) -> list[np.ndarray]:
    """The frames of each."""
    return [e.frames for e in found if e.frames is not None]


def episodes(count: int, seed: int = 0, **options: int) -> list[Episode]:
    """Several, each with a seed of its own."""
    return [episode(1000 * seed + i, **options) for i in range(count)]
