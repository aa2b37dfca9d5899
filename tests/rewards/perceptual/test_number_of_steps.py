"""How many steps there are: as many as were made, and none in straight lines and noise."""

from __future__ import annotations

import numpy as np
import pytest

from robo_reward.rewards.perceptual.discover import compute_chance_level, discover_steps

NOISE = 0.02


def demonstrations(steps: int, seed: int, count: int = 6) -> list[np.ndarray]:
    """Demonstrations (T_i, 6) whose n steps of random length each move a feature of their own."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        lengths = rng.integers(12, 24, steps)
        x = np.zeros((lengths.sum(), 6))
        for k, start in enumerate(np.cumsum(lengths) - lengths):
            x[start:, k] = np.clip(np.arange(len(x) - start) / lengths[k], 0, 1)
        found.append(x + rng.normal(0, NOISE, x.shape))
    return found


@pytest.mark.parametrize("steps", [2, 3, 4])
@pytest.mark.parametrize("seed", [0, 1])
def test_as_many_as_were_made(steps: int, seed: int) -> None:
    found = discover_steps(demonstrations(steps, seed), "auto")
    assert found.steps == steps and found.certain
    assert found.recognised[steps] > 0.75 and 0 < found.chance[steps] < 1


def test_straight_lines_have_no_steps() -> None:
    rng = np.random.default_rng(0)
    lines = [np.linspace(0, 1, t)[:, None] * rng.normal(size=(1, 6)) for t in (40, 50, 60, 45)]
    found = discover_steps([x + rng.normal(0, NOISE, x.shape) for x in lines], "auto")
    assert found.steps == 2 and not found.certain
    assert not discover_steps([lines[0] + rng.normal(0, NOISE, lines[0].shape)], "auto").certain


def test_noise_has_no_steps() -> None:
    rng = np.random.default_rng(0)
    found = discover_steps([rng.normal(size=(t, 6)) for t in (40, 50, 60, 45)], "auto")
    assert found.steps == 2 and not found.certain


def test_equal_parts_are_the_chance_level() -> None:
    x = [np.zeros((40, 1)), np.zeros((40, 1))]
    assert compute_chance_level(x, [(20,), (20,)]) == 1.0
    # 10 of 40 frames are the first step: of each half's frames, 10 / 20 and 20 / 30 agree.
    assert compute_chance_level(x, [(10,), (10,)]) == pytest.approx((10 / 20 + 20 / 30) / 2)
