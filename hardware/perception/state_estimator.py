"""Estimates the state that a policy observes from the arm's kinematics and the objects' source."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from robo_reward.envs.arm.base import ArmTask
from robo_reward.envs.arm.kinematics import compute_forward_kinematics, compute_jacobian
from robo_reward.envs.state import State
from robo_reward.envs.task import ObservationSpec
from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.hardware.arm import ArmState
from robo_reward.policies.rollout.history import list_seen_fields, observe_state

ARM_FIELDS = ("hand_position", "hand_velocity", "gripper_opening", "joint_position")
"""State fields that are computed from the arm's own measurements."""


class ObjectSource(Protocol):
    """Source of the state of the objects on the table: a tracker, or an emulator that knows it.

    Attributes:
        fields: the state fields it provides; empty for one that tracks nothing.
    """

    fields: tuple[str, ...]

    def read(self) -> Mapping[str, np.ndarray]:
        """Returns the newest value of each of its fields, in the robot's base frame.

        Raises:
            ObjectsLost: the fields are not known at the moment.
        """
        ...

    def close(self) -> None:
        """Releases its resources; closing twice is harmless."""
        ...


class ObjectsLost(RoboRewardError):
    """Raised when the source of the objects' state does not deliver; the arm holds until it does."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"the object poses are unknown: {cause}. Look at the tracker or its camera")


class NoObjects:
    """Tracks no objects: for policies that use cameras, or that need the arm's state alone."""

    fields: tuple[str, ...] = ()

    def read(self) -> Mapping[str, np.ndarray]:
        return {}

    def close(self) -> None:
        pass


def load_object_source(name: str, *arguments: Any) -> ObjectSource:
    """Creates a user's object source: `package.module:function`, called with the task and the robot's host.

    Raises:
        UsageError: nothing of that name can be imported.
    """
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)(*arguments)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"objects={name!r} cannot be imported ({error}); expected MODULE:FUNCTION that returns an ObjectSource, "
            "with the module's folder on PYTHONPATH"
        ) from error


class Observer:
    """Estimates states of a task from measurements, with the same meaning as in simulation.

    Position and velocity of the hand come from the joints by the kinematics that the simulated scene is made of;
    fields that no source provides are zero and listed in `unknown`.

    Args:
        task: a task of an arm.
        objects: provides the rest of the state.

    Raises:
        UnknownName: the source provides a field that the task does not have.
    """

    def __init__(self, task: ArmTask, objects: ObjectSource) -> None:
        self.task, self.objects = task, objects
        self._rates = np.zeros(task.spec.dim, bool)
        for field in task.spec:
            self._rates[task.spec.slice(field.name)] = field.unit.endswith("/s")
        for name in objects.fields:
            task.spec.slice(name)
        given = {*ARM_FIELDS, *objects.fields}
        self.unknown = tuple(name for name in task.spec.names if name not in given)

    def require_fields(self, observation: ObservationSpec) -> None:
        """Raises an error for a policy that observes fields which no source provides.

        Raises:
            UsageError: naming the fields.
        """
        seen = list_seen_fields(observation)
        blind = [name for name in self.unknown if name in seen]
        if blind:
            raise UsageError(
                f"the policy sees {', '.join(blind)}, which no source gives on this robot: give "
                "objects=MODULE:FUNCTION (a tracker), or a policy that sees only the arm and the cameras"
            )

    def estimate_state(self, arm: ArmState) -> State:
        """Returns the task's state (D,) at a measurement.

        Raises:
            ObjectsLost: the objects' source does not deliver, or numbers that are not finite.
        """
        objects = self.objects.read()
        for name, value in objects.items():
            if not np.isfinite(value).all():
                raise ObjectsLost(f"{name} is not finite")
        values = {**compute_arm_fields(self.task, arm), **objects}
        zero = {name: np.zeros(self.task.spec[name].shape) for name in self.unknown}
        named = {name: {**zero, **values}[name] for name in self.task.spec.names}
        return self.task.spec.pack(named)

    def compute_observation(
        self, state: State, tempo: float = 1.0, observation: ObservationSpec | None = None
    ) -> np.ndarray:
        """Computes the policy's observation (O,), with velocities in the policy's time.

        Args:
            state: (D,).
            tempo: rate at which the policy's time passes, relative to real time.
            observation: the policy's own view of the state; the task's if not given.
        """
        # Rates per second of real time become rates per second of the policy's time.
        scaled = State(state.spec, np.where(self._rates, state.array / tempo, state.array))
        return observe_state(observation or self.task.observation, scaled)


def compute_arm_fields(task: ArmTask, arm: ArmState) -> dict[str, np.ndarray]:
    """Computes the arm's own fields of a task's state."""
    pose = compute_forward_kinematics(task.arm, arm.q[None])
    # Linear velocity of the tool centre point, J_v dq [m/s].
    velocity = compute_jacobian(pose)[0, :3] @ arm.dq
    values: dict[str, Any] = {
        "hand_position": pose.position[:, 0],
        "hand_velocity": velocity,
        "gripper_opening": np.array(arm.gripper_width),
        "joint_position": arm.q,
    }
    return {name: value for name, value in values.items() if name in task.spec}
