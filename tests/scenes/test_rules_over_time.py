"""Rules that look back over the episode: held, ever, count."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from robo_reward.envs.batch import BatchSim
from robo_reward.envs.judgement import judge_episode
from robo_reward.envs.state import Field, State, StateSpec
from robo_reward.envs.task import make_task
from robo_reward.errors import UnknownName
from robo_reward.scenes.rules import ConditionError, RuleOverTime
from tests.scenes.test_scene_task import PUCK

SPEC = StateSpec([Field("ball_position", (3,), "m"), Field("x")])
DT = 0.04


def judge_naively(heights: np.ndarray, seconds: float) -> dict[str, bool]:
    """Judges one whole history of heights (t,) from its definition, with a loop over time."""
    up = heights > 0.5
    steps = round(seconds / DT)
    return {
        f"held(ball_z > 0.5, {seconds})": len(up) > steps and bool(up[-steps - 1 :].all()),
        "ever(ball_z > 0.5)": bool(up.any()),
        "count(ball_z > 0.5) >= 2": sum(bool(b and not a) for a, b in itertools.pairwise(up)) >= 2,
    }


def test_operators_agree_with_their_definition() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.uniform(0, 1, (10, 7)), 4, axis=0)  # (T + 1, n): pieces of 4 steps
    states = np.zeros((len(values), 7, SPEC.dim))
    states[..., 2] = values
    for text in judge_naively(values[:1, 0], 0.2):
        rule = RuleOverTime(text, SPEC, DT, 2.0)
        memory = rule.start(State(SPEC, states[0]))
        seen = []
        for t in range(1, len(values)):
            holds, memory = rule.advance(State(SPEC, states[t]), memory)
            truth = [judge_naively(values[: t + 1, world], 0.2)[text] for world in range(7)]
            np.testing.assert_array_equal(holds, truth, err_msg=f"{text} at {t}")
            seen += truth
        assert 0 < np.mean(seen) < 1


def test_operators_nest_and_mix_with_conditions() -> None:
    rule = RuleOverTime("ever(held(ball_z > 0.5, 0.08)) and not x > 0", SPEC, DT, 2.0)
    memory = rule.start(State(SPEC, np.zeros((1, 4))))
    found = []
    for height, x in [(1, 0), (1, 0), (0, 0), (1, 0), (1, 0), (1, 0), (0, 0), (0, 1), (0, 0)]:
        holds, memory = rule.advance(State(SPEC, np.array([[0, 0, height, x]], float)), memory)
        found.append(bool(holds[0]))
    assert found == [False] * 5 + [True, True, False, True]
    assert "where" in rule.source and "held" not in rule.source


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("held(ball_z > 0.5)", ConditionError, "has no time.*SECONDS"),
        ("held(ball_z > 0.5, x)", ConditionError, "has no time"),
        ("held(ball_z > 0.5, -1)", ConditionError, "has no time"),
        ("held(ball_z > 0.5, 3)", ConditionError, "waits for 3 s, and an episode lasts 2 s"),
        ("held(ball_z, 0.3)", ConditionError, "it is a number, not a condition"),
        ("held(ball_position > 0, 0.3)", ConditionError, "compares a vector"),
        ("count(ball_z > 1)", ConditionError, r"compare it with something, as in 'count\(ball_z > 1\) < 0.05'"),
        ("ever(ball_zz > 1)", UnknownName, "ball_z"),
        ("ever(ball_z > 1, 2)", ConditionError, "other arguments"),
        ("hold(ball_z > 1, 2)", UnknownName, "held"),
    ],
)
def test_mistakes_are_named(text: str, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        RuleOverTime(text, SPEC, DT, 2.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "puck.xml").write_text(PUCK)
    return tmp_path / "puck.xml"


RULE = "held(slider_displacement > 0.02, 0.4) and count(slider_velocity > 0.1) >= 2"


def test_a_simulator_remembers_each_episode_and_continues_exactly(path: Path) -> None:
    task = make_task(str(path), goal="Push.", success=RULE, failure="held(slider_displacement < -0.02, 1.0)")
    rng = np.random.default_rng(0)
    actions = np.clip(np.repeat(rng.uniform(-2, 2, (50, 16, 1)), 8, axis=0), -1, 1)
    sim = BatchSim(task, 16, seed=3)
    states, success, ends = [sim.state.array.copy()], [], []
    saved: dict[str, np.ndarray] = {}
    for t, action in enumerate(actions):
        if t == 200:
            saved = sim.snapshot()
        result = sim.step(action)
        states.append(result.transitions.state.array.copy())
        success.append(result.success.copy())
        ends.append(result.has_ended.copy())
    # A recorded episode is judged as the simulator judged it.
    for world in range(16):
        stop = int(np.argmax([end[world] for end in ends])) + 1
        recorded = judge_episode(task, np.stack(states)[: stop + 1, world])
        np.testing.assert_array_equal(recorded, np.stack(success)[:stop, world])
    assert np.any(success) and any(end.any() for end in ends[:140])  # some failed before the horizon of 150 steps
    again = BatchSim(task, 16, seed=99)
    again.restore(saved)
    for t in range(200, len(actions)):
        result = again.step(actions[t])
        np.testing.assert_array_equal(result.success, success[t])
        np.testing.assert_array_equal(result.has_ended, ends[t])
    sim.close()
    again.close()


def test_every_task_takes_a_rule_over_time() -> None:
    task = make_task("panda/reach", success="held(norm(hand_position - goal_position) < 0.05, 0.4)")
    sim = BatchSim(task, 8, seed=0)
    near, wins = [], []
    for _ in range(task.horizon):
        near.append(np.linalg.norm(sim.state.hand_position - sim.state.goal_position, axis=1) < 0.05)
        result = sim.step(task.expert(sim.state))
        wins.append(result.success)
    sim.close()
    steps = round(0.4 / task.control_dt)
    state = result.transitions.state
    near.append(np.linalg.norm(state.hand_position - state.goal_position, axis=1) < 0.05)
    np.testing.assert_array_equal(wins[-1], np.all(near[-steps - 1 :], axis=0))
    assert wins[-1].any() and not np.any(wins[: steps - 1])
