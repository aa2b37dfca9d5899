"""Any state and any sentence: the offline writer answers with programs that compile and pass the probes."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robo_reward.envs.state import ROLES, Field, StateSpec
from robo_reward.envs.task import ActionSpec
from robo_reward.language.language import compile_program
from robo_reward.language.validation.probes import probe
from robo_reward.language.validation.samples import sample_typical_transitions
from robo_reward.writers.offline.lexicon import DIRECTIONS, SYNONYMS, UNITS, VERBS
from robo_reward.writers.offline.writer import OfflineWriter
from robo_reward.writers.writer import Feedback, ScoredProgram, WriteRequest

WORDS = sorted({w for verbs in VERBS.values() for w in verbs.split()} | {w for group in SYNONYMS for w in group})
SMALL = [
    "the",
    "to",
    "on",
    "A",
    "it",
    "and",
    "without",
    "falling",
    "10",
    "above",
    "fast",
    "still",
    ".",
    *UNITS,
    *DIRECTIONS,
]
SENTENCES = st.lists(st.sampled_from([*WORDS, *SMALL]) | st.text(max_size=4), max_size=12).map(" ".join)

KINDS = st.sampled_from(
    [
        ("position", (3,), "m"),
        ("velocity", (3,), "m/s"),
        ("rotation", (4,), "quaternion"),
        ("spin", (3,), "rad/s"),
        ("opening", (), "m"),
        ("angle", (), "rad"),
        ("rate", (), "rad/s"),
        ("contact", (), "N"),
        ("readings", (5,), "1"),
        ("matrix", (3, 3), "1"),
    ]
)
NAMES = st.sampled_from(
    ["cube", "hand", "goal", "drawer", "torso", "class", "a", "np", "über", "action", "x__y", "lift"]
)
RANGES = st.tuples(st.floats(-2, 1), st.floats(0.01, 3)).map(
    lambda pair: (round(pair[0], 3), round(pair[0] + pair[1], 3))
)
DESCRIPTIONS = st.sampled_from(
    [
        "",
        "a red cube, 4 cm wide; 0.02 m high",
        "0 closed to 0.08 open",
        "moves to the robot (-x), a bar along y",
        "root",
        '"""\\',
    ]
)


@st.composite
def fields(draw: st.DrawFn) -> Field:
    name, (quantity, shape, unit) = draw(NAMES), draw(KINDS)
    whole = draw(st.sampled_from([f"{name}_{quantity}", name]))
    role = draw(st.sampled_from(ROLES))
    return Field(whole, shape, unit, draw(DESCRIPTIONS), role, typical=draw(RANGES))


SPECS = st.lists(fields(), min_size=1, max_size=8, unique_by=lambda f: f.name).map(StateSpec)
ACTIONS = st.sampled_from(
    [
        ActionSpec("ee_delta", ("dx", "dy", "dz", "gripper"), (1.0,) * 4, ("m",) * 4, 25.0),
        ActionSpec("native", ("a",), (1.0,), ("1",), 20.0),
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SENTENCES, SPECS, ACTIONS, st.integers(0, 9), SENTENCES)
def test_any_sentence_and_state(goal: str, spec: StateSpec, action: ActionSpec, index: int, rule: str) -> None:
    asked = WriteRequest(goal, spec, action, success_rule=rule, first=index)
    source = OfflineWriter(strict=False).write(asked, 1)[0].source
    assert source is not None
    report = probe(compile_program(source, spec, action.dim), sample_typical_transitions(spec, action.dim, 64))
    assert report.ok, f"{report}\n{source}"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SENTENCES, SPECS, ACTIONS, st.integers(0, 3), st.lists(st.floats(-1, 5), min_size=1, max_size=3))
def test_any_child(goal: str, spec: StateSpec, action: ActionSpec, index: int, values: list[float]) -> None:
    first = [c.source or "" for c in OfflineWriter(strict=False).write(WriteRequest(goal, spec, action), 2)]
    scored = [ScoredProgram(str(i), s, 0.3, terms={"effort": values, "approach": values}) for i, s in enumerate(first)]
    asked = WriteRequest(goal, spec, action, round=1, feedback=Feedback(scored[0], (scored[1],)), first=index)
    source = OfflineWriter(strict=False).write(asked, 1)[0].source
    assert source is not None
    report = probe(compile_program(source, spec, action.dim), sample_typical_transitions(spec, action.dim, 64))
    assert report.ok, f"{report}\n{source}"
