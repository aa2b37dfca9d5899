"""The observation of a cloned policy, and the pictures of its training windows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from robo_reward.data.cloning.checks import has_task_fields
from robo_reward.data.cloning.picture_stack import PictureStack
from robo_reward.data.episode import Episode
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import ObservationSpec, Task
from robo_reward.errors import UsageError, WrongShape
from robo_reward.memory import require_memory
from robo_reward.policies.diffusion.windows import Windows
from robo_reward.policies.vision.observation import SIZE, choose_observation
from robo_reward.policies.vision.settings import VisionSettings

DIGEST_PICTURES = 64
"""Pictures of each camera that are part of a training's fingerprint, evenly spaced."""


class Demonstrations(Protocol):
    """Demonstrations of a task, such as a `DemonstrationSet`, which may also have pictures."""

    @property
    def episodes(self) -> tuple[Episode, ...]: ...


@dataclass(frozen=True)
class ObservationSettings:
    """Settings of the observation of a cloned policy, and of how it learns from pictures.

    Args:
        names: state fields and cameras; empty: the task's own observation.
        size: side of the pictures [pixels].
        vision: the networks for the pictures.
        reuse: noisy chunks per encoded observation: encoding pictures takes longer than the rest.
        auxiliary: weight of the error with which a linear layer, used in training alone, finds the task's own
            observation in the features; 0: none. It needs demonstrations whose states have all fields of the task.
        picture_share: share of the updates in which the networks for pictures learn. After them, the rest learns from
            features that are computed once; 1: all learn until the end.

    Raises:
        UsageError: a number out of range.
    """

    names: Sequence[str] = ()
    size: int = SIZE
    vision: VisionSettings = field(default_factory=VisionSettings)
    reuse: int = 4
    auxiliary: float = 1.0
    picture_share: float = 0.25

    def __post_init__(self) -> None:
        if not 1 <= self.reuse <= 64:
            raise UsageError(f"reuse={self.reuse}: expected a whole number from 1 to 64")
        if not 0 <= self.auxiliary <= 1000:
            raise UsageError(f"auxiliary={self.auxiliary}: expected a number from 0 to 1000")
        if not 0 < self.picture_share <= 1:
            raise UsageError(
                f"picture_share={self.picture_share}: expected a share of the updates above 0, at most 1 (the networks "
                "for pictures learn until the end)"
            )

    def count_picture_updates(self, steps: int) -> int:
        """Returns the number of updates in which the networks for pictures learn, at least one."""
        return max(1, round(self.picture_share * steps))

    def choose(self, task: Task) -> tuple[ObservationSpec, FrameSpec | None]:
        """Returns the state part of the observation and the cameras, see `choose_observation`."""
        return choose_observation(task, self.names, self.size)

    def to_json(self) -> dict[str, Any]:
        """Returns all settings as JSON."""
        own = {"names": list(self.names), "size": self.size, "reuse": self.reuse, "auxiliary": self.auxiliary}
        own["picture_share"] = self.picture_share
        return {**own, "vision": self.vision.to_json()}


class PictureWindows:
    """The pictures of M windows, gathered by index from all pictures of the demonstrations.

    Args:
        demonstrations: with pictures of all cameras.
        windows: cut from their episodes.
        frames: cameras and size.
        history: To, pictures per camera and window.
        settings: how to learn from them.
        task: whose own observation the auxiliary layer finds.

    Attributes:
        targets: (M, D) float32, the task's own observation at each window; None without an auxiliary layer.

    Raises:
        UsageError: there are no pictures, or a batch of them does not fit into memory.
        WrongShape: pictures of another size.
    """

    def __init__(
        self,
        demonstrations: Demonstrations,
        windows: Windows,
        frames: FrameSpec,
        history: int,
        settings: ObservationSettings,
        task: Task,
    ) -> None:
        self.frames, self.settings = frames, settings
        self._arrays = _find_arrays(getattr(demonstrations, "pictures", None), frames)
        steps = windows.step[:, None] + np.arange(1 - history, 1)  # (M, To)
        episodes = demonstrations.episodes
        counts = [len(episode) + 1 for episode in episodes]  # pictures, one of each state
        first = np.cumsum([0, *counts[:-1]])
        self._rows = first[windows.episode][:, None] + np.maximum(steps, 0)
        _check_counts(self._arrays, sum(counts))
        self.targets: Tensor | None = None
        if settings.auxiliary and all(has_task_fields(episode, task) for episode in episodes):
            seen = [task.observation(episode.states) for episode in episodes]
            pairs = zip(windows.episode, windows.step, strict=True)
            self.targets = torch.from_numpy(np.stack([seen[e][max(int(t), 0)] for e, t in pairs]))

    def __len__(self) -> int:
        return len(self._rows)

    def check_memory(self, batch: int) -> None:
        """Raises UsageError if the pictures of a batch do not fit into memory."""
        pixels = batch * self._rows.shape[1] * len(self.frames.cameras) * 3 * self.frames.size**2
        # uint8, its crop and float32; the first maps of a network have about as many numbers again
        require_memory(10 * pixels, f"a batch of {batch} observations with pictures", "Give a smaller batch=")

    def gather(self, chosen: Tensor) -> dict[str, Tensor]:
        """Returns the pictures (B, To, h, w, 3) uint8 of each camera for windows (B,)."""
        rows = self._rows[chosen.numpy()]
        return {camera: torch.from_numpy(array[rows]) for camera, array in self._arrays.items()}

    def compute_digest(self) -> str:
        """Returns a hash of some of the pictures."""
        found = hashlib.sha256()
        for camera, array in self._arrays.items():
            found.update(f"{camera}{array.shape}".encode())
            found.update(array[:: max(1, len(array) // DIGEST_PICTURES)].tobytes())
        return found.hexdigest()[:16]


def _find_arrays(stack: PictureStack | None, frames: FrameSpec) -> dict[str, np.ndarray]:
    """Returns the pictures (F, h, w, 3) of each camera."""
    found = {}
    for camera in frames.cameras:
        if stack is None or camera not in stack.arrays:
            have = ", ".join(stack.arrays) if stack is not None else "none"
            raise UsageError(
                f"the demonstrations have no pictures of {camera!r} (they have {have}); record them with "
                f"cameras=[{','.join(frames.cameras)}]"
            )
        array = stack.arrays[camera]
        if array.shape[1:] != (frames.size, frames.size, 3):
            raise WrongShape(f"pictures of {camera!r}", array.shape[1:], f"({frames.size}, {frames.size}, 3)")
        found[camera] = array
    return found


def _check_counts(arrays: dict[str, np.ndarray], count: int) -> None:
    """Raises WrongShape unless there is one picture of each camera for each state."""
    for camera, array in arrays.items():
        if len(array) != count:
            raise WrongShape(f"pictures of {camera!r}", array.shape, f"({count}, h, w, 3), one for each state")
