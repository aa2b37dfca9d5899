"""All frames of a video at once, at a constant rate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from robo_reward.envs.video.reader import FrameTiming, VideoError, VideoReader

MAX_BYTES = 4 << 30  # [bytes] largest size of all frames that `load_video` returns


class LoadedVideo(NamedTuple):
    """All frames of a video.

    Args:
        frames: (T, H, W, 3) uint8.
        fps: frames per second [Hz].
    """

    frames: np.ndarray
    fps: float


def load_video(
    path: Path | str, largest: int = 0, transform: Callable[[np.ndarray], np.ndarray] | None = None
) -> LoadedVideo:
    """Returns all frames of a video at a constant rate.

    Where the rate varies, frames are repeated so that the result plays at the speed of the original.

    Args:
        path: the video.
        largest: shrink frames as they are read until the longer side is at most this [pixels]; 0 for as they are.
        transform: maps each frame to what is kept of it, such as its middle; (H, W, 3) to (H', W', 3).

    Raises:
        VideoError: there is no such file, it is no video, it breaks off, or its frames need more than 4 GiB.
    """
    kept: list[np.ndarray] = []
    with VideoReader(path) as video:
        for image in video.read_images(largest):
            kept.append(transform(image) if transform else image)
            _check_total_size(path, len(kept), kept[0])
        timing = video.timing
    if timing.regular:
        return LoadedVideo(np.stack(kept), timing.fps)
    _check_total_size(path, _count_resampled_frames(timing), kept[0])
    return LoadedVideo(np.stack([kept[i] for i in _compute_resampled_indices(timing)]), timing.fps)


def _check_total_size(path: Path | str, count: int, frame: np.ndarray) -> None:
    if count * frame.nbytes > MAX_BYTES:
        height, width = frame.shape[:2]
        raise VideoError(
            "read", path, f"{count} frames of {width} x {height} pixels need more than {MAX_BYTES >> 30} GiB; cut it"
        )


def _count_resampled_frames(timing: FrameTiming) -> int:
    """Returns the number of frames that a video of a varying rate has at a constant one."""
    return max(1, round(min(timing.seconds * timing.fps, 1e12)))


def _compute_resampled_indices(timing: FrameTiming) -> np.ndarray:
    """Returns the index of the frame shown at each interval of the constant rate, (count,)."""
    moments = (
        np.arange(_count_resampled_frames(timing)) + 0.5
    ) / timing.fps  # the centre of the frame's interval: its ends are rounded
    return np.maximum(np.searchsorted(timing.times, moments, side="right") - 1, 0)
