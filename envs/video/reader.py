"""Reader of video files, one frame at a time, from any camera, screen recorder or robot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from robo_reward.envs.video.container import is_cut_off
from robo_reward.errors import MissingExtra, RoboRewardError
from robo_reward.files import open_regular

if TYPE_CHECKING:
    import av

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
"""The allowed demuxers. Playlist formats are excluded: they make the reader open other files."""
MAX_PIXELS = 64 << 20  # pixels of one frame: 8192 x 8192
_USUAL_RATE = 25.0


class VideoError(RoboRewardError):
    """A video cannot be read or written; the message names the file and what is wrong with it."""

    def __init__(self, what: str, path: Path | str, said: str) -> None:
        self.problem = said.strip() or "no reason was given"
        super().__init__(f"cannot {what} {path}: {self.problem}")


class FrameTiming(NamedTuple):
    """The times at which the frames of a video are shown.

    Args:
        fps: frames per second [Hz]; of a varying rate, that of its shortest intervals, so that no frame is lost.
        seconds: how long the video is [s].
        regular: whether every frame is within half an interval of its place at a constant rate.
        times: (T,) when each frame is shown [s]; the first at 0.
    """

    fps: float
    seconds: float
    regular: bool
    times: np.ndarray


def import_av() -> Any:
    """Returns PyAV, which brings FFmpeg's libraries inside its wheel.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import av
        import av.filter
    except ImportError:
        raise MissingExtra("av", "", "reading and writing videos") from None
    return av


