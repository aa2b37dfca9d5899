"""Resemblance of the pictures of a task to those that a reward has learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from robo_reward.envs.rendering.frames import FrameRenderer, FrameSpec
from robo_reward.envs.task import Task
from robo_reward.errors import BadArtifact
from robo_reward.files import read_bytes, write_bytes
from robo_reward.rewards.artifact import find_reward_folder

FILE = "pictures.png"
SIDE, COLUMNS, ROWS = 16, 8, 64
"""Width and height of a thumbnail [pixels], thumbnails per clip, and the most clips that are kept."""
STARTS = 4  # initial states of the task that are compared
ALIKE = 0.4
"""Correlation of thumbnails. Measured: 0.64 to 0.96 for one camera of one scene, whatever the motion, the arm or the
object; at most 0.23 for another camera and 0.14 for other videos."""


def build_thumbnails(clips: Sequence[np.ndarray]) -> np.ndarray:
    """Returns thumbnails (N, 16, 16, 3) uint8 of clips (T_i, H, W, 3), 8 at equal distances in time of each."""
    found = []
    for clip in clips[:ROWS]:
        chosen = np.linspace(0, len(clip) - 1, COLUMNS).round().astype(int)
        found += [cv2.resize(clip[i], (SIDE, SIDE), interpolation=cv2.INTER_AREA) for i in chosen]
    return np.stack(found)


def save_thumbnails(thumbnails: np.ndarray, folder: Path) -> None:
    """Writes the result of `build_thumbnails` into a reward folder, as one picture with a row for each clip."""
    rows = thumbnails.reshape(-1, COLUMNS, SIDE, SIDE, 3).swapaxes(1, 2).reshape(-1, COLUMNS * SIDE, 3)
    encoded = cv2.imencode(".png", np.ascontiguousarray(rows[..., ::-1]))[1]
    write_bytes(folder / FILE, encoded.tobytes())


def load_thumbnails(path: Path) -> np.ndarray | None:
    """Returns the thumbnails (N, 16, 16, 3) that a reward has learnt from; None where the folder has none.

    Args:
        path: a reward folder, or a run folder with one.

    Raises:
        BadArtifact: the file is damaged.
    """
    file = find_reward_folder(path) / FILE
    content = read_bytes(file)
    if content is None:
        return None
    rows = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    if rows is None or rows.shape[0] % SIDE or rows.shape[1] != COLUMNS * SIDE:
        raise BadArtifact(file, "it is damaged", "Delete it, or learn the reward again")
    return rows[..., ::-1].reshape(-1, SIDE, COLUMNS, SIDE, 3).swapaxes(1, 2).reshape(-1, SIDE, SIDE, 3)


def measure_resemblance(known: np.ndarray, seen: np.ndarray) -> float:
    """Returns the correlation of thumbnails (N, 16, 16, 3) with the most similar known ones, the median over N.

    Each colour channel has its mean removed first, so that neither brightness nor tint counts.
    """

    def normalise(thumbnails: np.ndarray) -> np.ndarray:
        x = thumbnails.reshape(len(thumbnails), -1, 3).astype(np.float64)
        x = (x - x.mean(axis=1, keepdims=True)).reshape(len(x), -1)
        return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)

    return float(np.median((normalise(seen) @ normalise(known).T).max(axis=1)))


def describe_strange_pictures(task: Task, frames: FrameSpec, known: np.ndarray) -> str:
    """Returns a warning if the task's initial states look like nothing that a reward has learnt from, else "".

    Args:
        task: on which the reward will be used.
        frames: that it reads.
        known: the result of `load_thumbnails`.
    """
    sim = task.make_worlds(STARTS, seed=0, threads=1)
    try:
        sim.reset()
        with FrameRenderer(task, frames) as draw:
            found = measure_resemblance(known, build_thumbnails(list(draw(sim.qpos, sim.mocap)[:, None])))
    finally:
        sim.close()
    if found >= ALIKE:
        return ""
    return (
        f"the pictures of {task.id} (camera {', '.join(frames.cameras)}) have nothing in common with those that this "
        f"reward has learnt from (correlation {found:.2f}; of the same scene and camera above {ALIKE}): what it pays "
        "for here is arbitrary. Learn it from recordings of this task and camera"
    )
