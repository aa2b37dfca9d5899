"""Clutter: push two cubes into a strip and leave four red ones out, after RAPL's "Franka Clutter"."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from robo_reward.envs.arm.base import object_fields, object_sensors, sample_free_bodies
from robo_reward.envs.arm.tasks.group import CUBE, HALF, Group, compute_push_target
from robo_reward.envs.arm.tools import BOARD
from robo_reward.envs.state import Field, State
from robo_reward.envs.task import Observable

REDS = ("red1", "red2", "red3", "red4")

KEEP_OUT = 0.04
"""Red cubes must keep their centres at least this far from the goal plane [m]."""

MARGIN = 0.012
"""Scripted pushes meet a wanted cube's centre at least this far inside the board's ends [m]."""

EXPERT_REWARD = '''\
def beyond(position, line):
    """How far a red cube has come into the 12 cm before the strip's middle line [m]."""
    return np.maximum(position[:, 0] - line + 0.10, 0.0)


def compute_reward(state, action, previous):
    """As for group, and keep every red cube where it stands."""
    x_blue, x_yellow = state.blue_position[:, 0], state.yellow_position[:, 0]
    y_blue, y_yellow = state.blue_position[:, 1], state.yellow_position[:, 1]
    back = np.minimum(x_blue, x_yellow) - 0.031 - state.hand_position[:, 0]
    aside = 0.5 * (y_blue + y_yellow) - state.hand_position[:, 1]
    above = state.hand_position[:, 2] - 0.035
    behind = 0.5 * (1.0 - np.tanh(8.0 * np.sqrt(back**2 + np.maximum(np.abs(aside) - 0.05, 0.0) ** 2 + above**2)))
    line = state.strip_position[:, 0]
    worst = np.maximum(np.abs(x_blue - line), np.abs(x_yellow - line))
    near = 2.0 * (1.0 - np.tanh(6.0 * worst))
    precise = np.exp(-((worst / 0.06) ** 2))
    left = beyond(state.red1_position, line) + beyond(state.red2_position, line)
    right = beyond(state.red3_position, line) + beyond(state.red4_position, line)
    red = -20.0 * (left + right)
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = behind + near + precise + red + effort
    return total, {"behind": behind, "near": near, "precise": precise, "red": red, "effort": effort}
'''

TRUTH_REWARD = '''\
def compute_reward(state, action, previous):
    """RAPL's ground truth for its clutter task: as for group (see `group.py`), and -1 while a red cube's centre is
    within 4 cm of the strip's middle line.

    Source: the code of 2310.07932; distances in m.
    """
    line = state.strip_position[:, 0]
    worst = np.maximum(np.abs(state.blue_position[:, 0] - line), np.abs(state.yellow_position[:, 0] - line))
    goal = -3.0 * worst
    group = -3.0 * np.linalg.norm(state.blue_position - state.yellow_position, axis=-1)
    offset = state.blue_position - state.hand_position
    left = np.sqrt(offset[:, 0] ** 2 + (offset[:, 1] - 0.04) ** 2 + offset[:, 2] ** 2)
    right = np.sqrt(offset[:, 0] ** 2 + (offset[:, 1] + 0.04) ** 2 + offset[:, 2] ** 2)
    fingers = -0.5 * left - 0.5 * right
    effort = -0.01 * np.sum(action**2, axis=-1)
    lifted = -0.5 * np.where(state.blue_position[:, 2] > 0.03, 1.0, 0.0)
    near12 = np.minimum(np.abs(state.red1_position[:, 0] - line), np.abs(state.red2_position[:, 0] - line))
    near34 = np.minimum(np.abs(state.red3_position[:, 0] - line), np.abs(state.red4_position[:, 0] - line))
    red = -1.0 * np.where(np.minimum(near12, near34) < 0.04, 1.0, 0.0)
    total = goal + group + fingers + effort + lifted + red
    return total, {"goal": goal, "group": group, "fingers": fingers, "effort": effort, "lifted": lifted, "red": red}