class VideoReader:
    """A video file that is open for reading.

    Frames come as they are shown: in order, without those that an edit list leaves out, deinterlaced, turned as the
    file says, with square pixels. One frame is held at a time, so memory does not grow with the length.

    Args:
        path: a regular file, or a link to one.

    Raises:
        VideoError: there is no such file, or it is not a video of a known kind.
        MissingExtra: PyAV is not installed.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._av = import_av()
        self._file = self._open_file()
        try:
            self._cut = is_cut_off(self._file)
            self._container = self._open_container()
            try:
                self._stream = self._find_picture_stream()
            except BaseException:
                self._container.close()
                raise
        except BaseException:
            self._file.close()
            raise
        self.interlaced, self.rotation = False, 0
        self.size = (0, 0)
        """Width and height as displayed [pixels]; like the two attributes above, known from the first frame on."""
        self._times: list[float] = []
        self._start = self._last = 0.0

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._container.close()
        self._file.close()

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec, such as `h264` or `av1`."""
        return self._stream.codec_context.codec.canonical_name

    @property
    def pixel_format(self) -> str:
        """FFmpeg's name of the pixel format, such as `yuv420p`."""
        return self._stream.codec_context.pix_fmt or ""

    @property
    def container(self) -> str:
        """FFmpeg's name of the container format, such as `mov,mp4,m4a,3gp,3g2,mj2`."""
        return self._container.format.name

    @property
    def timing(self) -> FrameTiming:
        """The times of the frames read so far; complete after the last."""
        constant = self.container == "avi"  # AVI has no time stamps; those of reordered frames are guessed
        return _compute_timing(np.array(self._times), self._last, self._stream.average_rate, constant)

    @property
    def declared_rate(self) -> float:
        """The declared frames per second of the file [Hz], or a usual rate if that is not plausible."""
        return _get_plausible_rate(self._stream.average_rate)

    def get_frame_time(self, index: int) -> float:
        """Returns the time at which a frame that has been read is shown [s]."""
        return self._times[index]

    @property
    def stream(self) -> Any:
        """PyAV's stream of pictures, as a template for a copy."""
        return self._stream

    def demux_packets(self) -> Iterator[Any]:
        """Yields the encoded packets of the pictures, in the order of decoding."""
        return (packet for packet in self._container.demux(self._stream) if packet.dts is not None)

    def decode_frames(self) -> Iterator[av.VideoFrame]:
        """Yields the decoded frames, deinterlaced, in the order in which they are shown.

        Raises:
            VideoError: the file is cut off, a frame cannot be decoded, or there is no frame.
        """
        context = self._stream.codec_context
        context.thread_count, context.thread_type = min(4, len(os.sched_getaffinity(0))), "AUTO"
        context.options = {"max_pixels": str(MAX_PIXELS)}
        deinterlacer = _Deinterlacer(self._av)
        try:
            for frame in self._container.decode(self._stream):
                self._record_timing(frame)
                yield from deinterlacer.process_frame(frame)
            yield from deinterlacer.flush_frames()
        except (self._av.FFmpegError, OSError, ValueError, MemoryError, OverflowError) as error:
            self._raise_if_truncated()
            raise self._make_error(
                f"it is damaged after {len(self._times)} frames ({_describe_error(error)})"
            ) from error
        self._raise_if_truncated()
        if not self._times:
            raise self._make_error("it holds no frames")

    def read_images(self, largest: int = 0) -> Iterator[np.ndarray]:
        """Yields frames (H, W, 3) uint8 as they are shown; all have the size of the first.

        Args:
            largest: shrink frames until the longer side is at most this [pixels]; 0 for as they are.

        Raises:
            VideoError: as `decode_frames` does.
        """
        size = None
        for frame in self.decode_frames():
            image = self._to_upright_image(frame, largest)
            size = size or (image.shape[1], image.shape[0])
            yield image if image.shape[1::-1] == size else cv2.resize(image, size, interpolation=cv2.INTER_AREA)

    def read_segment(self, start: float, count: int, fps: float, largest: int = 0) -> Iterator[np.ndarray]:
        """Yields the frames (H, W, 3) uint8 of a part of the file, as it is one of several episodes in it.

        Args:
            start: when the first frame of the part is shown [s].
            count: number of frames.
            fps: frames per second of the file [Hz].
            largest: as in `read_images`.

        Raises:
            VideoError: as `decode_frames` does, or the file ends before that part.
        """
        base = self._stream.time_base or Fraction(1, 1000)
        begin = self._stream.start_time or 0
        try:
            self._container.seek(begin + int(start / base), stream=self._stream)
        except (self._av.FFmpegError, OSError, ValueError, OverflowError) as error:
            raise self._make_error(f"it has no frame at {start:g} s ({_describe_error(error)})") from error
        found = 0
        for frame in self.decode_frames():
            if frame.pts is None or float((frame.pts - begin) * base) < start - 0.5 / fps:
                continue
            yield self._to_upright_image(frame, largest)
            found += 1
            if found == count:
                return
        raise self._make_error(f"it has {found} of the {count} frames from {start:g} s on; copy the file again")

    def _open_file(self) -> BufferedReader:
        try:
            file = open_regular(self.path, follow=True)
        except OSError as error:
            raise self._make_error(error.strerror or str(error)) from error
        if file is None:
            raise self._make_error("it is not a file" if os.path.lexists(self.path) else "there is no such file")
        return file

    def _open_container(self) -> Any:
        if not os.fstat(self._file.fileno()).st_size:
            raise self._make_error("the file is empty")
        options = {"format_whitelist": FORMATS}
        try:
            return self._av.open(self._file, "r", options=options, metadata_errors="replace")
        except (self._av.FFmpegError, OSError, ValueError, MemoryError) as error:
            if self._cut:
                raise self._make_error(
                    "it breaks off before the index of its frames, which is stored at its end; copy it again"
                ) from error
            raise self._make_error("it is not a video") from error

    def _find_picture_stream(self) -> Any:
        cover = self._av.stream.Disposition.attached_pic
        for stream in self._container.streams.video:
            if stream.codec_context is None:
                raise self._make_error("its codec cannot be decoded here; convert it to H.264")
            if not stream.disposition & cover:
                return stream
        raise self._make_error(
            "it breaks off before its first frame; copy it again" if self._cut else "it holds no frames"
        )

    def _record_timing(self, frame: av.VideoFrame) -> None:
        """Records the time of a frame, and the rotation, interlacing and size that the file declares."""
        before = self._times[-1] if self._times else 0.0
        base = frame.time_base or Fraction(0)
        begun = before + self._last if frame.pts is None else float(frame.pts * base)
        if not self._times:
            self._start = begun
        self._times.append(max(begun - self._start, before))
        self._last = float((frame.duration or 0) * base)
        self.interlaced |= frame.interlaced_frame
        self.rotation = frame.rotation or self.rotation
        if not self.size[0]:
            width, height = self._to_square_pixels(frame.width, frame.height)
            self.size = (height, width) if self._count_quarter_turns() % 2 else (width, height)

    def _count_quarter_turns(self) -> int:
        """Returns the number of counter-clockwise turns by 90 degrees that a frame needs."""
        return round(self.rotation / 90) % 4

    def _to_square_pixels(self, width: int, height: int) -> tuple[int, int]:
        aspect = float(self._stream.sample_aspect_ratio or 1)
        if aspect > 0 and not 0.99 < aspect < 1.01 and aspect * width < 2**15:
            width = max(1, round(width * aspect))
        return width, height

    def _to_upright_image(self, frame: av.VideoFrame, largest: int) -> np.ndarray:
        """Returns a frame as RGB with square pixels, turned as the file says, and shrunk."""
        image = frame.to_ndarray(format="rgb24")
        width, height = self._to_square_pixels(image.shape[1], image.shape[0])
        turned = self._count_quarter_turns()
        shrink = min(1.0, largest / max(height, width)) if largest else 1.0
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        if image.shape[1::-1] != size:
            way = cv2.INTER_AREA if shrink < 1 else cv2.INTER_LINEAR
            image = cv2.resize(image, size, interpolation=way)
        return np.ascontiguousarray(np.rot90(image, turned)) if turned else image

    def _raise_if_truncated(self) -> None:
        """Raises a `VideoError` that names the missing frames, if the file is shorter than its headers declare."""
        if self._cut:
            read, promised = len(self._times), self._count_declared_frames()
            of = f" of {promised}" if promised > read else ""
            raise self._make_error(f"it breaks off after {read}{of} frames; copy it again from where it was recorded")

    def _count_declared_frames(self) -> int:
        """Returns the number of frames that the headers declare; 0 if they declare none."""
        seconds, rate = self._container.duration, self._stream.average_rate
        if self.container == "avi" or not seconds or not rate:  # the rate in an AVI header is often wrong
            return 0
        return round(float(seconds / self._av.time_base * rate))

    def _make_error(self, said: str) -> VideoError:
        return VideoError("read", self.path, said)


