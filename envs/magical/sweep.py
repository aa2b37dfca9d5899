"""Sweep: push all debris into the goal zone; X-MAGICAL's SweepToTop."""

from __future__ import annotations

import numpy as np

from robo_reward.envs.magical.arena import PINK, block_xml
from robo_reward.envs.magical.base import MagicalTask
from robo_reward.envs.magical.strokes import push_all_at_once, push_lane_by_lane
from robo_reward.envs.state import State

LANES = np.arange(-0.8, 0.8, 0.48)
"""Initial x of the debris, three of these four [m]; values of X-MAGICAL."""


class Sweep(MagicalTask):
    """All three pieces of debris wholly in the goal zone at the end."""

    name = "sweep"
    goal = "Sweep the three pink squares into the goal zone at the top."
    success_rule = "all three squares lie wholly in the goal zone, the strip of 0.34 m along the upper wall"
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
