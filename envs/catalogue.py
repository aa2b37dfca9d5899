"""The built-in tasks, by id."""

from __future__ import annotations

from functools import cache, partial

from robo_reward.envs.arm.tasks.clutter import Clutter
from robo_reward.envs.arm.tasks.door import Door
from robo_reward.envs.arm.tasks.drawer import Drawer
from robo_reward.envs.arm.tasks.group import Group
from robo_reward.envs.arm.tasks.lift import Lift
from robo_reward.envs.arm.tasks.pick import Pick
from robo_reward.envs.arm.tasks.push import Push
from robo_reward.envs.arm.tasks.reach import Reach
from robo_reward.envs.arm.tasks.stack import Stack
from robo_reward.envs.magical.avoid import Avoid
from robo_reward.envs.magical.group import PlanarGroup as MagicalGroup
from robo_reward.envs.magical.sweep import Sweep
from robo_reward.envs.task import tasks

ARM_TASKS = (Reach, Lift, Pick, Push, Stack, Drawer, Door)
"""What a hand can do."""
PUSHER_TASKS = (Group, Clutter)
"""What a board at the flange can do: the benchmark of rewards that look."""
ARMS = {"panda": (*ARM_TASKS, *PUSHER_TASKS), "fr3": ARM_TASKS, "ur5e": PUSHER_TASKS}
"""The tasks of each arm."""
MAGICAL_TASKS = {
    Sweep: ("short", "medium", "long"),
    MagicalGroup: ("short", "medium", "long"),
    Avoid: ("short", "medium"),  # the long stick is three quarters of the arena: it cannot get round the disc
}
"""The tasks of X-MAGICAL and who can do them."""
OPTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(ARMS, ("assets", "control", "dynamics", "ranges")),
    "magical": (),
}
"""What the tasks of each family take."""


@cache
def register_builtin_tasks() -> None:
    """Registers every built-in task once."""
    for arm, kinds in ARMS.items():
        for kind in kinds:
            tasks.register(f"{arm}/{kind.name}", partial(kind, arm))
    for kind, sticks in MAGICAL_TASKS.items():
        for stick in sticks:
            tasks.register(f"magical/{kind.name}-{stick}", partial(kind, stick))
