"""Pictures inside other files, and the frames of several cameras put side by side."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any

import cv2
import numpy as np

from robo_reward.errors import UsageError

log = logging.getLogger(__name__)

MAX_PICTURE = 64 << 20  # [bytes] of one file


def is_picture(values: Any) -> bool:
    """Returns whether an array, of numpy or of h5py, holds pictures (T, H, W, 3) uint8."""
    return getattr(values, "ndim", 0) == 4 and values.shape[-1] == 3 and values.dtype == np.uint8


def is_map(name: str, values: Any) -> bool:
    """Returns whether an array holds maps of numbers, such as depth or segmentation, which are not read."""
    dimensions = getattr(values, "ndim", 0)
    is_named = name.lower().split("_")[-1] in ("depth", "segmentation")
    return not is_picture(values) and (dimensions >= 4 or (dimensions == 3 and is_named))


@cache
def warn_of_maps(where: str, names: tuple[str, ...]) -> None:
    """Logs, once for each data set, that it has maps of numbers which are left out."""
    if names:
        log.warning("%s: maps of depth or segmentation are not read: %s", where, ", ".join(names))


def decode_picture(data: bytes) -> np.ndarray | None:
    """Returns an encoded picture as (H, W, 3) uint8 in RGB; None where it is none or too large."""
    if not 0 < len(data) <= MAX_PICTURE:
        return None
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return None if picture is None else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def join_cameras(parts: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """Returns the frames of several cameras side by side, at the size of the smallest.

    Args:
        parts: camera -> (T, H, W, 3) uint8.
        name: the data set, for messages.

    Raises:
        UsageError: cameras with different numbers of frames.
    """
    lengths = {camera: len(frames) for camera, frames in parts.items()}
    if len(set(lengths.values())) > 1:
        raise UsageError(f"the cameras of {name} have different numbers of frames: {lengths}")
    height, width = min((frames.shape[1:3] for frames in parts.values()), key=lambda size: size[0] * size[1])
    found = []
    for camera, frames in parts.items():
        if frames.shape[1:3] != (height, width):
            log.warning(
                "camera %s of %s is brought from %d x %d to %d x %d pixels, as the smallest has",
                *(camera, name, frames.shape[2], frames.shape[1], width, height),
            )
            frames = np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames])
        found.append(frames)
    return np.concatenate(found, axis=2)


def crop_square(image: np.ndarray, size: int) -> np.ndarray:
    """Returns the middle square of a picture (H, W, 3), scaled to (size, size, 3)."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    middle = np.ascontiguousarray(image[top : top + side, left : left + side])
    if side == size:
        return middle
    return cv2.resize(middle, (size, size), interpolation=cv2.INTER_AREA if size < side else cv2.INTER_LINEAR)
