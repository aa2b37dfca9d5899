"""Recognition of LeRobot data sets, whose folders of videos look like demonstrations and are not."""

from __future__ import annotations

from pathlib import Path

import msgspec

from robo_reward.errors import BadArtifact, UsageError
from robo_reward.files import load_json

_INFO = Path("meta", "info.json")
_DEEPEST = 4  # folders between a video and the data set: videos/KEY/chunk-000/file-000.mp4


class _DatasetInfo(msgspec.Struct):
    codebase_version: str


class LeRobotDatasetError(UsageError):
    """The path is a LeRobot data set instead of videos; the message names the alternatives."""


def refuse_lerobot(path: Path | str) -> None:
    """Raises if a path lies in a LeRobot data set, unless it holds one video per episode of one camera.

    Up to version 2.1 a folder `videos/chunk-000/CAMERA` holds one video per episode, and is let through. From version
    3 a video holds several episodes.

    Raises:
        LeRobotDatasetError: it is a data set, or a folder of one with videos of other content.
    """
    path = Path(path).absolute()
    for root in (path, *path.parents[:_DEEPEST]):
        version = _read_version(root)
        if version:
            _refuse_place(path, root, version)
            return


def is_lerobot_info(path: Path) -> bool:
    """Returns whether a file is the description of a LeRobot data set."""
    return path.parts[-2:] == _INFO.parts and bool(_read_version(path.parent.parent))


def _read_version(root: Path) -> str:
    """Returns the version of the data set in a folder; "" if there is none."""
    try:
        info = load_json(root / _INFO, _DatasetInfo)
    except BadArtifact:  # damaged, or of another format
        return "of unknown version" if (root / "data").is_dir() and (root / "videos").is_dir() else ""
    return info.codebase_version if info else ""


def _refuse_place(path: Path, root: Path, version: str) -> None:
    cameras = [folder for folder in sorted(root.glob("videos/chunk-*/*")) if folder.is_dir()]
    start = f"{root} is a LeRobot data set ({version}), which cannot be read yet"
    if not (root / "videos").is_dir():
        raise LeRobotDatasetError(f"{start}: it has no videos. Give videos, or folders of pictures")
    if not cameras:
        raise LeRobotDatasetError(
            f"{start}: its videos hold several episodes each. Cut them into one file per episode (meta/episodes says "
            "where each begins and ends), and give a folder with the files of one camera"
        )
    if not any(path == camera or camera in path.parents for camera in cameras):
        named = cameras[0].relative_to(root).as_posix()
        raise LeRobotDatasetError(
            f"{start}: here the videos of {len(cameras)} folders of cameras and chunks would be mixed. Give the folder "
            f"of one camera, such as {root / named}"
        )
