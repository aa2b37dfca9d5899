"""Policies for `benchmarks.faults`: no network, only a motion that goes on and on. Loaded in the policy's process."""

from __future__ import annotations

from typing import Any

import numpy as np

from robo_reward.envs.task import make_task


class Wave:
    """Swings the hand to and fro; the gripper opens on the way there and closes on the way back.

    Args:
        task_id: whose convention.
        speed: share of a full step.
        gripper: what the fingers close to: +1 stays open, -1 shuts.
    """

    def __init__(self, task_id: str, speed: float, gripper: float) -> None:
        task = make_task(task_id)
        self.action, self.observation, self.meta = task.action, task.observation, {"task": task_id}
        self._speed, self._gripper, self._step = speed, gripper, 0

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
        return action


def load(text: str) -> Any:
    """A policy from `TASK SPEED GRIPPER`."""
    task_id, speed, gripper = text.split()
    return Wave(task_id, float(speed), float(gripper))
