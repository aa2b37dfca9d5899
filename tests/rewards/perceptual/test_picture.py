"""The picture shows what it says: frames where they belong, bars as long as steps, curves at their heights."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from robo_reward.rewards.perceptual.picture import BAR, COLOURS, CURVE, MARGIN, draw_discovery, draw_steps, write_png


def drawn(**options) -> np.ndarray:
    frames = np.zeros((40, 20, 20, 3), np.uint8)
    frames[:] = np.arange(40, dtype=np.uint8)[:, None, None, None] * 6
    recognised = np.repeat([[1.0, 0.0], [0.0, 1.0]], [10, 30], axis=0)
    return draw_steps(frames, (10,), recognised, np.linspace(0, 1, 40), thumbnails=4, side=50, **options)


def test_bars_are_as_long_as_steps() -> None:
    picture = drawn()
    row = picture[MARGIN + 50 + 4 + 1]
    first, second = ((row == np.array(colour)).all(axis=1).sum() for colour in COLOURS[:2])
    assert abs(first / (first + second) - 0.25) < 0.03
    assert first + second > 0.9 * (picture.shape[1] - 2 * MARGIN)


def test_thumbnails_show_the_moment_they_stand_at() -> None:
    picture = drawn()
    row = picture[MARGIN + 25, MARGIN:-MARGIN, 0].astype(float)
    shown = [row[start : start + 50].mean() / 6 for start in range(0, 200, 54)]
    np.testing.assert_allclose(shown, [40 * (25 + 54 * i) / 212 for i in range(4)], atol=1.5)


def test_curves_stand_at_their_heights() -> None:
    picture = drawn()
    base = MARGIN + 50 + BAR + 12 + CURVE
    blue = np.flatnonzero((picture[base - CURVE : base + 1, MARGIN + 20] == np.array(COLOURS[0])).all(axis=1))
    assert blue.size and blue.max() <= 2  # step 1 is sure at first: at the top


def test_pages_and_files(tmp_path: Path) -> None:
    page = draw_discovery([drawn(title="a"), drawn(title="é")], "caption")
    assert page.dtype == np.uint8 and page.shape[0] > 2 * drawn().shape[0]
    path = write_png(tmp_path / "steps.png", page)
    back = cv2.imread(str(path))
    assert back is not None
    np.testing.assert_array_equal(back[..., ::-1], page)
    assert [p.name for p in tmp_path.iterdir()] == ["steps.png"]
