"""Policies for tests, loaded by name in the policy's process."""

import os
import time
from typing import Any

import numpy as np

from robo_reward.envs.task import make_task

ODD: dict[str, Any] = {
    "inf": np.full((1, 4), -np.inf),
    "one": np.zeros((1, 1)),
    "three": np.zeros((1, 3)),
    "seven": np.full((1, 7), 0.7),
    "text": "forward",
    "words": np.array([["up", "down", "left", "right"]]),
    "none": None,
    "complex": np.zeros((1, 4), complex),
    "ragged": [[1.0], [1.0, 2.0]],
    "empty": np.zeros((1, 0, 4)),
    "deep": np.zeros((1, 2, 3, 4)),
    "chunk of seven": np.zeros((1, 3, 7)),
    "nothing": np.zeros((0, 4)),
}
"""Answers that are no actions of four components."""


class Scripted:
    """Says its actions in turn; `text` is `TASK KIND`."""

    def __init__(self, text: str) -> None:
        task_id, _, self.kind = text.partition(" ")
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
        elif self.kind in ODD and self.step > 5:
            return ODD[self.kind]
        elif self.kind == "wild":
            return action * np.nan_to_num(np.inf)
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
