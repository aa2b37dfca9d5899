"""The built-in tasks, by id."""

from __future__ import annotations

from functools import cache, partial

from robo_reward.envs.panda.clutter import Clutter
from robo_reward.envs.panda.door import Door
from robo_reward.envs.panda.drawer import Drawer
from robo_reward.envs.panda.group import Group
from robo_reward.envs.panda.lift import Lift
from robo_reward.envs.panda.pick import Pick
from robo_reward.envs.panda.push import Push
from robo_reward.envs.panda.reach import Reach
from robo_reward.envs.panda.stack import Stack
from robo_reward.envs.task import tasks

ARM_TASKS = (Reach, Lift, Pick, Push, Stack, Drawer, Door)
"""What a hand can do."""
PUSHER_TASKS = (Group, Clutter)
"""What a board at the flange can do: the benchmark of rewards that look."""
ARMS = {"panda": (*ARM_TASKS, *PUSHER_TASKS), "fr3": ARM_TASKS, "ur5e": PUSHER_TASKS}
"""The tasks of each arm."""
OPTIONS = ("assets", "control")
"""What the tasks of the arms take."""


@cache
def load() -> None:
    """Registers every built-in task once."""
    for arm, kinds in ARMS.items():
        for kind in kinds:
            tasks.register(f"{arm}/{kind.name}", partial(kind, arm))
