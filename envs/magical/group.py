"""Group: push two squares together into the goal zone; after RAPL's second task in X-MAGICAL."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from robo_reward.envs.magical.arena import PINK, YELLOW, block_xml
from robo_reward.envs.magical.base import MagicalTask
from robo_reward.envs.magical.strokes import push_all_at_once, push_lane_by_lane
from robo_reward.envs.state import State

NEAR = 0.5
"""Largest distance between the centres of squares that count as grouped [m]."""

EXPERT_REWARD = '''\
def compute_reward(state, action, previous):
    """Get the stick below both squares, raise the lower one, keep them close, and reward both being inside."""
    pink, yellow = state.pink_position, state.yellow_position
    left_pink, left_yellow = np.maximum(0.9 - pink[:, 1], 0.0), np.maximum(0.9 - yellow[:, 1], 0.0)
    raised = -np.maximum(left_pink, left_yellow) - 0.5 * (left_pink + left_yellow)
    inside = 0.5 * np.where(pink[:, 1] > 0.88, 1.0, 0.0) + 0.5 * np.where(yellow[:, 1] > 0.88, 1.0, 0.0)
    together = -0.3 * np.linalg.norm(pink - yellow, axis=-1)
    x = 0.5 * (pink[:, 0] + yellow[:, 0])
    y = np.minimum(pink[:, 1], yellow[:, 1]) - 0.16
    away = np.sqrt((x - state.robot_position[:, 0]) ** 2 + (y - state.robot_position[:, 1]) ** 2)
    reach = -0.3 * np.minimum(away, 1.0)
    total = raised + inside + together + reach
    return total, {"raised": raised, "inside": inside, "together": together, "reach": reach}
'''

TRUTH_REWARD = '''\
def compute_reward(state, action, previous):
    """RAPL's preference in its grouping task: minus the larger distance to the goal, minus the squares' distance.

    The distance to the goal is along y to where a square lies wholly in the zone [m].
    """
    pink = np.maximum(0.866 - state.pink_position[:, 1], 0.0)
    yellow = np.maximum(0.866 - state.yellow_position[:, 1], 0.0)
    goal = -np.maximum(pink, yellow)
    together = -np.linalg.norm(state.pink_position - state.yellow_position, axis=-1)
    return goal + together, {"goal": goal, "together": together}
'''


class PlanarGroup(MagicalTask):
    """Both squares wholly in the goal zone and together at the end."""

    name = "group"
    goal = "Push the pink square and the yellow square together into the goal zone at the top."
    success_rule = (
        "both squares lie wholly in the goal zone, the strip of 0.34 m along the upper wall, and their centres are "
        "within 0.5 m of each other"
    )
    expert_reward = EXPERT_REWARD
    truth_reward = TRUTH_REWARD
    training_steps: ClassVar = {"short": 500_000, "medium": 250_000, "long": 100_000}
    horizon = 60
    blocks = ("pink", "yellow")
    bodies = block_xml("pink", PINK) + block_xml("yellow", YELLOW)

    def place(self, rng: np.random.Generator, blocks: np.ndarray, mocap: np.ndarray) -> None:
        n = len(blocks)
        middle = rng.uniform((-0.2, 0.1), (0.2, 0.35), (n, 2))
        half = rng.uniform((0.14, -0.06), (0.21, 0.06), (n, 2)) * rng.choice((-1.0, 1.0), (n, 1))
        blocks[:, 0, :2], blocks[:, 1, :2] = middle + half, middle - half

    def success(self, state: State) -> np.ndarray:
        pink, yellow = np.moveaxis(self.get_block_positions(state), -2, 0)
        return self.is_in_goal_zone(state).all(axis=-1) & (np.linalg.norm(pink - yellow, axis=-1) <= NEAR)

    def expert(self, state: State) -> np.ndarray:
        """Returns the action that pushes both at once where the stick reaches both, else one after the other."""
        return push_all_at_once(self, state) if self.stick == "long" else push_lane_by_lane(self, state)
