"""An episode on the robot, written down as it happens: whatever ends the program, what was done is on the disk."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from robo_reward.envs.state import StateSpec
from robo_reward.envs.task import Task
from robo_reward.episode import Episode, EpisodeStore
from robo_reward.errors import BadArtifact, RoboRewardError
from robo_reward.files import Count, load_json, read_bytes, write_json
from robo_reward.hardware.robot import ArmState, Target
from robo_reward.reward import EpisodeReward, StepReward

log = logging.getLogger(__name__)
TIMES = ("begun", "stamp", "robot_time", "answered", "inference", "sent", "late", "frame")
"""Per control step: when it began, when the arm's state was received, the robot's own clock, when the policy's answer
came and how long it thought, when the first command went out, when the frame was taken; all [s], the stamps on this
computer's monotonic clock. `late` is 1 where no action was there in time."""
MEASURED = 2 + 4 * 7  # stamp, robot time, q, dq, tau_ext, wrench and width
COMMAND = 9  # time, joints, opening of the fingers
VERDICTS = ("follow", "hold", "stop", "person")
"""What became of each step; `person`: somebody took over."""
STANDING = ("success", "failure", "unknown")
"""Outcomes that say something of the policy; other episodes were cut short, and are made again."""
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
MAX_JOURNAL = 8 << 30  # [bytes] of one file of a journal; frames of 4 cameras of 224 x 224 fill it in 10 hours


class DiskFailed(RoboRewardError):
    """A file of the run could not be written.

    Args:
        path: the file or the folder.
        problem: what the system said.
        kept: what was kept of the episode.
    """

    def __init__(self, path: Path | str, problem: str, kept: str) -> None:
        super().__init__(
            f"{path} cannot be written: {problem}. {kept} Make room (`df -h {Path(path).parent}`), then give the same "
            "command again: it stores what was kept and goes on"
        )


class NotStored(RoboRewardError):
    """An episode that was read cannot be stored; its journal stays where it is.

    Args:
        store: the folder of the store.
        problem: what went wrong.
        kept: what was kept of the episode.
    """

    def __init__(self, store: Path, problem: str, kept: str) -> None:
        super().__init__(
            f"the episode cannot be stored in {store}: {problem}. {kept} Remove the cause, then give the same command "
            "again: it stores what was kept and goes on"
        )


