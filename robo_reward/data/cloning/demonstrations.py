"""Demonstrations for cloning: episodes of any format, checked against a task before any training begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from robo_reward.data.cloning.checks import (
    BadDemonstration,
    check_episode,
    find_constant_columns,
    has_task_fields,
)
from robo_reward.data.cloning.picture_stack import PictureStack, PictureStackWriter
from robo_reward.data.episode import Episode
from robo_reward.data.formats import open_episodes
from robo_reward.data.pictures import crop_square
from robo_reward.data.summary import EpisodeSource, get_clean_action, is_success_known, split_cameras
from robo_reward.envs.task import Task
from robo_reward.errors import BadArtifact, MissingExtra, RoboRewardError, UsageError


@dataclass(frozen=True, eq=False)
class DemonstrationSet:
    """Demonstrations of one task that fit it and each other.

    Args:
        name: the file, folder or id that they come from.
        episodes: without frames; `action` is what an imitator learns, without the noise of the execution.
        names: of each episode, for messages.
        cameras: whose pictures were read; empty for none.
        pictures: of all states of all episodes, one after another, or None; `first_pictures` says where each begins.
        warnings: what is unusual about them, a sentence each.
        skipped: number of episodes that were left out because they failed.
    """

    name: str
    episodes: tuple[Episode, ...]
    names: tuple[str, ...]
    cameras: tuple[str, ...] = ()
    pictures: PictureStack | None = None
    warnings: tuple[str, ...] = ()
    skipped: int = 0
    first_pictures: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        counts = [len(episode) + 1 for episode in self.episodes]
        object.__setattr__(self, "first_pictures", np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64))

    def __len__(self) -> int:
        """Returns the number of episodes."""
        return len(self.episodes)

    @property
    def steps(self) -> int:
        """The number of steps of all episodes."""
        return sum(map(len, self.episodes))

    def get_pictures(self, number: int) -> dict[str, np.ndarray]:
        """Returns the pictures of one episode: camera -> (T + 1, H, W, 3) uint8, read when they are used."""
        if self.pictures is None:
            return {}
        first = int(self.first_pictures[number])
        rows = slice(first, first + len(self.episodes[number]) + 1)
        return {camera: array[rows] for camera, array in self.pictures.arrays.items()}

    def close(self) -> None:
        """Frees the file that holds the pictures."""
        if self.pictures is not None:
            self.pictures.close()


def load_demonstration_set(
    source: Path | str | EpisodeSource | Sequence[Episode],
    task: Task,
    cameras: Sequence[str] = (),
    size: int | None = None,
    successes_only: bool = True,
    horizon: int = 1,
    state: bool = True,
) -> DemonstrationSet:
    """Reads demonstrations of any format and checks that a policy of the task can be cloned from them.

    Pictures are read one episode at a time and kept in a temporary file, which the system caches in free memory.

    Args:
        source: what `open_episodes` takes (an episode store, a run, a LeRobot, robomimic or Minari data set), or
            episodes.
        task: that the policy is for.
        cameras: whose pictures the policy looks at; empty for none.
        size: the middle square of each picture is scaled to this width and height [pixels]; None: as they are.
        successes_only: leave out episodes that end without success. Where success is unknown, the task's own rule
            decides if the states fit it, otherwise the episode is kept.
        horizon: steps that each episode must have at least, such as the length of an action chunk.
        state: whether the policy sees the state; otherwise its fields need not be those of the task.

    Raises:
        BadDemonstration: an episode does not fit the task or the others; the message names the file and the episode.
        UsageError: there are no episodes, or none of them succeeds.
        BadArtifact: the data is damaged.
        MissingExtra: a package that the format needs is not installed.
    """
    found = _open_source(source, cameras, size)
    episodes: list[Episode] = []
    names: list[str] = []
    warnings: Counter[str] = Counter()
    skipped = 0
    writer = PictureStackWriter(cameras) if cameras else None
    try:
        for name, episode in _iterate_named(found, bool(cameras)):
            warnings.update(check_episode(episode, task, name, horizon, cameras, state))
            success = _decide_success(episode, task)
            if success is None:
                warnings["success is unknown"] += 1
            elif successes_only and not success:
                skipped += 1
                continue
            if writer is not None:
                parts = split_cameras(episode)
                warnings.update(_find_enlarged(parts, cameras, size or 0))
                writer.add_episode({camera: _crop(parts[camera], size) for camera in cameras}, name)
            episodes.append(_make_clean(episode))
            names.append(name)
        pictures = writer.finish() if writer is not None and episodes else None
    except BaseException:
        if writer is not None:
            writer.close()
        raise
    if not episodes:
        raise _explain_nothing(found, skipped)
    notes = [*_count_warnings(warnings, found.count), *find_constant_columns(episodes, task)]
    return DemonstrationSet(found.name, tuple(episodes), tuple(names), tuple(cameras), pictures, tuple(notes), skipped)


def _open_source(
    source: Path | str | EpisodeSource | Sequence[Episode], cameras: Sequence[str], size: int | None
) -> EpisodeSource:
    if isinstance(source, EpisodeSource):
        return source
    if isinstance(source, (str, Path)):
        found = open_episodes(source)
        if not found.format.startswith("LeRobot") or not cameras:
            return found
        # Only the videos of these cameras are decoded; the middle squares are scaled to the final size later.
        return open_episodes(source, cameras, 4 * size if size else 0)
    episodes = list(source)
    return EpisodeSource("episodes", "the given episodes", len(episodes), lambda _: iter(episodes))


def _iterate_named(source: EpisodeSource, frames: bool) -> Iterator[tuple[str, Episode]]:
    """Yields each episode with its name; an error of reading it names it.

    Raises:
        BadDemonstration: an episode cannot be used.
        BadArtifact: an episode is damaged.
    """
    episodes = source.iterate(frames)
    for number in range(source.count):
        name = source.name_episode(number)
        try:
            episode = next(episodes, None)
        except MissingExtra:
            raise
        except BadArtifact as error:
            raise BadArtifact(name, f"{error.path}: {error.problem}", "Restore it, or delete this episode") from error
        except RoboRewardError as error:
            raise BadDemonstration(name, str(error)) from error
        if episode is None:
            raise BadArtifact(source.name, f"it has {number} episodes, {source.count} are promised")
        yield name, episode


def _decide_success(episode: Episode, task: Task) -> bool | None:
    """Returns whether an episode succeeds; None where neither the data nor the task's rule can tell."""
    if is_success_known(episode):
        return episode.is_successful
    if has_task_fields(episode, task) and "success" not in task.timed_rules:
        return bool(task.success(task.spec.view(episode.state[-1:]))[0])
    return None


