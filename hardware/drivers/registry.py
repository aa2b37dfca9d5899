"""Registry of arm drivers: the names that `robot=` accepts, built in or added by entry points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from robo_reward.envs.arm.base import ArmTask
from robo_reward.envs.task import Task, make_task, task_names
from robo_reward.errors import UnknownName, UsageError
from robo_reward.hardware.arm import ArmDriver
from robo_reward.hardware.drivers.franka.compliance import Compliance
from robo_reward.hardware.drivers.isolated import ArmProcess
from robo_reward.registry import Registry

arms: Registry[ArmDriver] = Registry("robot", "robo_reward.robots")
"""Maps the name of an arm to its factory, `(host, **options) -> ArmDriver`."""


def _make_fr3(host: str, **options: Any) -> ArmDriver:
    from robo_reward.hardware.drivers.franka.fr3 import FrankyArm

    return FrankyArm(host, **_parse_compliance(options))


def _make_panda(host: str, **options: Any) -> ArmDriver:
    from robo_reward.hardware.drivers.franka.panda import PandaArm

    return PandaArm(host, **_parse_compliance(options))


def _parse_compliance(options: Mapping[str, Any]) -> dict[str, Any]:
    given = dict(options)
    numbers: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in (given.pop("compliance", None) or {}).items()
    }
    known = tuple(field.name for field in fields(Compliance))
    for name in numbers:
        if name not in known:
            raise UnknownName("key of robot.compliance", name, known)
    return {**given, "compliance": Compliance(**numbers)}


arms.register("fr3", _make_fr3)
arms.register("panda", _make_panda)


def driver_options(robot: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of `robot=` that are options of the arm's driver, without those of the deployment."""
    return {name: value for name, value in robot.items() if name not in ("kind", "host", "process", "tempo")}


def make_arm(kind: str, host: str, options: Mapping[str, Any], process: bool = True) -> ArmDriver:
    """Creates an arm's driver, not yet connected.

    Args:
        kind: one of `arms.list_names()`.
        host: its address.
        options: of its driver.
        process: keep its library in a control process of its own, with a heartbeat.

    Raises:
        UnknownName: no such arm.
    """
    if not process:
        return arms.create(kind, host, **options)
    if kind not in arms.list_names():
        arms.create(kind)  # raises an error that lists the known names
    return ArmProcess(_create_in_child, {"kind": kind, "host": host, "options": dict(options)}, kind)


def _create_in_child(kind: str, host: str, options: Mapping[str, Any]) -> ArmDriver:
    """Creates the arm's driver in the control process."""
    return arms.create(kind, host, **options)


def resolve_task(robot: str, task_id: str, options: Mapping[str, Any], trained_on: str) -> ArmTask:
    """Returns the task whose conventions (limits, actions, observations) hold on a robot.

    Args:
        robot: `mujoco`, `fr3`, `panda` or another of `arms`.
        task_id: what the user chose, or "" for the task that the policy was trained on, with this robot's arm.
        options: of the task.
        trained_on: the policy's task.

    Raises:
        UsageError: no task, one of another arm, or one that is no task of an arm.
    """
    name = task_id or trained_on
    if not name:
        raise UsageError("the policy does not record the task it was trained on; give task=, such as task=fr3/lift")
    arm, _, what = name.partition("/")
    if not task_id and robot in ("fr3", "panda") and arm != robot and f"{robot}/{what}" in task_names():
        name = f"{robot}/{what}"
    # The file of a scene is not known here, and no scene is a task of an arm.
    task: Task | None = None if arm == "scene" else make_task(name, **options)
    if not isinstance(task, ArmTask) or task.arm.joint_count != 7:
        raise UsageError(f"{name} is not a task of a Franka arm; choose one of panda/… or fr3/…")
    if robot in ("fr3", "panda") and task.arm.name != robot:
        raise UsageError(
            f"task {name} is for the {task.arm.name}, not for robot={robot}: joint limits differ (joint 6!)"
        )
    return task
