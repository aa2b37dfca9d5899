"""Episodes in any format: found, checked against a task, copied into an episode store or out of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.data.lerobot.layout import INFO, is_lerobot
from robo_reward.data.lerobot.reader import open_lerobot
from robo_reward.data.lerobot.writer import write_lerobot
from robo_reward.data.minari import find_minari, make_minari_id, open_minari, write_minari
from robo_reward.data.output import create_folder
from robo_reward.data.robomimic import ENDINGS, is_robomimic, open_robomimic, write_robomimic
from robo_reward.data.summary import (
    RATE_TOLERANCE,
    DataSummary,
    EpisodeSource,
    drop_frames,
    get_task_name,
    select_cameras,
    summarise_episodes,
)
from robo_reward.envs.task import Task, make_task, task_names
from robo_reward.errors import UnknownName, UsageError

MINARI = "minari:"
FORMATS = ("lerobot", "robomimic", "minari")
KNOWN = (
    "an episode store or a run with one, a LeRobot data set, a robomimic file (.hdf5), a Minari data set (its folder, "
    "or minari:ID)"
)


def open_episodes(where: Path | str, cameras: Sequence[str] = (), largest: int = 0) -> EpisodeSource:
    """Returns the episodes of a file, a folder or an id, whatever their format.

    Args:
        where: an episode store, a run that has one in `episodes/`, a LeRobot data set, a robomimic file or a folder
            with one, the folder of a Minari data set, or `minari:ID`.
        cameras: names of the cameras to read; empty for all.
        largest: for LeRobot: shrink frames until the longer side is at most this [pixels]; 0 for as they are.

    Raises:
        UsageError: there is nothing, or something else.
        BadArtifact: the data is damaged.
        MissingExtra: a package that the format needs is not installed.
    """
    found = find_episodes(where, cameras, largest)
    if found is None:
        raise UsageError(f"{where} holds no episodes that can be read; give {KNOWN}")
    return found


def find_episodes(where: Path | str, cameras: Sequence[str] = (), largest: int = 0) -> EpisodeSource | None:
    """Returns the episodes as `open_episodes` does, or None where the file or folder is something else.

    Raises:
        UsageError: there is no such file or folder.
        BadArtifact: the data is damaged.
        MissingExtra: a package that the format needs is not installed.
    """
    if str(where).startswith(MINARI):
        return select_cameras(open_minari(str(where).removeprefix(MINARI)), cameras)
    path = Path(where)
    if not path.exists():
        raise UsageError(f"no episodes at {path}: there is no such file or folder")
    for folder in (path, path / "episodes"):
        if (folder / "store.json").is_file():
            return select_cameras(_open_store(folder), cameras)
    return find_data_set(path, cameras, largest)


def find_data_set(path: Path, cameras: Sequence[str] = (), largest: int = 0) -> EpisodeSource | None:
    """Returns the episodes of a LeRobot, robomimic or Minari data set; None where the path is something else.

    Raises:
        UsageError: a folder that holds several data sets.
        BadArtifact: the data is damaged.
        MissingExtra: a package that the format needs is not installed.
    """
    if path.is_file():
        if path.parts[-2:] == INFO.parts and is_lerobot(path.parent.parent):
            return open_lerobot(path.parent.parent, cameras, largest)
        return select_cameras(open_robomimic(path), cameras) if path.suffix in ENDINGS else None
    if is_lerobot(path):
        return open_lerobot(path, cameras, largest)
    files = [item for item in sorted(path.iterdir()) if is_robomimic(item)]
    if len(files) > 1:
        names = ", ".join(item.name for item in files[:8])
        raise UsageError(f"{path} holds {len(files)} robomimic files; give one of them: {names}")
    if files:
        return select_cameras(open_robomimic(files[0]), cameras)
    folder = find_minari(path)
    return None if folder is None else select_cameras(open_minari(folder), cameras)


def _open_store(folder: Path) -> EpisodeSource:
    store = EpisodeStore(folder)
    keys = store.keys()

    def add_rate(episode: Episode) -> Episode:
        return episode if "fps" in episode.meta else replace(episode, meta={**episode.meta, "fps": store.fps})

    return EpisodeSource(
        "episode store",
        str(folder),
        len(keys),
        lambda frames: (add_rate(store.load(key, frames)) for key in keys),
        lambda number, frames: add_rate(store.load(keys[number], frames)),
        keys,
    )


def export_episodes(
    source: EpisodeSource,
    to: str,
    out: Path | str,
    frames: bool = True,
    name_task: Callable[[Episode], str] | None = None,
) -> DataSummary:
    """Writes episodes as a new data set in another format.

    Args:
        source: episodes of one state, rate and set of cameras.
        to: one of `FORMATS`.
        out: a new folder. `lerobot`: the data set; `robomimic`: holds `demo.hdf5`; `minari`: what Minari takes as
            MINARI_DATASETS_PATH.
        frames: write their frames, if they have any.
        name_task: returns the sentence of an episode's task for LeRobot; by default the goal of a known task.

    Raises:
        UnknownName: no such format.
        UsageError: the folder exists, or the episodes do not belong together.
        MissingExtra: a package that the format needs is not installed.
    """
    if to not in FORMATS:
        raise UnknownName("format", to, FORMATS)
    source = source if frames else drop_frames(source)
    with create_folder(Path(out)) as folder:
        if to == "lerobot":
            return write_lerobot(source, folder, name_task or name_goal)
        if to == "robomimic":
            return write_robomimic(source, folder / "demo.hdf5")
        first = next(source.iterate(False), None)
        return write_minari(source, folder, make_minari_id(first.task_id if first else ""))


def import_episodes(
    source: EpisodeSource,
    out: Path | str,
    frames: Literal["mp4", "exact", "drop"] = "exact",
    task: Task | None = None,
) -> DataSummary:
    """Copies episodes of any format into a new episode store.

    Args:
        source: episodes of one state, rate and set of cameras.
        out: the new folder of the store.
        frames: as for `EpisodeStore`.
        task: the task that the data must fit, and that its episodes then belong to; None for no check.

    Raises:
        UsageError: the folder exists, or the episodes do not belong together or to the task.
        BadArtifact: the data is damaged; nothing is left at `out`.
    """
    summary = summarise_episodes(source)
    if task is not None:
        require_task(summary, task, source.name)
    with create_folder(Path(out)) as folder:
        store = EpisodeStore(folder, frames=frames, fps=summary.fps)
        for number, episode in enumerate(source.iterate(frames != "drop")):
            if task is not None:
                largest = float(np.abs(episode.action).max(initial=0.0))
                if largest > 1 + 1e-6:
                    raise UsageError(
                        f"episode {number} of {source.name} has an action of size {largest:g}, expected components in "
                        f"[-1, 1] as in task {task.id}; leave task= out to import the data as it is"
                    )
                episode = replace(episode, task_id=task.id)
            if episode.frames is not None and episode.frames.shape[1:3] != summary.frame_shape:
                raise UsageError(
                    f"frames of episode {number} of {source.name} are {episode.frames.shape[1:3]}, expected "
                    f"{summary.frame_shape} as in the first; give frames=drop, or import them separately"
                )
            store.append(episode, f"{number:06d}")
    return summary


def require_task(summary: DataSummary, task: Task, name: str) -> None:
    """Raises UsageError where data cannot come from a task: another rate, robot, camera, state or action."""
    fields, own = [f.name for f in summary.spec], [f.name for f in task.spec]
    strange = [camera for camera in summary.cameras if camera not in task.cameras]
    robot = task.id.rpartition("/")[0]
    checks = (
        (
            abs(summary.fps * task.control_dt - 1) > RATE_TOLERANCE,
            "rate",
            f"{summary.fps:g} Hz",
            f"{1 / task.control_dt:g} Hz",
        ),
        (bool(summary.robot) and summary.robot.lower() != robot, "robot", summary.robot, robot),
        (bool(strange), "camera", ", ".join(strange), f"one of {', '.join(task.cameras)}"),
        (fields != own, "state", ", ".join(fields) or "none", ", ".join(own)),
        (
            [f.shape for f in summary.spec] != [f.shape for f in task.spec],
            "shape of the state's fields",
            str([f.shape for f in summary.spec]),
            str([f.shape for f in task.spec]),
        ),
        (
            summary.actions != task.action.dim,
            "number of action components",
            str(summary.actions),
            f"{task.action.dim} ({', '.join(task.action.names)})",
        ),
    )
    for is_wrong, what, found, expected in checks:
        if is_wrong:
            raise UsageError(
                f"{name} does not fit task {task.id}: its {what} is {found}, expected {expected}; leave task= out to "
                "import the data as it is"
            )


def name_goal(episode: Episode) -> str:
    """Returns the sentence of an episode's task: its own, else the goal of the task, else the task's id."""
    if "task" not in episode.meta and episode.task_id in task_names():
        return make_task(episode.task_id).goal
    return get_task_name(episode)