def _make_clean(episode: Episode) -> Episode:
    """Returns an episode without frames, whose actions are what an imitator learns."""
    return replace(episode, action=np.clip(get_clean_action(episode), -1.0, 1.0), clean_action=None, frames=None)


def _crop(frames: np.ndarray, size: int | None) -> np.ndarray:
    return frames if size is None else np.stack([crop_square(frame, size) for frame in frames])


def _find_enlarged(parts: Mapping[str, np.ndarray], cameras: Sequence[str], size: int) -> list[str]:
    """Returns a sentence for each camera whose pictures (F, h, w, 3) are smaller than those of the policy."""
    sides = {camera: parts[camera].shape[1:3] for camera in cameras}
    return [
        f"pictures of {camera} have {width} x {height} pixels and are enlarged to {size} x {size}"
        for camera, (height, width) in sides.items()
        if min(height, width) < size
    ]


def _explain_nothing(source: EpisodeSource, skipped: int) -> UsageError:
    if not source.count:
        return UsageError(
            f"{source.name} holds no episodes; record some first, for example with "
            "`robo-reward record task=panda/lift source=expert n=200`"
        )
    return UsageError(
        f"none of the {skipped} episodes of {source.name} ends with success, and a policy that is cloned from failures "
        "fails; record others, or keep them with failures=true (in Python: successes_only=False)"
    )


def _count_warnings(warnings: Mapping[str, int], count: int) -> list[str]:
    return [f"{what} in {number} of {count} episodes" for what, number in warnings.items()]
