"""Random programs of the language: whatever compiles keeps the contract, and any text is answered with a refusal."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from robo_reward.envs.state import Transitions
from robo_reward.errors import RoboRewardError
from robo_reward.language.builtins import FUNCTIONS
from robo_reward.language.language import ProgramError, RewardProgram, compile_program, program_from_spec
from robo_reward.language.validation.samples import sample_typical_transitions
from robo_reward.rewards.contract import RewardOutput
from tests.language.programs import ACTION_DIM, FIVE_TERMS, SPEC, entry

BATCH = sample_typical_transitions(SPEC, ACTION_DIM, 12, seed=3)

NUMBERS = st.floats(-5, 5).map(lambda x: repr(round(x, 3)))
SCALARS = st.sampled_from(
    ["state.opening", "previous.opening", "state.joints[:, 2]", "action[:, 0]", "action[..., -1]"]
)
VECTORS = st.sampled_from(["state.hand_position", "previous.cube_position", "action[:, 1:]", "state.joints[:, :3]"])


def _grown(numbers: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    vectors = VECTORS | st.tuples(numbers, VECTORS).map(
        lambda p: f"({p[0]} * np.ones_like({p[1]})[:, 0])[:, None] * {p[1]}"
    )
    return st.one_of(
        st.tuples(numbers, st.sampled_from("+-*"), numbers).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(numbers, numbers).map(lambda p: f"({p[0]} / np.maximum(np.abs({p[1]}), 0.1))"),
        st.tuples(st.sampled_from(["tanh", "abs", "square", "sin", "arctan", "sign"]), numbers).map(
            lambda p: f"np.{p[0]}({p[1]})"
        ),
        st.tuples(numbers, st.sampled_from(["<", ">=", "!="]), numbers, numbers).map(
            lambda p: f"np.where({p[0]} {p[1]} {p[2]}, {p[3]}, 0.5)"
        ),
        st.tuples(numbers, NUMBERS).map(lambda p: f"tolerance({p[0]}, lower={p[1]}, upper={p[1]}, margin=0.5)"),
        st.tuples(vectors, vectors).map(lambda p: f"np.linalg.norm({p[0]} - {p[1]}, axis=-1)"),
        st.tuples(st.sampled_from(["sum", "mean", "max", "min"]), vectors).map(lambda p: f"np.{p[0]}({p[1]}, axis=-1)"),
        st.tuples(vectors, vectors).map(lambda p: f"np.dot({p[0]}, {p[1]})"),
        st.tuples(numbers, numbers).map(
            lambda p: f"np.sum(np.stack([{p[0]} + state.opening, {p[1]} + action[:, 0]], axis=-1), axis=-1)"
        ),
    )


EXPRESSIONS = st.recursive(NUMBERS | SCALARS, _grown, max_leaves=10)


def _accepted(source: str) -> RewardProgram | None:
    """The compiled program, or None when it was refused."""
    try:
        return compile_program(source, SPEC, ACTION_DIM)
    except ProgramError:
        return None


def _output(program: RewardProgram, batch: Transitions) -> RewardOutput | None:
    """What a program says, or None when it leaves the finite numbers."""
    try:
        return program(batch)
    except RoboRewardError:
        return None


@settings(max_examples=120)
@given(EXPRESSIONS, EXPRESSIONS)
def test_what_compiles_keeps_the_contract(first: str, second: str) -> None:
    source = entry(f"x = {first}", f"y = {second}", "x -= 0.5 * y", returns='x + y, {"x": x, "y": y}')
    program = compile_program(source, SPEC, ACTION_DIM)
    output = _output(program, BATCH)
    assume(output is not None)
    assert output is not None
    for i in range(3):
        alone = program(BATCH.rows(slice(i, i + 1)))
        scale = 1e-9 * (1.0 + np.abs(output.total).max())
        np.testing.assert_allclose(alone.total, output.total[i : i + 1], rtol=1e-9, atol=scale)
    rebuilt = program_from_spec(program.spec())
    np.testing.assert_array_equal(rebuilt(BATCH).total, output.total)
    canonical = compile_program(program.canonical, SPEC, ACTION_DIM)
    np.testing.assert_array_equal(canonical(BATCH).total, output.total)


@settings(max_examples=80)
@given(EXPRESSIONS)
def test_compiled_programs_agree_with_plain_numpy(expression: str) -> None:
    assume("tolerance" not in expression and "np.dot" not in expression)
    program = compile_program(entry(f"x = {expression}", returns='x, {"x": x}'), SPEC, ACTION_DIM)
    output = _output(program, BATCH)
    assume(output is not None)
    assert output is not None
    names = {"np": np, "state": BATCH.state, "previous": BATCH.previous, "action": BATCH.action}
    with np.errstate(all="ignore"):
        expected = eval(expression, names)
    np.testing.assert_allclose(output.total, np.broadcast_to(expected, 12), rtol=1e-7, atol=1e-7)


@given(st.text(max_size=300))
def test_any_text_is_refused_and_nothing_else(text: str) -> None:
    _accepted(text)


TOKENS = [
    "state",
    "previous",
    "action",
    "np",
    ".",
    "opening",
    "joints",
    "(",
    ")",
    "[",
    "]",
    ":",
    ",",
    "=",
    "+",
    "-",
    "**",
    "1",
    "2.5",
    "'a'",
    "{",
    "}",
    "\n    ",
    " ",
    "for i in range(3):",
    "return ",
    "if ",
    "lambda ",
    "tanh",
    "sum",
    "axis=-1",
    "def f(x):",
    "x",
    "import os",
    "*",
    "__class__",
    "@",
    "~",
    "...",
    "None",
    "+=",
    "while ",
    "not ",
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(TOKENS), max_size=25).map("".join))
@example("x = state.joints[:, :, None]")
def test_any_body_is_compiled_or_refused(body: str) -> None:
    source = (
        f"def compute_reward(state, action, previous):\n    {body}\n    return state.opening, {{'a': state.opening}}\n"
    )
    before = [array.copy() for array in (BATCH.previous.array, BATCH.action, BATCH.state.array)]
    if (program := _accepted(source)) is not None:
        _output(program, BATCH)
    for old, new in zip(before, (BATCH.previous.array, BATCH.action, BATCH.state.array), strict=True):
        np.testing.assert_array_equal(old, new)


@settings(max_examples=150)
@given(st.integers(0, len(FIVE_TERMS)), st.integers(0, 40), st.text("()[]{}.:=_np\n x1'", max_size=6))
def test_damaged_programs_are_compiled_or_refused(start: int, length: int, inserted: str) -> None:
    damaged = FIVE_TERMS[:start] + inserted + FIVE_TERMS[start + length :]
    if (program := _accepted(damaged)) is not None:
        _output(program, BATCH)


@given(
    st.sampled_from(sorted(name for name, f in FUNCTIONS.items() if f.keywords or f.name.startswith("np."))),
    st.lists(
        st.sampled_from(["state.opening", "state.joints", "1.0", "-1", "0", "[state.opening]", "True", "x=1.0"]),
        max_size=4,
    ),
)
def test_any_call_of_an_offered_function_is_computed_or_refused(name: str, arguments: list[str]) -> None:
    source = entry(f"a = {name}({', '.join(arguments)})")
    if (program := _accepted(source)) is not None:
        _output(program, BATCH)
