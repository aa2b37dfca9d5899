"""Data sets of other projects are read wherever demonstrations or clips are taken; parts of them are recognised."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from robo_reward.data.lerobot.writer import write_lerobot
from robo_reward.data.lerobot_detection import LeRobotDatasetError
from robo_reward.data.minari import write_minari
from robo_reward.data.robomimic import write_robomimic
from robo_reward.data.sources import load_demonstrations
from robo_reward.envs.video.files import read_video, write_video
from robo_reward.errors import BadArtifact, UsageError
from robo_reward.labelling.clips import find_clips
from tests.data.test_episode import make
from tests.data.test_lerobot import filmed, source
from tests.rewards.perceptual.scenes import clip

FRONT = "observation.images.front"


def described(root: Path, version: str) -> Path:
    (root / "meta").mkdir(parents=True)
    (root / "data").mkdir()
    (root / "meta" / "info.json").write_text(json.dumps({"codebase_version": version, "fps": 20, "features": {}}))
    return root


def version_2(root: Path) -> Path:
    """Two episodes of two cameras."""
    for camera in (FRONT, "observation.images.wrist"):
        for i in range(2):
            name = root / "videos" / "chunk-000" / camera / f"episode_{i:06d}.mp4"
            write_video(name, clip((4, 3, 4 + i), i + 7 * len(camera)), 20)
    return described(root, "v2.1")


def version_3(root: Path) -> Path:
    """One file for all episodes of a camera."""
    for camera in (FRONT, "observation.images.wrist"):
        write_video(root / "videos" / camera / "chunk-000" / "file-000.mp4", clip((4, 3, 5), len(camera)), 20)
    return described(root, "v3.0")


def test_a_description_without_its_parts_is_said_to_be_lerobot_s(tmp_path: Path) -> None:
    root = described(tmp_path / "set", "v2.1")
    (root / "meta" / "info.json").write_text('{"codebase_version": "v2.1", "fps": 30, "total_episodes": 2}')
    with pytest.raises(BadArtifact, match=r"`features`\. Download the LeRobot data set again"):
        load_demonstrations(root)


def test_version_2_can_be_read_one_camera_at_a_time(tmp_path: Path) -> None:
    root = version_2(tmp_path / "sets" / "mine")
    camera = root / "videos" / "chunk-000" / FRONT
    for place in (root / "videos", root / "videos" / "chunk-000"):
        with pytest.raises(LeRobotDatasetError, match=rf"LeRobot data set \(v2\.1\).* Give the folder {root},"):
            load_demonstrations(place)
        with pytest.raises(LeRobotDatasetError, match=r"LeRobot data set \(v2\.1\)"):
            find_clips(place, tmp_path / "work")
    assert [len(demo.frames) for demo in load_demonstrations(camera)] == [11, 12]
    assert len(load_demonstrations(camera / "episode_000001.mp4")) == 1
    assert len(find_clips(camera, tmp_path / "work").videos) == 2


def test_videos_of_version_3_are_refused(tmp_path: Path) -> None:
    root = version_3(tmp_path / "mine")
    film = root / "videos" / FRONT / "chunk-000" / "file-000.mp4"
    for place in (root / "videos", film.parent, film):
        with pytest.raises(
            LeRobotDatasetError, match=rf"LeRobot data set \(v3\.0\).*mix episodes.* Give the folder {root},"
        ):
            load_demonstrations(place)
    with pytest.raises(LeRobotDatasetError, match="mix episodes"):
        find_clips(tmp_path, tmp_path / "work")


@pytest.mark.parametrize("content", ["{", "[]", '{"codebase_version": 3}', "[" * 5000])
def test_a_damaged_description_is_named(tmp_path: Path, content: str) -> None:
    root = version_2(tmp_path / "mine")
    (root / "meta" / "info.json").write_text(content)
    with pytest.raises(BadArtifact, match=r"info\.json"):
        load_demonstrations(root)
    with pytest.raises(LeRobotDatasetError, match="unknown version"):
        load_demonstrations(root / "videos")


def test_a_data_set_without_videos_says_so(tmp_path: Path) -> None:
    write_lerobot(source([make(3), make(4)]), tmp_path)
    for read in (load_demonstrations, lambda place: find_clips(place, tmp_path / "work")):
        with pytest.raises(UsageError, match="has no pictures"):
            read(tmp_path)


def test_lerobot_episodes_are_demonstrations_and_clips(tmp_path: Path) -> None:
    root = tmp_path / "sets" / "mine"
    write_lerobot(source([filmed(5, 0), filmed(7, 1), filmed(6, 2, success_known=False)]), root)
    for place in (root, root.parent, root / "meta" / "info.json"):
        demos = load_demonstrations(place)
        assert [len(demo.frames) for demo in demos] == [6, 8, 7] and demos[0].cameras == ("front", "wrist")
        assert demos[1].episode is not None
        np.testing.assert_array_equal(demos[1].episode.state, make(7, 1).state)
    for _ in range(2):  # the second call finds the videos that the first one cut
        found = find_clips(root, tmp_path / "labels" / "videos")
        assert [video.name for video in found.videos] == ["000000.mp4", "000001.mp4", "000002.mp4"]
        assert [video.meta.get("success") for video in found.videos] == [False, True, None]
        for clip_, steps in zip(found.store, (5, 7, 6), strict=True):
            assert clip_.meta["task"] == "panda/lift" and len(read_video(clip_.path)) == steps + 1


def test_robomimic_files_and_minari_folders_are_demonstrations_and_clips(tmp_path: Path) -> None:
    pytest.importorskip("minari")
    episodes = [filmed(5, 0), filmed(7, 1)]
    (tmp_path / "robomimic").mkdir()
    write_robomimic(source(episodes), tmp_path / "robomimic" / "demo.hdf5")
    write_minari(source(episodes), tmp_path / "minari", "panda/lift-v0")
    for place in ("robomimic", "robomimic/demo.hdf5", "minari", "minari/panda/lift-v0"):
        demos = load_demonstrations(tmp_path / place)
        for demo, episode in zip(demos, episodes, strict=True):
            np.testing.assert_array_equal(demo.frames, episode.frames)
            assert demo.cameras == ("front", "wrist") and demo.fps == 20
    for place in ("robomimic", "minari"):
        assert len(find_clips(tmp_path / place, tmp_path / "labels" / place).videos) == 2


def test_other_folders_with_such_a_file_are_left_alone(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", clip((4, 3, 4), 0), 20)
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "info.json").write_text('{"title": "my films"}')
    assert len(load_demonstrations(tmp_path)) == 1