@contextmanager
def writing(path: Path, kept: str) -> Iterator[None]:
    """Turns a full or failing disk into `DiskFailed`, which says which path, what was kept and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        raise DiskFailed(error.filename or path, error.strerror or str(error), kept) from error


def outcome_of(ending: str, known: bool, success: bool) -> str:
    """Returns what an episode says of the policy, in one word.

    Args:
        ending: as in `Ending.reason`; empty for an episode whose processes were killed.
        known: whether anybody or anything could tell if it succeeded.
        success: whether it did.

    Returns:
        `success`, `failure` or `unknown`; or how it was cut short: `faulted` (by the arm, a camera, the policy's
        process or this computer), `stopped` (by a person) or `killed`.
    """
    if ending in ("horizon", "end"):
        return ("success" if success else "failure") if known else "unknown"
    return {"stop": "stopped", "": "killed"}.get(ending, "faulted")


def storable(action: Any, dim: int) -> np.ndarray:
    """Returns an action (A,) as a journal can keep it: numbers in [-1, 1], zeros for anything that is no action."""
    try:
        array = np.asarray(action, float)
    except (TypeError, ValueError, OverflowError):
        return np.zeros(dim)
    return np.clip(np.nan_to_num(array), -1, 1) if array.shape == (dim,) else np.zeros(dim)


class Head(msgspec.Struct):
    """What a journal says of itself."""

    task_id: str
    spec: list[dict[str, Any]]
    actions: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    frame_shape: tuple[Count, Count, Count] | None
    meta: dict[str, Any]
    times: Annotated[list[str], msgspec.Meta(max_length=64)] = msgspec.field(default_factory=lambda: list(TIMES[:-1]))
    """Names of `TIMES`; journals of earlier versions do not say, and have no times of frames."""


class Journal:
    """One episode as plain files that grow: no step is lost, even if the process is killed.

    Args:
        folder: of this episode; made anew.
        task: whose states and actions.
        meta: JSON kept with the episode.
        frame_shape: (H, W, 3) of frames, or none.
    """

    def __init__(
        self, folder: Path, task: Task, meta: Mapping[str, Any], frame_shape: tuple[int, int, int] | None = None
    ) -> None:
        self.folder, self.steps = folder, 0
        self._task, self._frame_shape = task, frame_shape
        self._head = {
            "task_id": task.id,
            "spec": task.spec.to_json(),
            "actions": task.action.dim,
            "frame_shape": frame_shape,
            "meta": dict(meta),
            "times": list(TIMES),
        }
        self._frame = np.zeros(frame_shape or (0,), np.uint8).tobytes()
        with self._writing():
            folder.mkdir(parents=True)
            write_json(folder / "head.json", self._head)
            self._files = {name: (folder / name).open("ab", buffering=0) for name in ("rows", "commands", "frames")}
        self._commands: list[np.ndarray] = []

    def step(
        self,
        state: np.ndarray,
        arm: ArmState,
        action: Any,
        verdict: str,
        times: Mapping[str, float],
        frame: np.ndarray | None = None,
    ) -> None:
        """Writes one control step that begins in `state` (D,), with what is done in it.

        Args:
            state: of the task (D,).
            arm: what was measured.
            action: whatever the policy said; what is no action (A,) is kept as zeros, and the verdict says so.
            verdict: one of `VERDICTS`.
            times: see `TIMES`.
            frame: of the shape that was promised; else the one before is kept again.

        Raises:
            DiskFailed: the disk is full.
        """
        self._row(state, arm, storable(action, self._task.action.dim), verdict, times, frame)
        self.steps += 1

    def _row(
        self,
        state: np.ndarray,
        arm: ArmState,
        action: np.ndarray,
        verdict: str,
        times: Mapping[str, float],
        frame: np.ndarray | None,
    ) -> None:
        seen = np.concatenate(
            [[arm.stamp, arm.robot_time], arm.q, arm.dq, arm.tau_ext, arm.wrench, [arm.gripper_width]]
        )
        when = [times.get(name, np.nan) for name in TIMES]
        row = np.concatenate([state, action, [VERDICTS.index(verdict)], when, seen])
        if self._frame_shape is not None and frame is not None and frame.shape == self._frame_shape:
            self._frame = np.ascontiguousarray(frame, np.uint8).tobytes()
        with self._writing():
            self._append("frames", self._frame)
            self._append("rows", row.tobytes())
        self.flush()

    def command(self, time: float, target: Target) -> None:
        """One command that went to the arm at a time [s]."""
        joints = target.joints if target.joints is not None else np.full(7, np.nan)
        self._commands.append(np.concatenate([[time], joints, [target.gripper]]))

    def end(self, state: np.ndarray, arm: ArmState, frame: np.ndarray | None = None, taken: float = np.nan) -> None:
        """Writes the last state (D,), after the last action, and the frame that was taken then [s]."""
        nothing = np.full(self._task.action.dim, np.nan)
        self._row(state, arm, nothing, "stop", {"frame": taken}, frame)

    def flush(self) -> None:
        """Writes the commands so far."""
        if self._commands:
            with self._writing():
                self._append("commands", np.concatenate(self._commands).tobytes())
            self._commands.clear()

    def update(self, **meta: Any) -> None:
        """Changes what is kept with the episode."""
        self._head["meta"] |= meta
        with self._writing():
            write_json(self.folder / "head.json", self._head)

    def close(self) -> None:
        """Closes the files; they stay until `finish`."""
        try:
            self.flush()
        finally:
            for file in self._files.values():
                file.close()

    def _append(self, name: str, data: bytes) -> None:
        """Appends all of it or nothing: half a row would shift all that follow."""
        file = self._files[name]
        written = file.write(data)
        if written != len(data):
            file.truncate(os.fstat(file.fileno()).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with writing(self.folder, f"{self.steps} steps of this episode are kept in {self.folder}."):
            yield


def read_head(folder: Path) -> Head:
    """Returns what a journal says of itself.

    Raises:
        BadArtifact: it cannot be read.
    """
    head = load_json(folder / "head.json", Head)
    if head is None:
        raise BadArtifact(folder / "head.json", "it is missing")
    return head


def read_journal(folder: Path, success: np.ndarray | None = None) -> Episode | None:
    """The episode of a journal, of as many whole steps as were written; none if there was not one.

    Args:
        folder: of the journal.
        success: (T,) bool, or unknown: false, and `meta["success_known"]` says so.

    Raises:
        BadArtifact: it is no journal of ours, or damaged in the middle. A last row that was cut off is left out, and
            so is what follows a row that is not finite, as the one with which the safety filter stopped the arm.
        UsageError: its episode holds numbers that are not finite all the same.
        WrongShape: its frames are no pictures.
    """
    head = read_head(folder)
    try:
        spec = StateSpec.from_json(head.spec)
    except (AttributeError, KeyError, TypeError, ValueError, RoboRewardError) as error:
        raise BadArtifact(folder / "head.json", f"its state spec cannot be used: {error}") from error
    d, a, n = spec.dim, head.actions, len(head.times)
    rows = _whole(folder / "rows", d + a + 1 + n + MEASURED)
    if len(rows) < 2:
        return None
    needed = np.concatenate([rows[:, :d], rows[:, d + a + 1 + n :][:, :9]], axis=1)
    good = int(np.logical_and.accumulate(np.isfinite(needed).all(axis=1)).sum())
    if good < 2:
        raise BadArtifact(folder / "rows", "its first step holds states, times or joint angles that are not finite")
    rows = rows[:good]
    state, action, verdicts = rows[:, :d], rows[:-1, d : d + a], rows[:, d + a]
    times, seen = rows[:, d + a + 1 : d + a + 1 + n], rows[:, d + a + 1 + n :]
    _check_rows(folder / "rows", verdicts, seen)
    frames = _frames(folder / "frames", head.frame_shape, len(rows))
    known = success is not None
    kept = np.zeros(len(action), bool) if success is None else success[: len(action)]
    meta = {
        "success_known": known,
        **head.meta,
        "fps": _frame_rate(seen[:, 1], head.meta.get("fps")),
        "verdicts": [VERDICTS[int(v)] for v in verdicts[:-1]],
        "times": {name: _numbers(times[:-1, i]) for i, name in enumerate(head.times)},
        "commands": _table(_whole(folder / "commands", COMMAND), {"time": 1, "joints": 7, "gripper": 1}),
        "measured": _table(seen, {"stamp": 1, "robot_time": 1, "q": 7, "dq": 7, "tau_ext": 7, "wrench": 6, "width": 1}),
    }
    if frames is not None and "frame" in head.times:
        taken = times[:, head.times.index("frame")]
        meta["frame_times"] = _numbers(taken - seen[:, 0] + seen[:, 1])  # from this computer's clock to the robot's
    return Episode(state, np.clip(np.nan_to_num(action), -1, 1), kept, spec, head.task_id, frames=frames, meta=meta)


def _check_rows(path: Path, verdicts: np.ndarray, seen: np.ndarray) -> None:
    """Refuses rows that no journal of ours has, as where one was written with another width."""
    if not np.isin(verdicts, range(len(VERDICTS))).all():
        raise BadArtifact(path, "its rows hold verdicts that do not exist")
    if (np.diff(seen[:, :2], axis=0) < 0).any() or np.abs(seen[:, 2:9]).max() > 7.0:
        raise BadArtifact(path, "its rows hold clocks that run backwards or joint angles beyond a full turn")


def _frame_rate(robot_time: np.ndarray, planned: Any) -> float:
    """Returns how many control steps, and so frames, there were in a second of the robot's time [Hz]."""
    spans = np.diff(robot_time[:-1])  # the last state is that of the arm at rest, after it braked
    middle = float(np.median(spans)) if len(spans) else 0.0
    usable = isinstance(planned, int | float) and 0 < planned < 1e6
    return round(1 / middle, 3) if middle > 0 else float(planned) if usable else 20.0


