"""Reads LeRobot data sets: our own without loss, those of others as far as their format goes."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.data.lerobot.layout import (
    ACTION,
    EXECUTED,
    EXTRA_EPISODES,
    REWARD,
    STATE,
    SUCCESS,
    ExtraEpisode,
    Extras,
    find_lines,
    import_pyarrow,
    load_extras,
    load_info,
)
from robo_reward.data.lerobot.places import AGAIN, EpisodePlace, find_episode_places, read_columns
from robo_reward.data.pictures import decode_picture, join_cameras, warn_of_maps
from robo_reward.data.summary import EpisodeSource, make_field_name
from robo_reward.envs.state import Field, StateSpec
from robo_reward.envs.video.loading import MAX_BYTES
from robo_reward.envs.video.reader import VideoReader
from robo_reward.errors import BadArtifact, UnknownName, UsageError
from robo_reward.files import parse_json, raise_as_bad_artifact
from robo_reward.rewards.contract import RewardOutput

log = logging.getLogger(__name__)

_NUMBERS = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "bool")


class LeRobotReader:
    """A LeRobot data set of version 2.0, 2.1 or 3 in a folder.

    Data sets that `write_lerobot` made come back as they were. In those of others an episode of N rows has N states
    and N - 1 steps, because nothing follows the last action, which is left out; if `next.success` holds in the last
    row, the last step counts as a success. Every numeric feature `observation.NAME` becomes a field NAME of the state.

    Args:
        root: the folder that holds `meta/info.json`.
        cameras: names of the cameras to read, such as `front` for `observation.images.front`; empty for all.
        largest: shrink frames until the longer side is at most this [pixels]; 0 for as they are.

    Raises:
        BadArtifact: the data set is damaged, incomplete or of another version; checked before any row is read.
        UnknownName: there is no such camera.
        MissingExtra: pyarrow is not installed.
    """

    def __init__(self, root: Path | str, cameras: Sequence[str] = (), largest: int = 0) -> None:
        import_pyarrow()
        self.root, self.largest = Path(root), largest
        self.info = load_info(self.root)
        known = {name.removeprefix("observation.").removeprefix("images."): name for name in self.info.cameras}
        for camera in cameras:
            if camera not in known:
                raise UnknownName(f"camera of {self.root}", camera, known)
        self.cameras = {camera: known[camera] for camera in cameras or known}
        depth = (name for name, feature in self.info.features.items() if feature.is_depth_map)
        warn_of_maps(str(self.root), tuple(depth))
        """Name of the camera -> name of the feature."""
        videos = [name for name in self.cameras.values() if self.info.features[name].dtype == "video"]
        self.places = find_episode_places(self.root, self.info, videos)
        self._extras = self._match_extras()
        self._spec = StateSpec.from_json(self._extras.spec) if self._extras else self._describe_state()
        self._table: tuple[Path, bool, Any] | None = None  # the file read last, and whether with pictures
        self._check_files()

    def __len__(self) -> int:
        return len(self.places)

    def iterate_episodes(self, frames: bool = True) -> Iterator[Episode]:
        """Reads all episodes in order."""
        return (self.load(number, frames) for number in range(len(self)))

    def load(self, number: int, frames: bool = True) -> Episode:
        """Returns one episode.

        Raises:
            BadArtifact: its rows are damaged, or are not those that the description promises.
            VideoError: its video is damaged or ends too early.
        """
        place = self.places[number]
        with raise_as_bad_artifact(f"{place.data}, episode {place.index}", AGAIN):
            columns = self._read_columns(place, frames)
            if self._extras is not None:
                return self._restore_episode(place, columns, self._extras, self._load_extra(number), frames)
            return self._convert_episode(place, columns, frames)

    def _match_extras(self) -> Extras | None:
        """Returns what we keep beside a data set of ours; None for those of others or with other episodes than ours."""
        found = load_extras(self.root)
        if found is None:
            return None
        self._lines = find_lines(self.root / EXTRA_EPISODES)
        lengths = [place.length for place in self.places]
        if found.lengths != lengths or len(self._lines) != len(lengths):
            log.warning("%s was changed by another program: it is read as a data set of others", self.root)
            return None
        return found

    def _load_extra(self, number: int) -> ExtraEpisode:
        """Returns what we keep beside one episode of ours."""
        path, (place, length) = self.root / EXTRA_EPISODES, self._lines[number]
        with path.open("rb") as file:
            file.seek(place)
            return parse_json(file.read(length), ExtraEpisode, path, AGAIN)

    def _describe_state(self) -> StateSpec:
        """Returns the fields of the state of a data set of others."""
        fields = []
        for name, feature in self.info.features.items():
            if name.startswith("observation.") and feature.dtype in _NUMBERS:
                plain = make_field_name(name.removeprefix("observation."))
                shape = () if tuple(feature.shape) == (1,) else tuple(feature.shape)
                names = f": {json.dumps(feature.names)}" if feature.names else ""
                fields.append(Field(plain, shape, description=f"{name}{names}"))
        return StateSpec(fields)

    def _check_files(self) -> None:
        """Raises BadArtifact for a file that is named but missing, or an episode that is missing or too short."""
        if len(self.places) != self.info.total_episodes:
            raise BadArtifact(
                self.root / "meta" / "info.json",
                f"it promises {self.info.total_episodes} episodes, {len(self.places)} are described",
                AGAIN,
            )
        least = 1 if self._extras else 2
        for place in self.places:
            for path in (place.data, *(path for path, _ in place.videos.values())):
                if not path.is_file():
                    raise BadArtifact(path, f"there is no such file, which episode {place.index} needs", AGAIN)
            if place.length < least:
                raise BadArtifact(
                    self.root, f"episode {place.index} has {place.length} rows, expected {least} or more", AGAIN
                )

    def _read_columns(self, place: EpisodePlace, pictures: bool) -> dict[str, Any]:
        """Returns the columns of one episode that are read, as Arrow arrays, with or without those of pictures.

        Raises:
            BadArtifact: rows are missing, for example of an episode that was cut off.
        """
        arrow, _ = import_pyarrow()
        if self._table is None or self._table[:2] != (place.data, pictures):
            wanted = {name for name, feature in self.info.features.items() if feature.dtype in _NUMBERS}
            wanted |= {"episode_index", "frame_index", *(self.cameras.values() if pictures else ())}
            self._table = place.data, pictures, read_columns(place.data, wanted)
        table = self._table[2]
        missing = [n for n in ("episode_index", "frame_index") if n not in table.column_names]
        if missing:
            raise BadArtifact(place.data, f"the column {missing[0]!r} is missing", AGAIN)

        rows = table.filter(arrow.compute.equal(table["episode_index"], place.index))
        frames = rows["frame_index"].to_numpy()
        if len(frames) != place.length or not np.array_equal(frames, np.arange(place.length)):
            raise BadArtifact(
                place.data, f"episode {place.index} has {len(frames)} rows, expected {place.length} in order", AGAIN
            )
        return {name: rows[name] for name in rows.column_names}

    def _take(self, columns: dict[str, Any], name: str, place: EpisodePlace) -> np.ndarray | None:
        """Returns a column of numbers (N, ...) of the shape that the description promises; None where there is none."""
        if name not in self.info.features:
            return None
        if name not in columns:
            raise BadArtifact(place.data, f"the column {name!r} is missing, which meta/info.json describes", AGAIN)
        shape = (place.length, *self.info.features[name].shape)
        values = _flatten_column(columns[name])
        if values.dtype.kind not in "biuf" or values.size != np.prod(shape):
            raise BadArtifact(
                place.data,
                f"the column {name!r} of episode {place.index} holds {values.size} values of type {values.dtype}, "
                f"expected numbers of shape {shape}",
                AGAIN,
            )
        return values.reshape(shape)

    def _restore_episode(
        self, place: EpisodePlace, columns: dict[str, Any], extras: Extras, own: ExtraEpisode, frames: bool
    ) -> Episode:
        """Returns an episode that we wrote, as it was."""
        steps = place.length
        state, action = self._take(columns, STATE, place), self._take(columns, ACTION, place)
        executed, clean = self._take(columns, EXECUTED, place), None
        if executed is not None and action is not None and not np.array_equal(executed, action):
            action, clean = executed, action
        before = np.zeros((steps, 0)) if state is None else state
        reward = None
        if own.terms is not None:
            values = self._take(columns, REWARD, place)
            if values is None or values.shape[1] != 1 + len(extras.terms):
                raise BadArtifact(place.data, f"the column {REWARD!r} does not hold the terms {extras.terms}", AGAIN)
            at = {name: values[:, 1 + number] for number, name in enumerate(extras.terms)}
            reward = RewardOutput(values[:, 0], {name: at[name] for name in own.terms})
        flags = self._take(columns, SUCCESS, place)
        flags = self._take(columns, "next.success", place) if flags is None else flags
        success = np.zeros(steps, bool) if flags is None else flags.reshape(steps) > 0
        pictures = self._read_frames(place, columns, steps + 1) if frames and self.cameras else None
        if pictures is not None and extras.frame_shape:
            pictures = self._cut_to_shape(pictures, extras.frame_shape)
        return Episode(
            state=np.concatenate([before, np.array([own.final_state], float).reshape(1, -1)]),
            action=np.zeros((steps, 0)) if action is None else action,
            success=success,
            spec=self._spec,
            task_id=own.task_id,
            reward=reward,
            frames=pictures,
            meta=self._add_cameras(own.meta),
            clean_action=clean,
        )

    def _add_cameras(self, meta: dict[str, Any]) -> dict[str, Any]:
        """Returns the metadata with the cameras that were chosen, if those are not all in the order of the file."""
        is_whole = tuple(self.cameras.values()) == self.info.cameras
        return meta if is_whole else {**meta, "cameras": list(self.cameras)}

    def _cut_to_shape(self, frames: np.ndarray, shape: list[int]) -> np.ndarray:
        """Returns frames without the rows and columns that made the sides of each camera's video even."""
        height, width = shape[0], shape[1] // len(self.info.cameras)
        parts = np.split(frames, len(self.cameras), axis=2)
        return np.concatenate([part[:, :height, :width] for part in parts], axis=2)

    def _convert_episode(self, place: EpisodePlace, columns: dict[str, Any], frames: bool) -> Episode:
        """Returns an episode of a data set of others."""
        rows = place.length
        values = {
            name: self._take(columns, name, place)
            for name, feature in self.info.features.items()
            if name.startswith("observation.") and feature.dtype in _NUMBERS
        }
        flat = [
            np.zeros((rows, 0)),
            *(np.asarray(v, float).reshape(rows, -1) for v in values.values() if v is not None),
        ]
        action = self._take(columns, "action", place)
        success = self._take(columns, "next.success", place)
        reward = self._take(columns, "next.reward", place)
        meta: dict[str, Any] = {"fps": self.info.fps, "task": place.tasks[0] if place.tasks else ""}
        meta |= {"robot_type": self.info.robot_type or "", "lerobot_episode": place.index}
        if len(place.tasks) > 1:
            meta["tasks"] = list(place.tasks)
        flags = np.zeros(rows - 1, bool)
        if success is None:
            meta["success_known"] = False
        else:
            flags = success.reshape(rows) > 0
            flags = np.r_[flags[:-2], flags[-2] | flags[-1]]
        if self.cameras:
            meta["cameras"] = list(self.cameras)
        pictures = self._read_frames(place, columns, rows) if frames and self.cameras else None
        return Episode(
            state=np.concatenate(flat, axis=1),
            action=np.zeros((rows - 1, 0)) if action is None else np.asarray(action, float).reshape(rows, -1)[:-1],
            success=flags,
            spec=self._spec,
            reward=None if reward is None else RewardOutput(np.asarray(reward, float).reshape(rows)[:-1], {}),
            frames=pictures,
            meta=meta,
        )

    def _read_frames(self, place: EpisodePlace, columns: dict[str, Any], count: int) -> np.ndarray:
        """Returns the frames of the chosen cameras side by side (count, H, W, 3)."""
        parts = {}
        for camera, name in self.cameras.items():
            if name in place.videos:
                path, begin = place.videos[name]
                with VideoReader(path) as video:
                    if abs(video.declared_rate - self.info.fps) > 0.01 * self.info.fps:
                        raise BadArtifact(
                            path,
                            f"it has {video.declared_rate:g} frames per second, expected {self.info.fps:g}",
                            AGAIN,
                        )
                    parts[camera] = _stack_frames(video.read_segment(begin, count, self.info.fps, self.largest), path)
            else:
                parts[camera] = self._decode_pictures(place, columns, name)
        return join_cameras(parts, str(self.root))

    def _decode_pictures(self, place: EpisodePlace, columns: dict[str, Any], name: str) -> np.ndarray:
        """Returns the pictures (N, H, W, 3) that stand in the table itself."""
        if name not in columns:
            raise BadArtifact(place.data, f"the column {name!r} is missing, which meta/info.json describes", AGAIN)
        return _stack_frames(self._iterate_pictures(place, columns[name], name), place.data)

    def _iterate_pictures(self, place: EpisodePlace, column: Any, name: str) -> Iterator[np.ndarray]:
        for number, scalar in enumerate(column):
            value = scalar.as_py()
            data = value.get("bytes") if isinstance(value, dict) else value
            picture = decode_picture(data) if isinstance(data, bytes) else None
            if picture is None:
                raise BadArtifact(
                    place.data, f"{name} of row {number} of episode {place.index} is not a picture", AGAIN
                )
            shrink = min(1.0, self.largest / max(picture.shape[:2])) if self.largest else 1.0
            if shrink < 1:
                picture = cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
            yield picture


