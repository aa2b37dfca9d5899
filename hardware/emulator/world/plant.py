"""The interface of a plant, which the emulator steps once per millisecond, and the simplest implementation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from robo_reward.envs.arm.model import ArmModel
from robo_reward.errors import UsageError, WrongShape

DT = 1e-3
"""Duration of a simulation step [s]."""


@dataclass(frozen=True)
class GripperCommand:
    """A gripper command; None in `Plant.step` continues the last one.

    Args:
        width: opening between the fingers [m].
        speed: speed of the opening [m/s].
        force: None to move, else the force to grasp with [N].
    """

    width: float
    speed: float
    force: float | None = None


@dataclass(frozen=True)
class PlantState:
    """The sensor readings after a step.

    Args:
        time: simulated time [s].
        q: joint positions (7,) [rad].
        dq: joint velocities (7,) [rad/s].
        tau_J: link-side torques, gravity included (7,) [N m].
        tau_ext: joint torques of contacts (7,) [N m].
        wrench: external force and torque on the end effector in the base frame (6,) [N, N m].
        gripper_width: opening between the fingers [m].
        gripper_max_width: the widest opening [m].
        gripper_moving: whether the fingers move.
        gripper_force: between the fingers [N].
        contact: whether any link except the finger pads touches the table, a fixture or another link.
    """

    time: float
    q: np.ndarray
    dq: np.ndarray
    tau_J: np.ndarray
    tau_ext: np.ndarray
    wrench: np.ndarray
    gripper_width: float
    gripper_max_width: float
    gripper_moving: bool
    gripper_force: float
    contact: bool


class Plant(Protocol):
    """An arm with a gripper that is stepped at 1 kHz by torques."""

    arm: ArmModel

    def reset(self, q: np.ndarray | None = None) -> PlantState:
        """Resets the plant to the start, at rest at `q` (7,) [rad] or the arm's home."""
        ...

    def step(self, tau: np.ndarray, gripper: GripperCommand | None = None) -> PlantState:
        """Advances by one millisecond under `tau` (7,) [N m].

        `tau` is without gravity and friction: the plant compensates them.
        """
        ...

    def state(self) -> PlantState:
        """Returns the current sensor readings."""
        ...

    def render(self, camera: str, size: int) -> np.ndarray:
        """Renders a frame, uint8 (size, size, 3)."""
        ...


INERTIA = np.array([1.2, 1.2, 0.8, 0.8, 0.35, 0.25, 0.15])
"""Approximate inertia of each joint [kg m²], large enough for the internal controllers to stay well damped."""
MAX_WIDTH = 0.08


class KinematicPlant:
    """Seven decoupled joints without contact: the minimum that lets every client finish.

    Each joint is I ddq = tau + tau_ext - b dq, integrated semi-implicitly. Whatever is set in `external` acts as a
    contact would, so that collision reflexes can be tried without a scene.

    Args:
        arm: `PANDA` or `FR3`.
        damping: b [N m s/rad].
        object_width: width of an object between the fingers [m], or 0 for no object.

    Raises:
        UsageError: the arm does not have seven joints.
    """

    def __init__(self, arm: ArmModel, damping: float = 0.5, object_width: float = 0.0) -> None:
        if arm.joint_count != 7:
            raise UsageError(f"the emulator has Franka arms only, of 7 joints; {arm.name!r} has {arm.joint_count}")
        self.arm, self.object_width = arm, object_width
        self.external = np.zeros(7)
        self.wrench = np.zeros(6)
        self._damping = damping
        self._state = self.reset()

    def reset(self, q: np.ndarray | None = None) -> PlantState:
        """Resets to rest at `q` (7,) [rad], with the gripper half open.

        Raises:
            WrongShape: `q` is not (7,).
        """
        start = np.array(self.arm.home if q is None else q, float)
        if start.shape != (7,):
            raise WrongShape("q", start.shape, "(7,)")
        self._gripper: GripperCommand | None = None
        zero = np.zeros(7)
        self._state = PlantState(0.0, start, zero, zero, zero, np.zeros(6), 0.04, MAX_WIDTH, False, 0.0, False)
        return self._state

    def step(self, tau: np.ndarray, gripper: GripperCommand | None = None) -> PlantState:
        """Advances by one millisecond under `tau` (7,) [N m]."""
        if gripper is not None:
            self._gripper = gripper
        s = self._state
        # Semi-implicit Euler: the new velocity moves the joints.
        dq = s.dq + DT * (tau + self.external - self._damping * s.dq) / INERTIA
        width, moving, force = self._move_fingers(s)
        self._state = replace(
            s,
            time=s.time + DT,
            q=s.q + DT * dq,
            dq=dq,
            tau_J=np.array(tau, float),
            tau_ext=self.external.copy(),
            wrench=self.wrench.copy(),
            gripper_width=width,
            gripper_moving=moving,
            gripper_force=force,
        )
        return self._state

    def _move_fingers(self, s: PlantState) -> tuple[float, bool, float]:
        command = self._gripper
        if command is None:
            return s.gripper_width, False, 0.0
        goal = 0.0 if command.force is not None and self.object_width else command.width
        # Fingers that start outside the object cannot pass it; those inside it are free.
        lowest = self.object_width if s.gripper_width >= self.object_width else 0.0
        goal = float(np.clip(goal, lowest, MAX_WIDTH))
        step = command.speed * DT
        width = s.gripper_width + float(np.clip(goal - s.gripper_width, -step, step))
        moving = abs(goal - width) > 1e-6
        holding = not moving and self.object_width > 0 and abs(width - self.object_width) < 1e-6
        return width, moving, (command.force or 0.0) if holding else 0.0

    def state(self) -> PlantState:
        """Returns the current sensor readings."""
        return self._state

    def render(self, camera: str, size: int) -> np.ndarray:
        """Returns a black frame, since there is no scene."""
        return np.zeros((size, size, 3), np.uint8)
