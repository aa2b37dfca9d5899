"""Rules for success and failure, against the same conditions in plain numpy."""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robo_reward.envs.state import Field, State, StateSpec
from robo_reward.envs.task import make_task
from robo_reward.errors import UnknownName
from robo_reward.scenes.rules import ConditionError, StateCondition

SPEC = StateSpec(
    [
        Field("ball_position", (3,), "m"),
        Field("basket_position", (3,), "m"),
        Field("slider_displacement", (), "m"),
        Field("ball_rotation", (4,), "quaternion"),
    ]
)
compile_rule = cache(partial(StateCondition, spec=SPEC))
FINITE = st.floats(-3, 3, width=32)


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("norm(ball_position - basket_position) < 1.5", lambda b, k, s: np.linalg.norm(b - k, axis=-1) < 1.5),
        ("ball_height > 0 and not slider_displacement > 0.2", lambda b, k, s: (b[..., 2] > 0) & ~(s > 0.2)),
        ("0 < ball_x < 1 or abs(slider_displacement) < 0.1", lambda b, k, s: ((b[..., 0] > 0) & (b[..., 0] < 1))
         | (abs(s) < 0.1)),
        ("ball_position[2] >= state.basket_position[:, 2]", lambda b, k, s: b[..., 2] >= k[..., 2]),
        ("max(ball_x, ball_y) < np.tanh(slider_displacement)", lambda b, k, s:
         np.maximum(b[..., 0], b[..., 1]) < np.tanh(s)),
    ],
)  # fmt: skip
@given(array=arrays(np.float64, (4, 2, SPEC.dim), elements=FINITE))
def test_a_rule_is_the_condition_that_it_says(text: str, truth, array: np.ndarray) -> None:
    state = State(SPEC, array)
    wanted = truth(state.ball_position, state.basket_position, state.slider_displacement)
    np.testing.assert_array_equal(compile_rule(text)(state), wanted)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("ball_hight > 0", UnknownName, "Did you mean 'ball_height'"),
        ("ball_height", ConditionError, "a number, not a condition.*'ball_height < 0.05'"),
        ("", ConditionError, "0 characters"),
        ("norm(ball_position", ConditionError, "not an expression"),
        ("ball_position < 0.1", ConditionError, r"compares a vector.*ball|compares a vector.*norm"),
        ("foo(ball_x) < 1", UnknownName, "function.*norm"),
        ("__import__('os').system('x') < 1", ConditionError, "a call of __import__"),
        ("[x for x in ball_position] < 1", UnknownName, "field in the rule.*'x'"),
        ("(lambda: 1)() < 2", ConditionError, "Remedy"),
        ("ball_x < 'a'", ConditionError, "Remedy"),
        ("ball_x < 0.1 == True", ConditionError, "compares 0.1 with True"),
        ("-" * 400 + "ball_x < 1", ConditionError, "Remedy"),
    ],
)
def test_what_is_no_condition_is_refused_with_a_remedy(text: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        StateCondition(text, SPEC)


def test_any_task_takes_another_goal_and_rule() -> None:
    task = make_task(
        "panda/lift", goal="Push the cube to the left.", success="cube_y > 0.1", failure="cube_height > 0.2"
    )
    state = task.spec.pack({f.name: np.zeros((3, *f.shape)) for f in task.spec})
    state.cube_position[:] = [[0, 0, 0], [0, 0.2, 0], [0, 0.2, 0.3]]
    np.testing.assert_array_equal(task.success(state), [False, True, True])
    failed = task.failure(state)
    assert failed is not None
    np.testing.assert_array_equal(failed, [False, False, True])
    again = make_task("panda/lift", **task.options)
    assert (again.goal, again.success_rule) == (task.goal, "cube_y > 0.1")
    with pytest.raises(UnknownName, match="cube_hight"):
        make_task("panda/lift", success="cube_hight > 0.1")
