"""Small demonstrations with known steps: a dot that goes right, rests, and then goes down."""

from __future__ import annotations

import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.envs.state import Field, StateSpec

SPEC = StateSpec([Field("hand_position", (2,), "m")])


def path(lengths: tuple[int, int, int], side: int = 24) -> np.ndarray:
    """Positions (T, 2) of the dot in pixels: `lengths` frames to the right, at rest, and downward."""
    first, rest, last = lengths
    right = np.stack([np.linspace(4, side - 5, first), np.full(first, 5.0)], axis=1)
    still = np.repeat(right[-1:], rest, axis=0)
    down = np.stack([np.full(last, side - 5.0), np.linspace(5, side - 4, last + 1)[1:]], axis=1)
    return np.concatenate([right, still, down])


def draw(positions: np.ndarray, rng: np.random.Generator, side: int = 24) -> np.ndarray:
    """Frames (T, side, side, 3) of a soft bright dot on a dark ground with a little noise."""
    y, x = np.mgrid[:side, :side]
    distance = (x - positions[:, 0, None, None]) ** 2 + (y - positions[:, 1, None, None]) ** 2
    dot = 200 * np.exp(-distance / 8.0)[..., None] * np.array([1.0, 0.8, 0.3])
    return np.clip(30 + dot + rng.normal(0, 2, (len(positions), side, side, 3)), 0, 255).astype(np.uint8)


def clip(lengths: tuple[int, int, int], seed: int) -> np.ndarray:
    return draw(path(lengths), np.random.default_rng(seed))


def episode(lengths: tuple[int, int, int], seed: int, **meta: object) -> Episode:
    positions = path(lengths)
    steps = len(positions) - 1
    return Episode(
        state=positions,
        action=np.zeros((steps, 2)),
        success=np.arange(steps) == steps - 1,
        spec=SPEC,
        frames=clip(lengths, seed),
        meta={"fps": 20.0, "cameras": ["front"], **meta},
    )


LENGTHS = ((14, 8, 12), (10, 12, 10), (18, 7, 15), (12, 9, 18))
