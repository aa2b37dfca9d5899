"""Videos: H.264 files that every browser plays, clips side by side, and frames read back."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from robo_reward.errors import MissingExtra, RoboRewardError, UsageError, WrongShape

_LABEL_HEIGHT = 22
_GAP = 4


class VideoError(RoboRewardError):
    """ffmpeg could not write or read a file; the message ends with what it said."""

    def __init__(self, what: str, path: Path, said: str) -> None:
        lines = said.strip().splitlines()
        super().__init__(f"cannot {what} {path}: {lines[-1] if lines else 'ffmpeg said nothing'}")


def ffmpeg() -> str:
    """The path of the ffmpeg binary, which comes inside the imageio-ffmpeg wheel.

    Raises:
        MissingExtra: imageio-ffmpeg is not installed.
        RoboRewardError: its wheel holds no binary for this platform.
    """
    try:
        import imageio_ffmpeg
    except ImportError:
        raise MissingExtra("imageio-ffmpeg", "", "writing videos") from None
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise RoboRewardError(f"no ffmpeg: {error}. Install one and set IMAGEIO_FFMPEG_EXE to its path") from error


def write_video(path: Path | str, frames: np.ndarray, fps: float, crf: int = 23) -> Path:
    """Writes an mp4 (H.264, yuv420p, index at the front) by rename, so that nobody sees half of it.

    Sides are made even by repeating the last row or column, as 4:2:0 chroma needs.

    Args:
        path: where; ends in `.mp4`.
        frames: (T, H, W, 3) uint8, T at least 1.
        fps: frames per second [Hz].
        crf: quality, from 0 (best) to 51; 23 is ffmpeg's default, 12 is hard to tell from the frames.

    Returns:
        The path.

    Raises:
        WrongShape: frames of another shape.
        VideoError: ffmpeg failed, for example on a full disk.
    """
    path, frames = Path(path), even(_checked(frames))
    if not fps > 0:
        raise UsageError(f"{fps} frames per second cannot be played; give a rate above zero")
    height, width = frames.shape[1:3]
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".mp4", dir=path.parent)
    os.close(handle)
    command = [ffmpeg(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    command += ["-r", f"{fps:g}", "-i", "-", "-an", "-c:v", "libx264", "-threads", "1", "-preset", "veryfast"]
    command += ["-crf", str(crf), "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4", temporary]
    try:
        done = subprocess.run(command, input=frames.tobytes(), capture_output=True, check=False)
        if done.returncode:
            raise VideoError("write", path, done.stderr.decode(errors="replace"))
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files private
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path


def read_video(path: Path | str, largest: int = 0) -> np.ndarray:
    """All frames of a video, (T, H, W, 3) uint8.

    Args:
        path: the video.
        largest: shrink frames as they are read until their longer side is at most this [pixels]; 0 for as they are.

    Raises:
        VideoError: there is no such file, or it is no video.
    """
    path = Path(path)
    capture = _opened(path)
    frames = []
    try:
        while True:
            more, frame = capture.read()
            if not more:
                break
            frames.append(cv2.cvtColor(_within(frame, largest), cv2.COLOR_BGR2RGB))
    finally:
        capture.release()
    if not frames:
        raise VideoError("read", path, "it holds no frames")
    return np.stack(frames)


def video_rate(path: Path | str) -> float:
    """Frames per second that a video says it has [Hz].

    Raises:
        VideoError: there is no such file, it is no video, or it does not say.
    """
    path = Path(path)
    capture = _opened(path)
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    capture.release()
    if not 0 < rate < 1e4:
        raise VideoError("read", path, f"its rate is {rate:g} frames per second")
    return rate


def _opened(path: Path) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG) if path.is_file() else None
    if capture is None or not capture.isOpened():
        raise VideoError("read", path, "it is not a video" if path.is_file() else "there is no such file")
    return capture


def _within(frame: np.ndarray, largest: int) -> np.ndarray:
    """A frame (H, W, 3) whose longer side is at most `largest` pixels, or as it is for 0."""
    height, width = frame.shape[:2]
    if not largest or max(height, width) <= largest:
        return frame
    shrink = largest / max(height, width)
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def side_by_side(clips: Sequence[np.ndarray], labels: Sequence[str] = (), height: int | None = None) -> np.ndarray:
    """Puts clips in a row, each under its label; shorter ones stand still on their last frame.

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
        raise UsageError("no clips to put side by side")
    if labels and len(labels) != len(clips):
        raise UsageError(f"{len(labels)} labels for {len(clips)} clips; give one each")
    clips = [_checked(clip) for clip in clips]
    side = height or max(clip.shape[1] for clip in clips)
    length = max(len(clip) for clip in clips)
    columns = [_held(_scaled(clip, side), length) for clip in clips]
    if labels:
        columns = [labelled(c, text) for c, text in zip(columns, labels, strict=True)]
    gap = np.full((length, columns[0].shape[1], _GAP, 3), 255, np.uint8)
    row = [columns[0]]
    for column in columns[1:]:
        row += [gap, column]
    return np.concatenate(row, axis=2)


def labelled(frames: np.ndarray, text: str) -> np.ndarray:
    """Puts a dark bar with one line of text above a clip.

    Args:
        frames: (T, H, W, 3) uint8.
        text: shrunk, then cut, to fit the width; ASCII, which is what the font has.

    Returns:
        (T, H + 22, W, 3) uint8.
    """
    frames = _checked(frames)
    bar = np.full((_LABEL_HEIGHT, frames.shape[2], 3), 32, np.uint8)
    text, scale = _fitted(text, frames.shape[2] - 8)
    cv2.putText(bar, text, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, scale, (240, 240, 240), 1, cv2.LINE_AA)
    return np.concatenate([np.broadcast_to(bar, (len(frames), *bar.shape)), frames], axis=1)


def even(frames: np.ndarray) -> np.ndarray:
    """Repeats the last row and column where a side is odd: (T, H, W, 3) to (T, even, even, 3)."""
    height, width = frames.shape[1:3]
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _checked(frames: np.ndarray) -> np.ndarray:
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise WrongShape(f"frames ({frames.dtype})", frames.shape, "(T, H, W, 3) uint8, nothing empty")
    return frames


def _scaled(clip: np.ndarray, height: int) -> np.ndarray:
    if clip.shape[1] == height:
        return clip
    width = max(1, round(clip.shape[2] * height / clip.shape[1]))
    way = cv2.INTER_AREA if height < clip.shape[1] else cv2.INTER_LINEAR
    return np.stack([cv2.resize(frame, (width, height), interpolation=way) for frame in clip])


def _held(clip: np.ndarray, length: int) -> np.ndarray:
    return clip[np.minimum(np.arange(length), len(clip) - 1)]


def _fitted(text: str, width: int) -> tuple[str, float]:
    text = text.encode("ascii", "replace").decode()
    for scale in (0.45, 0.38, 0.32):
        if _text_width(text, scale) <= width:
            return text, scale
    while text and _text_width(text + "..", 0.32) > width:
        text = text[:-1]
    return text + "..", 0.32


def _text_width(text: str, scale: float) -> int:
    return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0]


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
