"""The built-in tasks, by id."""

from __future__ import annotations

from functools import cache, partial

from robo_reward.envs.panda.door import Door
from robo_reward.envs.panda.drawer import Drawer
from robo_reward.envs.panda.lift import Lift
from robo_reward.envs.panda.pick import Pick
from robo_reward.envs.panda.push import Push
from robo_reward.envs.panda.reach import Reach
from robo_reward.envs.panda.stack import Stack
from robo_reward.envs.task import tasks

ARM_TASKS = (Reach, Lift, Pick, Push, Stack, Drawer, Door)
ARMS = ("panda", "fr3")
OPTIONS = ("assets", "control")
"""What the tasks of the arms take."""


@cache
def load() -> None:
    """Registers every built-in task once, for both arms."""
    for arm in ARMS:
        for task in ARM_TASKS:
            tasks.register(f"{arm}/{task.name}", partial(task, arm))
