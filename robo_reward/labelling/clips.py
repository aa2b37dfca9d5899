"""Finds the videos of a folder, a run or an episode store, checks them and makes them playable in a browser."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from robo_reward.data.episode import EpisodeStore
from robo_reward.data.formats import find_data_set
from robo_reward.data.lerobot_detection import is_lerobot_info, refuse_lerobot
from robo_reward.data.summary import EpisodeSource, get_rate, get_task_name, is_success_known
from robo_reward.envs.task import make_task, task_names
from robo_reward.envs.video.files import VideoError, write_video
from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.files import find_folder, open_regular
from robo_reward.labelling.playable import make_playable
from robo_reward.labelling.store import Clip
from robo_reward.printable import to_printable_name

_LINK = "it is a link, and links are not followed; copy the file here"
ENDINGS = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")


class UnusableVideo(RoboRewardError):
    """A video that cannot be shown; the message says why."""

    @property
    def problem(self) -> str:
        """Reason why the video cannot be shown."""
        return str(self)


class NotEnoughClips(UsageError):
    """Fewer than two usable videos; the message names the others and their problems."""


@dataclass(frozen=True)
class Video:
    """A clip that can be shown.

    Args:
        id: the hash of its content, or its key in an `EpisodeStore`.
        path: path of a file that browsers can play.
        name: display name: the path inside the source.
        seconds: duration [s].
        fps: frames per second [Hz].
        size: width and height [px].
        meta: further JSON metadata, such as the task.
    """

    id: str
    path: Path
    name: str
    seconds: float
    fps: float
    size: tuple[int, int]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def to_clip(self, path: Path) -> Clip:
        """Returns its record for the preference store, with the path of the original."""
        known = {"name": self.name, "seconds": round(self.seconds, 3), "fps": self.fps, "size": list(self.size)}
        return Clip(self.id, str(path), {**known, **self.meta})


@dataclass(frozen=True)
class RejectedVideo:
    """A file that cannot be shown, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True)
class ClipCollection:
    """Videos found in a source.

    Args:
        videos: usable clips, by name.
        refused: the unusable ones.
        store: the records for a preference store.
        goal: the goal sentence of the clips' task, if all have the same task.
    """

    videos: tuple[Video, ...]
    refused: tuple[RejectedVideo, ...]
    store: tuple[Clip, ...]
    goal: str = ""


def find_clips(source: Path | str, work: Path | str) -> ClipCollection:
    """Returns all videos of a source that can be shown.

    A folder that is an `EpisodeStore`, or has one in `episodes/`, gives its episodes that have frames; a run gives
    its `videos/`; a LeRobot, robomimic or Minari data set its episodes, which are cut into a video each, in a folder
    beside `work`; any other folder all videos in and below it. Every file is decoded once, so that a broken one is
    found now and not while labelling.

    Args:
        source: the folder.
        work: folder for converted copies of videos that browsers cannot play.

    Raises:
        UsageError: no such folder.
        LeRobotDatasetError: it is a part of a LeRobot data set, or holds one beside other files.
        BadArtifact: a data set that is damaged.
        NotEnoughClips: fewer than two usable videos.
    """
    source, work = Path(source), Path(work)
    if not source.is_dir():
        raise UsageError(f"no folder {source}: give a run, a folder of videos or an episode store")
    folder = find_folder(source, "episodes", "store.json")
    if (folder / "store.json").is_file():
        found = _find_in_store(EpisodeStore(folder), work)
    elif data := find_data_set(source):
        found = _find_in_data_set(data, work)
    else:
        refuse_lerobot(source)
        folder = source / "videos" if (source / "videos").is_dir() else source
        found = _find_in_folder(folder, work)
    if len(found.videos) < 2:
        broken = "".join(f"\n  {one.name}: {one.reason}" for one in found.refused)
        where = to_printable_name(str(folder))
        raise NotEnoughClips(f"{where} holds {len(found.videos)} usable videos; comparing needs two or more{broken}")
    return found


def _find_in_folder(folder: Path, work: Path) -> ClipCollection:
    inside = list(folder.rglob("*"))
    for path in filter(is_lerobot_info, inside):
        refuse_lerobot(path.parent.parent)
    paths = sorted(
        path
        for path in inside
        if path.suffix.lower() in ENDINGS and work not in path.parents and not path.name.startswith(".")
    )

    def check_video(path: Path) -> Video | RejectedVideo:
        name = to_printable_name(path.relative_to(folder).as_posix())
        try:
            return _prepare_video(hash_content(path), path, name, work)
        except OSError as error:
            return RejectedVideo(name, error.strerror or str(error))
        except (UnusableVideo, VideoError) as error:
            return RejectedVideo(name, error.problem)

    return _group_by_usability(zip(paths, _map_in_threads(check_video, paths), strict=True))


