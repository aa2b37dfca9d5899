"""Lift: pick up a cube."""

from __future__ import annotations

import numpy as np

from robo_reward.envs.arm.base import CENTRE, ArmTask, object_fields, object_sensors, sample_free_bodies
from robo_reward.envs.state import State
from robo_reward.envs.task import Observable

CUBE = """
<body name="cube">
  <freejoint/>
  <geom class="object" type="box" size=".02 .02 .02" mass=".1" rgba=".85 .22 .18 1"/>
</body>"""


class Lift(ArmTask):
    """The cube's lower face at least 10 cm above the table at the end."""

    name = "lift"
    goal = "Pick up the red cube and lift it 10 cm above the table."
    success_rule = (
        "the cube's lower face is at least 10 cm above the table (its centre, at rest 2 cm high, above 12 cm)"
    )
    horizon = 60
    things = object_fields("cube", "the red cube, 4 cm wide; 0.02 m high when it lies on the table")
    bodies = CUBE
    thing_sensors = object_sensors("cube")
    views = (
        Observable("cube_position", 0.2, centre=CENTRE),
        Observable("cube_position", 0.1, minus="hand_position"),
        Observable("cube_velocity", 0.5),
    )

    def place(self, rng: np.random.Generator, qpos: np.ndarray, mocap: np.ndarray) -> None:
        qpos[:] = sample_free_bodies(rng, len(qpos), (0.42, -0.12, 0.02), (0.58, 0.12, 0.02), turn=0.3)

    def success(self, state: State) -> np.ndarray:
        return state.cube_position[..., 2] > 0.12

    def expert(self, state: State) -> np.ndarray:
        return grasp_and_carry(self, state, state.cube_position, state.cube_position + np.array((0, 0, 0.1)))


def grasp_and_carry(
    task: ArmTask, state: State, thing: np.ndarray, goal: np.ndarray, width: float = 0.04
) -> np.ndarray:
    """Returns a scripted grasp from above, from the state alone: above the object, down, close, then carry it."""
    offset = thing - state.hand_position
    aside = np.linalg.norm(offset[..., :2], axis=-1)
    around = (aside < 0.015) & (np.abs(offset[..., 2]) < 0.012)
    near = (aside < 0.03) & (np.abs(offset[..., 2]) < 0.025)  # a held object may slip a little between the fingers
    held = near & (state.gripper_opening < width + 0.006)
    around = around | held
    over = thing + np.stack([*np.zeros((2, *aside.shape)), np.where(aside < 0.012, 0.0, 0.08)], axis=-1)
    target = np.where(held[..., None], state.hand_position + (goal - thing), np.where(around[..., None], thing, over))
    return task.compute_action_toward(state, target, np.where(around, -1.0, 1.0))
