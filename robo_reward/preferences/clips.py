"""Videos to show: found in a folder, a run or an episode store, checked, and made playable in a browser."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from robo_reward.demos.lerobot import is_lerobot_info, refuse_lerobot
from robo_reward.envs.task import make_task, task_names
from robo_reward.envs.video import VideoError, write_video
from robo_reward.episode import EpisodeStore
from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.files import open_regular
from robo_reward.preferences.playable import make_playable
from robo_reward.preferences.store import Clip
from robo_reward.printable import printable_name

_LINK = "it is a link, and links are not followed; copy the file here"
ENDINGS = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")


class Unusable(RoboRewardError):
    """Why one video cannot be shown."""

    @property
    def problem(self) -> str:
        """What is wrong with it."""
        return str(self)


class NotEnoughClips(UsageError):
    """Fewer than two usable videos; the message names the others with what is wrong with each."""


@dataclass(frozen=True)
class Video:
    """A clip that can be shown.

    Args:
        id: the hash of its content, or its key in an `EpisodeStore`.
        path: of a file that browsers play.
        name: for people: the path inside the source.
        seconds: how long [s].
        fps: frames per second [Hz].
        size: width and height [px].
        meta: JSON: what else is known, such as the task.
    """

    id: str
    path: Path
    name: str
    seconds: float
    fps: float
    size: tuple[int, int]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def to_clip(self, path: Path) -> Clip:
        """What the preference store keeps of it, with the path of the original."""
        known = {"name": self.name, "seconds": round(self.seconds, 3), "fps": self.fps, "size": list(self.size)}
        return Clip(self.id, str(path), {**known, **self.meta})


@dataclass(frozen=True)
class Refused:
    """A file that cannot be shown, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Clips:
    """What a source holds.

    Args:
        videos: usable clips, by name.
        refused: the others.
        store: the records for a preference store.
        goal: the sentence that the clips' task states, if they have one task.
    """

    videos: tuple[Video, ...]
    refused: tuple[Refused, ...]
    store: tuple[Clip, ...]
    goal: str = ""


def find_clips(source: Path | str, work: Path | str) -> Clips:
    """All videos of a source that can be shown.

    A folder that is an `EpisodeStore`, or has one in `episodes/`, gives its episodes that have frames; a run gives its
    `videos/`; any other folder all videos in and below it. Every file is decoded once, so that a broken one is found
    now and not by a person.

    Args:
        source: the folder.
        work: where videos are written that no browser would play as they are.

    Raises:
        UsageError: no such folder.
        LeRobotFolder: it is, or holds, a LeRobot data set.
        NotEnoughClips: fewer than two usable videos.
    """
    source, work = Path(source), Path(work)
    if not source.is_dir():
        raise UsageError(f"no folder {source}: give a run, a folder of videos or an episode store")
    refuse_lerobot(source)
    for folder in (source, source / "episodes"):
        if (folder / "store.json").is_file():
            found = _from_store(EpisodeStore(folder), work)
            break
    else:
        folder = source / "videos" if (source / "videos").is_dir() else source
        found = _from_folder(folder, work)
    if len(found.videos) < 2:
        broken = "".join(f"\n  {one.name}: {one.reason}" for one in found.refused)
        where = printable_name(str(folder))
        raise NotEnoughClips(f"{where} holds {len(found.videos)} usable videos; comparing needs two or more{broken}")
    return found


def _from_folder(folder: Path, work: Path) -> Clips:
    inside = list(folder.rglob("*"))
    for path in filter(is_lerobot_info, inside):
        refuse_lerobot(path.parent.parent)
    paths = sorted(
        path
        for path in inside
        if path.suffix.lower() in ENDINGS and work not in path.parents and not path.name.startswith(".")
    )

    def look(path: Path) -> Video | Refused:
        name = printable_name(path.relative_to(folder).as_posix())
        try:
            return _video(_content_hash(path), path, name, work)
        except OSError as error:
            return Refused(name, error.strerror or str(error))
        except (Unusable, VideoError) as error:
            return Refused(name, error.problem)

    return _sorted(zip(paths, _at_once(look, paths), strict=True))


def _content_hash(path: Path) -> str:
    """The hash of a regular file.

    Raises:
        Unusable: it is something else, or its path cannot be stored.
    """
    try:
        str(path.resolve()).encode()
    except UnicodeEncodeError:
        raise Unusable("its name is not UTF-8; rename it") from None
    if path.is_symlink():
        raise Unusable(_LINK)
    if path.is_dir():
        raise Unusable("it is a folder; the videos in it are looked at")
    file = open_regular(path)
    if file is None:
        raise Unusable("it is a pipe, a socket or a device, not a file")
    with file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def _from_store(store: EpisodeStore, work: Path) -> Clips:
    def look(key: str) -> Video | Refused:
        try:
            entry = store.entry(key)
            path = store.video(key) or _drawn(store, key, work)
            if path and path.is_symlink():
                return Refused(key, _LINK)
            meta = {"task": entry.task_id, "steps": entry.steps, "success": entry.success}
            return replace(_video(key, path, key, work), meta=meta) if path else Refused(key, "it has no frames")
        except VideoError as error:
            return Refused(key, error.problem)
        except RoboRewardError as error:
            return Refused(key, str(error))

    keys = store.keys()
    found = _sorted(zip([store.folder] * len(keys), _at_once(look, keys), strict=True))
    tasks = {video.meta["task"] for video in found.videos}
    return replace(found, goal=_goal(tasks.pop()) if len(tasks) == 1 else "")


def _drawn(store: EpisodeStore, key: str, work: Path) -> Path | None:
    """A video of an episode that keeps its frames as arrays."""
    path = work / f"{key}.mp4"
    if not path.is_file():
        episode = store.load(key)
        if episode.frames is None:
            return None
        write_video(path, episode.frames, fps=float(episode.meta.get("fps", store.fps)), crf=12)
    return path


def _goal(task: str) -> str:
    return make_task(task).goal if task in task_names() else ""


def _at_once(look: Any, items: Iterable[Any]) -> list[Any]:
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # decoding is C code that runs beside Python
        return list(pool.map(look, items))


def _sorted(found: Iterable[tuple[Path, Video | Refused]]) -> Clips:
    """Usable ones apart from the others; the second of two files with the same content is not needed."""
    videos: dict[str, tuple[Path, Video]] = {}
    refused = []
    for path, one in found:
        if isinstance(one, Refused):
            refused.append(one)
        elif one.id in videos:
            refused.append(Refused(one.name, f"it is the same as {videos[one.id][1].name}"))
        else:
            videos[one.id] = path, one
    store = tuple(video.to_clip(path.resolve()) for path, video in videos.values())
    return Clips(tuple(video for _, video in videos.values()), tuple(refused), store)


def _video(key: str, path: Path, name: str, work: Path) -> Video:
    """Decodes a file from end to end, and copies it into a form that browsers play where it is not one already.

    Raises:
        VideoError: it is empty, no video, or breaks off.
    """
    shown = make_playable(path, work / f"{key}.h264.mp4")
    return Video(key, shown.path, name, shown.seconds, shown.fps, shown.size)
