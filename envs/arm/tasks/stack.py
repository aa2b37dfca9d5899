"""Stack: put one cube on another and let go."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from robo_reward.envs.arm.base import CENTRE, ArmTask, object_fields, object_sensors, sample_free_bodies
from robo_reward.envs.arm.tasks.lift import grasp_and_carry
from robo_reward.envs.state import State
from robo_reward.envs.task import Observable

BLOCK = """
<body name="{name}">
  <freejoint/>
  <geom class="object" type="box" size=".02 .02 .02" mass=".1" rgba="{colour}"/>
</body>"""

EXPERT_REWARD = '''\
def compute_reward(state, action, previous):
    """Grasp the red cube, bring it down a cone onto the blue one, then open the fingers and keep still."""
    distance = np.linalg.norm(state.red_position - state.hand_position, axis=-1)
    gap = state.red_position - state.blue_position
    aside = np.linalg.norm(gap[:, :2], axis=-1)
    stacked = (aside < 0.02) & (np.abs(gap[:, 2] - 0.04) < 0.008)
    reach = 1.0 - np.tanh(8.0 * distance)
    closed = np.clip((0.08 - state.gripper_opening) / 0.04, 0.0, 1.0)
    grasp = 0.5 * np.where(distance < 0.025, closed, 0.0)
    height = np.clip((state.red_position[:, 2] - 0.02) / 0.04, 0.0, 1.0)
    cone = 0.04 + np.minimum(aside, 0.04)
    off = np.sqrt(aside**2 + (gap[:, 2] - cone) ** 2)
    close = 3.0 * (1.0 - np.tanh(8.0 * off)) + 2.0 * np.exp(-((off / 0.02) ** 2))
    carry = np.where(distance < 0.04, height, 0.0) * (1.0 + close)
    command = np.clip(0.5 * (1.0 + action[:, -1]), 0.0, 1.0)
    opened = np.clip((state.gripper_opening - 0.038) / 0.02, 0.0, 1.0)
    still = np.exp(-((np.linalg.norm(state.hand_velocity, axis=-1) / 0.1) ** 2))
    held = np.where(stacked, 0.0, reach + grasp + carry)
    released = np.where(stacked, 7.0 + 2.0 * command + 6.0 * opened + still, 0.0)
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = held + released + effort
    return total, {"held": held, "released": released, "effort": effort}
'''


class Stack(ArmTask):
    """The red cube on the blue cube, and the hand off it, at the end."""

    name = "stack"
    goal = "Stack the red cube on the blue cube."
    success_rule = (
        "the red cube's centre is within 2 cm of the blue cube's, seen from above, and 3 to 5 cm above it, "
        "and the gripper is open by more than 5 cm"
    )
    expert_reward = EXPERT_REWARD
    training_steps = 800_000
    # The fingers stay closed for long before they must open, so some exploration noise must remain.
    ppo_params: ClassVar = {"ent_coef": 0.002}
    horizon = 90
    things = (
        *object_fields(
            "red", "the red cube, 4 cm wide, to be moved; 0.02 m high on the table, 0.06 m on the blue cube"
        ),
        *object_fields("blue", "the blue cube, 4 cm wide, to be left where it is; 0.02 m high on the table"),
    )
    bodies = BLOCK.format(name="red", colour=".85 .22 .18 1") + BLOCK.format(name="blue", colour=".20 .42 .80 1")
    thing_sensors = object_sensors("red") + object_sensors("blue")
    views = (
        Observable("red_position", 0.2, centre=CENTRE),
        Observable("red_position", 0.1, minus="hand_position"),
        Observable("blue_position", 0.1, minus="red_position"),
        Observable("red_velocity", 0.5),
    )

    def place(self, rng: np.random.Generator, qpos: np.ndarray, mocap: np.ndarray) -> None:
        n = len(qpos)
        for block in (qpos[:, :7], qpos[:, 7:]):
            block[:] = sample_free_bodies(rng, n, (0.46, -0.06, 0.02), (0.54, 0.06, 0.02), turn=0.3)
        angle, half = rng.uniform(-np.pi, np.pi, n), rng.uniform(0.05, 0.07, n)
        apart = half[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)  # space for the fingers
        qpos[:, 7:9] = qpos[:, :2] - apart
        qpos[:, :2] += apart

    def success(self, state: State) -> np.ndarray:
        offset = state.red_position - state.blue_position
        above = (np.linalg.norm(offset[..., :2], axis=-1) < 0.02) & (np.abs(offset[..., 2] - 0.04) < 0.01)
        return above & (state.gripper_opening > 0.05)

    def expert(self, state: State) -> np.ndarray:
        """Returns the action: grasp and raise the red cube, carry it over the blue one, lower it, let go, rise."""
        offset = state.red_position - state.blue_position
        aside = np.linalg.norm(offset[..., :2], axis=-1)
        # Down a cone onto the blue cube: a hand that is pushed aside a little goes up a little, and loses no time.
        height = 0.040 + np.clip(3 * (aside - 0.006), 0.0, 0.030)  # above the blue cube's centre [m]
        goal = state.blue_position + np.stack([*np.zeros((2, *aside.shape)), height], axis=-1)
        may_move = (offset[..., 2] > 0.055) | (aside < 0.012)  # below that the red cube would push the blue one
        goal[..., :2] = np.where(may_move[..., None], goal[..., :2], state.red_position[..., :2])
        carry = grasp_and_carry(self, state, state.red_position, goal)
        placed = (aside < 0.015) & (np.abs(offset[..., 2] - 0.04) < 0.003)
        rise = np.where(state.gripper_opening > 0.055, 0.02, 0.0)
        leave = self.compute_action_toward(
            state, state.hand_position + np.stack([*np.zeros((2, *rise.shape)), rise], axis=-1), 1.0
        )
        return np.where(placed[..., None], leave, carry)
