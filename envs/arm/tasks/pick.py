"""Pick: bring a cube to a point in the air."""

from __future__ import annotations

import numpy as np

from robo_reward.envs.arm.base import (
    CENTRE,
    GOAL_SENSOR,
    ArmTask,
    goal_field,
    object_fields,
    object_sensors,
    sample_free_bodies,
)
from robo_reward.envs.arm.tasks.lift import CUBE, grasp_and_carry
from robo_reward.envs.state import State
from robo_reward.envs.task import Observable

EXPERT_REWARD = '''\
def compute_reward(state, action, previous):
    """Come close with open fingers, close them around the cube, bring it to the goal; progress counts too."""
    distance = np.linalg.norm(state.cube_position - state.hand_position, axis=-1)
    reach = 1.0 - np.tanh(8.0 * distance)
    closed = np.clip((0.08 - state.gripper_opening) / 0.04, 0.0, 1.0)
    grasp = 0.5 * np.where(distance < 0.025, closed, 0.0)
    height = np.clip((state.cube_position[:, 2] - 0.02) / 0.02, 0.0, 1.0)
    held = np.where(distance < 0.04, height, 0.0)
    gap = np.linalg.norm(state.goal_position - state.cube_position, axis=-1)
    before = np.linalg.norm(previous.goal_position - previous.cube_position, axis=-1)
    carry = held * (1.0 + 3.0 * (1.0 - np.tanh(4.0 * gap)))
    along = 60.0 * held * np.clip(before - gap, -0.03, 0.03)
    precise = 2.0 * held * np.exp(-((gap / 0.04) ** 2))
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = reach + grasp + carry + along + precise + effort
    return total, {"reach": reach, "grasp": grasp, "carry": carry, "along": along, "precise": precise, "effort": effort}
'''


class Pick(ArmTask):
    """The cube's centre within 3 cm of a random point in the air at the end."""

    name = "pick"
    goal = "Pick up the red cube and bring it to the green goal in the air."
    success_rule = "the cube's centre is within 3 cm of the goal"
    expert_reward = EXPERT_REWARD
    training_steps = 400_000
    horizon = 70
    things = (
        *object_fields("cube", "the red cube, 4 cm wide; 0.02 m high when it lies on the table"),
        goal_field("target position of the cube's centre, a point in the air 0.06 m to 0.25 m high"),
    )
    bodies = CUBE + '<body name="goal" mocap="true"><geom class="marker" size=".02" type="sphere"/></body>'
    thing_sensors = object_sensors("cube") + GOAL_SENSOR
    views = (
        Observable("cube_position", 0.2, centre=CENTRE),
        Observable("cube_position", 0.1, minus="hand_position"),
        Observable("goal_position", 0.1, minus="cube_position"),
        Observable("cube_velocity", 0.5),
    )

    def place(self, rng: np.random.Generator, qpos: np.ndarray, mocap: np.ndarray) -> None:
        n = len(qpos)
        qpos[:] = sample_free_bodies(rng, n, (0.42, -0.12, 0.02), (0.58, 0.12, 0.02), turn=0.3)
        mocap[:, :3] = rng.uniform((0.40, -0.15, 0.06), (0.60, 0.15, 0.25), (n, 3))

    def success(self, state: State) -> np.ndarray:
        return np.linalg.norm(state.cube_position - state.goal_position, axis=-1) < 0.03

    def expert(self, state: State) -> np.ndarray:
        return grasp_and_carry(self, state, state.cube_position, state.goal_position)
