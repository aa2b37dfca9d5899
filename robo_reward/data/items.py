"""The episodes of any data set, listed without reading them, so that a damaged one does not stop the others."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.data.formats import MINARI, find_data_set
from robo_reward.data.lerobot.layout import is_lerobot
from robo_reward.data.lerobot.places import read_columns
from robo_reward.data.minari import find_minari_folder, open_minari
from robo_reward.data.robomimic import is_robomimic
from robo_reward.data.sources import MAX_SIDE, PICTURES, VIDEOS, Demonstration, load_demonstrations, natural_sort_key
from robo_reward.data.summary import EpisodeSource
from robo_reward.envs.state import StateSpec
from robo_reward.errors import UsageError
from robo_reward.files import parse_json, read_bytes


class _EpisodeRow(msgspec.Struct):
    """A line of `meta/episodes.jsonl`."""

    episode_index: int
    length: int


@dataclass(frozen=True, eq=False)
class DataItem:
    """One episode of a data set, not read yet.

    Args:
        name: unique in the data set: a key of a store, or a path inside the folder.
        load: reads the episode.
        stamp: changes when its files do; a hash of their names, sizes and times.
        rows: number of frames that a LeRobot data set counts for it; None: one for each state.
    """

    name: str
    load: Callable[[], Episode]
    stamp: str = ""
    rows: int | None = None


def list_data_items(source: Path | str, fps: float = 20.0, frames: bool = True) -> list[DataItem]:
    """Returns the episodes of a data set, in its own order.

    An `EpisodeStore`, a run with one in `episodes/`, a LeRobot, robomimic or Minari data set and a folder of videos,
    pictures or folders of these are listed without reading; a run with `videos/` stands for these.

    Args:
        source: what `load_demonstrations` takes, or a run.
        fps: of folders of pictures and of data sets that do not specify it [Hz].
        frames: read the frames of the episodes, where there are any.

    Raises:
        UsageError: nothing there, or a data set of an unknown kind.
        BadArtifact: the description of a data set is damaged.
        MissingExtra: a package that the format needs is not installed.
    """
    text, path = str(source), Path(source)
    if text.startswith(MINARI):
        name = text.removeprefix(MINARI)
        data = open_minari(name)
        found = _wrap_data_set(data, name, fps, frames, find_minari_folder(name))
    elif (store := _find_store(path)) is not None:
        found = _wrap_store(store, "", frames)
    elif path.exists() and (data := find_data_set(path, largest=MAX_SIDE)) is not None:
        found = _wrap_data_set(data, path.name, fps, frames)
    elif path.is_dir() and (leaves := list(_list_leaves(root := _find_videos(path)))):
        found = [item for leaf in leaves for item in _wrap_leaf(leaf, root, fps, frames)]
    else:
        stamp = _compute_stamp([path])
        found = [_wrap_demonstration(demo, stamp) for demo in load_demonstrations(source, fps)]
    if not found:
        raise UsageError(f"no episodes in {source}: give videos, folders of pictures, an episode store or minari:ID")
    return _make_names_unique(found)


def demonstration_to_episode(demo: Demonstration) -> Episode:
    """Returns a demonstration as an episode with frames; without known states it has a state of no fields."""
    if demo.episode is not None:
        return replace(demo.episode, frames=demo.frames)
    steps = len(demo.frames) - 1
    return Episode(
        np.zeros((steps + 1, 0)),
        np.zeros((steps, 0)),
        np.zeros(steps, bool),
        StateSpec([]),
        frames=demo.frames,
        meta={"fps": demo.fps, "success_known": False},
    )


def _find_store(path: Path) -> EpisodeStore | None:
    """Returns the episode store in a folder, or in the `episodes` of a run."""
    return next((EpisodeStore(p) for p in (path, path / "episodes") if (p / "store.json").is_file()), None)


def _find_videos(path: Path) -> Path:
    """Returns the folder of videos of a run, else the folder itself."""
    return path / "videos" if (path / "config.yaml").is_file() and (path / "videos").is_dir() else path


def _list_leaves(path: Path) -> Iterator[Path]:
    """Yields the videos, folders of pictures and data sets in and below a folder, in natural order."""
    inside = sorted((p for p in path.iterdir() if not p.name.startswith(".")), key=natural_sort_key)
    if (path / "store.json").is_file() or is_lerobot(path) or any(p.suffix.lower() in PICTURES for p in inside):
        yield path
        return
    for item in inside:
        if item.is_dir():
            yield from _list_leaves(item)
        elif item.suffix.lower() in VIDEOS or is_robomimic(item):
            yield item


def _wrap_store(store: EpisodeStore, prefix: str, frames: bool) -> list[DataItem]:
    """Returns the items of a store; the prefix tells several stores apart."""
    files: dict[str, list[Path]] = {}
    for path in sorted((store.folder / "episodes").iterdir()):
        key = path.stem if path.suffix == ".npz" else path.stem.rpartition("-")[0]  # KEY.npz, and KEY-NUMBER.mp4
        files.setdefault(key, []).append(path)

    def wrap(key: str) -> DataItem:
        return DataItem(prefix + key, lambda: store.load(key, frames), _compute_stamp(files.get(key, ())))

    return [wrap(key) for key in store.keys()]  # noqa: SIM118 - a store is not a mapping


def _wrap_leaf(leaf: Path, root: Path, fps: float, frames: bool) -> list[DataItem]:
    """Returns the items of a video, a folder of pictures, or a data set inside a folder."""
    name = leaf.relative_to(root).as_posix() if leaf != root else leaf.name
    if (store := _find_store(leaf)) is not None:
        return _wrap_store(store, f"{name}/", frames)
    if (is_lerobot(leaf) or is_robomimic(leaf)) and (data := find_data_set(leaf, largest=MAX_SIDE)) is not None:
        return _wrap_data_set(data, name, fps, frames)
    stamp = _compute_stamp(sorted(leaf.iterdir()) if leaf.is_dir() else [leaf])

    def load() -> Episode:
        (demo,) = load_demonstrations(leaf, fps)
        return demonstration_to_episode(demo)

    return [DataItem(name, load, stamp)]


def _compute_stamp(files: Iterable[Path]) -> str:
    """Returns a hash of the names, sizes and times of files."""
    parts = []
    for file in files:
        if os.path.lexists(file):
            state = file.stat() if file.exists() else file.lstat()  # a link may lead nowhere
            parts.append((file.name, state.st_size, state.st_mtime_ns))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _list_files(place: Path) -> list[Path]:
    """Returns the files of a data set, without hidden ones and the scores that this program writes beside them."""
    if not place.is_dir():
        return [place]
    return [
        path
        for path in sorted(place.rglob("*"))
        if not path.is_dir()
        and not any(part.startswith(".") for part in path.relative_to(place).parts)
        and not (path.parent == place and path.name.startswith("robo_reward_"))
    ]


def _wrap_demonstration(demo: Demonstration, stamp: str) -> DataItem:
    return DataItem(demo.name, lambda: demonstration_to_episode(demo), stamp)


def _wrap_data_set(
    data: EpisodeSource, name: str, fps: float, frames: bool, place: Path | None = None
) -> list[DataItem]:
    """Returns the items of a data set of another project, those of LeRobot with their numbers of rows.

    Args:
        data: its episodes.
        name: of the data set.
        fps: of data sets that do not specify it [Hz].
        frames: read the frames of the episodes.
        place: its file or folder, where `data.name` is not that.
    """
    stamp = _compute_stamp(_list_files(place or Path(data.name)))
    counts = read_row_counts(Path(data.name))
    rows = counts if len(counts) == data.count else [None] * data.count

    def load(number: int) -> Episode:
        episode = data.load_episode(number, frames)
        return replace(episode, meta={"fps": fps, **episode.meta})

    return [DataItem(f"{name} {number}", partial(load, number), stamp, rows[number]) for number in range(data.count)]


def read_row_counts(root: Path) -> list[int]:
    """Returns the number of rows of each episode of a LeRobot data set, in order; empty where it is none.

    Version 3 keeps them in `meta/episodes/*/*.parquet`, versions 2.0 and 2.1 in `meta/episodes.jsonl`.
    """
    found: dict[int, int] = {}
    for path in root.glob("meta/episodes/*/*.parquet"):
        table = read_columns(path, ("episode_index", "length"))
        found |= dict(zip(table["episode_index"].to_pylist(), table["length"].to_pylist(), strict=True))
    lines = (read_bytes(root / "meta" / "episodes.jsonl", follow=True) or b"").splitlines() if not found else []
    for line in lines:
        row = parse_json(line, _EpisodeRow, root / "meta" / "episodes.jsonl")
        found[row.episode_index] = row.length
    return [found[index] for index in sorted(found)]


def _make_names_unique(items: list[DataItem]) -> list[DataItem]:
    """Returns the items with `#2`, `#3`, … after names that occur again."""
    seen: dict[str, int] = {}
    found = []
    for item in items:
        seen[item.name] = seen.get(item.name, 0) + 1
        found.append(replace(item, name=f"{item.name}#{seen[item.name]}") if seen[item.name] > 1 else item)
    return found
