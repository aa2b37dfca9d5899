"""The inputs of a LeRobot policy as state fields and cameras of a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from robo_reward.data.lerobot.writer import name_components
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.state import StateSpec
from robo_reward.envs.task import ActionSpec, Observable, ObservationSpec, Task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.files import convert_json
from robo_reward.policies.lerobot.checkpoint import Checkpoint, TrainingData
from robo_reward.policies.lerobot.child import ENVIRONMENT, PICTURES, STATE
from robo_reward.policies.policy import PolicyMismatch


@dataclass(frozen=True)
class InputMapping:
    """The inputs of a LeRobot policy as parts of a task.

    Args:
        state: state fields of `observation.state`, in order.
        environment: state fields of `observation.environment_state`.
        cameras: NAME of `observation.images.NAME` -> camera of the task.
    """

    state: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    cameras: dict[str, str] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        checkpoint: Checkpoint,
        task: Task,
        state: tuple[str, ...],
        environment: tuple[str, ...],
        cameras: Mapping[str, str] | None,
        rate_hz: float,
    ) -> InputMapping:
        """Returns the mapping of a checkpoint's inputs, checked against the task.

        Args:
            checkpoint: the policy.
            task: the task.
            state: fields of `observation.state`; empty: those that the data set names, or all fields if they fit.
            environment: fields of `observation.environment_state`.
            cameras: None: the cameras that have the names of the pictures.
            rate_hz: how often the policy acts [Hz]; 0: as its data set says.

        Raises:
            UsageError: naming the inputs that differ.
            UnknownName: no such state field or camera.
            PolicyMismatch: actions of another size or rate.
        """
        data = checkpoint.find_training_data()
        _require_same_actions(checkpoint, task, rate_hz, data)
        state = state or _find_state(checkpoint, task, data)
        for key, name, names, size in (
            ("state", STATE, state, checkpoint.state),
            ("environment", ENVIRONMENT, environment, checkpoint.environment),
        ):
            _require_size(key, name, names, size, task.spec)
        if data is not None:
            _require_same_names(state, task.spec, data)
        chosen = {name: name for name in checkpoint.pictures} if cameras is None else dict(cameras)
        _require_cameras(checkpoint, chosen, task)
        return cls(state, environment, {name: chosen[name] for name in checkpoint.pictures})

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON value from which `from_json` rebuilds the same mapping."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> InputMapping:
        """Rebuilds a mapping from the value of `to_json`."""
        return convert_json(value, cls, "mapping")

    def make_observation(self, spec: StateSpec) -> ObservationSpec:
        """Returns the state part of the observation: the fields in their units, unscaled."""
        fields = (*self.state, *self.environment)
        return ObservationSpec(StateSpec([spec[name] for name in dict.fromkeys(fields)]), map(Observable, fields))

    def make_frames(self, checkpoint: Checkpoint) -> FrameSpec | None:
        """Returns the cameras, and the size of their pictures; None for a policy that does not look."""
        if not self.cameras:
            return None
        (size, _), *_ = checkpoint.pictures.values()
        return FrameSpec(tuple(dict.fromkeys(self.cameras.values())), size)


def require_same_task(action: ActionSpec, observation: ObservationSpec, mapping: InputMapping, task: Task) -> None:
    """Checks that a task has the actions, state fields and cameras of the task that a policy was imported for.

    Raises:
        PolicyMismatch: naming what differs.
    """
    if action != task.action:
        raise PolicyMismatch(f"the policy commands {action}, but {task.id} expects {task.action}")
    for part in observation.parts:
        wanted = observation.state[part.field]
        found = task.spec[part.field] if part.field in task.spec.names else None
        if found is None or found.shape != wanted.shape:
            shown = "has none" if found is None else f"has one of shape {found.shape}"
            raise PolicyMismatch(f"the policy sees {part.field!r} of shape {wanted.shape}, but {task.id} {shown}")
    if missing := [camera for camera in mapping.cameras.values() if camera not in task.cameras]:
        raise PolicyMismatch(
            f"the policy looks through {', '.join(missing)}, but {task.id} has {', '.join(task.cameras)}"
        )


def _require_same_actions(checkpoint: Checkpoint, task: Task, rate_hz: float, data: TrainingData | None) -> None:
    """Checks size and rate of the actions."""
    if checkpoint.action != task.action.dim:
        raise PolicyMismatch(
            f"the LeRobot policy at {checkpoint.folder} commands {checkpoint.action} numbers, but {task.id} expects "
            f"{task.action.dim}: {', '.join(task.action.names)}. Give the task and the control it was trained on"
        )
    rate, source = (rate_hz, "rate=") if rate_hz else (data.rate_hz, str(data.folder)) if data else (0.0, "")
    if rate and abs(rate - task.action.rate_hz) > 0.02 * task.action.rate_hz:
        raise PolicyMismatch(
            f"the LeRobot policy at {checkpoint.folder} acts at {rate:g} Hz ({source}), but {task.id} at "
            f"{task.action.rate_hz:g} Hz. Give the task and the control it was trained on"
        )


def _find_state(checkpoint: Checkpoint, task: Task, data: TrainingData | None) -> tuple[str, ...]:
    """Returns the default state fields of `observation.state`: those that the data set names, or all."""
    if not checkpoint.state:
        return ()
    if data is not None and (found := _find_fields(data.state, task.spec)):
        return found
    if checkpoint.state == task.spec.dim:
        return task.spec.names
    raise UsageError(
        f"the LeRobot policy at {checkpoint.folder} sees {checkpoint.state} numbers of {STATE}. Give state=[FIELD,...] "
        f"with as many: {_list_fields(task.spec)}"
    )


def _find_fields(names: tuple[str, ...], spec: StateSpec) -> tuple[str, ...]:
    """Returns the state fields whose components have exactly these names, as our exports name them; else none."""
    fields = tuple(dict.fromkeys(name.partition(".")[0] for name in names))
    if any(name not in spec.names for name in fields):
        return ()
    return fields if name_components(StateSpec([spec[name] for name in fields])) == list(names) else ()


def _require_size(key: str, name: str, fields: tuple[str, ...], size: int, spec: StateSpec) -> None:
    """Checks that state fields exist and have together the size of an input."""
    for field_name in fields:
        if field_name not in spec.names:
            raise UnknownName("state field", field_name, spec.names)
    if len(set(fields)) < len(fields):
        raise UsageError(f"{key}=[{','.join(fields)}]: a field is named twice")
    given = sum(spec[field_name].size for field_name in fields)
    if given != size:
        wanted = f"has {size} numbers of {name}" if size else f"does not see {name}"
        raise UsageError(
            f"{key}=[{','.join(fields)}] has {given} numbers, but the policy {wanted}. Fields: {_list_fields(spec)}"
        )


def _require_same_names(state: tuple[str, ...], spec: StateSpec, data: TrainingData) -> None:
    """Checks the chosen state fields against those that a data set of ours names."""
    trained = tuple(dict.fromkeys(name.partition(".")[0] for name in data.state))
    if trained and all(name in spec.names for name in trained) and trained != state:
        raise UsageError(
            f"state=[{','.join(state)}], but the policy was trained on [{','.join(trained)}] ({data.folder})"
        )


def _require_cameras(checkpoint: Checkpoint, cameras: dict[str, str], task: Task) -> None:
    """Checks that each picture has a camera of the task and the size that robo-reward can render."""
    if odd := sorted(cameras.keys() ^ checkpoint.pictures.keys()):
        names = ", ".join(PICTURES + name for name in checkpoint.pictures) or "no pictures"
        raise UsageError(
            f"cameras= and the inputs of the policy differ in {', '.join(odd)}: it sees {names}. Give "
            f"cameras={{{', '.join(f'{name}: CAMERA' for name in checkpoint.pictures)}}}"
        )
    for name, camera in cameras.items():
        if camera not in task.cameras:
            remedy = f"Give cameras={{{name}: CAMERA}} for {PICTURES}{name}"
            raise UnknownName("camera", camera, task.cameras, remedy)
    sizes = set(checkpoint.pictures.values())
    if any(height != width for height, width in sizes) or len(sizes) > 1:
        shown = ", ".join(f"{name} {width} x {height}" for name, (height, width) in checkpoint.pictures.items())
        raise UsageError(f"pictures here are square and of one size, but the policy sees {shown} pixels")


def _list_fields(spec: StateSpec) -> str:
    return ", ".join(f"{name} ({spec[name].size})" for name in spec.names)
