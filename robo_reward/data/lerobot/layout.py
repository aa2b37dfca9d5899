"""The files of a LeRobot data set: their places and their descriptions.

Version 3 holds many episodes in each table and each video; versions 2.0 and 2.1 hold one. `meta/robo_reward.json` and
`meta/robo_reward_episodes.jsonl`, a line per episode, are ours: they hold what the format has no place for, so that
episodes come back as they were.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import msgspec

from robo_reward.errors import BadArtifact, MissingExtra
from robo_reward.files import Finite, load_json, open_regular

INFO = Path("meta", "info.json")
STATS = Path("meta", "stats.json")
TASKS = Path("meta", "tasks.parquet")
EXTRAS, EXTRA_EPISODES = Path("meta", "robo_reward.json"), Path("meta", "robo_reward_episodes.jsonl")
EXTRAS_FORMAT, EXTRAS_VERSION = "robo-reward/lerobot", 1
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
CHUNK_SIZE = 1000  # files in one folder
IMAGES = "observation.images."
VERSIONS = ("v2.0", "v2.1", "v3.")
STATE, ACTION, REWARD, SUCCESS = "robo_reward.state", "robo_reward.action", "robo_reward.reward", "robo_reward.success"
"""Our own columns: states, actions and rewards in double precision, and success where some of it is unknown."""
EXECUTED = "robo_reward.executed_action"
"""Our own column of the actions with the noise that was executed, where `ACTION` holds those without."""
MAX_META = 256 << 20  # [bytes] of one JSON file


class Feature(msgspec.Struct):
    """The description of one column or video."""

    dtype: str
    shape: list[Annotated[int, msgspec.Meta(ge=0, le=1 << 20)]]
    names: Any = None
    info: dict[str, Any] | None = None

    @property
    def is_picture(self) -> bool:
        """True for a video or for pictures in colour; depth maps are not read."""
        return self.dtype in ("video", "image") and not self.is_depth_map

    @property
    def is_depth_map(self) -> bool:
        """True for a video or for pictures of distances."""
        about = self.info or {}
        return bool(about.get("is_depth_map") or about.get("video.is_depth_map"))


class LeRobotInfo(msgspec.Struct):
    """The content of `meta/info.json` that is read."""

    codebase_version: str
    fps: Annotated[float, msgspec.Meta(gt=0, le=1e5)]
    features: dict[str, Feature]
    total_episodes: Annotated[int, msgspec.Meta(ge=0)] = 0
    data_path: str = DATA_PATH
    video_path: str | None = VIDEO_PATH
    robot_type: str | None = None
    chunks_size: Annotated[int, msgspec.Meta(ge=1)] = CHUNK_SIZE

    @property
    def cameras(self) -> tuple[str, ...]:
        """The names of the features that hold pictures, in the order of the file."""
        return tuple(name for name, feature in self.features.items() if feature.is_picture)


class ExtraEpisode(msgspec.Struct):
    """The parts of one episode of ours that LeRobot has no place for."""

    task_id: str
    meta: dict[str, Any]
    terms: list[str] | None
    final_state: list[Finite]


class Extras(msgspec.Struct):
    """The content of `meta/robo_reward.json`."""

    format: str
    version: int
    spec: list[dict[str, Any]]
    terms: list[str]
    frame_shape: list[int]
    lengths: list[int]


def load_info(root: Path) -> LeRobotInfo:
    """Returns the description of a data set.

    Raises:
        BadArtifact: there is none, it cannot be read, or it is of a version that is not read.
    """
    path = root / INFO
    info = load_json(path, LeRobotInfo, MAX_META, "Download the LeRobot data set again", follow=True)
    if info is None:
        raise BadArtifact(path, "there is no such file", "Give the folder of a LeRobot data set")
    if not info.codebase_version.startswith(VERSIONS):
        raise BadArtifact(
            path,
            f"codebase_version is {info.codebase_version!r}, expected v2.0, v2.1 or v3.x",
            "Convert the data set with the version of lerobot that its model card names",
        )
    return info


def load_extras(root: Path) -> Extras | None:
    """Returns what we keep beside the data set; None where there is none or a newer one."""
    found = load_json(root / EXTRAS, Extras, MAX_META, "Delete it to read the data set as others do", follow=True)
    if found is None or (found.format, found.version) != (EXTRAS_FORMAT, EXTRAS_VERSION):
        return None
    return found


def find_lines(path: Path) -> list[tuple[int, int]]:
    """Returns the place and the length of each line of a file [bytes]; empty where there is no file."""
    file = open_regular(path, follow=True)
    if file is None:
        return []
    found, place = [], 0
    with file:
        for line in file:
            found.append((place, len(line)))
            place += len(line)
    return found


def fill_path(root: Path, template: str, **values: Any) -> Path:
    """Returns the path that a template of `meta/info.json` means.

    Raises:
        BadArtifact: a place holder that does not exist, or a path that leads out of the data set.
    """

    def replace_field(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise BadArtifact(root / INFO, f"the path {template!r} has the unknown field {match[1]!r}")
        value = values[match[1]]
        return f"{value:0{int(match[2])}d}" if match[2] else str(value)

    name = Path(re.sub(r"\{(\w+)(?::0(\d)d)?\}", replace_field, template))
    if name.is_absolute() or ".." in name.parts:
        raise BadArtifact(root / INFO, f"the path {template!r} leads out of the data set")
    return root / name


def import_pyarrow() -> tuple[Any, Any]:
    """Returns `pyarrow` and `pyarrow.parquet`.

    Raises:
        MissingExtra: they are not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("pyarrow", "data", "reading and writing LeRobot data sets") from None
    return pyarrow, pyarrow.parquet


def is_lerobot(path: Path) -> bool:
    """Returns whether a folder is a LeRobot data set, perhaps a damaged one."""
    try:
        found = load_json(path / INFO, dict[str, Any], MAX_META, follow=True)
    except BadArtifact:  # damaged, or of another format
        return (path / "data").is_dir() and (path / "videos").is_dir()
    return found is not None and "codebase_version" in found
