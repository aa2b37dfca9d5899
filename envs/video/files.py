"""Videos: H.264 files that every browser plays, clips side by side, and frames read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from robo_reward.envs.video.loading import load_video
from robo_reward.envs.video.reader import VideoError
from robo_reward.envs.video.writer import VideoWriter
from robo_reward.errors import UsageError, WrongShape

__all__ = ["VideoError", "add_label_bar", "load_video", "read_video", "side_by_side", "write_video"]

_LABEL_HEIGHT = 22
_GAP = 4


def write_video(path: Path | str, frames: np.ndarray, fps: float, crf: int = 23) -> Path:
    """Writes an mp4 (H.264, yuv420p, index at the front) by rename, so that no reader sees half of it.

    Sides are made even by repeating the last row or column, as 4:2:0 chroma needs. The same frames give the same
    bytes.

    Args:
        path: where; ends in `.mp4`.
        frames: (T, H, W, 3) uint8, T at least 1.
        fps: frames per second [Hz].
        crf: quality, from 0 (best) to 51; 23 is x264's default, 12 is hard to tell from the frames.

    Returns:
        The path.

    Raises:
        WrongShape: frames of another shape.
        VideoError: the file cannot be written, for example on a full disk.
    """
    path, frames = Path(path), _validate_frames(frames)
    if not 0 < fps < 1e5:
        raise UsageError(f"{fps} frames per second cannot be played; give a rate above zero")
    with VideoWriter(path, fps, crf) as video:
        for frame in frames:
            video.write_frame(frame)
    return path


def read_video(path: Path | str, largest: int = 0) -> np.ndarray:
    """Returns all frames of a video, (T, H, W, 3) uint8; see `load_video`, which also says their rate.

    Raises:
        VideoError: there is no such file, it is no video, or it breaks off.
    """
    return load_video(path, largest).frames


def side_by_side(clips: Sequence[np.ndarray], labels: Sequence[str] = (), height: int | None = None) -> np.ndarray:
    """Puts clips in a row, each under its label; shorter ones hold their last frame.

    Args:
        clips: each (T_i, H_i, W_i, 3) uint8.
        labels: one per clip, or none for no label bar.
        height: all clips are scaled to it [pixels]; the tallest clip's if not given.

    Returns:
        (max T_i, height + label bar, sum of widths and gaps, 3) uint8.

    Raises:
        UsageError: no clips, or another number of labels.
    """
    if not clips:
        raise UsageError("no clips to place side by side")
    if labels and len(labels) != len(clips):
        raise UsageError(f"{len(labels)} labels for {len(clips)} clips; give one each")
    clips = [_validate_frames(clip) for clip in clips]
    side = height or max(clip.shape[1] for clip in clips)
    length = max(len(clip) for clip in clips)
    columns = [_extend_clip(_scale_clip(clip, side), length) for clip in clips]
    if labels:
        columns = [add_label_bar(c, text) for c, text in zip(columns, labels, strict=True)]
    gap = np.full((length, columns[0].shape[1], _GAP, 3), 255, np.uint8)
    row = [columns[0]]
    for column in columns[1:]:
        row += [gap, column]
    return np.concatenate(row, axis=2)


def add_label_bar(frames: np.ndarray, text: str) -> np.ndarray:
    """Adds a dark bar with one line of text above a clip.

    Args:
        frames: (T, H, W, 3) uint8.
        text: shrunk, then cut, to fit the width; ASCII, which is what the font has.

    Returns:
        (T, H + 22, W, 3) uint8.
    """
    frames = _validate_frames(frames)
    bar = np.full((_LABEL_HEIGHT, frames.shape[2], 3), 32, np.uint8)
    text, scale = _fit_text(text, frames.shape[2] - 8)
    cv2.putText(bar, text, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, scale, (240, 240, 240), 1, cv2.LINE_AA)
    return np.concatenate([np.broadcast_to(bar, (len(frames), *bar.shape)), frames], axis=1)


def _validate_frames(frames: np.ndarray) -> np.ndarray:
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise WrongShape(f"frames ({frames.dtype})", frames.shape, "(T, H, W, 3) uint8, nothing empty")
    return frames


def _scale_clip(clip: np.ndarray, height: int) -> np.ndarray:
    if clip.shape[1] == height:
        return clip
    width = max(1, round(clip.shape[2] * height / clip.shape[1]))
    way = cv2.INTER_AREA if height < clip.shape[1] else cv2.INTER_LINEAR
    return np.stack([cv2.resize(frame, (width, height), interpolation=way) for frame in clip])


def _extend_clip(clip: np.ndarray, length: int) -> np.ndarray:
    return clip[np.minimum(np.arange(length), len(clip) - 1)]


def _fit_text(text: str, width: int) -> tuple[str, float]:
    text = text.encode("ascii", "replace").decode()
    for scale in (0.45, 0.38, 0.32):
        if _measure_text_width(text, scale) <= width:
            return text, scale
    while text and _measure_text_width(text + "..", 0.32) > width:
        text = text[:-1]
    return text + "..", 0.32


def _measure_text_width(text: str, scale: float) -> int:
    return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0]
