"""Base class of the tasks in which an object can be gripped in more than one place."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from robo_reward.envs.arm.base import ArmTask
from robo_reward.envs.arm.tasks.lift import grasp_and_carry
from robo_reward.envs.state import State
from robo_reward.errors import UnknownName

CLEAR = 0.02
"""Height above its rest at which an object counts as raised, for measuring the mode [m]."""

LIFT = 0.13
"""Height above its rest to which the experts raise an object and hold it there [m]."""

CLOSE_CAMERA = '<camera name="close" pos=".95 -.38 .42" xyaxes=".699 .715 0 -.353 .345 .871" fovy="45"/>'
"""The default camera: near enough that the grip can be seen at 96 pixels."""


class GripTask(ArmTask):
    """A task whose modes are the places at which an object can be gripped, each a state field `<mode>_position`.

    Success does not depend on the mode. A person prefers the first one.
    """

    cameras = ("close", "front", "side", "top", "wrist")
    thing: ClassVar[str]
    rest_height: ClassVar[float]
    widths: ClassVar[tuple[float, ...]]

    def expert(self, state: State) -> np.ndarray:
        """Returns the action of the first mode, the preferred one."""
        return self.expert_of_mode(state, self.modes[0])

    def expert_of_mode(self, state: State, mode: str) -> np.ndarray:
        """Returns the action that grips the object as `mode` says and carries it.

        Args:
            state: (..., D).
            mode: one of `modes`.

        Raises:
            UnknownName: no such mode.
        """
        if mode not in self.modes:
            raise UnknownName("mode", mode, self.modes)
        grip = state[f"{mode}_position"]
        goal = grip + self.plan_displacement(state)
        # Thin things turn between the fingers if they are raised before these have closed: 3 mm less than usual.
        # What is raised may be held at an angle, which opens the fingers by some millimetres.
        raised = state[f"{self.thing}_position"][..., 2] > self.rest_height + CLEAR / 2
        width = self.widths[self.modes.index(mode)] + np.where(raised, 0.006, -0.003)
        return grasp_and_carry(self, state, grip, goal, width)

    def plan_displacement(self, state: State) -> np.ndarray:
        """Plans how a held object moves next, (..., 3) [m]: straight up to `LIFT`, unless a task does otherwise."""
        up = self.rest_height + LIFT - state[f"{self.thing}_position"][..., 2]
        return np.stack([*np.zeros((2, *up.shape)), up], axis=-1)

    def mode_of(self, states: State | np.ndarray) -> int:
        """Returns the mode of an episode's states (T, D): the grip nearest to the hand while the object was raised.

        Args:
            states: of one episode.

        Returns:
            An index into `modes`, or -1 if the object was never raised by `CLEAR`.
        """
        states = states if isinstance(states, State) else State(self.spec, states)
        raised = states[f"{self.thing}_position"][:, 2] > self.rest_height + CLEAR
        grips = np.stack([states[f"{mode}_position"] for mode in self.modes], axis=1)  # (T, modes, 3)
        distance = np.linalg.norm(grips - states.hand_position[:, None], axis=-1)  # (T, modes) [m]
        raised &= distance.min(axis=1) < 0.05  # an object that was thrown up is not held
        return int(np.median(distance[raised], axis=0).argmin()) if raised.any() else -1
