"""Videos as cameras, screen recorders and robots write them, against FFmpeg's own reading of them."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from imageio_ffmpeg import get_ffmpeg_exe

from robo_reward.envs.video import loading as film
from robo_reward.envs.video.files import VideoError, load_video, read_video
from robo_reward.envs.video.reader import VideoReader

PICTURE = "testsrc2=size=160x120:rate=30:duration=2"


def ffmpeg(*words: object) -> bytes:
    command = [get_ffmpeg_exe(), "-y", "-loglevel", "error", *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def make(path: Path, *words: object, picture: str = PICTURE) -> Path:
    ffmpeg("-f", "lavfi", "-i", picture, *words, path)
    return path


def as_ffmpeg_reads(path: Path, shape: tuple[int, ...], *words: object) -> np.ndarray:
    data = ffmpeg("-i", path, *words, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    return np.frombuffer(data, np.uint8).reshape(shape)


H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("h264.mp4", H264),
        ("h264.mkv", H264),
        ("av1.mp4", ("-c:v", "libsvtav1", "-preset", 12, "-pix_fmt", "yuv420p")),
        ("vp8.webm", ("-c:v", "libvpx", "-deadline", "realtime")),
        ("mjpeg.avi", ("-c:v", "mjpeg")),
        ("ten_bits.mp4", ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv422p10le")),
        ("grey.avi", ("-c:v", "ffv1", "-pix_fmt", "gray")),
        ("palette.mov", ("-c:v", "qtrle", "-pix_fmt", "rgb24")),
        ("high.mp4", ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-colorspace", "bt709")),
        ("fragments.mp4", (*H264, "-movflags", "frag_keyframe+empty_moov", "-g", 10)),
    ],
)
def test_codecs_containers_and_pixel_formats(tmp_path: Path, name: str, words: tuple[object, ...]):
    path = make(tmp_path / name, *words)
    whole = load_video(path)
    assert whole.fps == pytest.approx(30) and whole.frames.shape == (60, 120, 160, 3)
    truth = as_ffmpeg_reads(path, whole.frames.shape)
    limit = 4 if name == "ten_bits.mp4" else 0.5  # FFmpeg's program smooths the colours between pixels
    assert np.abs(whole.frames.astype(int) - truth).mean() < limit


def test_odd_sizes_and_pixels_that_are_not_square(tmp_path: Path):
    odd = make(tmp_path / "odd.avi", "-c:v", "ffv1", "-pix_fmt", "yuv444p", picture="testsrc=size=161x91:duration=0.2")
    assert read_video(odd).shape == (5, 91, 161, 3)
    wide = make(tmp_path / "wide.mp4", *H264, "-vf", "setsar=2", "-frames:v", 3)
    assert read_video(wide).shape == (3, 120, 320, 3)
    with VideoReader(wide) as video:
        assert len(list(video.decode_frames())) == 3 and video.size == (320, 120)


def test_interlaced_frames_become_whole(tmp_path: Path):
    path = make(
        tmp_path / "i.mp4",
        *("-vf", "tinterlace=interleave_top,fieldorder=tff", "-flags", "+ilme+ildct", "-x264opts", "tff=1"),
        *H264[:2], *H264[4:],
        picture="testsrc2=size=160x120:rate=50:duration=1",
    )  # fmt: skip
    whole = load_video(path)
    truth = as_ffmpeg_reads(path, (25, 120, 160, 3), "-vf", "yadif")
    np.testing.assert_array_equal(whole.frames, truth)
    assert whole.fps == 25 and not (whole.frames == whole.frames[0]).all()


def test_pictures_are_turned_as_the_file_says(tmp_path: Path):
    plain = make(tmp_path / "plain.mp4", *H264, "-frames:v", 4)
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", 90, "-i", plain, "-c", "copy", turned)
    frames = read_video(turned)
    np.testing.assert_array_equal(frames, np.rot90(read_video(plain), axes=(1, 2)))
    np.testing.assert_array_equal(frames, as_ffmpeg_reads(turned, (4, 160, 120, 3)))


def test_what_an_edit_list_leaves_out_is_not_shown(tmp_path: Path):
    whole, path = make(tmp_path / "whole.mp4", *H264, "-g", 60), tmp_path / "edited.mp4"
    ffmpeg("-ss", 0.5, "-i", whole, "-c", "copy", path)  # keeps the frames from the key frame on, and an edit list
    np.testing.assert_array_equal(read_video(path), read_video(whole)[15:])


VARYING = "select='lt(t,1)+gte(t,1)*not(mod(n,6))'"  # 30 frames in the first second, 5 in the other


@pytest.mark.parametrize("name", ["screen.mkv", "screen.webm", "screen.mp4"])
def test_a_varying_rate_keeps_its_speed(tmp_path: Path, name: str):
    codec = ("-c:v", "libvpx", "-deadline", "realtime") if name.endswith("webm") else H264
    path = make(tmp_path / name, "-vf", VARYING, "-fps_mode", "vfr", *codec)
    with VideoReader(path) as video:
        stored = list(video.read_images())
        timing = video.timing
    assert len(stored) == 35 and not timing.regular
    np.testing.assert_allclose(timing.times, [*np.arange(30) / 30, *(1 + np.arange(5) / 5)], atol=0.002)
    whole = load_video(path)
    assert whole.fps == pytest.approx(30, rel=0.02) and 55 <= len(whole.frames) <= 62
    np.testing.assert_array_equal(whole.frames[:30], stored[:30])
    shown = [next(i for i, kept in enumerate(stored) if (kept == frame).all()) for frame in whole.frames[30:]]
    assert sorted(set(shown)) == [30, 31, 32, 33, 34] and shown == sorted(shown)


@pytest.mark.parametrize(
    ("name", "words", "problem"),
    [
        ("front.mp4", (*H264, "-g", 15, "-movflags", "+faststart"), r"it breaks off after \d+ of 60 frames"),
        ("back.mp4", H264, "it breaks off before the index of its frames"),
        ("a.mkv", H264, r"it breaks off after \d+ of 60 frames"),
        ("a.webm", ("-c:v", "libvpx", "-deadline", "realtime"), r"it breaks off after \d+ of 60 frames"),
        ("a.avi", ("-c:v", "mjpeg"), r"it breaks off after \d+ frames"),
        ("fragments.mp4", (*H264, "-movflags", "frag_keyframe+empty_moov", "-g", 10), "it breaks off after"),
    ],
)
def test_files_that_break_off_are_refused_with_the_place(tmp_path: Path, name: str, words: tuple, problem: str):
    whole = make(tmp_path / name, *words).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) * 6 // 10])
    with pytest.raises(VideoError, match=problem):
        read_video(tmp_path / name)


def test_a_recording_of_unknown_length_is_whole(tmp_path: Path):
    """As browsers record: written without going back to fill in how long it became."""
    path = tmp_path / "live.webm"
    path.write_bytes(ffmpeg("-f", "lavfi", "-i", PICTURE, "-c:v", "libvpx", "-f", "webm", "-live", 1, "-"))
    assert len(read_video(path)) == 60


def test_other_things_are_no_videos(tmp_path: Path):
    whole = make(tmp_path / "whole.mp4", *H264, "-frames:v", 3)
    for name, content in (
        ("list.mp4", b"#EXTM3U\n#EXTINF:1,\nfile://" + os.fsencode(whole) + b"\n#EXT-X-ENDLIST\n"),
        ("concat.mp4", b"ffconcat version 1.0\nfile " + os.fsencode(whole) + b"\n"),
        ("text.mp4", b"not a video" * 100),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VideoError, match="it is not a video"):
            read_video(tmp_path / name)
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    for name in ("pipe.mp4", "zero.mp4", "."):
        with pytest.raises(VideoError, match="it is not a file"):
            read_video(tmp_path / name)
    (tmp_path / "link.mp4").symlink_to(whole)
    assert len(read_video(tmp_path / "link.mp4")) == 3
    sound = tmp_path / "sound.mp4"
    ffmpeg("-f", "lavfi", "-i", "sine=duration=0.1", sound)
    with pytest.raises(VideoError, match="it holds no frames"):
        read_video(sound)


def test_films_that_do_not_fit_into_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(film, "MAX_BYTES", 30 * 160 * 120 * 3)
    path = make(tmp_path / "long.mp4", *H264)
    with pytest.raises(VideoError, match="31 frames of 160 x 120 pixels need more than"):
        read_video(path)
    assert len(read_video(path, largest=80)) == 60
    two = make(tmp_path / "two.mkv", "-vf", "select='eq(n,0)+eq(n,1)+eq(n,59)'", "-fps_mode", "vfr", *H264)
    with VideoReader(two) as video:
        assert len(list(video.decode_frames())) == 3
    with pytest.raises(VideoError, match="need more than"):
        read_video(two)  # three frames, shown for two seconds


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("seeds")
    small = "testsrc2=size=32x32:rate=10:duration=0.5"
    made = {
        "h264.mp4": (*H264, "-movflags", "+faststart"),
        "vp8.webm": ("-c:v", "libvpx", "-deadline", "realtime"),
        "mjpeg.avi": ("-c:v", "mjpeg"),
        "av1.mp4": ("-c:v", "libsvtav1", "-preset", 12, "-pix_fmt", "yuv420p"),
    }
    return {
        name: make(folder / name, *words, picture=small.replace("32x32", "64x64")).read_bytes()
        for name, words in made.items()
    }


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_mutated_files_give_frames_or_a_video_error(seeds: dict[str, bytes], tmp_path: Path, data: st.DataObject):
    content = bytearray(seeds[data.draw(st.sampled_from(sorted(seeds)), "file")])
    for _ in range(data.draw(st.integers(1, 8), "changes")):
        # Half of the changes hit the headers, where sizes and counts stand.
        end = len(content) if data.draw(st.booleans()) else min(len(content), 1500)
        place = data.draw(st.integers(0, max(end - 1, 0)))
        new = data.draw(st.one_of(st.binary(min_size=1, max_size=4), st.just(struct.pack(">I", 0x7FFFFFFF))))
        content[place : place + len(new)] = new
    if data.draw(st.booleans(), "cut"):
        del content[data.draw(st.integers(0, len(content))) :]
    path = tmp_path / "mutated.mp4"
    path.write_bytes(content)
    with contextlib.suppress(VideoError):
        frames = read_video(path, largest=64)
        assert frames.ndim == 4 and frames.shape[3] == 3 and frames.dtype == np.uint8 and len(frames)
