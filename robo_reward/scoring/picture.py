"""The picture of a scored episode: a strip of its frames above the curve of its progress."""

from __future__ import annotations

import cv2
import numpy as np

from robo_reward.rewards.perceptual.picture import CURVE, GRID, INK, MARGIN, PAPER, STRIP_GAP, draw_curve, draw_text

THUMBNAILS, SIDE, WIDEST = 10, 84, 150
"""Number of frames in a strip, their height, and their largest width [pixels]."""
WIDTH = 960  # [pixels] of the curve where there are no frames


def draw_strip(frames: np.ndarray) -> np.ndarray:
    """Returns frames (T, H, W, 3) at equal distances in time, side by side, (84, W', 3) uint8."""
    thumb = min(WIDEST, max(8, round(SIDE * frames.shape[2] / frames.shape[1])))
    strip = np.full((SIDE, THUMBNAILS * (thumb + STRIP_GAP) - STRIP_GAP, 3), PAPER, np.uint8)
    for i in range(THUMBNAILS):
        frame = frames[min(int((i + 0.5) / THUMBNAILS * len(frames)), len(frames) - 1)]
        left = i * (thumb + STRIP_GAP)
        strip[:, left : left + thumb] = cv2.resize(frame, (thumb, SIDE), interpolation=cv2.INTER_AREA)
    return strip


def draw_score(progress: np.ndarray, title: str, strip: np.ndarray | None = None) -> np.ndarray:
    """Draws an episode: its strip, if there is one, and its progress (T + 1,) in [0, 1] over the same time.

    Returns:
        (height, width, 3) uint8.
    """
    width = WIDTH if strip is None else strip.shape[1]
    head = MARGIN + 24
    top = head if strip is None else head + SIDE + 10
    base = top + CURVE
    canvas = np.full((base + MARGIN, width + 2 * MARGIN, 3), PAPER, np.uint8)
    draw_text(canvas, title, (MARGIN, MARGIN + 12), INK, 0.48)
    if strip is not None:
        canvas[head : head + SIDE, MARGIN : MARGIN + width] = strip
    for level in (0.0, 0.5, 1.0):
        y = base - round(level * CURVE)
        cv2.line(canvas, (MARGIN, y), (MARGIN + width, y), GRID, 1)
    xs = MARGIN + np.round((np.arange(len(progress)) + 0.5) / len(progress) * width)
    draw_curve(canvas, xs, base - progress * CURVE, INK, 3)
    return canvas
