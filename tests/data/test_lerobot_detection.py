"""LeRobot data sets, in the folders of versions 2.1 and 3, are recognised wherever somebody points."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robo_reward.data.lerobot_detection import LeRobotDatasetError
from robo_reward.data.sources import load_demonstrations
from robo_reward.envs.video.files import write_video
from robo_reward.labelling.clips import find_clips
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


def test_version_2_is_read_one_camera_at_a_time(tmp_path: Path) -> None:
    root = version_2(tmp_path / "sets" / "mine")
    camera = root / "videos" / "chunk-000" / FRONT
    for place in (root, root / "videos", root / "videos" / "chunk-000", root.parent):
        with pytest.raises(LeRobotDatasetError, match=rf"LeRobot data set \(v2\.1\).* 2 folders.*{FRONT}"):
            load_demonstrations(place)
        with pytest.raises(LeRobotDatasetError, match=rf"LeRobot data set \(v2\.1\).*{FRONT}"):
            find_clips(place, tmp_path / "work")
    assert [len(demo.frames) for demo in load_demonstrations(camera)] == [11, 12]
    assert len(load_demonstrations(camera / "episode_000001.mp4")) == 1
    assert len(find_clips(camera, tmp_path / "work").videos) == 2


def test_version_3_is_refused_everywhere(tmp_path: Path) -> None:
    root = version_3(tmp_path / "mine")
    film = root / "videos" / FRONT / "chunk-000" / "file-000.mp4"
    for place in (root, root / "videos", film.parent, film):
        with pytest.raises(
            LeRobotDatasetError, match=r"LeRobot data set \(v3\.0\).*several episodes.*one file per episode"
        ):
            load_demonstrations(place)
    with pytest.raises(LeRobotDatasetError, match="several episodes"):
        find_clips(root, tmp_path / "work")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"codebase_version": 3}', "[" * 5000])
def test_a_damaged_description_is_recognised_by_the_folders(tmp_path: Path, content: str) -> None:
    root = version_2(tmp_path / "mine")
    (root / "meta" / "info.json").write_text(content)
    with pytest.raises(LeRobotDatasetError, match="unknown version"):
        load_demonstrations(root)


def test_a_data_set_without_videos_says_so(tmp_path: Path) -> None:
    with pytest.raises(LeRobotDatasetError, match="it has no videos"):
        load_demonstrations(described(tmp_path / "pictures", "v2.1"))


def test_other_folders_with_such_a_file_are_left_alone(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", clip((4, 3, 4), 0), 20)
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "info.json").write_text('{"title": "my films"}')
    assert len(load_demonstrations(tmp_path)) == 1
