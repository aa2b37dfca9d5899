"""Episodes of any origin, and a summary of what they hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.envs.state import StateSpec
from robo_reward.errors import UnknownName, UsageError

USUAL_RATE = 20.0  # [Hz] of episodes that do not say theirs
RATE_TOLERANCE = 0.05
"""Relative difference up to which two rates count as the same: those of episodes on an arm are measured."""


@dataclass(frozen=True)
class EpisodeSource:
    """Episodes that were found somewhere.

    Args:
        format: `store`, `lerobot`, `robomimic` or `minari`.
        name: the file, folder or id, for messages.
        count: number of episodes.
        iterate: returns the episodes in order; its argument is whether to read their frames.
        load: returns the episode with a number, counted from 0, with or without frames; None: `iterate` finds it.
        keys: what the source itself calls each episode, for messages; empty where numbers are all that it has.
    """

    format: str
    name: str
    count: int
    iterate: Callable[[bool], Iterator[Episode]]
    load: Callable[[int, bool], Episode] | None = None
    keys: tuple[str, ...] = ()

    def name_episode(self, number: int) -> str:
        """Returns an episode's number, counted from 0, its key and its file or folder, for messages."""
        key = f" ({self.keys[number]})" if number < len(self.keys) else ""
        return f"episode {number}{key} of {self.name}"

    def load_episode(self, number: int, frames: bool = True) -> Episode:
        """Returns one episode, also where others are damaged.

        Args:
            number: counted from 0.
            frames: read its frames.
        """
        if self.load is None:
            return next(islice(self.iterate(frames), number, None))
        return self.load(number, frames)


class SuccessCounts(NamedTuple):
    """Numbers of episodes by success."""

    success: int
    failure: int
    unknown: int


@dataclass(frozen=True)
class DataSummary:
    """A summary of episodes of one kind.

    Args:
        format: as of `EpisodeSource`.
        episodes: number of episodes.
        steps: number of steps of all episodes together.
        spec: the fields of the state.
        actions: components of an action.
        fps: steps per second [Hz]; of measured rates that differ slightly, the median, rounded to a whole number that
            is close.
        cameras: names of the cameras side by side in the frames; empty without frames.
        frame_shape: (H, W) of the frames with all cameras side by side; empty without frames.
        success: how the episodes ended.
        tasks: sentence or id of the task -> number of episodes.
        terms: names of the reward terms of all episodes; None where no episode has a reward.
        robot: type of the robot; empty if unknown.
        noisy: whether some episodes have clean actions beside those that were executed.
    """

    format: str
    episodes: int
    steps: int
    spec: StateSpec
    actions: int
    fps: float
    cameras: tuple[str, ...]
    frame_shape: tuple[int, ...]
    success: SuccessCounts
    tasks: dict[str, int]
    terms: tuple[str, ...] | None
    robot: str = ""
    noisy: bool = False

    def format_lines(self) -> list[str]:
        """Returns the summary as lines for a person."""
        frames = "no frames"
        if self.cameras:
            height, width = self.frame_shape
            frames = f"cameras {', '.join(self.cameras)} ({width // len(self.cameras)} x {height} pixels each)"
        fields = ", ".join(self.spec.names) or "none"
        names = "; ".join(f"{name or 'unnamed'} ({count})" for name, count in self.tasks.items())
        known = f"{self.success.success} succeed, {self.success.failure} fail, {self.success.unknown} unknown"
        return [
            f"{self.format}: {self.episodes} episodes, {self.steps} steps at {self.fps:g} Hz, {frames}",
            f"state ({self.spec.dim}): {fields}; actions ({self.actions})",
            f"task: {names}",
            f"success: {known}",
        ]


def is_success_known(episode: Episode) -> bool:
    """Returns whether the success of an episode was observed; otherwise none of its steps counts as one."""
    return episode.meta.get("success_known") is not False


def get_cameras(episode: Episode) -> tuple[str, ...]:
    """Returns the names of the cameras side by side in the frames; `camera` where they have no name."""
    if episode.frames is None:
        return ()
    return get_camera_names(episode.meta) or ("camera",)


def get_camera_names(meta: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the names of the cameras that the metadata of an episode lists; empty where it lists none.

    Raises:
        UsageError: it lists something else.
    """
    found = meta.get("cameras") or ()
    if not isinstance(found, (list, tuple)) or not all(isinstance(name, str) for name in found):
        raise UsageError(
            f"the metadata of an episode has the cameras {found!r:.80}, expected a list of names; correct the data"
        )
    return tuple(found)


def make_field_name(name: str) -> str:
    """Returns a name for a field of the state, which is a Python identifier, from a name of another project."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")
    return plain if plain.isidentifier() else f"value_{plain}"


def split_cameras(episode: Episode) -> dict[str, np.ndarray]:
    """Returns the frames of each camera (T + 1, H, W, 3), which lie side by side in an episode."""
    if episode.frames is None:
        return {}
    cameras = get_cameras(episode)
    return dict(zip(cameras, np.split(episode.frames, len(cameras), axis=2), strict=True))


