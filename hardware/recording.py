"""An episode on the robot, written down as it happens: whatever ends the program, what was done is on the disk."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from robo_reward.envs.state import StateSpec
from robo_reward.envs.task import Task
from robo_reward.episode import Episode, EpisodeStore
from robo_reward.hardware.robot import ArmState, Target
from robo_reward.reward import EpisodeReward, RewardOutput, StepReward

log = logging.getLogger(__name__)
TIMES = ("begun", "stamp", "robot_time", "answered", "inference", "sent", "late")
"""Per control step: when it began, when the arm's state was received, the robot's own clock, when the policy's answer
came and how long it thought, when the first command went out; all [s], the stamps on this computer's monotonic clock.
`late` is 1 where no action was there in time."""
MEASURED = 2 + 4 * 7  # stamp, robot time, q, dq, tau_ext, wrench and width
COMMAND = 9  # time, joints, opening of the fingers
VERDICTS = ("follow", "hold", "stop", "person")
"""What became of each step; `person`: somebody took over."""


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
        folder.mkdir(parents=True)
        self.folder, self.steps = folder, 0
        self._task, self._frame_shape = task, frame_shape
        head = {
            "task_id": task.id,
            "spec": task.spec.to_json(),
            "actions": task.action.dim,
            "frame_shape": frame_shape,
            "meta": dict(meta),
        }
        write_head(folder, head)
        self._files = {name: (folder / name).open("ab", buffering=0) for name in ("rows", "commands", "frames")}
        self._commands: list[np.ndarray] = []
        self._begun = False

    def step(
        self,
        state: np.ndarray,
        arm: ArmState,
        action: np.ndarray,
        verdict: str,
        times: Mapping[str, float],
        frame: np.ndarray | None = None,
    ) -> None:
        """One control step that begins in `state` (D,), with what is done in it: `action` (A,)."""
        seen = np.concatenate(
            [[arm.stamp, arm.robot_time], arm.q, arm.dq, arm.tau_ext, arm.wrench, [arm.gripper_width]]
        )
        when = [times.get(name, np.nan) for name in TIMES]
        row = np.concatenate([state, action, [VERDICTS.index(verdict)], when, seen])
        if self._frame_shape is not None and frame is not None:
            self._files["frames"].write(np.ascontiguousarray(frame).tobytes())
        self._files["rows"].write(row.tobytes())
        self.flush()
        self.steps += 1

    def command(self, time: float, target: Target) -> None:
        """One command that went to the arm at a time [s]."""
        joints = target.joints if target.joints is not None else np.full(7, np.nan)
        self._commands.append(np.concatenate([[time], joints, [target.gripper]]))

    def end(self, state: np.ndarray, arm: ArmState, frame: np.ndarray | None = None) -> None:
        """The last state (D,), after the last action."""
        self.step(state, arm, np.full(self._task.action.dim, np.nan), "stop", {}, frame)
        self.steps -= 1

    def flush(self) -> None:
        """Writes the commands so far."""
        if self._commands:
            self._files["commands"].write(np.concatenate(self._commands).tobytes())
            self._commands.clear()

    def update(self, **meta: Any) -> None:
        """Changes what is kept with the episode."""
        head = read_head(self.folder)
        head["meta"] |= meta
        write_head(self.folder, head)

    def close(self) -> None:
        """Closes the files; they stay until `finish`."""
        self.flush()
        for file in self._files.values():
            file.close()


def read_head(folder: Path) -> dict[str, Any]:
    """What a journal says of itself."""
    return json.loads((folder / "head.json").read_text(encoding="utf-8"))


def write_head(folder: Path, head: Mapping[str, Any]) -> None:
    """Replaces it."""
    partial = folder / f"head.{os.getpid()}.part"
    partial.write_text(json.dumps(head), encoding="utf-8")
    partial.replace(folder / "head.json")


def read_journal(folder: Path, success: np.ndarray | None = None) -> Episode | None:
    """The episode of a journal, of as many whole steps as were written; none if there was not one.

    Args:
        folder: of the journal.
        success: (T,) bool, or unknown: false, and `meta["success_known"]` says so.
    """
    head = read_head(folder)
    spec, actions = StateSpec.from_json(head["spec"]), int(head["actions"])
    width = spec.dim + actions + 1 + len(TIMES) + MEASURED
    rows = _whole(folder / "rows", width)
    frames = _frames(folder / "frames", head["frame_shape"], len(rows))
    if len(rows) < 2:
        return None
    state, action = rows[:, : spec.dim], rows[:-1, spec.dim : spec.dim + actions]
    rest = rows[:, spec.dim + actions :]
    verdicts, times, seen = rest[:-1, 0].astype(int), rest[:-1, 1 : 1 + len(TIMES)], rest[:, 1 + len(TIMES) :]
    known = success is not None
    kept = np.zeros(len(action), bool) if success is None else success[: len(action)]
    meta = {
        "success_known": known,
        **head["meta"],
        "verdicts": [VERDICTS[v] for v in verdicts],
        "times": {name: _numbers(times[:, i]) for i, name in enumerate(TIMES)},
        "commands": _table(_whole(folder / "commands", COMMAND), {"time": 1, "joints": 7, "gripper": 1}),
        "measured": _table(seen, {"stamp": 1, "robot_time": 1, "q": 7, "dq": 7, "tau_ext": 7, "wrench": 6, "width": 1}),
    }
    return Episode(state, np.clip(np.nan_to_num(action), -1, 1), kept, spec, head["task_id"], frames=frames, meta=meta)


def finish(folder: Path, store: EpisodeStore, judge: Judge, labelled: bool | None = None) -> Episode | None:
    """Moves a journal into the store, under the folder's name; doing it twice is harmless.

    Args:
        folder: of the journal.
        store: gets the episode.
        judge: success and reward.
        labelled: what a person said of the success, or none.

    Returns:
        The episode, or none if not one step was made.
    """
    episode = read_journal(folder)
    if episode is not None and folder.name not in store:
        episode = judge(episode, labelled)
        store.append(episode, folder.name)
    shutil.rmtree(folder)
    return episode


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
        known = not self.unknown
        success = self.task.success(episode.spec.view(episode.state[1:])) if known else episode.success.copy()
        by = "task" if known else "nobody"
        if labelled is not None:
            success = np.array(success)
            success[-1], known, by = labelled, True, "person"
        meta = {**episode.meta, "success_known": known, "success_by": by, "unknown_fields": list(self.unknown)}
        judged = replace(episode, success=success, meta=meta)
        return replace(judged, reward=self._traced(judged)) if self.reward is not None else judged

    def _traced(self, episode: Episode) -> RewardOutput | None:
        """The reward of each step; a reward that cannot judge this episode must not cost it."""
        try:
            if isinstance(self.reward, EpisodeReward):
                return self.reward(episode)
            return self.reward(episode.transitions()) if self.reward else None
        except Exception as error:  # noqa: BLE001  rewards are plug-ins: whatever they raise, the episode is kept
            log.warning("the reward cannot judge this episode: %s", error)
            return None


def _whole(path: Path, width: int) -> np.ndarray:
    """The whole rows (N, width) of a file that may end in the middle of one."""
    data = path.read_bytes() if path.exists() else b""
    count = len(data) // (8 * width)
    return np.frombuffer(data, np.float64, count * width).reshape(count, width)


def _frames(path: Path, shape: list[int] | None, count: int) -> np.ndarray | None:
    """`count` frames, the last repeated where one is missing."""
    if shape is None or not count:
        return None
    size = int(np.prod(shape))
    data = path.read_bytes()
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
    """Journals of episodes that were cut off before they reached the store."""
    return sorted(path for path in folder.glob("*") if (path / "head.json").is_file()) if folder.exists() else []
