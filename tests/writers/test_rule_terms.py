"""Terms from a success rule: more reward where the rule is nearer to being met, judged by the rule itself."""

from __future__ import annotations

import numpy as np
import pytest

from robo_reward.envs.state import Field, State, StateSpec, Transitions
from robo_reward.envs.task import ActionSpec
from robo_reward.language.language import compile_program
from robo_reward.scenes.rules import StateCondition
from robo_reward.writers.offline.plans.rule import parse_requirements
from robo_reward.writers.offline.propose import draw_proposals
from robo_reward.writers.writer import WriteRequest

SPEC = StateSpec(
    [
        Field("ball_position", (3,), "m", "the ball", "object"),
        Field("cup_position", (3,), "m", "the cup", "goal"),
        Field("hand_position", (3,), "m", "the hand", "hand"),
        Field("wheel_velocity", (), "rad/s", "the wheel", "part"),
    ]
)
ACTION = ActionSpec("native", ("a",), (1.0,), ("1",), 50.0)
RULES = (
    "ball_x > 0.5",
    "ball_height < 0.2",
    "norm(ball_position - cup_position) < 0.8",
    "abs(wheel_velocity) > 1",
    "ball_x > cup_x",
    "ball_x > 0.1 and ball_height > 0.1 and abs(ball_y) < 0.5",
    "wheel_velocity > 1 or wheel_velocity < -1",
    "held(ball_x > 0.5, 2.0)",
    "count(ball_x > 0.5) >= 2",
    "ball_x > 0.5; an episode ends at once, as failed, if ball_z < 0",
)


def states(n: int = 400) -> State:
    return State(SPEC, np.random.default_rng(0).normal(0, 0.7, (n, SPEC.dim)))


def program(rule: str, index: int = 1) -> str:
    return draw_proposals(WriteRequest("Play.", SPEC, ACTION, success_rule=rule, first=index), 1)[0].source


@pytest.mark.parametrize("rule", RULES)
def test_states_that_meet_the_rule_earn_more(rule: str) -> None:
    state = states()
    condition = "ball_x > 0.5" if "(ball_x > 0.5" in rule else rule.partition(";")[0]
    met = StateCondition(condition, SPEC)(state)
    assert 0.02 < met.mean() < 0.98
    output = compile_program(program(rule), SPEC, 1)(Transitions(state, np.zeros((len(state), 1)), state))
    near = np.sum([v for name, v in output.terms.items() if name.endswith("_near") and "contact" not in name], axis=0)
    assert near[met].mean() > near[~met].mean() + 0.2
    # The bonus: all of its largest values are states that meet the rule.
    best = np.argsort(output.terms["met"])[-int(0.3 * met.sum()) :]
    assert met[best].all()


def test_a_gap_is_zero_only_where_the_rule_holds_with_a_margin() -> None:
    wanted = parse_requirements("ball_x > 0.5 and ball_height < -0.2 and cup_x > ball_x", SPEC)
    assert [r.name for r in wanted] == ["ball_x", "ball_z", "cup_x"]
    assert wanted[0].gap == "np.maximum(0.55 - state.ball_position[:, 0], 0.0)"
    assert wanted[1].gap == "np.maximum(state.ball_position[:, 2] - (-0.22), 0.0)"


def test_progress_pays_at_any_distance_and_the_hand_comes_to_the_object() -> None:
    before = State(SPEC, np.zeros((1, SPEC.dim)))
    before.array[0, SPEC.slice("cup_position")] = [50.0, 0, 0]
    before.array[0, SPEC.slice("hand_position")] = [-50.0, 0, 0]
    after = State(SPEC, before.array.copy())
    after.array[0, SPEC.slice("ball_position")] = [0.01, 0, 0]  # at 0.5 m/s
    after.array[0, SPEC.slice("hand_position")] = [-49.98, 0, 0]
    terms = compile_program(program(RULES[2]), SPEC, 1)(Transitions(before, np.zeros((1, 1)), after)).terms
    assert terms["ball_progress"] == pytest.approx(0.5)
    assert terms["contact_progress"] == pytest.approx(0.5)


def test_a_rule_in_english_has_no_terms() -> None:
    for text in ("the cube is at least 10 cm above its height at rest", "", "ball_x", "a_field > 1"):
        assert parse_requirements(text, SPEC) == []
