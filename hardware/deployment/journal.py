"""Journals of episodes: every step is on the disk as soon as it is made, whatever ends the program."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.envs.judgement import judge_episode
from robo_reward.envs.state import StateSpec
from robo_reward.envs.task import Task
from robo_reward.errors import BadArtifact, RoboRewardError
from robo_reward.files import Count, load_json, read_bytes, write_json
from robo_reward.hardware.arm import ArmState, Target
from robo_reward.rewards.contract import EpisodeReward, StepReward

log = logging.getLogger(__name__)
TIMES = ("begun", "stamp", "robot_time", "answered", "inference", "sent", "late", "frame")
"""Columns of times of each control step, see `StepTiming`; `stamp` and `robot_time` are those of the arm's state, and
`frame` is the capture of the frame. `late` is 1 if no action was available in time, otherwise 0."""
MEASUREMENT_WIDTH = 2 + 4 * 7  # stamp, robot time, q, dq, tau_ext, wrench (6) and width
COMMAND_WIDTH = 9  # time, joints (7), opening of the fingers
VERDICTS = ("follow", "hold", "stop", "person")
"""Outcome of each step; `person`: a person was in control."""
COMPLETED_OUTCOMES = ("success", "failure", "unknown")
"""Outcomes that count for the policy; other episodes were cut short and are repeated."""
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
MAX_JOURNAL = 8 << 30  # largest file of a journal [bytes]; frames of 4 cameras of 224 x 224 reach it in 10 hours


class DiskFailed(RoboRewardError):
    """A file of the run could not be written.

    Args:
        path: the file or the folder.
        problem: the system's error message.
        kept: what was kept of the episode.
    """

    def __init__(self, path: Path | str, problem: str, kept: str) -> None:
        super().__init__(
            f"{path} cannot be written: {problem}. {kept} Free disk space "
            f"(`df -h {Path(path).parent}`), then run the same command again: it stores the saved steps and continues"
        )


class EpisodeNotStored(RoboRewardError):
    """An episode that was read cannot be stored; its journal stays where it is.

    Args:
        store: the folder of the store.
        problem: what went wrong.
        kept: what was kept of the episode.
    """

    def __init__(self, store: Path, problem: str, kept: str) -> None:
        super().__init__(
            f"the episode cannot be stored in {store}: {problem}. {kept} Remove the cause, then give the same command "
            "again: it stores the saved steps and continues"
        )


@contextmanager
def convert_disk_errors(path: Path, kept: str) -> Iterator[None]:
    """Converts the error of a full or failing disk into `DiskFailed`.

    Its message names the path, what was kept and a remedy.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise DiskFailed(error.filename or path, error.strerror or str(error), kept) from error


def classify_outcome(ending: str, known: bool, success: bool) -> str:
    """Classifies what an episode says of the policy.

    Args:
        ending: as in `EpisodeEnding.reason`; empty for an episode whose processes were killed.
        known: True if the success could be determined.
        success: True if the episode succeeded.

    Returns:
        `success`, `failure` or `unknown`; or how it was cut short: `faulted` (by the arm, a camera, the policy's
        process or this computer), `stopped` (by a person) or `killed`.
    """
    if ending in ("horizon", "end"):
        return ("success" if success else "failure") if known else "unknown"
    return {"stop": "stopped", "": "killed"}.get(ending, "faulted")


def sanitize_action(action: Any, dim: int) -> np.ndarray:
    """Returns an action (A,) as a journal can store it.

    These are numbers in [-1, 1], or zeros for anything that is no action.
    """
    try:
        array = np.asarray(action, float)
    except (TypeError, ValueError, OverflowError):
        return np.zeros(dim)
    return np.clip(np.nan_to_num(array), -1, 1) if array.shape == (dim,) else np.zeros(dim)


