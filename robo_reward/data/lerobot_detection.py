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
    """The path is a part of a LeRobot data set that cannot be read as videos; the message names the data set."""


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
        info = load_json(root / _INFO, _DatasetInfo, follow=True)
    except BadArtifact:  # damaged, or of another format
        return "of unknown version" if (root / "data").is_dir() and (root / "videos").is_dir() else ""
    return info.codebase_version if info else ""


def _refuse_place(path: Path, root: Path, version: str) -> None:
    cameras = [folder for folder in root.glob("videos/chunk-*/*") if folder.is_dir()]
    if not any(path == camera or camera in path.parents for camera in cameras):
        raise LeRobotDatasetError(
            f"{path} belongs to a LeRobot data set ({version}), whose videos mix episodes or cameras. Give the folder "
            f"{root}, which is read episode by episode"
        )