def open_lerobot(root: Path | str, cameras: Sequence[str] = (), largest: int = 0) -> EpisodeSource:
    """Returns the episodes of a LeRobot data set; see `LeRobotReader`."""
    reader = LeRobotReader(root, cameras, largest)
    name = f"LeRobot {reader.info.codebase_version}"
    return EpisodeSource(name, str(root), len(reader), reader.iterate_episodes, reader.load)


def _stack_frames(frames: Iterable[np.ndarray], path: Path) -> np.ndarray:
    """Returns frames as (T, H, W, 3).

    Raises:
        BadArtifact: they need more memory than the frames of a video may.
    """
    found: list[np.ndarray] = []
    for frame in frames:
        found.append(frame)
        if len(found) * frame.nbytes > MAX_BYTES:
            height, width = frame.shape[:2]
            raise BadArtifact(
                path,
                f"{len(found)} frames of {width} x {height} pixels need more than {MAX_BYTES >> 30} GiB",
                "Split the episode, or make its frames smaller",
            )
    return np.stack(found)


def _flatten_column(column: Any) -> np.ndarray:
    """Returns all numbers of an Arrow column of numbers or of lists of numbers, in order."""
    arrow, _ = import_pyarrow()
    array = column.combine_chunks()
    if isinstance(array, arrow.ChunkedArray):  # no rows, so no chunks
        return np.zeros(0)
    while arrow.types.is_nested(array.type):
        if arrow.types.is_struct(array.type) or array.null_count:
            raise UsageError("a list of numbers is missing or of another type")
        array = array.flatten()
    if array.null_count:
        raise UsageError(f"{array.null_count} values are missing")
    return array.to_numpy(zero_copy_only=False)
