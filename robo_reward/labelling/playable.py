"""Checks a video and makes it playable in a browser, with one frame in memory at a time."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from robo_reward.envs.video.reader import VideoError, VideoReader
from robo_reward.envs.video.writer import VideoWriter, open_video_container

LARGEST = 1280
"""Longer side of a converted video [pixels]: several videos are shown side by side."""
_COLOURS = ("yuv420p", "yuvj420p")
_PLAYABLE = {".mp4": ("h264", "av1", "vp9"), ".webm": ("vp8", "vp9", "av1")}
"""File ending -> codecs that browsers play unconverted, if colours are 4:2:0 and frames are not interlaced."""


class PlayableVideo(NamedTuple):
    """A video that browsers play.

    Args:
        path: the original, or a copy of it.
        seconds: duration [s].
        fps: frames per second [Hz]; of a varying rate, that of its shortest intervals.
        size: width and height as the original is shown [pixels].
    """

    path: Path
    seconds: float
    fps: float
    size: tuple[int, int]


class _CannotRemux(Exception):
    """The encoded packets cannot be copied into an mp4 unchanged."""


def make_playable(path: Path, copy: Path) -> PlayableVideo:
    """Returns a video in a form that browsers play.

    Every frame is decoded once, so that a broken file is found now.

    H.264 in a container that browsers do not play (MOV, Matroska) is copied without a loss; all else is converted
    to H.264, at most `LARGEST` pixels wide or high. Times of a varying rate are kept. An existing copy is used
    again.

    Args:
        path: the original.
        copy: where the copy goes if one is needed; ends in `.mp4`.

    Raises:
        VideoError: it is not a video or is truncated, or the copy cannot be written.
    """
    with VideoReader(path) as video:
        convert = not _is_decodable(video)
        if convert and not copy.is_file():
            _convert_to_h264(video, copy)
        else:
            for _ in video.decode_frames():
                pass
        timing, size = video.timing, video.size
        fits = not video.interlaced and video.codec in _PLAYABLE.get(path.suffix.lower(), ())
        turned = bool(video.rotation) or video.interlaced
    shown = PlayableVideo(path, timing.seconds, timing.fps, size)
    if fits and not convert:
        return shown
    if not copy.is_file() and (turned or not _copy_packets(path, copy)):
        with VideoReader(path) as video:
            _convert_to_h264(video, copy)
    return shown._replace(path=copy)


def _is_decodable(video: VideoReader) -> bool:
    """True if browsers decode the codec and pixel format, though perhaps not in this container."""
    if video.pixel_format not in _COLOURS:
        return False
    suffix = video.path.suffix.lower()
    return video.codec in _PLAYABLE.get(suffix, ()) or (video.codec == "h264" and video.container != "avi")


def _convert_to_h264(video: VideoReader, copy: Path) -> None:
    """Encodes the frames as H.264, each at its own timestamp."""
    with VideoWriter(copy, fps=video.declared_rate, crf=18, threads=0) as writer:
        for index, image in enumerate(video.read_images(LARGEST)):
            writer.write_frame(image, video.get_frame_time(index))


def _copy_packets(path: Path, copy: Path) -> bool:
    """Copies encoded packets into an mp4 without decoding them; returns False if they cannot be copied."""
    try:
        with VideoReader(path) as video, open_video_container(copy) as container:
            stream = container.add_stream_from_template(video.stream, opaque=True)
            for packet in video.demux_packets():
                if packet.is_discard:  # an edit list excludes it, which a plain copy cannot express
                    raise _CannotRemux
                packet.stream = stream
                container.mux(packet)
    except (VideoError, ValueError, _CannotRemux):
        return False
    return True