@dataclass(frozen=True)
class StepTiming:
    """Times of one control step [s], by this computer's monotonic clock; NaN where something did not happen.

    Args:
        begun: start of the control step.
        answered: arrival of the policy's action.
        inference: duration of the policy's inference.
        sent: when the first command that follows the action was sent.
        late: whether no action was available in time.
    """

    begun: float = np.nan
    answered: float = np.nan
    inference: float = np.nan
    sent: float = np.nan
    late: bool = True


@dataclass(frozen=True, eq=False)
class StepRecord:
    """One control step as a journal stores it.

    Args:
        state: the task's state in which the step begins (D,).
        arm: the arm's measured state.
        action: of the policy or the person; anything that is not an action (A,) is stored as zeros.
        verdict: one of `VERDICTS`.
        timing: when what happened.
        frame: camera frame of the declared shape; otherwise the previous one is stored again.
        frame_stamp: when the frame was captured [s].
    """

    state: np.ndarray
    arm: ArmState
    action: Any
    verdict: str
    timing: StepTiming = StepTiming()
    frame: np.ndarray | None = None
    frame_stamp: float = np.nan


class JournalHeader(msgspec.Struct):
    """Header of a journal."""

    task_id: str
    spec: list[dict[str, Any]]
    actions: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    frame_shape: tuple[Count, Count, Count] | None
    meta: dict[str, Any]
    times: Annotated[list[str], msgspec.Meta(max_length=64)] = msgspec.field(default_factory=lambda: list(TIMES[:-1]))
    """Names of the columns of `times`; journals of earlier versions do not list them and have no times of frames."""


