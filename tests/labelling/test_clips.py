"""Clip folders as strangers hand them over: odd files, odd names, large films."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from robo_reward.data.episode import EpisodeStore
from robo_reward.envs.video.files import load_video, read_video
from robo_reward.envs.video.reader import VideoReader
from robo_reward.labelling import playable
from robo_reward.labelling.clips import find_clips
from robo_reward.printable import to_printable_name
from tests.house.source import ROOT
from tests.labelling.pages import write_clips
from tests.labelling.test_page import episode


def ffmpeg(*words: object) -> None:
    subprocess.run([get_ffmpeg_exe(), "-y", "-loglevel", "error", *map(str, words)], check=True)


def test_what_is_no_ordinary_file_is_refused_with_a_line(tmp_path: Path) -> None:
    (first, second) = sorted(write_clips(tmp_path, 2).glob("*.mp4"))
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    (tmp_path / "nothing.mp4").symlink_to(tmp_path / "gone")
    (tmp_path / "private.mp4").symlink_to(first)
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / os.fsdecode(b"caf\xe9.mp4")).write_bytes(second.read_bytes())
    found = find_clips(tmp_path, tmp_path / "labels")
    assert [video.path for video in found.videos] == [first, second]
    reasons = {one.name: one.reason for one in found.refused}
    assert reasons.keys() == {"pipe.mp4", "zero.mp4", "nothing.mp4", "private.mp4", "folder.mp4", r"caf\xe9.mp4"}
    assert "a pipe" in reasons["pipe.mp4"] and "a folder" in reasons["folder.mp4"]
    assert all("a link" in reasons[name] for name in ("zero.mp4", "nothing.mp4", "private.mp4"))
    assert "not UTF-8" in reasons[r"caf\xe9.mp4"]


def test_videos_of_an_episode_store_are_not_followed_elsewhere(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "episodes")
    for i in range(3):
        store.append(episode(60 * i), f"e{i}")
    private = write_clips(tmp_path / "private", 1) / "clip00.mp4"
    shown = store.find_video("e1")
    assert shown is not None
    shown.unlink()
    shown.symlink_to(private)
    found = find_clips(store.folder, tmp_path / "work")
    assert [video.id for video in found.videos] == ["e0", "e2"]
    assert "a link" in found.refused[0].reason


def test_odd_names_are_told_as_they_are_or_escaped(tmp_path: Path) -> None:
    write_clips(tmp_path, 2)
    (tmp_path / "clip00.mp4").rename(tmp_path / "it's [b] naïve.mp4")
    (tmp_path / "clip01.mp4").rename(tmp_path / "\x1b[31mred\n.mp4")
    (tmp_path / "a[").mkdir()
    (tmp_path / "a[" / "b].mp4").write_bytes(b"no video")
    (tmp_path / "\x1b]0;title\x07.mp4").write_bytes(b"")
    found = find_clips(tmp_path, tmp_path / "labels")
    assert [video.name for video in found.videos] == [r"\x1b[31mred\n.mp4", "it's [b] naïve.mp4"]
    assert [(one.name, one.reason) for one in found.refused] == [
        (r"\x1b]0;title\x07.mp4", "the file is empty"),
        ("a[/b].mp4", "it is not a video"),
    ]


def test_names_are_printed_on_one_line() -> None:
    assert to_printable_name("été 3 × 4 [x]") == "été 3 × 4 [x]"
    assert to_printable_name("a\x1b\u202eb\udce9\n") == r"a\x1b\u202eb\xe9\n"


def test_what_browsers_decode_is_copied_and_the_rest_converted(tmp_path: Path) -> None:
    source, work = tmp_path / "films", tmp_path / "work"
    source.mkdir()
    picture = ("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=30:duration=0.5")
    h264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
    ffmpeg(*picture, *h264, source / "phone.mov")
    ffmpeg(*picture, "-c:v", "mjpeg", "-vf", "hflip", source / "old.avi")
    ffmpeg(*picture, *h264[:4], "-pix_fmt", "yuv444p", "-vf", "vflip", source / "colours.mp4")
    ffmpeg(*picture, *h264, "-vf", "negate", source / "plain.mp4")
    ffmpeg("-display_rotation", 90, "-i", source / "plain.mp4", "-c", "copy", source / "turned.mov")
    found = {video.name: video for video in find_clips(source, work).videos}
    assert found["plain.mp4"].path == source / "plain.mp4" and found["turned.mov"].size == (120, 160)
    copies = {name: video.path for name, video in found.items() if name != "plain.mp4"}
    assert all(path.parent == work for path in copies.values()) and len(list(work.iterdir())) == 4
    for name, path in copies.items():
        with VideoReader(path) as copy:
            frames = np.stack(list(copy.read_images()))
            assert (copy.codec, copy.pixel_format, copy.rotation) == ("h264", "yuv420p", 0), name
            assert copy.timing.fps == pytest.approx(30), name
        assert np.abs(frames.astype(int) - read_video(source / name)).mean() < (12 if name == "colours.mp4" else 8), (
            name
        )
    np.testing.assert_array_equal(read_video(copies["phone.mov"]), read_video(source / "phone.mov"))
    before = {path: path.stat().st_mtime_ns for path in work.iterdir()}
    assert len(find_clips(source, work).videos) == 5  # the page is opened again
    assert before == {path: path.stat().st_mtime_ns for path in work.iterdir()}


def test_a_converted_recording_keeps_its_times_and_is_made_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playable, "LARGEST", 80)
    source = tmp_path / "screen.mkv"
    vary = "select='lt(t,1)+gte(t,1)*not(mod(n,6))'"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=30:duration=2", "-vf", vary, "-fps_mode", "vfr", source)
    ffmpeg("-i", source, "-c:v", "ffv1", "-fps_mode", "passthrough", tmp_path / "large.mkv")
    shown = playable.make_playable(tmp_path / "large.mkv", tmp_path / "copy.mp4")
    assert shown.path == tmp_path / "copy.mp4" and shown.size == (160, 120)
    with VideoReader(shown.path) as copy:
        assert len(list(copy.decode_frames())) == 35 and copy.size == (80, 60)
        np.testing.assert_allclose(copy.timing.times, [*np.arange(30) / 30, *(1 + np.arange(5) / 5)], atol=0.002)
    assert load_video(source).frames.shape[1:] == (120, 160, 3)


def test_memory_does_not_grow_with_the_length_of_a_film(tmp_path: Path) -> None:
    """A process that converts a film of 30, then of 180 frames of 640 x 480: 28 MB and 166 MB as arrays."""
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from robo_reward.labelling.playable import make_playable\n"
        "make_playable(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = []
    for seconds in (1, 6):
        film = tmp_path / f"{seconds}.mov"
        size = f"color=size=640x480:rate=30:duration={seconds}"
        ffmpeg("-f", "lavfi", "-i", size, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv422p", film)
        command = [sys.executable, "-c", script, str(film), str(tmp_path / f"{seconds}.mp4")]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout))
    assert peaks[1] - peaks[0] < 60_000  # [kB]
