"""Reward programs against the same reward in plain Python, called once for each transition.

Eureka-like projects that run on one world at a time hand each transition to a Python function that does numpy
arithmetic on small vectors. A reward program sees the whole batch. Both compute the same five terms on the same states;
their outputs are compared before anything is timed. Times are the best of several rounds, which other processes on the
machine disturb least.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmarks.output import arguments, report
from robo_reward.envs.state import Field, StateSpec, Transitions
from robo_reward.language.language import compile_program
from robo_reward.language.validation.samples import sample_typical_transitions

BATCH = 4096
SPEC = StateSpec(
    [
        Field("hand_position", (3,), "m", role="hand", typical=(0.0, 0.6)),
        Field("hand_velocity", (3,), "m/s", role="hand", typical=(-0.5, 0.5)),
        Field("opening", (), "m", role="gripper", typical=(0.0, 0.08)),
        Field("cube_position", (3,), "m", role="object", typical=(0.0, 0.6)),
        Field("goal_position", (3,), "m", role="goal", typical=(0.0, 0.6)),
        Field("joints", (7,), "rad", role="joint", typical=(-2.0, 2.0)),
    ]
)
ACTION_DIM = 4

PROGRAM = """\
def compute_reward(state, action, previous):
    gap = np.linalg.norm(state.cube_position - state.hand_position, axis=-1)
    reach = 1.0 - np.tanh(8.0 * gap)
    closed = np.clip((0.08 - state.opening) / 0.04, 0.0, 1.0)
    grasp = 0.5 * np.where(gap < 0.3, closed, 0.0)
    lift = 3.0 * np.clip((state.cube_position[:, 2] - 0.02) / 0.12, 0.0, 1.0)
    place = np.exp(-10.0 * np.linalg.norm(state.goal_position - state.cube_position, axis=-1))
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = reach + grasp + lift + place + effort
    return total, {"reach": reach, "grasp": grasp, "lift": lift, "place": place, "effort": effort}
"""


def per_transition(hand: np.ndarray, opening: float, cube: np.ndarray, goal: np.ndarray, action: np.ndarray):
    """The same reward for one transition, as it is written for a single world."""
    gap = np.linalg.norm(cube - hand)
    reach = 1.0 - np.tanh(8.0 * gap)
    closed = np.clip((0.08 - opening) / 0.04, 0.0, 1.0)
    grasp = 0.5 * closed if gap < 0.3 else 0.0
    lift = 3.0 * np.clip((cube[2] - 0.02) / 0.12, 0.0, 1.0)
    place = np.exp(-10.0 * np.linalg.norm(goal - cube))
    effort = -0.01 * np.sum(action**2)
    total = reach + grasp + lift + place + effort
    return total, {"reach": reach, "grasp": grasp, "lift": lift, "place": place, "effort": effort}


def loop(batch: Transitions) -> np.ndarray:
    """Calls `per_transition` for each row; fields are sliced beforehand, which favours it."""
    state = batch.state
    rows = zip(state.hand_position, state.opening, state.cube_position, state.goal_position, batch.action, strict=True)
    return np.array([per_transition(*row)[0] for row in rows])


def best_seconds(call: Callable[[], object], rounds: int) -> float:
    """The shortest of several runs [s]."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(quick: bool) -> dict[str, float]:
    """Times both on the same transitions."""
    batch = sample_typical_transitions(SPEC, ACTION_DIM, BATCH)
    program = compile_program(PROGRAM, SPEC, ACTION_DIM)
    np.testing.assert_allclose(program(batch).total, loop(batch), rtol=1e-12)
    rounds = 30 if quick else 300
    few_rounds = max(3, rounds // 30)
    small, single = batch.rows(slice(0, 64)), batch.rows(slice(0, 1))
    ours = best_seconds(lambda: program(batch), rounds) / BATCH
    plain = best_seconds(lambda: loop(batch), few_rounds) / BATCH
    return {
        "ns_per_transition": ours * 1e9,
        "vs_per_call_python": plain / ours,
        "per_call_python_ns_per_transition": plain * 1e9,
        "ns_per_transition_at_b64": best_seconds(lambda: program(small), rounds) / 64 * 1e9,
        "us_per_call_at_b1": best_seconds(lambda: program(single), rounds) * 1e6,
        "compile_ms": best_seconds(lambda: compile_program(PROGRAM, SPEC, ACTION_DIM), few_rounds) * 1e3,
    }


if __name__ == "__main__":
    args = arguments(__doc__)
    report(args, measure(args.quick), {"ns_per_transition": "<= 150", "vs_per_call_python": ">= 30"})
