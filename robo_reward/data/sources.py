"""Readers of demonstrations: videos, folders of frames, stored episodes, and data sets of other projects."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from robo_reward.configs.rewards import DiscoverConfig
from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.data.formats import MINARI, find_data_set
from robo_reward.data.lerobot_detection import refuse_lerobot
from robo_reward.data.minari import iterate_minari_episodes, list_pictures, load_minari
from robo_reward.data.summary import EpisodeSource, get_camera_names, get_rate
from robo_reward.envs.video.files import load_video
from robo_reward.errors import UsageError, WrongShape
from robo_reward.files import open_regular

log = logging.getLogger(__name__)

VIDEOS = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm")
PICTURES = (".png", ".jpg", ".jpeg")
MAX_SIDE = 480
"""Maximum length of the longer side of a frame [pixels]; larger frames are downscaled while reading."""

MAX_PICTURE = 64 << 20  # [bytes] of one file


@dataclass(frozen=True, eq=False)
class Demonstration:
    """One demonstration.

    Args:
        frames: (T, H, W, 3) uint8, at least two, not all the same.
        fps: frames per second [Hz].
        name: in messages and pictures.
        episode: the states and actions behind the frames, if they are known; its own frames are left out.

    Raises:
        WrongShape: frames of another shape.
        UsageError: fewer than two frames, or frames that never change.
    """

    frames: np.ndarray
    fps: float
    name: str
    episode: Episode | None = None

    def __post_init__(self) -> None:
        frames = self.frames
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
            raise WrongShape(f"frames of {self.name} ({frames.dtype})", frames.shape, "(T, H, W, 3) uint8")
        if len(frames) < 2:
            raise UsageError(f"demonstration {self.name} has {len(frames)} frame(s); at least two are needed")
        if not self.fps > 0:
            raise UsageError(f"demonstration {self.name} has {self.fps} frames per second; give a rate above zero")
        if (frames == frames[0]).all():
            raise UsageError(
                f"demonstration {self.name} shows no motion: all its {len(frames)} frames are the same; remove it"
            )

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras that its frames show; empty if unknown."""
        return get_camera_names(self.episode.meta) if self.episode else ()


def load_demonstrations(source: Path | str, fps: float = DiscoverConfig.fps) -> list[Demonstration]:
    """Reads demonstrations and brings them to one size and one rate.

    Args:
        source: a video; a folder of pictures (one demonstration, in natural order: `2.png` before `10.png`); an
            `EpisodeStore` with frames; a LeRobot data set; a robomimic file; the folder of a Minari data set; a folder
            of any of these; or `minari:ID`.
        fps: of folders of pictures and of data sets that do not specify it [Hz].

    Raises:
        UsageError: nothing there, frames that never change, or a part of a LeRobot data set.
        VideoError: a video that cannot be read, breaks off or holds no frames; the message names it.
        BadArtifact: a data set that is damaged.
        MissingExtra: a data set whose format needs a package that is not installed.
    """
    text = str(source)
    found = (
        _read_minari(text.removeprefix(MINARI), fps)
        if text.startswith(MINARI)
        else list(_read_source(Path(source), fps))
    )
    if not found:
        raise UsageError(f"no demonstrations in {source}: expected videos, folders of pictures, or an episode store")
    return harmonise_demonstrations(found)


def harmonise_demonstrations(demonstrations: Sequence[Demonstration]) -> list[Demonstration]:
    """Brings demonstrations to the smallest frame and lowest rate among them; logs a warning for each changed.

    Frames are scaled, not cropped: a picture of another aspect is squeezed. Frames are chosen, not blended.
    """
    height, width = min((d.frames.shape[1:3] for d in demonstrations), key=lambda s: (s[0] * s[1], s))
    fps = min(d.fps for d in demonstrations)
    found = []
    for d in demonstrations:
        frames, notes = d.frames, []
        if abs(d.fps - fps) > 1e-3 * fps:
            frames = frames[_choose_frames(len(frames), d.fps, fps)]
            notes.append(f"from {d.fps:g} to {fps:g} frames per second")
        if frames.shape[1:3] != (height, width):
            notes.append(f"from {frames.shape[2]} x {frames.shape[1]} to {width} x {height} pixels")
            frames = _resize_frames(frames, width, height)
        if notes:
            log.warning("demonstration %s is converted %s, to match the others", d.name, " and ".join(notes))
        # Once frames are dropped, states and actions no longer match them.
        episode = d.episode if len(frames) == len(d.frames) else None
        found.append(replace(d, frames=frames, fps=fps, episode=episode))
    return found


def _read_source(path: Path, fps: float) -> Iterator[Demonstration]:
    """Yields the demonstrations of a file, a store or a folder."""
    if not path.exists():
        raise UsageError(f"no demonstrations at {path}: there is no such file or folder")
    if (path / "store.json").is_file():
        yield from _read_store(EpisodeStore(path), path.name)
        return
    data = find_data_set(path, largest=MAX_SIDE)
    if data is not None:
        yield from _read_data_set(data, path.name, fps)
        return
    refuse_lerobot(path)
    if path.is_dir():
        yield from _read_folder(path, fps)
    elif path.suffix.lower() in VIDEOS:
        yield Demonstration(*load_video(path, MAX_SIDE), path.name)
    else:
        raise UsageError(f"{path} is not a video; supported are {', '.join(VIDEOS)}")


