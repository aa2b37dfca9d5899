"""Checks a video and makes it playable in a browser, with one frame in memory at a time."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from robo_reward.envs.video_reader import VideoError, VideoReader
from robo_reward.envs.video_writer import VideoWriter, new_video

LARGEST = 1280
"""The longer side of a video that is converted [pixels]: several are shown beside each other."""
_COLOURS = ("yuv420p", "yuvj420p")
_PLAYABLE = {".mp4": ("h264", "av1", "vp9"), ".webm": ("vp8", "vp9", "av1")}
"""What browsers play as it is, if its colours are 4:2:0 and its frames are whole: endings and codecs."""


class Playable(NamedTuple):
    """A video that browsers play.

    Args:
        path: the original, or a copy of it.
        seconds: how long [s].
        fps: frames per second [Hz]; of a varying rate, that of its shortest intervals.
        size: width and height as the original is shown [pixels].
    """

    path: Path
    seconds: float
    fps: float
    size: tuple[int, int]


class _DoesNotFit(Exception):
    """The encoded pictures cannot be copied as they are."""


def make_playable(path: Path, copy: Path) -> Playable:
    """Returns a video in a form that browsers play. Every frame is decoded once, so that a broken file is found now.

    H.264 in a container that browsers do not play (MOV, Matroska) is copied without a loss; all else is converted to
    H.264, at most `LARGEST` pixels wide or high. Times of a varying rate are kept. An existing copy is used again.

    Args:
        path: the original.
        copy: where the copy goes if one is needed; ends in `.mp4`.

    Raises:
        VideoError: it is no video or breaks off, or the copy cannot be written.
    """
    with VideoReader(path) as video:
        convert = not _is_understood(video)
        if convert and not copy.is_file():
            _convert(video, copy)
        else:
            for _ in video.decode():
                pass
        timing, size = video.timing, video.size
        fits = not video.interlaced and video.codec in _PLAYABLE.get(path.suffix.lower(), ())
        turned = bool(video.rotation) or video.interlaced
    shown = Playable(path, timing.seconds, timing.fps, size)
    if fits and not convert:
        return shown
    if not copy.is_file() and (turned or not _copy_packets(path, copy)):
        with VideoReader(path) as video:
            _convert(video, copy)
    return shown._replace(path=copy)


def _is_understood(video: VideoReader) -> bool:
    """Whether browsers decode the pictures, if perhaps not in this container."""
    if video.pixel_format not in _COLOURS:
        return False
    suffix = video.path.suffix.lower()
    return video.codec in _PLAYABLE.get(suffix, ()) or (video.codec == "h264" and video.container != "avi")


def _convert(video: VideoReader, copy: Path) -> None:
    """Writes the frames as H.264, each at its own time."""
    with VideoWriter(copy, fps=video.said_rate, crf=18, threads=0) as writer:
        for index, image in enumerate(video.pictures(LARGEST)):
            writer.write(image, video.shown_at(index))


def _copy_packets(path: Path, copy: Path) -> bool:
    """Copies encoded pictures into an mp4 without decoding them; false where they do not fit into one."""
    try:
        with VideoReader(path) as video, new_video(copy) as container:
            stream = container.add_stream_from_template(video.stream, opaque=True)
            for packet in video.packets():
                if packet.is_discard:  # an edit list leaves it out, which a plain copy cannot say
                    raise _DoesNotFit
                packet.stream = stream
                container.mux(packet)
    except (VideoError, ValueError, _DoesNotFit):
        return False
    return True
