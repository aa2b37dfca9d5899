"""Reach: bring the hand to a point in the air."""

from __future__ import annotations

import numpy as np

from robo_reward.envs.arm.base import GOAL_SENSOR, ArmTask, goal_field
from robo_reward.envs.state import State
from robo_reward.envs.task import Observable

EXPERT_REWARD = '''\
def compute_reward(state, action, previous):
    """The closer the better, most of all in the last centimetres; a little less for large actions."""
    distance = np.linalg.norm(state.goal_position - state.hand_position, axis=-1)
    reach = 1.0 - np.tanh(5.0 * distance)
    precise = np.exp(-((distance / 0.02) ** 2))
    effort = -0.02 * np.sum(action**2, axis=-1)
    return reach + precise + effort, {"reach": reach, "precise": precise, "effort": effort}
'''


class Reach(ArmTask):
    """The hand within 2 cm of a random point."""

    name = "reach"
    goal = "Move the hand to the green goal."
    success_rule = "the tool centre point is within 2 cm of the goal"
    expert_reward = EXPERT_REWARD
    training_steps = 60_000
    horizon = 30
    action_scale = 0.04
    gripper = False
    opening = 0.0
    things = (goal_field("the target position of the hand"),)
    bodies = '<body name="goal" mocap="true"><geom class="marker" size=".02" type="sphere"/></body>'
    thing_sensors = GOAL_SENSOR
    views = (Observable("goal_position", 0.1, minus="hand_position"),)

    def place(self, rng: np.random.Generator, qpos: np.ndarray, mocap: np.ndarray) -> None:
        mocap[:, :3] = rng.uniform((0.35, -0.25, 0.05), (0.65, 0.25, 0.40), (len(mocap), 3))

    def success(self, state: State) -> np.ndarray:
        return np.linalg.norm(state.hand_position - state.goal_position, axis=-1) < 0.02

    def expert(self, state: State) -> np.ndarray:
        return self.compute_action_toward(state, state.goal_position)
