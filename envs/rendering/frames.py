"""Camera frames of many worlds for rewards and policies, drawn only on request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from robo_reward.envs.rendering.render import Renderer
from robo_reward.envs.task import Task
from robo_reward.errors import UnknownName, UsageError


@dataclass(frozen=True)
class FrameSpec:
    """Square frames from one or more cameras, side by side.

    Args:
        cameras: of the task; the frames of several are put side by side, in this order.
        size: side of one camera's frame [pixels].
    """

    cameras: tuple[str, ...] = ("front",)
    size: int = 112

    def __post_init__(self) -> None:
        object.__setattr__(self, "cameras", tuple(self.cameras))
        if not self.cameras:
            raise UsageError("a frame needs at least one camera")
        if self.size < 8:
            raise UsageError(f"frames of {self.size} pixels are too small to show anything; give 8 or more")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3) of a frame."""
        return self.size, self.size * len(self.cameras), 3

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON value from which `from_json` rebuilds the same spec."""
        return {"cameras": list(self.cameras), "size": self.size}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> FrameSpec:
        """Rebuilds a spec from the value of `to_json`."""
        return cls(tuple(value["cameras"]), value["size"])


class FrameRenderer:
    """Draws configurations of a task as a `FrameSpec` says. Use it in a `with` statement.

    Args:
        task: its scene is drawn.
        spec: the cameras and the size.

    Raises:
        UnknownName: the task has no such camera.
        NoRenderer: this machine cannot render; the message says what to install.
    """

    def __init__(self, task: Task, spec: FrameSpec) -> None:
        for camera in spec.cameras:
            if camera not in task.cameras:
                raise UnknownName("camera", camera, task.cameras)
        self.spec = spec
        self._renderers = [Renderer(task.model, spec.size, spec.size, camera) for camera in spec.cameras]

    def __call__(self, qpos: np.ndarray, mocap: np.ndarray) -> np.ndarray:
        """Frames (N, H, W, 3) uint8 of configurations `qpos` (N, nq) and `mocap` (N, 7 nmocap)."""
        return np.concatenate([renderer.render_many(qpos, mocap) for renderer in self._renderers], axis=2)

    def close(self) -> None:
        """Frees the GL contexts."""
        for renderer in self._renderers:
            renderer.close()

    def __enter__(self) -> FrameRenderer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
