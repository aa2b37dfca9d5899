"""All frames of a video at once, at a constant rate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from robo_reward.envs.video_reader import Timing, VideoError, VideoReader

MAX_BYTES = 4 << 30  # [bytes] of all frames that `load_video` returns


class Film(NamedTuple):
    """All frames of a video.

    Args:
        frames: (T, H, W, 3) uint8.
        fps: frames per second [Hz].
    """

    frames: np.ndarray
    fps: float


def load_video(path: Path | str, largest: int = 0, each: Callable[[np.ndarray], np.ndarray] | None = None) -> Film:
    """Returns all frames of a video at a constant rate.

    Where the rate varies, frames are repeated so that the result plays at the speed of the original.

    Args:
        path: the video.
        largest: shrink frames as they are read until the longer side is at most this [pixels]; 0 for as they are.
        each: what to keep of each frame, such as its middle; (H, W, 3) to (H', W', 3).

    Raises:
        VideoError: there is no such file, it is no video, it breaks off, or its frames need more than 4 GiB.
    """
    kept: list[np.ndarray] = []
    with VideoReader(path) as video:
        for image in video.pictures(largest):
            kept.append(each(image) if each else image)
            _refuse_size(path, len(kept), kept[0])
        timing = video.timing
    if timing.regular:
        return Film(np.stack(kept), timing.fps)
    _refuse_size(path, _count_at(timing), kept[0])
    return Film(np.stack([kept[i] for i in _shown_at(timing)]), timing.fps)


def _refuse_size(path: Path | str, count: int, frame: np.ndarray) -> None:
    if count * frame.nbytes > MAX_BYTES:
        height, width = frame.shape[:2]
        raise VideoError(
            "read", path, f"{count} frames of {width} x {height} pixels need more than {MAX_BYTES >> 30} GiB; cut it"
        )


def _count_at(timing: Timing) -> int:
    """How many frames a video of a varying rate has at a constant one."""
    return max(1, round(min(timing.seconds * timing.fps, 1e12)))


def _shown_at(timing: Timing) -> np.ndarray:
    """Which frame is shown at each interval of the constant rate: (count,) indices."""
    moments = (np.arange(_count_at(timing)) + 0.5) / timing.fps  # the middle of an interval: its ends are rounded
    return np.maximum(np.searchsorted(timing.times, moments, side="right") - 1, 0)