def _find_in_data_set(data: EpisodeSource, work: Path) -> ClipCollection:
    """Cuts the episodes of a data set into a video each, unless those are there from an earlier call."""
    folder = work.with_name(f"{work.name}-cut")
    paths = [folder / f"{number:06d}.mp4" for number in range(data.count)]
    is_cut = all(path.is_file() for path in paths)
    about: dict[str, dict[str, Any]] = {}
    for path, episode in zip(paths, data.iterate(not is_cut), strict=True):
        if not is_cut:
            if episode.frames is None:
                raise UsageError(f"{data.format} data set {data.name} has no pictures to compare; give one with them")
            write_video(path, episode.frames, fps=get_rate(episode), crf=12)
        about[path.name] = {"task": get_task_name(episode), "steps": len(episode)}
        if is_success_known(episode):
            about[path.name]["success"] = episode.is_successful
    found = _find_in_folder(folder, work)
    videos = tuple(replace(video, meta=about[video.name]) for video in found.videos)
    paths_of = {clip.id: Path(clip.path) for clip in found.store}
    return replace(found, videos=videos, store=tuple(video.to_clip(paths_of[video.id]) for video in videos))


def hash_content(path: Path) -> str:
    """Returns the SHA-256 hash of a regular file, 32 hex digits.

    Raises:
        UnusableVideo: it is not a regular file, or its path cannot be stored.
    """
    try:
        str(path.resolve()).encode()
    except UnicodeEncodeError:
        raise UnusableVideo("its name is not UTF-8; rename it") from None
    if path.is_symlink():
        raise UnusableVideo(_LINK)
    if path.is_dir():
        raise UnusableVideo("it is a folder, not a video; the videos inside it are used")
    file = open_regular(path)
    if file is None:
        raise UnusableVideo("it is a pipe, a socket or a device, not a file")
    with file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def _find_in_store(store: EpisodeStore, work: Path) -> ClipCollection:
    def check_episode(key: str) -> Video | RejectedVideo:
        try:
            entry = store.read_entry(key)
            path = store.find_video(key) or _render_episode(store, key, work)
            if path and path.is_symlink():
                return RejectedVideo(key, _LINK)
            meta: dict[str, Any] = {"task": entry.task_id, "steps": entry.steps}
            if entry.meta.get("success_known") is not False:
                meta["success"] = entry.success
            return (
                replace(_prepare_video(key, path, key, work), meta=meta)
                if path
                else RejectedVideo(key, "it has no frames")
            )
        except VideoError as error:
            return RejectedVideo(key, error.problem)
        except RoboRewardError as error:
            return RejectedVideo(key, str(error))

    keys = store.keys()
    found = _group_by_usability(zip([store.folder] * len(keys), _map_in_threads(check_episode, keys), strict=True))
    tasks = {video.meta["task"] for video in found.videos}
    return replace(found, goal=_look_up_goal(tasks.pop()) if len(tasks) == 1 else "")


def _render_episode(store: EpisodeStore, key: str, work: Path) -> Path | None:
    """Returns the path of a video made from an episode's frame arrays; None where it has no frames."""
    path = work / f"{key}.mp4"
    if not path.is_file():
        episode = store.load(key)
        if episode.frames is None:
            return None
        write_video(path, episode.frames, fps=get_rate(episode, store.fps), crf=12)
    return path


def _look_up_goal(task: str) -> str:
    return make_task(task).goal if task in task_names() else ""


def _map_in_threads(look: Any, items: Iterable[Any]) -> list[Any]:
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # decoding is C code that runs in parallel
        return list(pool.map(look, items))


def _group_by_usability(found: Iterable[tuple[Path, Video | RejectedVideo]]) -> ClipCollection:
    """Separates usable videos from the others; a second file with the same content is rejected."""
    videos: dict[str, tuple[Path, Video]] = {}
    refused = []
    for path, one in found:
        if isinstance(one, RejectedVideo):
            refused.append(one)
        elif one.id in videos:
            refused.append(RejectedVideo(one.name, f"it is the same as {videos[one.id][1].name}"))
        else:
            videos[one.id] = path, one
    store = tuple(video.to_clip(path.resolve()) for path, video in videos.values())
    return ClipCollection(tuple(video for _, video in videos.values()), tuple(refused), store)


def _prepare_video(key: str, path: Path, name: str, work: Path) -> Video:
    """Decodes a whole file, and converts it to a form that browsers play if it is not already in one.

    Raises:
        VideoError: it is empty, not a video, or truncated.
    """
    shown = make_playable(path, work / f"{key}.h264.mp4")
    return Video(key, shown.path, name, shown.seconds, shown.fps, shown.size)
