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

EXPERT_REWARD = '''\
def compute_reward(state, action, previous):
    """Come close with open fingers, close them around the cube, raise it."""
    distance = np.linalg.norm(state.cube_position - state.hand_position, axis=-1)
    reach = 1.0 - np.tanh(8.0 * distance)
    near = distance < 0.025
    closed = np.clip((0.08 - state.gripper_opening) / 0.04, 0.0, 1.0)
    grasp = 0.5 * np.where(near, closed, 0.0)
    ready = 0.2 * np.where(near, 0.0, 1.0 - closed)
    height = np.clip((state.cube_position[:, 2] - 0.02) / 0.12, 0.0, 1.0)
    lift = 3.0 * np.where(distance < 0.04, height, 0.0)
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = reach + ready + grasp + lift + effort
    return total, {"reach": reach, "ready": ready, "grasp": grasp, "lift": lift, "effort": effort}
'''


class Lift(ArmTask):
    """The cube's lower face at least 10 cm above the table at the end."""

    name = "lift"
    goal = "Pick up the red cube and lift it 10 cm above the table."
    success_rule = (
        "the cube's lower face is at least 10 cm above the table (its centre, at rest 2 cm high, above 12 cm)"
    )
    expert_reward = EXPERT_REWARD
    training_steps = 160_000
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
    task: ArmTask, state: State, thing: np.ndarray, goal: np.ndarray, width: float | np.ndarray = 0.04
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
