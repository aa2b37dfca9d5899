"""Views, the boxes of a frame that an encoder reads, and the checks of frames and clips."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.errors import UsageError, WrongShape

View = tuple[float, float, float, float]
"""A box (left, top, right, bottom) in fractions of the frame; (0, 0, 1, 1) is the whole frame."""

WHOLE: tuple[View, ...] = ((0.0, 0.0, 1.0, 1.0),)


def camera_views(count: int, box: View = WHOLE[0]) -> tuple[View, ...]:
    """Returns the same box for each of several cameras that are side by side in one frame.

    Args:
        count: number of cameras in the frame.
        box: in fractions of one camera's picture.
    """
    left, top, right, bottom = box
    return tuple(((i + left) / count, top, (i + right) / count, bottom) for i in range(count))


def check_views(views: Iterable[Sequence[float]]) -> tuple[View, ...]:
    """Returns the views as tuples of floats.

    Raises:
        UsageError: there is no view, or a box is empty or leaves the frame.
    """
    found = []
    for view in views:
        box = tuple(float(edge) for edge in view)
        if len(box) != 4 or not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
            problem = "is not a box (left, top, right, bottom) with 0 <= left < right <= 1 and 0 <= top < bottom <= 1"
            raise UsageError(f"view {tuple(view)} {problem}, in fractions of the frame")
        found.append((box[0], box[1], box[2], box[3]))
    if not found:
        raise UsageError("an encoder needs at least one view; (0, 0, 1, 1) is the whole frame")
    return tuple(found)


def check_frames(frames: Any) -> np.ndarray:
    """Returns the frames as an array that encoders accept.

    Args:
        frames: (T, H, W, 3) uint8, RGB.

    Raises:
        WrongShape: the frames have another shape or dtype; the message says which.
    """
    array = np.asarray(frames)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3 or 0 in array.shape[1:]:
        raise WrongShape(f"frames ({array.dtype})", array.shape, "(T, H, W, 3) uint8, RGB")
    return array


def crop_view(frames: np.ndarray, view: View, size: tuple[int, int] | None = None) -> np.ndarray:
    """Crops one view of the frames and resizes it.

    Shrinking averages over areas, growing interpolates linearly: both as OpenCV does, frame by frame.

    Args:
        frames: (T, H, W, 3) uint8.
        view: the box; its edges are rounded to pixels, at least one pixel remains.
        size: (h, w) of the result, None for the size of the box.

    Returns:
        (T, h, w, 3) uint8; a view of `frames` if nothing had to be resized.
    """
    height, width = frames.shape[1:3]
    left, right = _edge_pixels(view[0], view[2], width)
    top, bottom = _edge_pixels(view[1], view[3], height)
    part = frames[:, top:bottom, left:right]
    if size is None or part.shape[1:3] == tuple(size):
        return part
    shrinks = size[0] <= part.shape[1] and size[1] <= part.shape[2]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = np.empty((len(part), *size, 3), np.uint8)
    for source, target in zip(part, resized, strict=True):
        cv2.resize(np.ascontiguousarray(source), (size[1], size[0]), dst=target, interpolation=interpolation)
    return resized


def _edge_pixels(low: float, high: float, length: int) -> tuple[int, int]:
    first = min(round(low * length), length - 1)
    return first, max(round(high * length), first + 1)


def collect_clips(source: Sequence[Episode] | Sequence[np.ndarray] | np.ndarray) -> list[np.ndarray]:
    """Returns the clips to learn from, each (T, H, W, 3) uint8.

    Args:
        source: episodes with frames, arrays of frames (T, H, W, 3), or one array of clips (N, T, H, W, 3).

    Raises:
        UsageError: there are no frames at all, or an episode has none.
        WrongShape: the frames have another shape, or the clips have several sizes.
    """
    clips = []
    for index, item in enumerate(source):
        frames = item.frames if isinstance(item, Episode) else item
        if frames is None:
            raise UsageError(f"episode {index} has no frames: collect it with frames=FrameSpec(...)")
        clips.append(check_frames(frames))
    if not sum(map(len, clips)):
        raise UsageError("the clips contain no frames to learn from; record them with frames")
    sizes = {clip.shape[1:] for clip in clips}
    if len(sizes) > 1:
        raise WrongShape("clips", max(sizes), f"one size for all; {min(sizes)} also occurs")
    return clips


def sample_frames(clips: Sequence[np.ndarray], count: int, rng: np.random.Generator) -> np.ndarray:
    """Returns up to `count` frames (n, H, W, 3) spread evenly over all clips, from a random start."""
    ends = np.cumsum([len(clip) for clip in clips])
    total = int(ends[-1])
    count = min(count, total)
    chosen = ((np.arange(count) + rng.uniform()) * total / count).astype(int)
    owner = np.searchsorted(ends, chosen, side="right")
    return np.stack([clips[c][i - (ends[c] - len(clips[c]))] for c, i in zip(owner, chosen, strict=True)])