def select_cameras(source: EpisodeSource, cameras: Sequence[str]) -> EpisodeSource:
    """Returns the same episodes as the named cameras saw them, in this order; all if none is named.

    Raises:
        UnknownName: while iterating, there is no such camera.
    """

    def select(episode: Episode) -> Episode:
        meta = {**episode.meta, "cameras": list(cameras)}
        if episode.frames is None:
            return replace(episode, meta=meta)
        parts = split_cameras(episode)
        for camera in cameras:
            if camera not in parts:
                raise UnknownName(f"camera of {source.name}", camera, parts)
        return replace(episode, frames=np.concatenate([parts[c] for c in cameras], axis=2), meta=meta)

    if not cameras:
        return source
    return replace(
        source,
        iterate=lambda frames: map(select, source.iterate(frames)),
        load=lambda number, frames: select(source.load_episode(number, frames)),
    )


def get_rate(episode: Episode, usual: float = USUAL_RATE) -> float:
    """Returns the number of steps per second of an episode [Hz].

    Args:
        episode: whose metadata may hold it as `fps`.
        usual: the rate of an episode that does not specify it [Hz].

    Raises:
        UsageError: it is not a number above 0.
    """
    found = episode.meta.get("fps", usual)
    try:
        rate = float(found)
    except (TypeError, ValueError):
        rate = np.nan
    if not (np.isfinite(rate) and rate > 0):
        raise UsageError(
            f"the metadata of an episode has the rate fps={found!r:.80}, expected a number above 0; correct the data"
        )
    return rate


def get_robot(episode: Episode) -> str:
    """Returns the type of the robot: as recorded, or the first part of the task's id, such as `panda`."""
    return str(episode.meta.get("robot_type") or episode.task_id.rpartition("/")[0])


def get_clean_action(episode: Episode) -> np.ndarray:
    """Returns the actions (T, A) that an imitator learns, without the noise that was added when they were executed."""
    return episode.action if episode.clean_action is None else episode.clean_action


def get_task_name(episode: Episode) -> str:
    """Returns the sentence that names the task of an episode where it has one, otherwise the task's id."""
    return str(episode.meta.get("task") or episode.task_id)


def summarise_episodes(source: EpisodeSource) -> DataSummary:
    """Returns a summary, after a check that all episodes are of one kind; frames of the first episode only are read.

    Raises:
        UsageError: no episodes, or one of another state, action, rate or set of cameras than the first.
    """
    first = next(source.iterate(True), None)
    if first is None:
        raise UsageError(f"{source.name} holds no episodes; record some first, for example with `robo-reward record`")
    names: Counter[str] = Counter()
    success, failure, unknown, steps = 0, 0, 0, 0
    noisy = False
    terms: dict[str, None] | None = None
    rates: list[float] = []
    for number, episode in enumerate(source.iterate(False)):
        check_same_kind(first, episode, f"episode {number} of {source.name}")
        names[get_task_name(episode)] += 1
        rates.append(get_rate(episode))
        steps += len(episode)
        noisy |= episode.clean_action is not None
        known = is_success_known(episode)
        success += known and episode.is_successful
        failure += known and not episode.is_successful
        unknown += not known
        if episode.reward is not None:
            terms = {**(terms or {}), **dict.fromkeys(episode.reward.terms)}
    cameras = get_cameras(first)
    shape = () if first.frames is None else first.frames.shape[1:3]
    if shape and shape[1] % len(cameras):
        raise UsageError(
            f"frames of {source.name} are {shape[1]} pixels wide, which {len(cameras)} cameras side by side "
            f"({', '.join(cameras)}) cannot share evenly; record them again"
        )
    return DataSummary(
        source.format,
        names.total(),
        steps,
        first.spec,
        first.action.shape[1],
        _choose_rate(rates),
        cameras,
        shape,
        SuccessCounts(success, failure, unknown),
        dict(names),
        None if terms is None else tuple(terms),
        get_robot(first),
        noisy,
    )


def check_same_kind(first: Episode, other: Episode, name: str) -> None:
    """Raises UsageError if an episode has another state, action, rate or set of cameras than the first one."""
    for what, one, two in (
        ("the state", first.spec.names, other.spec.names),
        ("the fields of the state", first.spec.fields, other.spec.fields),
        ("the number of action components", first.action.shape[1], other.action.shape[1]),
        ("the cameras", list(get_camera_names(first.meta)), list(get_camera_names(other.meta))),
    ):
        if one != two:
            raise UsageError(f"{name} differs in {what}: {two}, expected {one} as in the first; export them separately")
    one, two = get_rate(first), get_rate(other)
    if abs(one - two) > RATE_TOLERANCE * one:
        raise UsageError(
            f"{name} differs in the rate: {two:g} Hz, expected {one:g} Hz as in the first; export them separately"
        )


def _choose_rate(rates: Sequence[float]) -> float:
    """Returns the rate of a data set whose episodes have these rates [Hz]."""
    if len(set(rates)) == 1:
        return rates[0]
    middle = float(np.median(rates))
    return float(round(middle)) if abs(middle - round(middle)) < 0.5 * RATE_TOLERANCE * middle else middle


def drop_frames(source: EpisodeSource) -> EpisodeSource:
    """Returns the same episodes without their frames."""
    return replace(
        source, iterate=lambda _: source.iterate(False), load=lambda number, _: source.load_episode(number, False)
    )
