"""The built-in tasks, by id; each is imported when it is made."""

from __future__ import annotations

import importlib
import threading
from functools import cache, partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robo_reward.envs.task import Task

ARM_TASKS = {
    name: f"robo_reward.envs.arm.tasks.{name}:{name.capitalize()}"
    for name in ("reach", "lift", "pick", "push", "stack", "drawer", "door")
}
"""Tasks for an arm with a gripper: name to class."""
MODE_TASKS = {name: f"robo_reward.envs.arm.tasks.{name}:{name.capitalize()}" for name in ("cup", "bag", "fork")}
"""Tasks for an arm with a gripper that can be solved in several ways, of which people prefer one."""
PUSHER_TASKS = {name: f"robo_reward.envs.arm.tasks.{name}:{name.capitalize()}" for name in ("group", "clutter")}
"""Tasks for a board at the flange: the benchmark of rewards computed from camera images."""
ARMS = {"panda": ARM_TASKS | MODE_TASKS | PUSHER_TASKS, "fr3": ARM_TASKS | MODE_TASKS, "ur5e": PUSHER_TASKS}
"""The tasks of each arm."""
MAGICAL_TASKS = {
    "robo_reward.envs.magical.sweep:Sweep": ("sweep-short", "sweep-medium", "sweep-long"),
    "robo_reward.envs.magical.group:PlanarGroup": ("group-short", "group-medium", "group-long"),
    # not `long`: that stick spans three quarters of the arena and cannot pass the disc
    "robo_reward.envs.magical.avoid:Avoid": ("avoid-short", "avoid-medium"),
}
"""The tasks of X-MAGICAL: class to names, one per stick that can solve the task."""
OTHER_TASKS = {"d3il/avoid": "robo_reward.envs.d3il.avoid:AvoidObstacles"}
"""Tasks of other benchmarks that exist in one form: id to class."""

_registering = threading.Lock()


@cache
def list_builtin_tasks() -> dict[str, tuple[str, str]]:
    """Returns the class of every built-in task as `module:Class`, and its first argument or none, by id."""
    found = {f"{arm}/{name}": (entry, arm) for arm, kinds in ARMS.items() for name, entry in kinds.items()}
    for entry, names in MAGICAL_TASKS.items():
        found |= {f"magical/{name}": (entry, name.rpartition("-")[2]) for name in names}
    return found | {id: (entry, "") for id, entry in OTHER_TASKS.items()}


def load_task_class(entry: str) -> type[Task]:
    """Returns the class that `module:Class` names."""
    module, _, name = entry.partition(":")
    return getattr(importlib.import_module(module), name)


def register_builtin_tasks() -> None:
    """Registers every built-in task that is not registered yet."""
    from robo_reward.envs.task import tasks

    with _registering:
        for id, (entry, argument) in list_builtin_tasks().items():
            if not tasks.has_factory(id):
                tasks.register(id, partial(_build_task, entry, argument))


def _build_task(entry: str, argument: str, **options: Any) -> Task:
    factory: Any = load_task_class(entry)
    return factory(argument, **options) if argument else factory(**options)
