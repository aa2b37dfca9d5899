"""Success and failure of many worlds, by rules on the state and by rules that remember what an episode has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from robo_reward.envs.state import State

if TYPE_CHECKING:
    from robo_reward.envs.task import Task


class Judgement(NamedTuple):
    """The result of a task's rules on the states of N worlds.

    Attributes:
        success: (N,) bool; never true where the episode has failed.
        failed: (N,) bool.
        memory: (N, M), what the rules over time remember of each world's episode.
    """

    success: np.ndarray
    failed: np.ndarray
    memory: np.ndarray


def start_memory(task: Task, state: State) -> np.ndarray:
    """Returns the memory (N, M) of a task's rules over time at the start states of N episodes."""
    return np.concatenate([np.zeros((len(state), 0)), *(r.start(state) for r in task.timed_rules.values())], axis=1)


def judge_states(task: Task, state: State, memory: np.ndarray) -> Judgement:
    """Returns success and failure of N worlds after a control step.

    Args:
        task: whose rules apply.
        state: the states after the step, batch shape (N,).
        memory: of the states before it, from `start_memory` or the last judgement (N, M).
    """
    parts, found, at = [memory[:, :0]], {}, 0
    for name, rule in task.timed_rules.items():
        found[name], part = rule.advance(state, memory[:, at : at + rule.memory_size])
        parts.append(part)
        at += rule.memory_size
    failed = found.get("failure")
    if failed is None:
        failed = task.failure(state)
    failed = np.zeros(len(state), bool) if failed is None else np.asarray(failed, bool)
    success = found["success"] if "success" in found else np.asarray(task.success(state), bool)
    return Judgement(success & ~failed, failed, np.concatenate(parts, axis=1))


def judge_episode(task: Task, states: np.ndarray) -> np.ndarray:
    """Returns the success (T,) bool after each step of one recorded episode, judged as the simulator judges it.

    Args:
        task: whose rules apply.
        states: (T + 1, D), from the start to the end.
    """
    if not task.timed_rules:
        return np.asarray(task.success(State(task.spec, states[1:])), bool)
    memory, success = start_memory(task, State(task.spec, states[:1])), []
    for row in range(1, len(states)):
        judged = judge_states(task, State(task.spec, states[row : row + 1]), memory)
        success.append(judged.success[0])
        memory = judged.memory
    return np.array(success, bool)
