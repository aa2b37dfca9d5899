"""Policies for tests, loaded by name in the policy's process."""

import os
import time
from typing import Any

import numpy as np

from robo_reward.envs.task import make_task


class Scripted:
    """Says its actions in turn; `text` is `TASK KIND`."""

    def __init__(self, text: str) -> None:
        task_id, self.kind = text.split()
        task = make_task(task_id)
        self.action, self.observation, self.meta = task.action, task.observation, {"task": task_id}
        self.step, self.resets = 0, 0

    def reset(self) -> None:
        self.step, self.resets = 0, self.resets + 1

    def act(self, observation: np.ndarray) -> np.ndarray:
        self.step += 1
        action = np.zeros((1, self.action.dim))
        action[0, 1] = 0.5 if self.step // 6 % 2 == 0 else -0.5
        action[0, -1] = 1.0
        if self.kind == "nan" and self.step > 5:
            action[0, 0] = np.nan
        elif self.kind == "chunk":
            return np.repeat(action[:, None], 4, axis=1)
        elif self.kind == "raises" and self.step > 5:
            raise ZeroDivisionError("a bug in the policy")
        elif self.kind == "dies" and self.step > 5:
            os._exit(3)
        elif self.kind == "stalls" and self.step > 5:
            time.sleep(60)
        return action


def load(text: str) -> Any:
    if text == "broken":
        raise ValueError("there is nothing here")
    return Scripted(text)
