"""Pictures of discovered steps: a film strip with its boundaries, and the recognition of each step over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from robo_reward.errors import RoboRewardError
from robo_reward.files import write_bytes
from robo_reward.rewards.perceptual.steps import cuts_to_labels

COLOURS = (
    (37, 99, 235),
    (217, 119, 6),
    (5, 150, 105),
    (190, 24, 93),
    (109, 40, 217),
    (71, 85, 105),
)
"""Colours (R, G, B) of steps 1, 2, ...; they repeat for later steps."""

INK, SOFT, PAPER, GRID = (28, 30, 36), (110, 115, 125), (255, 255, 255), (228, 229, 232)
MARGIN, STRIP_GAP, BAR, CURVE = 12, 4, 10, 90


def draw_steps(
    frames: np.ndarray,
    cuts: Sequence[int],
    recognised: np.ndarray,
    total: np.ndarray,
    title: str = "",
    thumbnails: int = 12,
    side: int = 84,
) -> np.ndarray:
    """Draws one demonstration from left to right: frames, steps as bars, and curves over the same time.

    Every x of the picture is one moment: a thumbnail shows the frame in its middle.

    Args:
        frames: (T, H, W, 3) uint8.
        cuts: first frames of steps 2 to n.
        recognised: (T, n) in [0, 1], a thin curve per step in the colour of its bar.
        total: (T,) in [0, 1], the thick dark curve.
        title: a line above.
        thumbnails: number of frames in the strip.
        side: height of a thumbnail [pixels].

    Returns:
        (height, width, 3) uint8.
    """
    length = len(frames)
    thumb = max(1, round(side * frames.shape[2] / frames.shape[1]))
    width = thumbnails * (thumb + STRIP_GAP) - STRIP_GAP
    head = 24 if title else 0
    canvas = np.full((2 * MARGIN + head + side + 2 * BAR + CURVE + 12, width + 2 * MARGIN, 3), PAPER, np.uint8)
    if title:
        draw_text(canvas, title, (MARGIN, MARGIN + 12), INK, 0.48)
    top = MARGIN + head

    def to_pixel_x(t: float) -> int:
        return MARGIN + round(t * width / length)

    for i in range(thumbnails):
        t = min(int((i * (thumb + STRIP_GAP) + thumb / 2) * length / width), length - 1)
        picture = cv2.resize(frames[t], (thumb, side), interpolation=cv2.INTER_AREA)
        left = MARGIN + i * (thumb + STRIP_GAP)
        canvas[top : top + side, left : left + thumb] = picture
    bar, base = top + side + 4, top + side + BAR + 12 + CURVE
    label = cuts_to_labels(cuts, length)
    for step in range(int(label.max()) + 1):
        span = np.flatnonzero(label == step)
        left, right = to_pixel_x(span[0]), to_pixel_x(span[-1] + 1)
        canvas[bar : bar + BAR, left : right - 1] = _get_step_colour(step)
        draw_text(canvas, str(step + 1), (left + 4, bar + BAR - 2), PAPER, 0.33)
    for level in (0.0, 0.5, 1.0):
        cv2.line(canvas, (MARGIN, base - round(level * CURVE)), (MARGIN + width, base - round(level * CURVE)), GRID, 1)
    for cut in cuts:
        cv2.line(canvas, (to_pixel_x(cut), top), (to_pixel_x(cut), base), INK, 1, cv2.LINE_AA)
    middles = np.array([to_pixel_x(t + 0.5) for t in range(length)])
    for step in range(recognised.shape[1]):
        draw_curve(canvas, middles, base - recognised[:, step] * CURVE, _get_step_colour(step), 2)
    draw_curve(canvas, middles, base - total * CURVE, INK, 3)
    return canvas


def draw_discovery(strips: Sequence[np.ndarray], caption: str = "") -> np.ndarray:
    """Stacks the strips of several demonstrations above a legend."""
    width = max(strip.shape[1] for strip in strips)
    rows = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in strips]
    legend = np.full((26, width, 3), PAPER, np.uint8)
    draw_text(legend, caption, (MARGIN, 16), SOFT, 0.42)
    return np.concatenate([*rows, legend])


def write_png(path: Path, picture: np.ndarray) -> Path:
    """Writes a picture (H, W, 3) uint8 as a whole and returns the path."""
    good, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not good:
        raise RoboRewardError(f"cannot encode a picture of shape {picture.shape} for {path}")
    write_bytes(path, data.tobytes(), sync=False)
    return path


def _get_step_colour(step: int) -> tuple[int, int, int]:
    """Returns the colour (R, G, B) of a step, counted from 0."""
    return COLOURS[step % len(COLOURS)]


def draw_curve(
    canvas: np.ndarray, xs: np.ndarray, ys: np.ndarray, colour: tuple[int, int, int], thickness: int
) -> None:
    """Draws a polyline onto the canvas."""
    points = np.stack([xs, np.round(ys)], axis=1).astype(np.int32)[:, None]
    cv2.polylines(canvas, [points], False, colour, thickness, cv2.LINE_AA)


def draw_text(canvas: np.ndarray, text: str, at: tuple[int, int], colour: tuple[int, int, int], scale: float) -> None:
    """Writes a text onto the canvas; characters outside ASCII become question marks."""
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(canvas, plain, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