def finish(folder: Path, store: EpisodeStore, judge: Judge, labelled: bool | None = None) -> Episode | None:
    """Moves a journal into the store, under the folder's name; doing it twice is harmless.

    Args:
        folder: of the journal.
        store: gets the episode.
        judge: success and reward.
        labelled: what a person said of the success, or none.

    Returns:
        The episode, or none if not one step was made.

    Raises:
        BadArtifact: the journal cannot be read; it is left where it is, here and below.
        UsageError: likewise.
        WrongShape: likewise.
        DiskFailed: the disk of the store is full or fails.
        NotStored: the store or the film cannot be written for another reason.
    """
    episode = read_journal(folder)
    if episode is not None:
        kept = f"{len(episode)} steps of this episode are kept in {folder}."
        try:
            with writing(store.folder, kept):
                if folder.name not in store:
                    episode = judge(episode, labelled)
                    store.append(episode, folder.name)
        except DiskFailed:
            raise
        except Exception as error:
            if (full := _full_disk(error)) is not None:
                raise DiskFailed(full.filename or store.folder, full.strerror or str(full), kept) from error
            raise NotStored(store.folder, str(error) or type(error).__name__, kept) from error
    shutil.rmtree(folder)
    return episode


def _full_disk(error: BaseException) -> OSError | None:
    """The failure of the disk that an error was made of, if it was."""
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, OSError) and cause.errno in FULL_DISK):
        cause = cause.__cause__
    return cause


