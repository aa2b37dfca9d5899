"""Policy of `benchmarks.faults`: a periodic motion without a network. Loaded in the policy's process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._fault_list import SHAPE_FILE
from robo_reward.envs.task import make_task


class Wave:
    """Moves the hand back and forth along y; the gripper opens in one direction and closes in the other.

    Args:
        task_id: whose convention.
        speed: share of a full step.
        gripper: gripper action while closing: +1 stays open, -1 closes.
        shape: while this file exists, actions have the size written in it.
    """

    def __init__(self, task_id: str, speed: float, gripper: float, shape: Path) -> None:
        task = make_task(task_id)
        self.action, self.observation, self.meta = task.action, task.observation, {"task": task_id}
        self._speed, self._gripper, self._step, self._shape = speed, gripper, 0, shape

    def reset(self) -> None:
        """Begins a new episode."""
        self._step = 0

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Returns an action: eight steps to the left, then eight to the right."""
        action = np.zeros((len(observation), self.action.dim))
        back = self._step // 8 % 2
        action[:, 1] = -self._speed if back else self._speed
        action[:, -1] = 1.0 if back else self._gripper
        self._step += 1
        return np.resize(action, (len(action), int(self._shape.read_text()))) if self._shape.exists() else action


def load(text: str) -> Any:
    """Returns a policy from `TASK SPEED GRIPPER FOLDER`."""
    task_id, speed, gripper, folder = text.split(maxsplit=3)
    return Wave(task_id, float(speed), float(gripper), Path(folder) / SHAPE_FILE)
