"""Writes H.264 files that every browser plays, or AV1 files as LeRobot does, one frame at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from robo_reward.envs.video.reader import VideoError, import_av
from robo_reward.files import atomic_path

_CLOCK = 90_000  # [Hz] clock of explicit frame times


class VideoWriter:
    """An mp4 (yuv420p, index at the front) that is being written.

    The file appears under its name, whole, when the `with` block ends without an error. Sides are made even by
    repeating the last row or column, as 4:2:0 chroma needs. Memory does not grow with the length.

    Args:
        path: where; ends in `.mp4`.
        fps: frames per second [Hz].
        crf: quality, from 0 (best) to 51.
        threads: of the encoder; 0 for one per processor. The encoder of AV1 chooses itself.
        codec: `h264`, or `av1` with a key frame every second frame, which makes every frame quick to reach.

    Raises:
        VideoError: the file cannot be written, for example on a full disk.
        MissingExtra: PyAV is not installed.
    """

    def __init__(
        self, path: Path | str, fps: float, crf: int = 23, threads: int = 1, codec: Literal["h264", "av1"] = "h264"
    ) -> None:
        self.path, self._av, self._codec = Path(path), import_av(), codec
        self._fps, self._crf, self._threads = Fraction(fps).limit_denominator(1001), crf, threads
        if not self._fps:
            self._fps = Fraction(fps).limit_denominator(10**6)
        self._next = 0  # earliest time of the next frame [ticks of the stream's clock]
        self._stream: Any = None

    def __enter__(self) -> VideoWriter:
        self._file = open_video_container(self.path)
        self._container = self._file.__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if error is None and self._stream is not None:
                self._mux_packets(self._stream.encode(None))
        except BaseException as failure:
            self._file.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._file.__exit__(kind, error, trace)

    def write_frame(self, frame: np.ndarray, seconds: float | None = None) -> None:
        """Appends one frame.

        Args:
            frame: (H, W, 3) uint8, of one size in a video.
            seconds: when it is shown [s]; given for all frames or for none, which then follow each other at `fps`.
        """
        height, width = frame.shape[:2]
        if height % 2 or width % 2:
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._stream is None:
            base = 1 / self._fps if seconds is None else Fraction(1, _CLOCK)
            self._stream = self._new_stream(frame.shape[1], frame.shape[0], base)
        base = self._stream.codec_context.time_base
        picture = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture = picture.reformat(format="yuv420p")
        time = self._next if seconds is None else max(self._next, round(seconds * _CLOCK))
        picture.time_base, picture.pts = base, time
        self._next = time + 1
        self._mux_packets(self._stream.encode(picture))

    def _new_stream(self, width: int, height: int, base: Fraction) -> Any:
        options = {"preset": "veryfast", **_make_deterministic_options()}
        if self._codec == "av1":
            options = {"preset": "8", "g": "2"}
            os.environ.setdefault("SVT_LOG", "1")  # the encoder prints its settings to stderr, except at this level
        stream = self._container.add_stream("libsvtav1" if self._codec == "av1" else "libx264", rate=self._fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(self._crf), **options}
        stream.codec_context.time_base = base
        if self._codec == "h264":
            stream.codec_context.thread_count = self._threads
        return stream

    def _mux_packets(self, packets: Any) -> None:
        for packet in packets:
            self._container.mux(packet)


@contextmanager
def open_video_container(path: Path) -> Iterator[Any]:
    """Opens a PyAV container for writing an mp4 under a temporary name, and renames it when all went well.

    Raises:
        VideoError: FFmpeg failed, for example on a full disk.
    """
    av = import_av()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, sync=False) as temporary:
        try:
            # "file:" prefix: a colon in the name would be parsed as a protocol.
            with av.open(f"file:{temporary}", "w", format="mp4", options={"movflags": "+faststart"}) as container:
                yield container
        except (av.FFmpegError, OSError) as error:
            raise VideoError("write", path, getattr(error, "strerror", None) or str(error)) from error


@cache
def _make_deterministic_options() -> dict[str, str]:
    """Returns options that make x264 write the same bytes each time.

    Its AVX-512 code for the macroblock tree reads memory that was never set. Instructions are named only where the
    processor has them, since x264 uses those that are named without a check.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    return {"x264-params": "asm=AVX2"} if " avx512" in flags and " avx2" in flags else {}
