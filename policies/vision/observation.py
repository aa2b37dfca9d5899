"""The observation of a policy: state fields and cameras, chosen by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.state import Field, StateSpec
from robo_reward.envs.task import Observable, ObservationSpec, Task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.policies.policy import PolicyMismatch

SIZE = 96
"""Side of the pictures of a policy [pixels], unless another is given."""
SMALLEST_SIZE, LARGEST_SIZE = 48, 256


def choose_observation(task: Task, names: Sequence[str], size: int = SIZE) -> tuple[ObservationSpec, FrameSpec | None]:
    """Returns the state part of an observation, which reads no other fields than the chosen ones, and the pictures.

    A field is scaled as the task's own observation scales it, or by its typical range where that lacks it. Differences
    of two fields are part of the observation where both are chosen.

    Args:
        task: the task.
        names: of state fields and cameras in any order; empty: the task's own observation.
        size: side of the pictures [pixels].

    Raises:
        UnknownName: neither a field of the task's state nor one of its cameras.
        UsageError: a name occurs twice, or pictures of a size that is not supported.
    """
    if isinstance(names, str):
        names = [names]
    if not names:
        return task.observation, None
    for position, name in enumerate(names):
        if name not in task.cameras and name not in task.spec:
            raise UnknownName(
                f"observation of {task.id}", name, (*task.cameras, *task.spec.names), "Give cameras and state fields."
            )
        if name in names[:position]:
            raise UsageError(f"observation={list(names)} names {name!r} twice")
    cameras = tuple(name for name in names if name in task.cameras)
    fields = [name for name in names if name not in task.cameras]
    if cameras and not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        raise UsageError(
            f"pictures of {size} pixels for a policy: expected {SMALLEST_SIZE} to {LARGEST_SIZE}, such as {SIZE}"
        )
    state = StateSpec([field for field in task.spec if field.name in fields])
    return ObservationSpec(state, _choose_parts(task, fields)), FrameSpec(cameras, size) if cameras else None


def _choose_parts(task: Task, fields: Sequence[str]) -> list[Observable]:
    """Returns the blocks of the task's observation that read chosen fields alone, and those that it lacks."""
    own = [p for p in task.observation.parts if p.field in fields and (not p.minus or p.minus in fields)]
    shown = {part.field for part in own}
    return [*own, *(_scale_field(field) for field in task.spec if field.name in fields and field.name not in shown)]


def _scale_field(field: Field) -> Observable:
    """Returns a block in which the typical range of a field is [-1, 1]."""
    low, high = field.typical
    if field.unit == "quaternion" or not low < high:
        return Observable(field.name)
    centre = (low + high) / 2
    return Observable(field.name, (high - low) / 2, centre=(centre,) * field.size if centre else ())


def require_fitting_task(policy: Any, task: Task) -> None:
    """Checks that a task has the action convention, the state fields and the cameras of a policy that chose its own.

    Args:
        policy: with `observation`, `action` and `frames`.
        task: to run it in.

    Raises:
        PolicyMismatch: naming what differs.
    """
    if policy.action != task.action:
        raise PolicyMismatch(f"the policy commands {policy.action}, but {task.id} expects {task.action}")
    for field in policy.observation.state:
        if field.name not in task.spec:
            raise PolicyMismatch(f"the policy sees {field.name!r}, which is no field of the state of {task.id}")
        if (field.shape, field.unit) != (task.spec[field.name].shape, task.spec[field.name].unit):
            own = task.spec[field.name]
            raise PolicyMismatch(
                f"the policy sees {field.name!r} of shape {field.shape} in {field.unit}; that of {task.id} has shape "
                f"{own.shape} in {own.unit}"
            )
    for camera in policy.frames.cameras if policy.frames else ():
        if camera not in task.cameras:
            raise PolicyMismatch(
                f"the policy looks through {camera!r}, which {task.id} does not have; its cameras are "
                f"{', '.join(task.cameras)}"
            )
