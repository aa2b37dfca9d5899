"""Policies for `benchmarks.faults`: no network, only a motion that goes on and on. Loaded in the policy's process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._fault_list import SHAPE_FILE
from robo_reward.envs.task import make_task


class Wave:
    """Swings the hand to and fro; the gripper opens on the way there and closes on the way back.

    Args:
        task_id: whose convention.
        speed: share of a full step.
        gripper: what the fingers close to: +1 stays open, -1 shuts.
        shape: while this file is there, actions have as many numbers as it says.
    """

    def __init__(self, task_id: str, speed: float, gripper: float, shape: Path) -> None:
        task = make_task(task_id)
        self.action, self.observation, self.meta = task.action, task.observation, {"task": task_id}
        self._speed, self._gripper, self._step, self._shape = speed, gripper, 0, shape

    def reset(self) -> None:
        """A new episode."""
        self._step = 0

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Eight steps to the left, eight to the right."""
        action = np.zeros((len(observation), self.action.dim))
        back = self._step // 8 % 2
        action[:, 1] = -self._speed if back else self._speed
        action[:, -1] = 1.0 if back else self._gripper
        self._step += 1
        return np.resize(action, (len(action), int(self._shape.read_text()))) if self._shape.exists() else action


def load(text: str) -> Any:
    """A policy from `TASK SPEED GRIPPER FOLDER`."""
    task_id, speed, gripper, folder = text.split(maxsplit=3)
    return Wave(task_id, float(speed), float(gripper), Path(folder) / SHAPE_FILE)
