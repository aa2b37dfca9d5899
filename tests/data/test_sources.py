"""Demonstrations from every kind of place, and from broken ones."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from robo_reward.data.episode import EpisodeStore
from robo_reward.data.items import list_data_items
from robo_reward.data.sources import Demonstration, harmonise_demonstrations, load_demonstrations, natural_sort_key
from robo_reward.data.summary import is_success_known
from robo_reward.envs.video.files import VideoError, write_video
from robo_reward.errors import UsageError, WrongShape
from tests.rewards.perceptual.scenes import clip, episode

LENGTHS = (8, 6, 10)


def pictures(folder: Path, frames: np.ndarray, suffix: str = ".png") -> Path:
    folder.mkdir(parents=True)
    for i, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{i}{suffix}"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    return folder


def test_a_video(tmp_path: Path) -> None:
    frames = clip(LENGTHS, 0)
    (demo,) = load_demonstrations(write_video(tmp_path / "one.mp4", frames, 12.5, crf=1))
    assert demo.name == "one.mp4" and demo.fps == pytest.approx(12.5) and demo.episode is None
    assert np.abs(demo.frames.astype(int) - frames).mean() < 4


def test_large_videos_shrink_while_they_are_read(tmp_path: Path) -> None:
    large = np.stack([cv2.resize(frame, (900, 600)) for frame in clip((3, 2, 3), 0)])
    (demo,) = load_demonstrations(write_video(tmp_path / "large.mp4", large, 10))
    assert demo.frames.shape == (8, 320, 480, 3)


def test_pictures_in_natural_order(tmp_path: Path) -> None:
    frames = clip(LENGTHS, 1)
    (demo,) = load_demonstrations(pictures(tmp_path / "demo", frames), fps=7.0)
    np.testing.assert_array_equal(demo.frames, frames)  # 10.png is not between 1.png and 2.png
    assert demo.fps == 7.0
    names = ("a2", "a10", "B1", "b2", "7", "12.png")
    assert [path.name for path in sorted(map(Path, names), key=natural_sort_key)] == ["7", "12.png", *names[:4]]


def test_a_folder_of_anything(tmp_path: Path) -> None:
    frames = clip(LENGTHS, 2)
    pictures(tmp_path / "all" / "2", frames, ".jpg")
    write_video(tmp_path / "all" / "10.mp4", frames, 20.0)
    store = EpisodeStore(tmp_path / "all" / "store", frames="exact")
    store.append(episode(LENGTHS, 3), key="kept")
    (tmp_path / "all" / "notes.txt").write_text("not a demonstration")
    demos = load_demonstrations(tmp_path / "all")
    assert [demo.name for demo in demos] == ["2", "10.mp4", "kept"]
    assert demos[2].episode is not None and demos[2].episode.frames is None
    assert demos[2].cameras == ("front",)
    assert len(demos[2].episode.state) == len(demos[2].frames)


def test_minari(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    minari = pytest.importorskip("minari")
    from gymnasium.spaces import Box
    from minari.data_collector import EpisodeBuffer

    frames = clip(LENGTHS, 4)
    steps = len(frames) - 1
    columns = {
        "actions": np.zeros((steps, 2), np.float32),
        "rewards": np.zeros(steps),
        "terminations": np.zeros(steps, bool),
        "truncations": np.arange(steps) == steps - 1,
    }

    def made(name: str, observations: Any, space: Box) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # advice about authors and links
            minari.create_dataset_from_buffers(
                name,
                buffer=[EpisodeBuffer(id=0, observations=observations, **columns)],
                observation_space=space,
                action_space=Box(-1, 1, (2,)),
                data_format="arrow",
            )
        return f"minari:{name}"

    shown = made("dot/pictures-v0", frames, Box(0, 255, frames.shape[1:], np.uint8))
    (demo,) = load_demonstrations(shown, fps=11.0)
    np.testing.assert_array_equal(demo.frames, frames)
    assert demo.fps == 11.0
    blind = made("dot/states-v0", np.zeros((len(frames), 3)), Box(-1, 1, (3,), np.float64))
    with pytest.raises(UsageError, match=r"no pictures .* float64 \(24, 3\)"):
        load_demonstrations(blind)
    with pytest.raises(UsageError, match="no Minari data set"):
        load_demonstrations("minari:dot/nowhere-v0")


def test_pictures_in_hdf5_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    minari = pytest.importorskip("minari")
    from gymnasium.spaces import Box
    from minari.data_collector import EpisodeBuffer

    frames = clip(LENGTHS, 4)
    steps = len(frames) - 1
    ends = {"terminations": np.zeros(steps, bool), "truncations": np.arange(steps) == steps - 1}
    columns: dict[str, Any] = {"actions": np.zeros((steps, 2)), "rewards": np.zeros(steps), **ends}
    shown: Any = frames
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        minari.create_dataset_from_buffers(
            "dot/hdf5-v0",
            buffer=[EpisodeBuffer(id=0, observations=shown, **columns)],
            observation_space=Box(0, 255, frames.shape[1:], np.uint8),
            action_space=Box(-1, 1, (2,), np.float64),
        )
    (demo,) = load_demonstrations("minari:dot/hdf5-v0")
    (item,) = list_data_items("minari:dot/hdf5-v0")
    (other,) = load_demonstrations(tmp_path / "sets")
    for again in (item.load().frames, other.frames):
        np.testing.assert_array_equal(again, demo.frames)
    assert item.load().spec.dim == 0 and not is_success_known(item.load())
    assert demo.frames.shape == frames.shape and np.abs(demo.frames.astype(int) - frames).mean() < 8  # kept as JPEG


def test_sizes_and_rates_become_one(caplog: pytest.LogCaptureFixture) -> None:
    slow = Demonstration(clip(LENGTHS, 0), 10.0, "slow")
    fast = Demonstration(np.repeat(np.repeat(clip((16, 12, 20), 0), 2, axis=1), 2, axis=2), 20.0, "fast")
    with caplog.at_level(logging.WARNING):
        a, b = harmonise_demonstrations([slow, fast])
    assert a is not None and a.frames is slow.frames
    assert b.frames.shape[1:] == (24, 24, 3) and b.fps == 10.0 and len(b.frames) == 24
    np.testing.assert_array_equal(b.frames[5], fast.frames[10, ::2, ::2])
    assert "fast is converted from 20 to 10 frames per second and from 48 x 48 to 24 x 24 pixels" in caplog.text
    assert "slow" not in caplog.text


def test_states_are_dropped_where_frames_are(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s", frames="exact")
    store.append(episode(LENGTHS, 0), key="a")
    store.append(episode((16, 12, 20), 1, fps=40.0), key="b")
    kept, thinned = load_demonstrations(tmp_path / "s")
    assert kept.episode is not None and thinned.episode is None


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"", VideoError), (b"no video at all" * 100, VideoError)],
    ids=["empty", "rubbish"],
)
def test_broken_videos_are_named(tmp_path: Path, content: bytes, error: type[Exception]) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(error, match=r"broken\.mp4"):
        load_demonstrations(path)


def test_a_video_that_breaks_off_is_refused(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", np.concatenate([clip((60, 40, 60), 0)] * 3), 20, crf=12)
    (tmp_path / "half.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(VideoError, match=r"half\.mp4: it breaks off after \d+ of 480 frames"):
        load_demonstrations(tmp_path / "half.mp4")  # its index stands at the front
    (tmp_path / "head.mp4").write_bytes(whole.read_bytes()[:3000])
    with pytest.raises(VideoError, match=r"head\.mp4: it breaks off before the index"):
        load_demonstrations(tmp_path / "head.mp4")


def test_what_shows_nothing_is_refused(tmp_path: Path) -> None:
    still = np.full((10, 24, 24, 3), 80, np.uint8)
    with pytest.raises(UsageError, match=r"still\.mp4 shows no motion"):
        load_demonstrations(write_video(tmp_path / "still.mp4", still, 20))
    with pytest.raises(UsageError, match="1 frame"):
        load_demonstrations(pictures(tmp_path / "one", still[:1]))
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.txt").touch()
    bad = pictures(tmp_path / "bad", still)
    (bad / "0.png").write_bytes(b"rubbish")
    os.mkfifo(pictures(tmp_path / "pipe", still) / "5.jpg")
    (pictures(tmp_path / "zero", still) / "0.jpeg").symlink_to("/dev/zero")
    (pictures(tmp_path / "hollow", still) / "0.png").write_bytes(b"")
    EpisodeStore(tmp_path / "s", frames="drop").append(episode(LENGTHS, 0))
    for name, message in (
        ("empty", "no demonstrations in"),
        ("nowhere", "no such file or folder"),
        ("x.txt", "not a video"),
        ("bad", r"0\.png cannot be read as a picture"),
        ("pipe", r"5\.jpg is not a file"),
        ("zero", r"0\.jpeg is not a file"),
        ("hollow", r"0\.png cannot be read as a picture"),
        ("s", "no frames: record it with frames"),
    ):
        with pytest.raises(UsageError, match=message):
            load_demonstrations(tmp_path / name)
    with pytest.raises(WrongShape, match="uint8"):
        Demonstration(still.astype(float), 20.0, "floats")
    with pytest.raises(UsageError, match="above zero"):
        Demonstration(clip(LENGTHS, 0), 0.0, "stopped")
