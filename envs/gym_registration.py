"""Registers all tasks with gymnasium, by name only: no task is imported before one is made."""

from __future__ import annotations

import re
from importlib.metadata import entry_points

from gymnasium.envs.registration import register, registry

from robo_reward.envs.catalogue import list_builtin_tasks

GROUP = "robo_reward.tasks"


def register_tasks() -> None:
    """Registers `RoboReward/PandaPush-v0` for `panda/push`, and so on, single and vectorised, plug-ins included."""
    for task in (*list_builtin_tasks(), *sorted(point.name for point in entry_points(group=GROUP))):
        id = gymnasium_id(task)
        if id not in registry:
            register(
                id,
                entry_point="robo_reward.envs.gym:TaskEnv",
                vector_entry_point="robo_reward.envs.gym:TaskVectorEnv",
                kwargs={"task": task},
            )


def gymnasium_id(task: str) -> str:
    """Returns the id under which gymnasium knows a task: `RoboReward/MagicalSweepLong-v0` for `magical/sweep-long`."""
    return f"RoboReward/{''.join(word[:1].upper() + word[1:] for word in re.split('[^A-Za-z0-9]+', task))}-v0"
