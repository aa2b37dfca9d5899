"""Scripted ways to push squares up into the goal zone, as functions of the state alone."""

from __future__ import annotations

import numpy as np

from robo_reward.envs.magical.arena import BLOCK
from robo_reward.envs.magical.base import BLOCK_ARRIVED_Y, MagicalTask
from robo_reward.envs.state import State

UP = np.array([0.0, 1.0])


def push_all_at_once(task: MagicalTask, state: State) -> np.ndarray:
    """Returns the action (..., 2) that pushes all squares at once, aside only as far as is needed to reach all."""
    x = task.get_block_positions(state)[..., 0]
    reach = task.half_length - 0.06  # [m] keeps the blocks away from the ends of the stick
    middle = np.clip(0.0, x.max(axis=-1) - reach, x.min(axis=-1) + reach)
    return task.compute_drive_action(state, np.stack([middle, state.robot_position[..., 1] + 0.4], axis=-1))


def push_lane_by_lane(task: MagicalTask, state: State) -> np.ndarray:
    """Returns the action (..., 2) that pushes up one square, or those within reach, backs out, and goes on."""
    robot, (x, y) = state.robot_position[..., :2], _choose_next_push(task, state)
    upright = np.abs(task.compute_turn_angle(state, UP))
    in_lane = (robot[..., 1] < y - BLOCK) & (np.abs(robot[..., 0] - x) < 0.06)
    push = in_lane & (upright < 0.3)
    below = np.minimum(y, 0.6) - BLOCK - task.half_length - 0.06  # low enough for the stick to turn freely
    back = ~in_lane & (robot[..., 1] > below + 0.05)
    gap = x - robot[..., 0]
    # While backing out, move sideways only as far as the next square allows.
    room = np.maximum(np.abs(gap) - 0.34, 0.0)
    goal_x = np.where(back, robot[..., 0] + np.clip(gap, -room, room), x + 0.04 * np.sign(gap) * ~push)
    goal_y = np.where(push, robot[..., 1] + 0.4, np.where(back, np.minimum(below, robot[..., 1] - 0.2), below))
    way = np.stack([x, below], axis=-1) - robot  # to the start of the next push
    behind = np.abs(task.compute_turn_angle(state, way)) > np.pi / 2
    action = task.compute_drive_action(state, np.stack([goal_x, goal_y], axis=-1), back | (~in_lane & behind))
    on_the_spot = task.compute_drive_action(state, robot + UP) * (0.0, 1.0)
    return np.where((in_lane & ~push)[..., None], on_the_spot, action)


def _choose_next_push(task: MagicalTask, state: State) -> tuple[np.ndarray, np.ndarray]:
    """Returns the next push target, x and y (...,) [m]: the nearer end of the row, with what is in reach there."""
    squares = task.get_block_positions(state)
    x, y = squares[..., 0], squares[..., 1]
    # Squares that still have to be pushed; ±9 excludes the others from the minima and maxima.
    left = ~task.is_in_goal_zone(state) | (y < BLOCK_ARRIVED_Y + 0.01)
    ends = np.stack([np.where(left, x, 9.0).min(axis=-1), np.where(left, x, -9.0).max(axis=-1)], axis=-1)
    nearer = np.abs(ends - state.robot_position[..., :1]).argmin(axis=-1)
    end = np.take_along_axis(ends, nearer[..., None], axis=-1)
    mates = left & (np.abs(x - end) < 2 * task.half_length - 0.06)
    low, high = np.where(mates, x, 9.0).min(axis=-1), np.where(mates, x, -9.0).max(axis=-1)
    lowest = np.where(mates, y, 9.0).min(axis=-1)
    some = left.any(axis=-1)
    return np.where(some, (low + high) / 2, 0.0), np.where(some, lowest, 0.0)
