"""Policies for panda/reach whose success is known without running them: a linear hand that gives up on some goals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robo_reward.envs.task import Task
from robo_reward.policies.policy import MLPPolicy

GIVE_UP = 1e4  # gain of the unit that sends the hand away from a goal


def make_reacher(task: Task, give_up: Sequence[tuple[int, float]] = ()) -> MLPPolicy:
    """Returns a policy that moves straight to the goal, and away from goals beyond a bound on an axis.

    Args:
        task: panda/reach.
        give_up: pairs of an axis, 0 to 2, and a bound [m]: goals beyond any of them are not reached.
    """
    scales = {(part.field, part.minus): np.broadcast_to(part.scale, 3) for part in task.observation.parts}
    centres = {(part.field, part.minus): part.centre for part in task.observation.parts}
    offset = 0
    places = {}
    for part in task.observation.parts:
        places[part.field, part.minus] = offset
        offset += task.spec[part.field].size
    gap, hand = ("goal_position", "hand_position"), ("hand_position", "")
    hidden = np.zeros((task.observation.dim, 6 + len(give_up)), np.float32)
    bias = np.zeros(6 + len(give_up), np.float32)
    for axis in range(3):  # both signs of goal - hand, in action units
        hidden[places[gap] + axis, axis] = scales[gap][axis] / 0.04
        hidden[places[gap] + axis, 3 + axis] = -scales[gap][axis] / 0.04
    for unit, (axis, bound) in enumerate(give_up, start=6):  # goal - bound = (goal - hand) + hand - bound
        hidden[places[gap] + axis, unit] = GIVE_UP * scales[gap][axis]
        hidden[places[hand] + axis, unit] = GIVE_UP * scales[hand][axis]
        centre = centres[hand][axis] if centres[hand] else 0.0
        bias[unit] = GIVE_UP * (centre - bound)
    out = np.zeros((6 + len(give_up), task.action.dim), np.float32)
    out[:3, :3], out[3:6, :3] = np.eye(3), -np.eye(3)
    out[6:, 2] = 100.0
    about = {"task": task.id, "options": dict(task.options)}
    zero = np.zeros(task.action.dim, np.float32)
    return MLPPolicy((hidden, out), (bias, zero), "relu", False, task.observation, task.action, about)
