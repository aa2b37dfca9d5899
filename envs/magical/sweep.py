"""Sweep: push all debris into the goal zone; X-MAGICAL's SweepToTop."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from robo_reward.envs.magical.arena import PINK, block_xml
from robo_reward.envs.magical.base import MagicalTask
from robo_reward.envs.magical.strokes import push_all_at_once, push_lane_by_lane
from robo_reward.envs.state import State

LANES = np.arange(-0.8, 0.8, 0.48)
"""Initial x of the debris, three of these four [m]; values of X-MAGICAL."""

EXPERT_REWARD = '''\
def compute_reward(state, action, previous):
    """Bring every square up into the goal zone, the lagging ones too, and stay below the nearest that is not there."""
    y1, y2, y3 = state.debris1_position[:, 1], state.debris2_position[:, 1], state.debris3_position[:, 1]
    left1, left2, left3 = np.maximum(0.9 - y1, 0.0), np.maximum(0.9 - y2, 0.0), np.maximum(0.9 - y3, 0.0)
    raised = -(left1 + left2 + left3) / 3.0
    inside = tolerance(y1, lower=0.88, upper=1.1) + tolerance(y2, lower=0.88, upper=1.1)
    inside = (inside + tolerance(y3, lower=0.88, upper=1.1)) / 3.0
    below1 = np.linalg.norm(state.debris1_position[:, :2] - state.robot_position[:, :2], axis=-1) + 4.0 * (left1 <= 0.0)
    below2 = np.linalg.norm(state.debris2_position[:, :2] - state.robot_position[:, :2], axis=-1) + 4.0 * (left2 <= 0.0)
    below3 = np.linalg.norm(state.debris3_position[:, :2] - state.robot_position[:, :2], axis=-1) + 4.0 * (left3 <= 0.0)
    reach = -0.2 * np.minimum(np.minimum(np.minimum(below1, below2), below3), 1.0)
    total = 2.0 * raised + inside + reach
    return total, {"raised": 2.0 * raised, "inside": inside, "reach": reach}
'''

TRUTH_REWARD = '''\
def compute_reward(state, action, previous):
    """X-MAGICAL's dense reward of SweepToTop: minus the mean distance of the debris to y = 1, none beyond y = 0.88."""
    y1, y2, y3 = state.debris1_position[:, 1], state.debris2_position[:, 1], state.debris3_position[:, 1]
    left = np.where(y1 > 0.88, 0.0, np.abs(1.0 - y1)) + np.where(y2 > 0.88, 0.0, np.abs(1.0 - y2))
    left = left + np.where(y3 > 0.88, 0.0, np.abs(1.0 - y3))
    return -left / 3.0, {"distance": -left / 3.0}
'''


class Sweep(MagicalTask):
    """All three pieces of debris wholly in the goal zone at the end."""

    name = "sweep"
    goal = "Sweep the three pink squares into the goal zone at the top."
    success_rule = "all three squares lie wholly in the goal zone, the strip of 0.34 m along the upper wall"
    expert_reward = EXPERT_REWARD
    truth_reward = TRUTH_REWARD
    training_steps: ClassVar = {"short": 500_000, "medium": 300_000, "long": 150_000}
    horizon = 100
    blocks = ("debris1", "debris2", "debris3")
    bodies = "".join(block_xml(name, PINK) for name in blocks)

    def __init__(self, stick: str = "medium") -> None:
        super().__init__(stick)
        if stick == "long":
            self.horizon = 50  # value of X-MAGICAL: one stroke is enough

    def place(self, rng: np.random.Generator, blocks: np.ndarray, mocap: np.ndarray) -> None:
        """Places the debris as X-MAGICAL's layout variant: one row at y in [-0.1, 0.5], three of four lanes."""
        lanes = rng.permuted(np.tile(LANES, (len(blocks), 1)), axis=1)[:, :3]
        blocks[..., 0] = lanes
        blocks[..., 1] = rng.uniform(-0.1, 0.5, (len(blocks), 1))

    def compute_score(self, state: State) -> np.ndarray:
        """Computes the published score, (...,): the share of debris wholly in the goal zone."""
        return np.asarray(self.is_in_goal_zone(state).mean(axis=-1))

    def success(self, state: State) -> np.ndarray:
        return self.compute_score(state) == 1.0

    def expert(self, state: State) -> np.ndarray:
        """Returns the action that sweeps all at once (long stick), or pushes from the nearer end of the row."""
        return push_all_at_once(self, state) if self.stick == "long" else push_lane_by_lane(self, state)