'''


class Clutter(Group):
    """Both wanted cubes in the strip at the end, and no red one.

    One red cube is so near to the wanted ones that a board centred on them takes it along: the board has to pass
    about 4 cm to the other side. Two more are at both sides, one beyond the strip.
    """

    name = "clutter"
    goal = "Push the blue cube and the yellow cube into the green strip and leave the red cubes out of it."
    success_rule = (
        "both wanted cubes' centres are within 8 cm of the strip's middle line, measured along x (away from the "
        "robot), and no red cube's centre is within 4 cm of it"
    )
    expert_reward = EXPERT_REWARD
    truth_reward = TRUTH_REWARD
    training_steps = 300_000
    things: ClassVar[tuple[Field, ...]] = (
        *Group.things,
        *(
            field
            for name in REDS
            for field in object_fields(name, f"{name}, a red cube that is to be left alone", (-0.3, 0.8))
        ),
    )
    bodies = Group.bodies + "".join(CUBE.format(name=name, colour=".86 .14 .12 1") for name in REDS)
    thing_sensors = Group.thing_sensors + "".join(object_sensors(name) for name in REDS)
    views = (*Group.views, *(Observable(f"{name}_position", 0.1, minus="hand_position") for name in REDS))

    def place(self, rng: np.random.Generator, qpos: np.ndarray, mocap: np.ndarray) -> None:
        n = len(qpos)
        middle = rng.uniform((0.42, -0.03), (0.47, 0.03), (n, 2))
        apart = rng.uniform((-0.02, 0.030), (0.02, 0.038), (n, 2)) * rng.choice((-1.0, 1.0), (n, 1))
        side = rng.choice((-1.0, 1.0), n)  # of the near red cube
        beside = rng.uniform((0.097, 0.165, -0.20), (0.108, 0.175, -0.19), (n, 3)) * side[:, None]
        blocks = qpos.reshape(n, 6, 7)
        for k in range(6):
            blocks[:, k] = sample_free_bodies(rng, n, (0.40, 0.0, HALF), (0.48, 0.0, HALF), turn=0.2)
        blocks[:, 0, :2], blocks[:, 1, :2] = middle + apart, middle - apart
        blocks[:, 2:5, 1] = middle[:, 1:] + beside
        blocks[:, 5, :2] = rng.uniform((0.715, -0.14), (0.735, 0.14), (n, 2))

    def is_red_in_strip(self, state: State) -> np.ndarray:
        """Returns whether the red cube nearest to the goal plane is within 4 cm of it, (...,)."""
        reds = np.stack([state[f"{name}_position"][..., 0] for name in REDS], axis=-1)
        return np.abs(reds - state.strip_position[..., :1]).min(axis=-1) < KEEP_OUT

    def success(self, state: State) -> np.ndarray:
        """Returns whether `Group.success` holds and no red cube is in the way, (...,) bool."""
        return super().success(state) & ~self.is_red_in_strip(state)

    def true_preference(self, state: State) -> np.ndarray:
        """Computes `Group.true_preference`, less 1 while a red cube is in the way, (...,)."""
        return super().true_preference(state) - np.where(self.is_red_in_strip(state), 1.0, 0.0)

    def plan_push(self, state: State, line: np.ndarray) -> np.ndarray:
        """Plans the push past the red cubes, as far from them as the wanted cubes allow."""
        wanted = np.stack([state[f"{name}_position"][..., 1] for name in self.wanted], axis=-1)
        reds = np.stack([state[f"{name}_position"][..., 1] for name in REDS], axis=-1)
        low, high = wanted.min(axis=-1), wanted.max(axis=-1)
        middle = (low + high) / 2
        near = np.stack([state[f"{name}_position"][..., 0] < line for name in REDS], axis=-1)
        left = np.where(near & (reds > middle[..., None]), reds, np.inf).min(axis=-1)
        right = np.where(near & (reds < middle[..., None]), reds, -np.inf).max(axis=-1)
        reach = BOARD[1] - MARGIN
        free = np.clip((np.minimum(left, 1.0) + np.maximum(right, -1.0)) / 2, high - reach, low + reach)
        return compute_push_target(state, self.wanted, line, free - middle)
