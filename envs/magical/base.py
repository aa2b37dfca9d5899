"""Base class of the arena's tasks: the stick, its fields, its action, and how to steer it."""

from __future__ import annotations

from typing import ClassVar

import mujoco
import numpy as np

from robo_reward.envs.magical.arena import ARENA, BLOCK, GOAL_Y, STICKS, scene_xml
from robo_reward.envs.magical.drive import SPEED, TURN, DriveController
from robo_reward.envs.state import Field, State, StateSpec
from robo_reward.envs.task import Observable, ObservationSpec, Start, Task
from robo_reward.errors import UnknownName

BLOCK_ARRIVED_Y = GOAL_Y + BLOCK
"""Smallest y of a block's centre at which an unrotated block lies wholly in the goal zone [m]."""


class MagicalTask(Task):
    """A task of a stick in the arena, seen from above; a subclass adds what can be pushed.

    x points right and y up in the picture; the goal zone is a strip along the upper wall.

    Args:
        stick: `short`, `medium` or `long`.

    Raises:
        UnknownName: no such stick.
    """

    name: ClassVar[str]
    blocks: ClassVar[tuple[str, ...]]
    bodies: ClassVar[str]
    things: ClassVar[tuple[Field, ...]] = ()
    thing_sensors: ClassVar[str] = ""
    views: ClassVar[tuple[Observable, ...]] = ()
    cameras = ("top",)
    ppo_params: ClassVar = {"gamma": 0.98}
    truth_reward: str
    substeps = 20

    def __init__(self, stick: str = "medium") -> None:
        if stick not in STICKS:
            raise UnknownName("stick", stick, STICKS)
        self.stick, self.half_length = stick, STICKS[stick]
        self.id = f"magical/{self.name}-{stick}"
        self.spec = StateSpec([*ROBOT_FIELDS, *(f for name in self.blocks for f in block_fields(name)), *self.things])
        sensors = ROBOT_SENSORS + "".join(map(block_sensors, self.blocks)) + self.thing_sensors
        # The control period is 0.125 s.
        xml = scene_xml(self.half_length, self.bodies, sensors, 0.125 / self.substeps)
        self.model = mujoco.MjModel.from_xml_string(xml)
        seen = [Observable("robot_position"), Observable("robot_heading")]
        for name in self.blocks:
            position = f"{name}_position"
            seen += [Observable(position), Observable(position, 0.5, minus="robot_position")]
        self.observation = ObservationSpec(self.spec, [*seen, *self.views])
        self.controller = DriveController(self.control_dt)
        self.check()

    def sample(self, rng: np.random.Generator, n: int) -> Start:
        """Starts the stick at the published (0, -0.6), facing up, and the blocks where `place` puts them."""
        qpos = np.zeros((n, self.model.nq))
        qpos[:, 1] = -0.6  # qpos: x, y [m], angle [rad] of the stick, then of each block
        mocap = np.zeros((n, 7 * self.model.nmocap))
        mocap[:, 3 * self.model.nmocap :: 4] = 1.0  # identity quaternions (w, x, y, z)
        self.place(rng, qpos[:, 3:].reshape(n, len(self.blocks), 3), mocap)
        return Start(qpos, mocap)

    def place(self, rng: np.random.Generator, blocks: np.ndarray, mocap: np.ndarray) -> None:
        """Places the objects in n worlds, in place.

        Args:
            rng: the source of all randomness.
            blocks: (n, blocks, 3): x, y [m] and angle [rad].
            mocap: (n, 7 nmocap): positions, then quaternions (identity already).
        """
        raise NotImplementedError

    def get_block_positions(self, state: State) -> np.ndarray:
        """Returns the centres of the blocks, (..., blocks, 2) [m]."""
        return np.stack([state[f"{name}_position"][..., :2] for name in self.blocks], axis=-2)

    def is_in_goal_zone(self, state: State) -> np.ndarray:
        """Returns which blocks lie wholly in the goal zone, (..., blocks) bool."""
        angle = np.stack([state[f"{name}_angle"] for name in self.blocks], axis=-1)
        # Half the height of the rotated square [m]
        extent = BLOCK * (np.abs(np.cos(angle)) + np.abs(np.sin(angle)))
        return self.get_block_positions(state)[..., 1] - extent >= GOAL_Y

    def compute_drive_action(self, state: State, target: np.ndarray, reverse: np.ndarray | bool = False) -> np.ndarray:
        """Computes the action (..., 2) that drives an expert to a point (..., 2) [m], forwards or backwards."""
        way = target - state.robot_position[..., :2]
        far = np.linalg.norm(way, axis=-1)
        sense = np.where(reverse, -1.0, 1.0)
        error = self.compute_turn_angle(state, sense[..., None] * way)
        ahead = np.maximum(np.cos(error), 0.0) ** 4  # about 1 when facing the target, 0 from 90° on
        forward = sense * ahead * np.minimum(far / (SPEED * self.control_dt), 1.0)
        return np.stack([forward, np.clip(error / (TURN * self.control_dt), -1, 1)], axis=-1)

    def compute_turn_angle(self, state: State, direction: np.ndarray) -> np.ndarray:
        """Computes the angle (...,) [rad] from the heading to a direction (..., 2), counter-clockwise."""
        x, y = state.robot_heading[..., 0], state.robot_heading[..., 1]
        dx, dy = direction[..., 0], direction[..., 1]
        return np.arctan2(x * dy - y * dx, x * dx + y * dy)


def block_fields(name: str) -> tuple[Field, ...]:
    """Returns the fields of a block: position and angle."""
    return (
        Field(
            f"{name}_position",
            (3,),
            "m",
            f"centre of the square {name}, 0.21 m wide; z is always 0",
            "object",
            typical=(-1.1, 1.1),
        ),
        Field(f"{name}_angle", (), "rad", f"how far the square {name} is turned", "object", typical=(-0.8, 0.8)),
    )


def block_sensors(name: str) -> str:
    """Returns the sensors of `block_fields`."""
    return f"""
    <framepos name="{name}_position" objtype="xbody" objname="{name}"/>
    <jointpos name="{name}_angle" joint="{name}_turn"/>"""


ROBOT_FIELDS = (
    Field("robot_position", (3,), "m", "middle of the stick; z is always 0", "hand", typical=(-ARENA, ARENA)),
    Field(
        "robot_heading",
        (3,),
        "1",
        "unit vector along which the stick drives, across its length; (0, 1, 0) is up, z is always 0",
        "body",
        typical=(-1.0, 1.0),
    ),
)
ROBOT_SENSORS = """
    <framepos name="robot_position" objtype="xbody" objname="robot"/>
    <frameyaxis name="robot_heading" objtype="xbody" objname="robot"/>"""
