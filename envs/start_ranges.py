"""The states in which the episodes of a task begin."""

from __future__ import annotations

from robo_reward.envs.state import State
from robo_reward.envs.task import Task

WORLDS = 64
"""Number of episodes that are begun."""


def sample_start_states(task: Task, worlds: int = WORLDS) -> State:
    """Returns the start states (worlds, D) of a few episodes, always the same."""
    sim = task.make_worlds(min(worlds, task.max_worlds), seed=0, threads=1)
    state = State(task.spec, sim.state.array.copy())
    sim.close()
    return state


def measure_start_ranges(start: State) -> dict[str, list[tuple[float, float]]]:
    """Returns field -> (lowest, highest) value of each component of start states, for what a writer may see."""
    flat = start.array.reshape(-1, start.spec.dim)
    low, high = flat.min(axis=0).round(6), flat.max(axis=0).round(6)
    return {
        field.name: [
            (float(low[i]), float(high[i])) for i in range(*start.spec.slice(field.name).indices(flat.shape[1]))
        ]
        for field in start.spec
        if field.role != "hidden"
    }
