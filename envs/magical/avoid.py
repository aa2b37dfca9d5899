"""Avoid: push a square into the goal zone around a forbidden disc; after RAPL's first task in X-MAGICAL."""

from __future__ import annotations

import numpy as np

from robo_reward.envs.magical.arena import BLOCK, BLUE, PINK, THICK, block_xml, disc_xml
from robo_reward.envs.magical.base import MagicalTask
from robo_reward.envs.state import Field, State
from robo_reward.envs.task import Observable

RADIUS = 0.25
"""Radius of the forbidden disc [m]."""

EXPERT_REWARD = '''\
def compute_reward(state, action, previous):
    """Get the stick below the square, raise it, bend its way around the disc, and reward being inside."""
    square, robot, disc = state.pink_position, state.robot_position, state.disc_position
    left = np.maximum(0.9 - square[:, 1], 0.0)
    raised = -1.5 * left
    inside = np.where(square[:, 1] > 0.88, 1.0, 0.0)
    away = np.sqrt((square[:, 0] - robot[:, 0]) ** 2 + (square[:, 1] - 0.16 - robot[:, 1]) ** 2)
    reach = -0.5 * np.minimum(away, 1.0)
    near_square = np.maximum(0.33 - np.linalg.norm(square - disc, axis=-1), 0.0)
    near_robot = np.maximum(0.33 - np.linalg.norm(robot - disc, axis=-1), 0.0)
    trespass = -8.0 * (near_square + near_robot)
    total = raised + inside + reach + trespass
    return total, {"raised": raised, "inside": inside, "reach": reach, "trespass": trespass}
'''

TRUTH_REWARD = '''\
def compute_reward(state, action, previous):
    """RAPL's preference in its avoiding task: minus the distance to the goal, minus 2 each for stick and square in the
    zone that is off limits.

    The distance to the goal is along y to where the square lies wholly in the zone [m].
    """
    goal = -np.maximum(0.866 - state.pink_position[:, 1], 0.0)
    stick = np.linalg.norm(state.robot_position - state.disc_position, axis=-1)
    square = np.linalg.norm(state.pink_position - state.disc_position, axis=-1)
    robot_in = -2.0 * np.where(stick < 0.25, 1.0, 0.0)
    square_in = -2.0 * np.where(square < 0.25, 1.0, 0.0)
    return goal + robot_in + square_in, {"goal": goal, "robot_in": robot_in, "square_in": square_in}
'''


class Avoid(MagicalTask):
    """The square wholly in the goal zone at the end, and neither it nor the stick in the disc.

    Success depends on the last state only; `is_in_disc` and the ground-truth reward cover the earlier steps.
    """

    name = "avoid"
    goal = "Push the pink square into the goal zone at the top and keep out of the blue disc."
    success_rule = (
        "the square lies wholly in the goal zone, the strip of 0.34 m along the upper wall, and the centres of stick "
        "and square are more than 0.25 m from the blue disc's centre"
    )
    expert_reward = EXPERT_REWARD
    truth_reward = TRUTH_REWARD
    training_steps = 400_000
    horizon = 60
    blocks = ("pink",)
    bodies = disc_xml("disc", RADIUS, BLUE) + block_xml("pink", PINK)
    things = (
        Field(
            "disc_position",
            (3,),
            "m",
            "centre of the blue disc that is off limits, 0.25 m in radius; z is always 0",
            "goal",
            typical=(-1.1, 1.1),
        ),
    )
    thing_sensors = '<framepos name="disc_position" objtype="xbody" objname="disc"/>'
    views = (Observable("disc_position"), Observable("disc_position", 0.5, minus="pink_position"))

    def place(self, rng: np.random.Generator, blocks: np.ndarray, mocap: np.ndarray) -> None:
        """Places the disc between the square and the goal."""
        n = len(blocks)
        mocap[:, :2] = rng.uniform((-0.3, 0.20), (0.3, 0.35), (n, 2))
        blocks[:, 0, 0] = mocap[:, 0] + rng.uniform(-0.15, 0.15, n)
        blocks[:, 0, 1] = rng.uniform(-0.3, -0.2, n)

    def is_in_disc(self, state: State) -> np.ndarray:
        """Returns whether the stick's centre and the square's centre are in the disc, (..., 2) bool."""
        disc = state.disc_position[..., :2]
        centres = np.stack([state.robot_position[..., :2], self.get_block_positions(state)[..., 0, :]], axis=-2)
        return np.linalg.norm(centres - disc[..., None, :], axis=-1) < RADIUS

    def success(self, state: State) -> np.ndarray:
        return self.is_in_goal_zone(state)[..., 0] & ~self.is_in_disc(state).any(axis=-1)

    def expert(self, state: State) -> np.ndarray:
        """Returns the action that passes the disc on the square's side, or away from the wall, then goes up."""
        robot, square = state.robot_position[..., :2], self.get_block_positions(state)[..., 0, :]
        disc = state.disc_position[..., :2]
        side = np.where(square[..., 0] > disc[..., 0], 1.0, -1.0)
        lane = disc[..., 0] + side * (RADIUS + 0.18)
        way = np.stack([lane - square[..., 0], np.maximum(disc[..., 1] - 0.05 - square[..., 1], 0.35)], axis=-1)
        way /= np.linalg.norm(way, axis=-1, keepdims=True)
        offset = robot - square
        along = (offset * way).sum(axis=-1)
        across = offset[..., 0] * way[..., 1] - offset[..., 1] * way[..., 0]
        error = np.abs(self.compute_turn_angle(state, way))
        behind = (along < -BLOCK) & (np.abs(across) < 0.06)
        push, turn = behind & (error < 0.35), behind & (error >= 0.35)
        start = square - way * (BLOCK + THICK + 0.5 * self.half_length + 0.1)
        reverse = np.abs(self.compute_turn_angle(state, start - robot)) > np.pi / 2
        action = self.compute_drive_action(state, np.where(push[..., None], robot + 0.4 * way, start), ~push & reverse)
        on_the_spot = self.compute_drive_action(state, robot + way) * (0.0, 1.0)
        return np.where(turn[..., None], on_the_spot, action)