class Journal:
    """One episode as plain files that grow: no step is lost, even if the process is killed.

    Args:
        folder: folder of this episode, which is created.
        task: defines states and actions.
        meta: JSON kept with the episode.
        frame_shape: (H, W, 3) of frames, or None.
    """

    def __init__(
        self, folder: Path, task: Task, meta: Mapping[str, Any], frame_shape: tuple[int, int, int] | None = None
    ) -> None:
        self.folder, self.steps = folder, 0
        self._task, self._frame_shape = task, frame_shape
        self._header = {
            "task_id": task.id,
            "spec": task.spec.to_json(),
            "actions": task.action.dim,
            "frame_shape": frame_shape,
            "meta": dict(meta),
            "times": list(TIMES),
        }
        self._frame = np.zeros(frame_shape or (0,), np.uint8).tobytes()
        with self._convert_disk_errors():
            folder.mkdir(parents=True)
            write_json(folder / "head.json", self._header)
            self._files = {name: (folder / name).open("ab", buffering=0) for name in ("rows", "commands", "frames")}
        self._commands: list[np.ndarray] = []

    def write_step(self, record: StepRecord) -> None:
        """Writes one control step.

        Raises:
            DiskFailed: the disk is full.
        """
        timing = asdict(record.timing) | {"stamp": record.arm.stamp, "robot_time": record.arm.robot_time}
        self._write_row(record, sanitize_action(record.action, self._task.action.dim), timing)
        self.steps += 1

    def _write_row(self, record: StepRecord, action: np.ndarray, times: Mapping[str, float]) -> None:
        arm, frame = record.arm, record.frame
        seen = np.concatenate(
            [[arm.stamp, arm.robot_time], arm.q, arm.dq, arm.tau_ext, arm.wrench, [arm.gripper_width]]
        )
        when = [{**times, "frame": record.frame_stamp}.get(name, np.nan) for name in TIMES]
        row = np.concatenate([record.state, action, [VERDICTS.index(record.verdict)], when, seen])
        if self._frame_shape is not None and frame is not None and frame.shape == self._frame_shape:
            self._frame = np.ascontiguousarray(frame, np.uint8).tobytes()
        with self._convert_disk_errors():
            self._append_bytes("frames", self._frame)
            self._append_bytes("rows", row.tobytes())
        self.flush()

    def add_command(self, time: float, target: Target) -> None:
        """Adds one command that was sent to the arm at a time [s]."""
        self._commands.append(np.concatenate([[time], target.joints, [target.gripper]]))

    def write_last_state(
        self, state: np.ndarray, arm: ArmState, frame: np.ndarray | None = None, taken: float = np.nan
    ) -> None:
        """Writes the state (D,) after the last action, with a frame and the time at which it was captured [s]."""
        nothing = np.full(self._task.action.dim, np.nan)
        self._write_row(StepRecord(state, arm, nothing, "stop", frame=frame, frame_stamp=taken), nothing, {})

    def flush(self) -> None:
        """Writes the commands that were added so far."""
        if self._commands:
            with self._convert_disk_errors():
                self._append_bytes("commands", np.concatenate(self._commands).tobytes())
            self._commands.clear()

    def update_metadata(self, **meta: Any) -> None:
        """Updates the metadata that are kept with the episode."""
        self._header["meta"] |= meta
        with self._convert_disk_errors():
            write_json(self.folder / "head.json", self._header)

    def close(self) -> None:
        """Closes the files; they stay until `store_journal`."""
        try:
            self.flush()
        finally:
            for file in self._files.values():
                file.close()

    def _append_bytes(self, name: str, data: bytes) -> None:
        """Appends all of the data or nothing: half a row would shift all that follow."""
        file = self._files[name]
        written = file.write(data)
        if written != len(data):
            file.truncate(os.fstat(file.fileno()).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextmanager
    def _convert_disk_errors(self) -> Iterator[None]:
        with convert_disk_errors(self.folder, f"{self.steps} steps of this episode are saved in {self.folder}."):
            yield


def read_header(folder: Path) -> JournalHeader:
    """Returns the header of a journal.

    Raises:
        BadArtifact: it cannot be read.
    """
    head = load_json(folder / "head.json", JournalHeader)
    if head is None:
        raise BadArtifact(folder / "head.json", "it is missing")
    return head


def read_journal(folder: Path, success: np.ndarray | None = None) -> Episode | None:
    """Reads the episode of a journal, as far as whole steps were written.

    Args:
        folder: of the journal.
        success: (T,) bool, or None when unknown: then false, and `meta["success_known"]` says so.

    Returns:
        The episode, or None when not one step was written.

    Raises:
        BadArtifact: it is no journal of this project, or damaged in the middle. A last row that was cut off is
            left out, and so is what follows a row that is not finite, as the one with which the safety filter
            stopped the arm.
        UsageError: its episode still holds numbers that are not finite.
        WrongShape: its frames are no pictures.
    """
    head = read_header(folder)
    try:
        spec = StateSpec.from_json(head.spec)
    except (AttributeError, KeyError, TypeError, ValueError, RoboRewardError) as error:
        raise BadArtifact(folder / "head.json", f"its state spec cannot be used: {error}") from error
    d, a, n = spec.dim, head.actions, len(head.times)
    rows = _read_rows(folder / "rows", d + a + 1 + n + MEASUREMENT_WIDTH)
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
    frames = _read_frames(folder / "frames", head.frame_shape, len(rows))
    known = success is not None
    kept = np.zeros(len(action), bool) if success is None else success[: len(action)]
    meta = {
        "success_known": known,
        **head.meta,
        "fps": _estimate_frame_rate(seen[:, 1], head.meta.get("fps")),
        "verdicts": [VERDICTS[int(v)] for v in verdicts[:-1]],
        "times": {name: _to_json_numbers(times[:-1, i]) for i, name in enumerate(head.times)},
        "commands": _to_json_columns(
            _read_rows(folder / "commands", COMMAND_WIDTH), {"time": 1, "joints": 7, "gripper": 1}
        ),
        "measured": _to_json_columns(
            seen, {"stamp": 1, "robot_time": 1, "q": 7, "dq": 7, "tau_ext": 7, "wrench": 6, "width": 1}
        ),
    }
    if frames is not None and "frame" in head.times:
        taken = times[:, head.times.index("frame")]
        meta["frame_times"] = _to_json_numbers(
            taken - seen[:, 0] + seen[:, 1]
        )  # converted from this computer's clock to the robot's
    return Episode(state, np.clip(np.nan_to_num(action), -1, 1), kept, spec, head.task_id, frames=frames, meta=meta)


def _check_rows(path: Path, verdicts: np.ndarray, seen: np.ndarray) -> None:
    """Checks that rows are plausible, which they are not if they were written with another width.

    Raises:
        BadArtifact: verdicts that do not exist, clocks that run backwards or joint angles beyond a full turn.
    """
    if not np.isin(verdicts, range(len(VERDICTS))).all():
        raise BadArtifact(path, "its rows hold verdicts that do not exist")
    if (np.diff(seen[:, :2], axis=0) < 0).any() or np.abs(seen[:, 2:9]).max() > 7.0:
        raise BadArtifact(path, "its rows hold clocks that run backwards or joint angles beyond a full turn")


def _estimate_frame_rate(robot_time: np.ndarray, planned: Any) -> float:
    """Estimates the rate of control steps, and so of frames, in the robot's time [Hz]."""
    spans = np.diff(robot_time[:-1])  # without the last state, which is that of the arm at rest after braking
    middle = float(np.median(spans)) if len(spans) else 0.0
    usable = isinstance(planned, int | float) and 0 < planned < 1e6
    return round(1 / middle, 3) if middle > 0 else float(planned) if usable else 20.0


def store_journal(
    folder: Path, store: EpisodeStore, judge: SuccessLabeler, labelled: bool | None = None
) -> Episode | None:
    """Moves a journal into the store, under the folder's name; doing it twice is harmless.

    Args:
        folder: of the journal.
        store: gets the episode.
        judge: labels the success and computes the reward.
        labelled: the success label that a person gave, or None.

    Returns:
        The episode, or None when not one step was made.

    Raises:
        BadArtifact: the journal cannot be read; it is left where it is, here and below.
        UsageError: the episode holds numbers that are not finite.
        WrongShape: the frames are no pictures.
        DiskFailed: the disk of the store is full or fails.
        EpisodeNotStored: the store or the film cannot be written for another reason.
    """
    episode = read_journal(folder)
    if episode is not None:
        kept = f"{len(episode)} steps of this episode are saved in {folder}."
        try:
            with convert_disk_errors(store.folder, kept):
                if folder.name not in store:
                    episode = judge(episode, labelled)
                    store.append(episode, folder.name)
        except DiskFailed:
            raise
        except Exception as error:
            if (full := _find_disk_error(error)) is not None:
                raise DiskFailed(full.filename or store.folder, full.strerror or str(full), kept) from error
            raise EpisodeNotStored(store.folder, str(error) or type(error).__name__, kept) from error
    shutil.rmtree(folder)
    return episode


def _find_disk_error(error: BaseException) -> OSError | None:
    """Returns the disk error in an exception's chain of causes, or None."""
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, OSError) and cause.errno in DISK_ERRORS):
        cause = cause.__cause__
    return cause


