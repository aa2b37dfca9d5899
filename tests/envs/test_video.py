"""Videos that we write, against FFmpeg's own reading of them, and clips against pixels."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe

from robo_reward.envs.video.files import VideoError, add_label_bar, read_video, write_video
from robo_reward.errors import UsageError, WrongShape
from tests.house.source import ROOT


def moving_square(length: int = 12, height: int = 48, width: int = 64) -> np.ndarray:
    frames = np.full((length, height, width, 3), 40, np.uint8)
    for t in range(length):
        frames[t, 10:30, 3 * t : 3 * t + 20] = (220, 60, 30)
    return frames


def test_a_video_comes_back_nearly_as_it_was(tmp_path: Path):
    frames = moving_square()
    path = write_video(tmp_path / "a.mp4", frames, fps=20, crf=12)
    back = read_video(path)
    assert back.shape == frames.shape
    assert np.abs(back.astype(int) - frames).mean() < 4
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_browsers_can_play_it(tmp_path: Path):
    path = write_video(tmp_path / "a.mp4", moving_square(length=20), fps=10)
    said = subprocess.run([get_ffmpeg_exe(), "-i", str(path)], capture_output=True, text=True, check=False).stderr
    assert (
        "h264" in said
        and "yuv420p" in said
        and "64x48" in said
        and "10 fps" in said
        and "Duration: 00:00:02.00" in said
    )
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # the index stands in front: it plays while it loads


@pytest.mark.parametrize(("height", "width"), [(47, 63), (1, 1), (33, 2)])
def test_odd_sizes_become_even(tmp_path: Path, height: int, width: int):
    frames = np.full((3, height, width, 3), 90, np.uint8)
    back = read_video(write_video(tmp_path / "a.mp4", frames, fps=25))
    assert back.shape == (3, height + height % 2, width + width % 2, 3)
    assert np.abs(back.astype(int) - 90).max() < 6


def test_the_same_frames_give_the_same_bytes(tmp_path: Path):
    """Whatever lies in the memory that the encoder gets: glibc fills it with the given byte."""
    script = """
import sys
from robo_reward.envs.video.files import write_video
from tests.envs.test_video import moving_square
write_video(sys.argv[1], moving_square(length=30), fps=20)
"""
    written = []
    for fill in ("0", "170"):
        path = tmp_path / f"{fill}.mp4"
        environment = {**os.environ, "MALLOC_PERTURB_": fill}
        subprocess.run([sys.executable, "-c", script, str(path)], check=True, cwd=ROOT, env=environment)
        written.append(path.read_bytes())
    assert written[0] == written[1]


def test_names_that_ffmpeg_would_read_as_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a:b.mp4", "http:/x/%03d.mp4", "-y.mp4", os.fsdecode(b"\xe9.mp4")):
        assert len(read_video(write_video(name, moving_square(length=3), fps=20))) == 3


def test_a_failed_write_leaves_what_was_there(tmp_path: Path):
    """The disk is full: the kernel refuses to let this process's files grow beyond 2 kB."""
    script = """
import resource, signal, sys
import numpy as np
from robo_reward.envs.video.files import VideoError, write_video
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    write_video(sys.argv[1], np.random.default_rng(0).integers(0, 255, (20, 64, 64, 3), np.uint8), fps=20)
except VideoError as error:
    print(error)
"""
    path = write_video(tmp_path / "a.mp4", moving_square(), fps=20)
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cannot write {path}: ") and "large" in done.stdout and not done.stderr
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_wrong_arguments_are_named(tmp_path: Path):
    for bad in (np.zeros((2, 4, 4), np.uint8), np.zeros((2, 4, 4, 3)), np.zeros((0, 4, 4, 3), np.uint8)):
        with pytest.raises(WrongShape, match="uint8"):
            write_video(tmp_path / "a.mp4", bad, fps=10)
    with pytest.raises(UsageError, match="per second"):
        write_video(tmp_path / "a.mp4", moving_square(), fps=0)
    with pytest.raises(VideoError, match="no such file"):
        read_video(tmp_path / "none.mp4")
    (tmp_path / "b.mp4").write_bytes(b"not a video")
    with pytest.raises(VideoError, match="not a video"):
        read_video(tmp_path / "b.mp4")


def test_labels_are_above_the_picture_and_always_fit():
    frames = moving_square(length=2)
    labelled = add_label_bar(frames, "after: a label that is much too long for the clip")
    assert labelled.shape == (2, 70, 64, 3)
    np.testing.assert_array_equal(labelled[:, 22:], frames)
    assert (labelled[0, :22] > 150).any()
    assert (labelled[0, :22, 60:] < 100).all()  # a margin is left
    assert add_label_bar(frames, "naïve π").shape == (2, 70, 64, 3)