class _Deinterlacer:
    """Makes whole frames of interlaced ones; progressive frames pass through until the first interlaced one."""

    def __init__(self, av: Any) -> None:
        self._av = av
        self._graph: Any = None
        self._kind: tuple[Any, ...] = ()

    def process_frame(self, frame: Any) -> Iterator[Any]:
        """Yields the frames that are ready."""
        kind = (frame.width, frame.height, frame.format.name)
        if self._graph is not None and kind != self._kind:
            yield from self.flush_frames()
        if self._graph is None and not frame.interlaced_frame:
            yield frame
            return
        if self._graph is None:
            self._graph, self._kind = self._build_graph(frame), kind
        self._graph.vpush(frame)
        yield from self._pull_frames()

    def flush_frames(self) -> Iterator[Any]:
        """Yields the frames that remain in the filter."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._pull_frames()
            self._graph = None

    def _build_graph(self, frame: Any) -> Any:
        graph = self._av.filter.Graph()
        base = frame.time_base or Fraction(1, 1000)
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)
        graph.link_nodes(source, graph.add("yadif", "mode=send_frame:deint=interlaced"), graph.add("buffersink"))
        graph.configure()
        return graph

    def _pull_frames(self) -> Iterator[Any]:
        while True:
            try:
                yield self._graph.vpull()
            except (BlockingIOError, EOFError):  # the decoder needs more data, or is empty
                return


def _compute_timing(times: np.ndarray, last: float, said: Fraction | None, constant: bool) -> FrameTiming:
    usual = _get_plausible_rate(said)
    steps = np.diff(times)
    steps = steps[steps > 1e-4]
    if not len(steps):
        return FrameTiming(usual, len(times) / usual, True, times)
    mean = (len(times) - 1) / times[-1]
    regular = bool((np.abs(times - np.arange(len(times)) / mean) <= 0.5 / mean + 1e-3).all())
    fps = float(mean if regular else 1 / np.quantile(steps, 0.05, method="lower"))  # shortest step, robustly
    if constant:
        fps = usual if usual <= 240 else fps
        return FrameTiming(fps, len(times) / fps, True, np.arange(len(times)) / fps)
    if regular and abs(fps - usual) < 0.005 * usual:
        fps = usual  # the nominal rate is exact; times are rounded to the container's clock
    shown = last if 0 < last <= 10 * max(steps) else 1 / fps
    return FrameTiming(fps, float(times[-1]) + shown, regular, times)


def _get_plausible_rate(rate: Fraction | None) -> float:
    return float(rate) if rate and 0 < rate <= 1000 else _USUAL_RATE


def _describe_error(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