def is_empty_journal(journal: Path) -> bool:
    """Returns whether a journal was begun but no step was written."""
    rows = journal / "rows"
    return not journal.is_symlink() and journal.is_dir() and (not rows.exists() or not rows.stat().st_size)


def set_aside(journal: Path, folder: Path) -> Path:
    """Moves a journal that cannot be read out of the way and returns its new path.

    Args:
        journal: the file or folder.
        folder: destination, where it keeps its name or gets a number behind it; created if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place, n = folder / journal.name, 1
    while place.exists() or place.is_symlink():
        place, n = folder / f"{journal.name}-{n}", n + 1
    journal.rename(place)
    return place


class SuccessLabeler:
    """Labels the success of a finished episode and adds the reward of each step.

    Args:
        task: its test of success is used where every field that it could read was measured.
        unknown: state fields that are not measured.
        reward: any reward, or None.
    """

    def __init__(self, task: Task, unknown: tuple[str, ...], reward: StepReward | EpisodeReward | None = None) -> None:
        self.task, self.unknown, self.reward = task, unknown, reward

    def __call__(self, episode: Episode, labelled: bool | None = None) -> Episode:
        judged_by_task = None if self.unknown else self._evaluate_success(episode)
        known, by = judged_by_task is not None, "nobody" if judged_by_task is None else "task"
        success = episode.success.copy() if judged_by_task is None else judged_by_task
        if labelled is not None:
            success = np.array(success)
            success[-1], known, by = labelled, True, "person"
        ending = str(episode.meta.get("ending", ""))
        meta = {**episode.meta, "success_known": known, "success_by": by, "unknown_fields": list(self.unknown)}
        meta["outcome"] = classify_outcome(ending, known, bool(np.any(success[-1:])))
        judged = replace(episode, success=success, meta=meta)
        return judged if self.reward is None else self._add_rewards(judged, self.reward)

    def _evaluate_success(self, episode: Episode) -> np.ndarray | None:
        """Evaluates the task's success after each step (T,) bool.

        Returns None where the task's test raises an error, so that the episode is kept.
        """
        try:
            return judge_episode(self.task, episode.state).reshape(len(episode))
        except Exception as error:  # noqa: BLE001  tasks are plug-ins: the episode is kept whatever error they raise
            log.warning("the task cannot tell whether this episode succeeded: %s", error)
            return None

    def _add_rewards(self, episode: Episode, reward: StepReward | EpisodeReward) -> Episode:
        """Returns the episode with the reward of each step.

        If the reward raises an error, the episode is returned unchanged.
        """
        try:
            given = reward(episode) if isinstance(reward, EpisodeReward) else reward(episode.to_transitions())
            return replace(episode, reward=given)
        except Exception as error:  # noqa: BLE001  rewards are plug-ins: the episode is kept whatever error they raise
            log.warning("the reward cannot judge this episode: %s", error)
            return episode


def _read_rows(path: Path, width: int) -> np.ndarray:
    """Reads the whole rows (N, width) of a file that may end in the middle of one."""
    data = read_bytes(path, MAX_JOURNAL) or b""
    count = len(data) // (8 * width)
    return np.frombuffer(data, np.float64, count * width).reshape(count, width)


def _read_frames(path: Path, shape: tuple[int, int, int] | None, count: int) -> np.ndarray | None:
    """Reads `count` frames (count, H, W, 3), the last repeated where one is missing.

    Returns None when there are no frames.
    """
    size = int(np.prod(shape)) if shape else 0
    if shape is None or not size:
        return None
    data = read_bytes(path, MAX_JOURNAL) or b""
    there = min(len(data) // size, count)
    if not there:
        return None
    frames = np.frombuffer(data, np.uint8, there * size).reshape(there, *shape)
    return np.concatenate([frames, np.repeat(frames[-1:], count - there, axis=0)])


def _to_json_numbers(values: np.ndarray) -> list[float | None]:
    """Returns the values rounded to 6 decimals, with None for those that are not finite."""
    return [round(float(v), 6) if np.isfinite(v) else None for v in values]


def _to_json_columns(rows: np.ndarray, columns: Mapping[str, int]) -> dict[str, list[Any]]:
    found, at = {}, 0
    for name, size in columns.items():
        part = rows[:, at : at + size]
        found[name] = _to_json_numbers(part[:, 0]) if size == 1 else [_to_json_numbers(row) for row in part]
        at += size
    return found


def find_leftover_journals(folder: Path) -> list[Path]:
    """Returns the journals, whole or not, of episodes that were cut off before they reached the store."""
    return sorted(folder.iterdir()) if folder.is_dir() else []