def is_empty(journal: Path) -> bool:
    """Whether a journal was begun and no step was made."""
    rows = journal / "rows"
    return not journal.is_symlink() and journal.is_dir() and (not rows.exists() or not rows.stat().st_size)


def set_aside(journal: Path, folder: Path) -> Path:
    """Moves a journal that cannot be read out of the way; returns where it is kept.

    Args:
        journal: the file or folder.
        folder: gets it, under its own name or with a number behind it; made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place, n = folder / journal.name, 1
    while place.exists() or place.is_symlink():
        place, n = folder / f"{journal.name}-{n}", n + 1
    journal.rename(place)
    return place


class Judge:
    """What is said of a finished episode: whether it succeeded, and what a reward thinks of each step.

    Args:
        task: its test of success is used where every field that it could read was measured.
        unknown: state fields that nobody measured.
        reward: any reward, or none.
    """

    def __init__(self, task: Task, unknown: tuple[str, ...], reward: StepReward | EpisodeReward | None = None) -> None:
        self.task, self.unknown, self.reward = task, unknown, reward

    def __call__(self, episode: Episode, labelled: bool | None = None) -> Episode:
        judged_by_task = None if self.unknown else self._succeeded(episode)
        known, by = judged_by_task is not None, "nobody" if judged_by_task is None else "task"
        success = episode.success.copy() if judged_by_task is None else judged_by_task
        if labelled is not None:
            success = np.array(success)
            success[-1], known, by = labelled, True, "person"
        ending = str(episode.meta.get("ending", ""))
        meta = {**episode.meta, "success_known": known, "success_by": by, "unknown_fields": list(self.unknown)}
        meta["outcome"] = outcome_of(ending, known, bool(np.any(success[-1:])))
        judged = replace(episode, success=success, meta=meta)
        return judged if self.reward is None else self._traced(judged, self.reward)

    def _succeeded(self, episode: Episode) -> np.ndarray | None:
        """Whether it succeeded after each step (T,); none if the task's test fails, which must not cost the episode."""
        try:
            success = np.array(self.task.success(episode.spec.view(episode.state[1:])), bool)
            return success.reshape(len(episode))
        except Exception as error:  # noqa: BLE001  tasks are plug-ins: whatever they raise, the episode is kept
            log.warning("the task cannot tell whether this episode succeeded: %s", error)
            return None

    def _traced(self, episode: Episode, reward: StepReward | EpisodeReward) -> Episode:
        """The episode with the reward of each step; a reward that cannot judge it must not cost it."""
        try:
            given = reward(episode) if isinstance(reward, EpisodeReward) else reward(episode.transitions())
            return replace(episode, reward=given)
        except Exception as error:  # noqa: BLE001  rewards are plug-ins: whatever they raise, the episode is kept
            log.warning("the reward cannot judge this episode: %s", error)
            return episode


def _whole(path: Path, width: int) -> np.ndarray:
    """The whole rows (N, width) of a file that may end in the middle of one."""
    data = read_bytes(path, MAX_JOURNAL) or b""
    count = len(data) // (8 * width)
    return np.frombuffer(data, np.float64, count * width).reshape(count, width)


def _frames(path: Path, shape: tuple[int, int, int] | None, count: int) -> np.ndarray | None:
    """`count` frames, the last repeated where one is missing."""
    size = int(np.prod(shape)) if shape else 0
    if shape is None or not size:
        return None
    data = read_bytes(path, MAX_JOURNAL) or b""
    there = min(len(data) // size, count)
    if not there:
        return None
    frames = np.frombuffer(data, np.uint8, there * size).reshape(there, *shape)
    return np.concatenate([frames, np.repeat(frames[-1:], count - there, axis=0)])


def _numbers(values: np.ndarray) -> list[float | None]:
    """JSON has no not-a-number."""
    return [round(float(v), 6) if np.isfinite(v) else None for v in values]


def _table(rows: np.ndarray, columns: Mapping[str, int]) -> dict[str, list[Any]]:
    found, at = {}, 0
    for name, size in columns.items():
        part = rows[:, at : at + size]
        found[name] = _numbers(part[:, 0]) if size == 1 else [_numbers(row) for row in part]
        at += size
    return found


def leftovers(folder: Path) -> list[Path]:
    """Returns what episodes that were cut off before they reached the store left behind: journals, whole or not."""
    return sorted(folder.iterdir()) if folder.is_dir() else []