def _read_folder(path: Path, fps: float) -> Iterator[Demonstration]:
    """Yields the demonstrations of a folder: one from its pictures, else one from each video or folder in it."""
    inside = sorted((p for p in path.iterdir() if not p.name.startswith(".")), key=natural_sort_key)
    pictures = [p for p in inside if p.suffix.lower() in PICTURES]
    if pictures:
        yield Demonstration(_read_pictures(pictures), fps, path.name)
        return
    for item in inside:
        if item.is_dir() or item.suffix.lower() in VIDEOS:
            yield from _read_source(item, fps)


def natural_sort_key(path: Path) -> list[tuple[bool, int, str]]:
    """Returns a sorting key by which `2.png` comes before `10.png`, and numbers before letters."""
    parts = [part for part in re.split(r"(\d+)", path.name) if part]
    return [(False, int(part), "") if part.isdigit() else (True, 0, part.lower()) for part in parts]


def _read_pictures(paths: Sequence[Path]) -> np.ndarray:
    """Returns pictures as frames (T, H, W, 3) of the size of the first one."""
    frames: list[np.ndarray] = []
    for path in paths:
        picture = _read_picture(path)
        height, width = picture.shape[:2]
        shrink = min(1.0, MAX_SIDE / max(height, width))
        size = (frames[0].shape[1], frames[0].shape[0]) if frames else (round(width * shrink), round(height * shrink))
        if (width, height) != size:
            if frames and shrink == 1.0:
                log.warning("%s is resized from %d x %d to %d x %d pixels", path, width, height, *size)
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        frames.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    return np.stack(frames)


def _read_picture(path: Path) -> np.ndarray:
    """Returns a picture (H, W, 3) in BGR."""
    file = open_regular(path, follow=True)
    if file is None:
        raise UsageError(f"{path} is not a file; give a folder that contains only pictures")
    with file:
        data = np.frombuffer(file.read(MAX_PICTURE + 1), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if 0 < len(data) <= MAX_PICTURE else None
    if picture is None:
        raise UsageError(f"{path} cannot be read as a picture; replace or delete it")
    return picture


def _read_store(store: EpisodeStore, name: str) -> Iterator[Demonstration]:
    """Yields the episodes of a store as demonstrations."""
    for key in store.keys():  # noqa: SIM118 - a store is not a mapping
        episode = store.load(key)
        if episode.frames is None:
            raise UsageError(f"episode {key} of {name} has no frames: record it with frames")
        rate = get_rate(episode, store.fps)
        yield Demonstration(episode.frames, rate, key, replace(episode, frames=None))


def _read_data_set(data: EpisodeSource, name: str, fps: float) -> Iterator[Demonstration]:
    """Yields the episodes of a data set of another project as demonstrations."""
    for number, episode in enumerate(data.iterate(True)):
        if episode.frames is None:
            raise UsageError(
                f"{data.format} data set {data.name} has no pictures; give one that was recorded with them"
            )
        rate = get_rate(episode, fps)
        yield Demonstration(episode.frames, rate, f"{name} {number}", replace(episode, frames=None))


def _read_minari(dataset_id: str, fps: float) -> list[Demonstration]:
    """Returns the demonstrations of a data set whose observations, or a part of them, are pictures.

    Raises:
        UsageError: the data set has states alone.
    """
    found = []
    for data in iterate_minari_episodes(load_minari(dataset_id)):
        pictures = list_pictures(data.observations) or list_pictures(data.infos)
        if not pictures:
            shown = _describe_arrays(data.observations)
            raise UsageError(f"Minari data set {dataset_id!r} has no pictures (T, H, W, 3) uint8; it has {shown}")
        found.append(Demonstration(next(iter(pictures.values())), fps, f"{dataset_id} {data.id}"))
    return found


def _describe_arrays(values: Any) -> str:
    """Returns the types and shapes of a tree of arrays as a text."""
    if isinstance(values, Mapping):
        return "{" + ", ".join(f"{key}: {_describe_arrays(value)}" for key, value in values.items()) + "}"
    return f"{getattr(values, 'dtype', type(values).__name__)} {np.shape(values)}"


def _choose_frames(length: int, fps: float, target: float) -> np.ndarray:
    """Returns the indices of the frames to keep, so that they lie `1 / target` seconds apart."""
    count = max(2, 1 + int((length - 1) / fps * target + 1e-6))
    return np.minimum(np.round(np.arange(count) * fps / target).astype(int), length - 1)


def _resize_frames(frames: np.ndarray, width: int, height: int) -> np.ndarray:
    """Returns the frames resized to a width and height."""
    return np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames])
