"""Writes episodes as a LeRobot data set of version 3, which `LeRobotDataset` opens."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.data.lerobot.layout import (
    ACTION,
    CHUNK_SIZE,
    DATA_PATH,
    EPISODES_PATH,
    EXECUTED,
    EXTRA_EPISODES,
    EXTRAS,
    EXTRAS_FORMAT,
    EXTRAS_VERSION,
    IMAGES,
    INFO,
    REWARD,
    STATE,
    STATS,
    SUCCESS,
    TASKS,
    VIDEO_PATH,
    fill_path,
    import_pyarrow,
)
from robo_reward.data.lerobot.shards import MAX_TABLE, Codec, TableFiles, VideoFiles, make_schema
from robo_reward.data.lerobot.stats import Stats, aggregate_stats, compute_picture_stats, compute_stats
from robo_reward.data.summary import (
    DataSummary,
    EpisodeSource,
    get_cameras,
    get_clean_action,
    get_task_name,
    is_success_known,
    split_cameras,
    summarise_episodes,
)
from robo_reward.envs.state import StateSpec
from robo_reward.envs.video.reader import import_av
from robo_reward.errors import UsageError
from robo_reward.files import write_json


def write_lerobot(
    source: EpisodeSource,
    folder: Path,
    name_task: Callable[[Episode], str] = get_task_name,
    codec: Codec = "av1",
    crf: int = 20,
) -> DataSummary:
    """Writes episodes into an empty folder as a LeRobot data set of version 3.

    An episode of T steps becomes T rows: the state before each step as `observation.state`, the action without the
    noise of its execution as `action`, both in single precision and once more in double precision, `next.success`,
    `next.reward` and `next.done`. Its video has T + 1 frames, of which LeRobot reads the first T. The last state, the
    fields of the state and the metadata are in `meta/robo_reward*`. Where success is unknown for every episode there
    is no `next.success`; where it is for some, `robo_reward.success` takes its place, with -1 for unknown.

    Args:
        source: episodes of one state, rate and set of cameras.
        folder: an empty folder.
        name_task: returns the sentence that LeRobot's policies read.
        codec: of the videos; H.264 where FFmpeg has no encoder of AV1.
        crf: quality of the videos, from 0 (best).

    Raises:
        UsageError: no episodes, or episodes that do not belong together.
        MissingExtra: pyarrow is not installed.
    """
    import_pyarrow()
    codec = codec if "libsvtav1" in import_av().codecs_available else "h264"
    summary = summarise_episodes(source)
    tasks: dict[str, int] = {}
    with _DataSetFiles(folder, summary, codec, crf) as files:
        for number, episode in enumerate(source.iterate(bool(summary.cameras))):
            if get_cameras(episode) != summary.cameras or (
                episode.frames is not None and episode.frames.shape[1:3] != summary.frame_shape
            ):
                shape = "none" if episode.frames is None else str(episode.frames.shape[1:3])
                raise UsageError(
                    f"frames of episode {number} of {source.name} are {shape}, expected {summary.frame_shape} from "
                    f"{', '.join(summary.cameras)} as in the first; give frames=drop, or export them separately"
                )
            sentence = name_task(episode)
            files.add_episode(episode, sentence, tasks.setdefault(sentence, len(tasks)))
    files.write_meta(tasks)
    return summary


@dataclass
class _DataSetFiles:
    """The files of a data set that is being written."""

    root: Path
    summary: DataSummary
    codec: Codec
    crf: int
    columns: dict[str, dict[str, Any]] = field(init=False)
    rows: list[dict[str, Any]] = field(default_factory=list)
    stats: dict[str, list[Stats]] = field(default_factory=dict)
    frames: int = 0

    def __post_init__(self) -> None:
        self.columns = _describe_columns(self.summary)
        self._table = TableFiles(self.root, make_schema(self.columns))
        rate, codec, crf = self.summary.fps, self.codec, self.crf
        self._videos = {
            camera: VideoFiles(self.root, IMAGES + camera, rate, codec, crf) for camera in self.summary.cameras
        }

    def __enter__(self) -> _DataSetFiles:
        self._stack = ExitStack()
        (self.root / EXTRA_EPISODES).parent.mkdir(parents=True)
        self._extras = self._stack.enter_context((self.root / EXTRA_EPISODES).open("xb"))
        for file in (self._table, *self._videos.values()):
            self._stack.enter_context(file)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)

    def add_episode(self, episode: Episode, sentence: str, task: int) -> None:
        """Writes the rows and the frames of one episode."""
        number, steps = len(self.rows), len(episode)
        values = _make_rows(episode, self.summary, number, self.frames, task)
        values = {name: values[name] for name in self.columns}
        row: dict[str, Any] = {
            "episode_index": number,
            "tasks": [sentence],
            "length": steps,
            **self._table.add_rows(values),
            "dataset_from_index": self.frames,
            "dataset_to_index": self.frames + steps,
        }
        found = {name: compute_stats(column) for name, column in values.items()}
        for camera, part in split_cameras(episode).items():
            row |= self._videos[camera].add_episode(part)
            found[IMAGES + camera] = compute_picture_stats(part)
        for name, stats in found.items():
            self.stats.setdefault(name, []).append(stats)
            row |= {f"stats/{name}/{key}": value.tolist() for key, value in stats.items()}
        self.rows.append({**row, "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
        extra = {
            "task_id": episode.task_id,
            "meta": dict(episode.meta),
            "terms": None if episode.reward is None else list(episode.reward.terms),
            "final_state": episode.state[-1].tolist(),
        }
        self._extras.write(json.dumps(extra).encode() + b"\n")
        self.frames += steps

    def write_meta(self, tasks: dict[str, int]) -> None:
        """Writes everything under `meta/`, the description last."""
        arrow, parquet = import_pyarrow()
        path = fill_path(self.root, EPISODES_PATH, chunk_index=0, file_index=0)
        path.parent.mkdir(parents=True)
        parquet.write_table(arrow.Table.from_pylist(self.rows), path)
        parquet.write_table(_make_task_table(tasks), self.root / TASKS)
        totals = {name: aggregate_stats(parts) for name, parts in self.stats.items()}
        write_json(self.root / STATS, totals)
        extras = {
            "format": EXTRAS_FORMAT,
            "version": EXTRAS_VERSION,
            "spec": self.summary.spec.to_json(),
            "terms": list(self.summary.terms or ()),
            "frame_shape": list(self.summary.frame_shape),
            "lengths": [row["length"] for row in self.rows],
        }
        write_json(self.root / EXTRAS, extras)
        fps = self.summary.fps
        description = {
            "codebase_version": "v3.0",
            "robot_type": self.summary.robot or None,
            "total_episodes": len(self.rows),
            "total_frames": self.frames,
            "total_tasks": len(tasks),
            "chunks_size": CHUNK_SIZE,
            "data_files_size_in_mb": MAX_TABLE >> 20,
            "video_files_size_in_mb": 200,
            "fps": int(fps) if fps == int(fps) else fps,
            "splits": {"train": f"0:{len(self.rows)}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self.summary.cameras else None,
            "features": {**self._describe_videos(), **self.columns},
        }
        write_json(self.root / INFO, description)

    def _describe_videos(self) -> dict[str, dict[str, Any]]:
        if not self.summary.cameras:
            return {}
        height, width = self.summary.frame_shape
        height, width = _make_even(height), _make_even(width // len(self.summary.cameras))
        about = {
            "video.height": height,
            "video.width": width,
            "video.codec": self.codec,
            "video.pix_fmt": "yuv420p",
            "video.fps": self.summary.fps,
            "video.channels": 3,
            "video.is_depth_map": False,
            "has_audio": False,
        }
        names = ["height", "width", "channels"]
        return {
            IMAGES + camera: {"dtype": "video", "shape": [height, width, 3], "names": names, "info": about}
            for camera in self.summary.cameras
        }


def _describe_columns(summary: DataSummary) -> dict[str, dict[str, Any]]:
    """Returns the features that are columns, in their order."""

    def column(dtype: str, names: list[str] | None = None, size: int = 1) -> dict[str, Any]:
        return {"dtype": dtype, "shape": [size], "names": names}

    state, action = name_components(summary.spec), [f"action.{i}" for i in range(summary.actions)]
    found: dict[str, dict[str, Any]] = {}
    for name, exact, components in (("observation.state", STATE, state), ("action", ACTION, action)):
        if components:
            found[name] = column("float32", components, len(components))
            found[exact] = column("float64", components, len(components))
    if summary.noisy:
        found[EXECUTED] = column("float64", action, len(action))
    if summary.terms is not None:
        names = ["total", *summary.terms]
        found["next.reward"], found[REWARD] = column("float32"), column("float64", names, len(names))
    found["next.done"] = column("bool")
    if not summary.success.unknown:
        found["next.success"] = column("bool")
    elif summary.success.unknown < summary.episodes:
        found[SUCCESS] = column("int64")
    found["timestamp"] = column("float32")
    return found | {name: column("int64") for name in ("frame_index", "episode_index", "index", "task_index")}


def name_components(spec: StateSpec) -> list[str]:
    """Returns a name for each number of a flat state, such as `hand_position.0`."""
    return [f.name if f.shape == () else f"{f.name}.{i}" for f in spec for i in range(f.size)]


def _make_rows(episode: Episode, summary: DataSummary, number: int, begun: int, task: int) -> dict[str, np.ndarray]:
    """Returns every column of an episode, also those that the data set does not have."""
    steps = len(episode)
    known = is_success_known(episode)
    reward = np.zeros((steps, 1 + len(summary.terms or ())))
    if episode.reward is not None:
        reward[:, 0] = episode.reward.total
        for name, values in episode.reward.terms.items():
            reward[:, 1 + (summary.terms or ()).index(name)] = values
    frame = np.arange(steps)
    return {
        "observation.state": episode.state[:-1].astype(np.float32),
        STATE: episode.state[:-1],
        "action": get_clean_action(episode).astype(np.float32),
        ACTION: get_clean_action(episode),
        EXECUTED: episode.action,
        "next.reward": reward[:, 0].astype(np.float32),
        REWARD: reward,
        "next.done": frame == steps - 1,
        "next.success": episode.success,
        SUCCESS: episode.success.astype(np.int64) if known else np.full(steps, -1),
        "timestamp": (frame / summary.fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(steps, number),
        "index": begun + frame,
        "task_index": np.full(steps, task),
    }


def _make_task_table(tasks: dict[str, int]) -> Any:
    """Returns the table of tasks, whose index, for pandas, is the sentence."""
    arrow, _ = import_pyarrow()

    def column(name: str, pandas: str, numpy: str) -> dict[str, Any]:
        return {"name": name, "field_name": name, "pandas_type": pandas, "numpy_type": numpy, "metadata": None}

    about = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [column("task_index", "int64", "int64"), column("task", "unicode", "object")],
        "creator": {"library": "pyarrow", "version": arrow.__version__},
        "pandas_version": "2.0.0",
    }
    table = arrow.table({"task_index": list(tasks.values()), "task": list(tasks)})
    return table.replace_schema_metadata({"pandas": json.dumps(about)})


def _make_even(side: int) -> int:
    return side + side % 2
