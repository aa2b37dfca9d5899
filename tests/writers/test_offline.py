"""The offline writer: it understands sentences and states, knows no task by name, and improves programs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest

from robo_reward.envs.state import Field, StateSpec, Transitions
from robo_reward.envs.task import ActionSpec, make_task, task_names
from robo_reward.language.language import compile_program
from robo_reward.language.validation.probes import probe
from robo_reward.language.validation.samples import sample_typical_transitions
from robo_reward.writers.extract import extract_program
from robo_reward.writers.offline import facts
from robo_reward.writers.offline.edits import jitter_constants
from robo_reward.writers.offline.evolve import diagnose_terms
from robo_reward.writers.offline.propose import draw_proposals
from robo_reward.writers.offline.render import render_program
from robo_reward.writers.offline.scene import SceneFacts
from robo_reward.writers.offline.sentence import Amount, parse_sentence
from robo_reward.writers.offline.slices import parse_recipe
from robo_reward.writers.offline.terms import Recipe, SourceLine, Term, rename_conflicts
from robo_reward.writers.offline.writer import OfflineWriter
from robo_reward.writers.writer import Feedback, RejectedAnswer, ScoredProgram, WriteRequest, make_writer

FOUR = ActionSpec("ee_delta", ("dx", "dy", "dz", "gripper"), (0.02, 0.02, 0.02, 0.04), ("m",) * 4, 25.0)
THREE = ActionSpec("ee_delta", ("dx", "dy", "dz"), (0.02,) * 3, ("m",) * 3, 25.0)
HAND = (
    Field("hand_position", (3,), "m", "between the finger tips", "hand", typical=(-0.3, 0.7)),
    Field("gripper_opening", (), "m", "width between the fingers, 0 closed to 0.08 open", "gripper", typical=(0, 0.08)),
)
LIFT = "Pick up the red cube and lift it 10 cm above the table."


def thing(name: str, what: str, role: str = "object") -> tuple[Field, ...]:
    return (
        Field(f"{name}_position", (3,), "m", f"centre of {what}", role, typical=(-0.3, 0.7)),
        Field(f"{name}_velocity", (3,), "m/s", f"velocity of {what}", role),
    )


CUBE = thing("cube", "the red cube, 4 cm wide; 0.02 m high when it lies on the table")
GOAL = (Field("goal_position", (3,), "m", "where to", "goal", typical=(-0.3, 0.7)),)


def request(
    goal: str = LIFT, fields: tuple[Field, ...] = (*HAND, *CUBE), action: ActionSpec = FOUR, **more
) -> WriteRequest:
    return WriteRequest(goal, StateSpec(fields), action, **more)


def sources(asked: WriteRequest, k: int = 6) -> list[str]:
    return [completion.source or "" for completion in OfflineWriter().write(asked, k)]


def terms(source: str) -> set[str]:
    recipe = parse_recipe(source)
    assert recipe is not None
    return set(recipe.names)


def evaluate(asked: WriteRequest, source: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The terms of a program on hand-made states; fields that are not given are zero."""
    spec = asked.spec
    states = [spec.pack({f.name: row.get(f.name, np.zeros(f.shape)) for f in spec}).array for row in rows]
    after = spec.view(np.stack(states))
    output = compile_program(source, spec, asked.action.dim)(
        Transitions(after, np.zeros((len(rows), asked.action.dim)), after)
    )
    return {**output.terms, "total": output.total}


class TestSentence:
    def test_verbs_things_targets_and_amounts(self):
        read = parse_sentence(LIFT)
        assert read.intents == ("lift", "lift")
        assert read.clauses[0].item == read.clauses[1].item == ("red", "cube")  # `it`
        assert read.clauses[1].amount == Amount(0.1, "m")

    @pytest.mark.parametrize(
        ("text", "intent", "thing", "target", "relation"),
        [
            ("Push the blue puck to the green goal on the table.", "push", ("blue", "puck"), ("green", "goal"), "to"),
            ("Stack the red cube on the green cube", "place", ("red", "cube"), ("green", "cube"), "on"),
            ("Place cube A on top of cube B", "place", ("cube", "a"), ("cube", "b"), "on"),
            ("Move the hand towards the handle", "move", ("hand",), ("handle",), "to"),
            ("Close the drawer", "close", ("drawer",), (), ""),
        ],
    )
    def test_clauses(self, text, intent, thing, target, relation):
        clause = parse_sentence(text).clauses[0]
        assert (clause.intent, clause.item, clause.target, clause.relation) == (intent, thing, target, relation)

    def test_a_noun_that_could_be_a_verb(self):
        assert parse_sentence("Press the push button").intents == ("push",)
        assert parse_sentence("Let go of the red lift").intents == ()

    @pytest.mark.parametrize(
        ("text", "amount"),
        [
            ("by 30 degrees", Amount(0.523599, "rad")),
            ("50 mm", Amount(0.05, "m")),
            ("ten centimetres", Amount(0.1, "m")),
        ],
    )
    def test_amounts(self, text, amount):
        assert parse_sentence(text).amounts == (amount,)

    def test_moods(self):
        read = parse_sentence("Make the hopper hop backwards as fast as possible without falling.")
        assert read.intents == ("run",)
        assert (read.direction, read.requires_speed, read.requires_upright) == ((0, -1), True, True)

    @pytest.mark.parametrize("text", ["", "....", "ünïcödé 字", "7 cm", "the " * 500, "\x00\n"])
    def test_anything_can_be_read(self, text):
        parse_sentence(text)


class TestFacts:
    def test_numbers_in_descriptions(self):
        assert facts.parse_rest_height("the red cube, 4 cm wide; 0.02 m high when it lies on the table") == 0.02
        assert facts.parse_radius("a cube, 4 cm wide") == 0.02
        assert facts.parse_radius("a flat cylinder of 0.04 m radius and 0.04 m height") == 0.04
        assert facts.parse_motion_direction("when the drawer opens it moves toward the robot (-x)") == (0, -1)
        assert facts.parse_heading("within 40 degrees of straight ahead (+x)") == (0, 1)
        assert facts.parse_bar_axis("a bar of 7 mm radius along y from -0.06") == 1
        assert facts.parse_tolerance("the puck's centre is within 3 cm of the goal") == 0.03
        assert (
            facts.parse_rest_height("nothing said")
            is facts.parse_radius("nothing")
            is facts.parse_motion_direction("nothing")
            is None
        )

    def test_ends_of_an_opening(self):
        assert facts.parse_closed_and_open(Field("a_gap", (), "m", "gap, 0 closed to 0.08 open", typical=(-1, 1))) == (
            0.0,
            0.08,
        )
        assert facts.parse_closed_and_open(Field("a_gap", (), "m", "gap", typical=(0, 0.2))) == (0, 0.2)
        assert facts.parse_closed_and_open(Field("a_angle", (), "rad", "turn", typical=(-1.5, 0))) == (0, -1.5)


class TestScene:
    def test_colours_tell_equal_things_apart(self):
        scene = SceneFacts(StateSpec([*HAND, *thing("a", "the red cube"), *thing("b", "the green cube")]))
        found = scene.find_best_match(("green", "cube"), "position", ("object",))
        assert found is not None
        assert found.name == "b"

    def test_synonyms(self):
        scene = SceneFacts(StateSpec([*HAND, *thing("ball", "a ball"), *thing("cube", "a cube")]))
        found = scene.find_best_match(("block",), "position", ("object",))
        assert found is not None
        assert found.name == "cube"

    def test_fingers_count_only_where_actions_move_them(self):
        spec = StateSpec([*HAND, *CUBE])
        assert SceneFacts(spec, FOUR.names, FOUR.kind).gripper is not None
        assert SceneFacts(spec, THREE.names, THREE.kind).gripper is None


class TestCompositions:
    def test_lift_rewards_what_it_should(self):
        asked = request()
        near = {"cube_position": [0.5, 0, 0.02], "hand_position": [0.5, 0, 0.02]}
        rows = [
            {**near, "hand_position": [0.4, 0, 0.2], "gripper_opening": 0.08},
            {**near, "gripper_opening": 0.08},
            {**near, "gripper_opening": 0.04},
            {"cube_position": [0.5, 0, 0.14], "hand_position": [0.5, 0, 0.14], "gripper_opening": 0.04},
            {**near, "hand_position": [0.4, 0, 0.2], "cube_position": [0.5, 0, 0.14], "gripper_opening": 0.04},
        ]
        for source in sources(asked, 12):
            values = evaluate(asked, source, rows)
            assert np.all(np.diff(values["total"][:4]) > 0), source
            assert values["lift"][3] > 5 * abs(values["lift"][4])  # a cube in the air without the hand was thrown

    def test_more_is_asked_for_than_the_threshold(self):
        assert "cube_rise = 0.12" in sources(request())[0]

    def test_reach(self):
        asked = request("Move the hand to the green goal.", (*HAND, *GOAL), THREE)
        for source in sources(asked, 12):
            values = evaluate(asked, source, [{"hand_position": [x, 0, 0]} for x in (0.5, 0.3, 0.1, 0.0)])
            assert np.all(np.diff(values["total"]) > 0), source

    def test_push_without_fingers_goes_behind_the_thing(self):
        asked = request("Push the puck to the goal.", (*HAND, *thing("puck", "a puck of 0.04 m radius"), *GOAL), THREE)
        rows = [{"goal_position": [0.2, 0, 0], "hand_position": [x, 0, 0]} for x in (0.05, -0.05)]
        before, behind = evaluate(asked, sources(asked)[0], rows)["touch"]
        assert behind > before

    def test_carry_with_fingers(self):
        asked = request("Bring the cube to the goal.", (*HAND, *CUBE, *GOAL))
        for source in sources(asked):
            assert {"approach", "grasp", "carry"} <= terms(source)

    def test_stack_is_worth_most_when_let_go(self):
        fields = (*HAND, *thing("a", "the red cube, 4 cm wide"), *thing("b", "the green cube, 4 cm wide"))
        asked = request("Stack the red cube on the green cube.", fields)
        on = {"a_position": [0.5, 0, 0.06], "b_position": [0.5, 0, 0.02]}
        rows = [
            {
                "a_position": [0.3, 0, 0.02],
                "b_position": [0.5, 0, 0.02],
                "hand_position": [0.3, 0, 0.02],
                "gripper_opening": 0.04,
            },
            {
                "a_position": [0.5, 0, 0.1],
                "b_position": [0.5, 0, 0.02],
                "hand_position": [0.5, 0, 0.1],
                "gripper_opening": 0.04,
            },
            {**on, "hand_position": [0.5, 0, 0.06], "gripper_opening": 0.04},
            {**on, "hand_position": [0.5, 0, 0.06], "gripper_opening": 0.08},
        ]
        for source in sources(asked, 8):
            values = evaluate(asked, source, rows)
            assert np.all(np.diff(values["total"]) > 0), source
            left = evaluate(asked, source, [{**on, "hand_position": [0.5, 0, 0.2], "gripper_opening": 0.08}])["total"]
            assert left[0] > values["total"][2], source  # going away afterwards is not punished

    @pytest.mark.parametrize(("goal", "better"), [("Pull the drawer open.", 0.15), ("Push the drawer closed.", 0.0)])
    def test_drawer(self, goal, better):
        drawer = Field("drawer_opening", (), "m", "0 closed to 0.16 open", "part", typical=(0, 0.16))
        handle = Field("handle_position", (3,), "m", "handle of the drawer, moves to the robot (-x)", "part")
        asked = request(goal, (*HAND, drawer, handle), THREE)
        for source in sources(asked):
            values = evaluate(asked, source, [{"drawer_opening": x} for x in (better, 0.08, 0.15 - better)])["total"]
            assert values[0] > values[1] > values[2], source

    def test_a_latch_may_spring_back(self):
        fields = (
            Field("lever_position", (3,), "m", "lever of the door", "part"),
            Field("lever_angle", (), "rad", "turn of the lever", "part", typical=(0, 0.8)),
            Field("door_angle", (), "rad", "0 closed to 1.2 open", "part", typical=(0, 1.2)),
        )
        asked = request("Turn the lever and pull the door open.", (*HAND, *fields))
        rows = [{}, {"lever_angle": 0.8}, {"lever_angle": 0.8, "door_angle": 1.2}, {"door_angle": 1.2}]
        total = evaluate(asked, sources(asked)[0], rows)["total"]
        assert total[0] < total[1] < total[2] == total[3]

    def test_run_either_way(self):
        body = (
            Field("torso_velocity", (3,), "m/s", "of the torso", "body", typical=(-5, 5)),
            Field("torso_rotation", (4,), "quaternion", "of the torso", "body"),
        )
        upright = {"torso_rotation": [1.0, 0, 0, 0]}
        rows = [{**upright, "torso_velocity": [x, 0, 0]} for x in (-1.0, 0.0, 2.0)]
        for goal, sign in (("Run forward.", 1), ("Walk backwards without falling.", -1)):
            asked = request(goal, body, THREE)
            for source in sources(asked):
                assert np.all(sign * np.diff(evaluate(asked, source, rows)["total"]) > 0), source
        fallen = {"torso_rotation": [0.0, 1.0, 0, 0]}
        values = evaluate(asked, sources(asked)[0], [upright, fallen])["total"]
        assert values[0] > values[1]

    def test_pole(self):
        asked = request(
            "Swing up the pole.", (Field("pole_angle", (), "rad", "of the pole", "joint", typical=(-3, 3)),), THREE
        )
        values = evaluate(asked, sources(asked)[0], [{"pole_angle": a} for a in (3.1, 1.0, 0.0)])["total"]
        assert np.all(np.diff(values) > 0)

    def test_renaming_changes_names_and_nothing_else(self):
        renamed = {"cube": "gadget", "hand": "claw"}
        fields = tuple(
            replace(f, name=_swap(f.name, renamed), description=_swap(f.description, renamed)) for f in (*HAND, *CUBE)
        )
        other = sources(request(_swap(LIFT, renamed), fields), 12)
        expected = [_swap(source, renamed) for source in sources(request(), 12)]
        assert [source.split() for source in expected] == [
            source.split() for source in other
        ]  # lines may wrap elsewhere

    def test_numbers_of_the_sentence_arrive(self):
        assert "cube_rise = 0.3" in sources(request(LIFT.replace("10 cm", "25 cm")))[0]


def _swap(text: str, names: dict[str, str]) -> str:
    return re.sub("|".join(names), lambda match: names[match[0]], text)


TASKS = [name for name in task_names() if name.startswith("panda/")]
MODELS = {
    "Hopper-v5": "Make the hopper hop forward as fast as possible without falling.",
    "Ant-v5": "Make the ant run forward.",
    "InvertedPendulum-v5": "Balance the pole upright.",
    "Reacher-v5": "Move the fingertip to the target.",
}


def _passes(asked: WriteRequest, source: str, batch: Transitions) -> None:
    report = probe(compile_program(source, asked.spec, asked.action.dim), batch)
    assert report.ok, f"{report}\n{source}"


@pytest.mark.parametrize("name", TASKS)
def test_first_programs_of_our_tasks_pass(name):
    task = make_task(name)
    asked = WriteRequest(task.goal, task.spec, task.action, success_rule=task.success_rule)
    batch = sample_typical_transitions(task.spec, task.action.dim, 256)
    written = sources(asked, 8)
    assert len(set(written)) == 8
    for source in written:
        _passes(asked, source, batch)
    program = compile_program(written[0], task.spec, task.action.dim)
    assert any(field.role != "hand" for field in task.spec if field.name in program.fields)


@pytest.mark.parametrize("name", MODELS)
def test_first_programs_of_other_peoples_models_pass(name):
    with gymnasium.make(name) as env:
        model = env.unwrapped.model  # type: ignore[attr-defined]
        spec = StateSpec.from_model(model)
    action = ActionSpec("native", tuple(f"a{i}" for i in range(model.nu)), (1.0,) * model.nu, ("1",) * model.nu, 20.0)
    asked = WriteRequest(MODELS[name], spec, action)
    batch = sample_typical_transitions(spec, model.nu, 256)
    for source in sources(asked, 6):
        _passes(asked, source, batch)
        assert terms(source) != {"effort"}


class TestAnswers:
    def test_prose_and_one_block(self):
        for completion in OfflineWriter().write(request(), 3):
            assert extract_program(completion.text).source == completion.source
            assert not completion.text.startswith("```")

    def test_registered_by_name(self, tmp_path):
        writer = make_writer({"name": "offline"}, tmp_path)
        assert writer.write(request(), 2) == OfflineWriter().write(request(), 2)

    def test_samples_are_numbered_from_the_first(self):
        three = OfflineWriter().write(request(first=2), 3)
        assert [c.index for c in three] == [2, 3, 4]
        assert [c.source for c in three] == sources(request(), 5)[2:]

    def test_candidates_differ_and_seeds_matter_beyond_the_usual_ones(self):
        many = sources(request(), 16)
        assert len(set(many)) == 16
        assert sources(request(seed=1), 16)[:6] == many[:6]
        assert sources(request(seed=1), 16)[8:] != many[8:]

    def test_a_refused_program_is_not_sent_again(self):
        refused = RejectedAnswer(sources(request())[0], ())
        assert sources(request(repair=refused), 1)[0] not in sources(request())


STATISTICS = {
    "approach": [0.3, 0.6, 0.7],
    "grasp": [0.0, 0.001, 0.002],
    "lift": [0.0, 0.0, 0.01],
    "effort": [-0.02] * 3,
}


def scored(
    source: str, name: str = "1.1", success: float = 0.2, statistics: dict[str, list[float]] | None = None
) -> ScoredProgram:
    return ScoredProgram(name, source, success, (1.0, success), 60.0, statistics or {})


class TestLaterRounds:
    def later(self, best: ScoredProgram, *others: ScoredProgram, **more) -> WriteRequest:
        return request(round=1, feedback=Feedback(best, others), **more)

    def test_the_first_improves_what_the_statistics_show(self):
        asked = self.later(scored(sources(request())[0], statistics=STATISTICS))
        text = OfflineWriter().write(asked, 1)[0].text
        assert "grasp was dead" in text

    def test_all_differ_from_their_parents_and_each_other(self):
        first = sources(request())
        asked = self.later(scored(first[0], statistics=STATISTICS), scored(first[1], "1.2"), scored(first[2], "1.3"))
        children = OfflineWriter().write(asked, 12)
        bare = {compile_program(c.source or "", asked.spec, 4).canonical for c in children}
        parents = {compile_program(s, asked.spec, 4).canonical for s in first}
        assert len(bare) == 12
        assert not bare & parents
        assert any("Crosses 1.1 with" in c.text for c in children)
        assert OfflineWriter().write(asked, 12) == children
        for child in children:
            _passes(asked, child.source or "", sample_typical_transitions(asked.spec, 4, 128))

    def test_ten_generations_stay_sound(self):
        source = sources(request())[0]
        batch = sample_typical_transitions(StateSpec((*HAND, *CUBE)), 4, 64)
        for generation in range(1, 11):
            asked = self.later(
                scored(source, success=generation / 20, statistics=STATISTICS), scored(sources(request())[1], "x")
            )
            asked = replace(asked, round=generation)
            for source in sources(asked, 3):
                _passes(asked, source, batch)
                assert len(source) < 6000

    def test_no_edit_changes_what_was_asked_for(self):
        first = sources(request())
        for seed in range(8):
            asked = self.later(scored(first[0], statistics=STATISTICS), seed=seed)
            for source in sources(asked, 6):
                assert "cube_rise = 0.12\n" in source
                assert "cube_rest = 0.02\n" in source

    def test_without_comments_and_docstrings(self):
        source = compile_program(sources(request())[0], request().spec, 4).canonical
        asked = self.later(scored(source, statistics=STATISTICS))
        assert "lift" in terms(sources(asked)[0])
        assert "# Raise the cube" in sources(asked)[0]

    def test_a_persons_program_is_improved_too(self):
        task = make_task("panda/lift")
        asked = WriteRequest(task.goal, task.spec, task.action, round=1, feedback=Feedback(scored(task.expert_reward)))
        for source in sources(asked, 2):
            assert {"reach", "grasp", "lift"} <= terms(source)
            _passes(asked, source, sample_typical_transitions(task.spec, 4, 128))

    def test_a_program_of_another_form_gets_other_numbers(self):
        odd = (
            "def near(a, b):\n    return np.exp(-3.0 * np.linalg.norm(a - b, axis=-1))\n\n\n"
            "def compute_reward(state, action, previous):\n"
            "    r = 0.5 * near(state.cube_position, state.hand_position)\n"
            '    return r * 2.0, {"near": r}\n'
        )
        asked = self.later(scored(odd))
        children = sources(asked, 2)
        assert parse_recipe(odd) is None
        assert len({odd, *children}) == 3
        assert all("def near" in child for child in children)

    def test_success_is_left_alone(self):
        good = {"approach": [0.7], "grasp": [0.3], "lift": [2.0], "effort": [-0.02]}
        asked = self.later(scored(sources(request())[0], success=1.0, statistics=good))
        text = OfflineWriter().write(asked, 1)[0].text
        assert "only weight of effort" in text


class TestDiagnosis:
    RECIPE = parse_recipe(sources(request())[0])

    @pytest.mark.parametrize(
        ("statistics", "expected"),
        [
            ({"lift": [0.0, 0.01]}, ("lift", "dead")),
            ({"approach": [0.95, 0.96]}, ("approach", "saturated")),
            ({"approach": [0.1, 0.8], "grasp": [0.05], "lift": [0.1]}, ("approach", "dominating")),
        ],
    )
    def test_findings(self, statistics, expected):
        assert self.RECIPE is not None
        found = diagnose_terms(scored("", statistics=statistics), self.RECIPE)
        assert expected in [(f.term, f.kind) for f in found]

    def test_a_healthy_program_has_none(self):
        assert self.RECIPE is not None
        healthy = {"approach": [0.3, 0.7], "grasp": [0.1, 0.3], "lift": [0.1, 2.0], "effort": [-0.01]}
        fine = scored("", success=0.9, statistics=healthy)
        assert diagnose_terms(fine, self.RECIPE) == []


class TestReadingBack:
    @pytest.mark.parametrize("index", range(6))
    def test_round_trip(self, index):
        once = parse_recipe(sources(request())[index])
        assert once is not None
        assert parse_recipe(render_program(once)) == once

    def test_reading_back_keeps_the_meaning(self):
        asked = request()
        batch = sample_typical_transitions(asked.spec, 4, 64)
        for source in sources(asked):
            recipe = parse_recipe(source)
            assert recipe is not None
            before, after = (compile_program(s, asked.spec, 4)(batch) for s in (source, render_program(recipe)))
            np.testing.assert_allclose(before.total, after.total)

    def test_other_forms_are_none(self):
        head = "def compute_reward(state, action, previous):\n"
        for body in (
            '    a = 1.0\n    a = a + 1.0\n    return a, {"a": a}\n',
            '    a = state.x\n    return 2.0 * a, {"a": a}\n',
            '    a = state.x\n    a += 1.0\n    return a, {"a": a}\n',
        ):
            assert parse_recipe(head + body) is None
        assert parse_recipe("not python(") is None

    def test_two_meanings_of_a_local_get_two_names(self):
        a = Term("a", (SourceLine("k", "1.0"), SourceLine("a", "k * state.x")))
        b = Term("b", (SourceLine("k", "2.0"), SourceLine("b", "k * state.k")))
        assert rename_conflicts((a, b))[1].lines == (SourceLine("k_2", "2.0"), SourceLine("b", "k_2 * state.k"))
        assert render_program(Recipe(rename_conflicts((a, b)))).count("k_2") == 2

    def test_jitter_keeps_indices_and_exponents(self):
        source = sources(request())[0]
        changed = jitter_constants(source, np.random.default_rng(0), 50)
        assert "[:, 2]" in changed
        assert "axis=-1" in changed


def test_a_round_without_results_tries_other_compositions():
    tried = {proposal.source for proposal in draw_proposals(request(), 6)}
    assert tried.isdisjoint(proposal.source for proposal in draw_proposals(request(round=1), 4))


CAMERA_ARM = """<mujoco><worldbody>
  <body name="base"><joint name="j0" axis="0 0 1"/><geom size=".05"/>
    <body name="link1" pos="0 0 .3"><joint name="j1" axis="0 1 0"/><geom size=".05"/>
      <body name="right_hand_camera" pos=".05 0 .1"><geom size=".01"/></body>
      <body name="right_hand" pos="0 0 .15"><geom size=".02"/>
        <body name="hand" pos="0 0 .05"><geom size=".03"/><site name="endEffector" pos="0 0 .05"/>
          <body name="claw"><joint name="close" type="slide" axis="0 1 0" range="0 .04"/><geom size=".01"/></body>
        </body></body></body></body>
  <body name="drawer" pos=".6 0 .1"><geom type="box" size=".1 .1 .1"/><body name="drawer_link">
    <joint name="slidey" type="slide" axis="0 1 0" range="-.16 0"/><geom type="box" size=".08 .08 .05"/></body></body>
</worldbody><actuator><motor joint="j0"/><motor joint="j1"/><motor joint="close"/></actuator></mujoco>"""

SPINNER = """<mujoco><worldbody>
  <body name="finger" pos="-.2 0 .4"><joint name="proximal" axis="0 1 0" range="-110 110"/><geom size=".03"/></body>
  <body name="spinner" pos=".2 0 .4"><joint name="hinge" axis="0 1 0" {limits}/><geom size=".04"/></body>
</worldbody><actuator><motor joint="proximal"/></actuator></mujoco>"""


def fields_read(xml: str, goal: str) -> set[str]:
    """The fields that the first programs for a model read."""
    spec = StateSpec.from_model(mujoco.MjModel.from_xml_string(xml))
    asked = WriteRequest(goal, spec, replace(THREE, kind="native"))
    return set(re.findall(r"state\.(\w+)", "".join(sources(asked))))


def test_a_camera_on_the_wrist_is_no_hand() -> None:
    read = fields_read(CAMERA_ARM, "Open the drawer.")
    assert "hand_position" in read
    assert not any("camera" in name for name in read)


def test_a_hinge_without_limits_is_spun_by_its_velocity() -> None:
    endless = fields_read(SPINNER.format(limits=""), "Spin the spinner.")
    assert "hinge_velocity" in endless
    assert "hinge_angle" not in endless
    assert "hinge_angle" in fields_read(SPINNER.format(limits='range="0 90"'), "Turn the spinner.")
    assert "hinge_angle" in fields_read(SPINNER.format(limits=""), "Turn the spinner by 90 degrees.")


def test_a_search_that_starts_from_a_program_gets_descendants_and_usual_compositions() -> None:
    """In the first round: every second answer is what it would be without the program, in the same order."""
    source = (
        "def compute_reward(state, action, previous):\n"
        "    closeness = np.exp(-3.7 * np.linalg.norm(state.hand_position - state.cube_position, axis=-1))\n"
        '    return closeness, {"closeness": closeness}\n'
    )
    task = make_task("panda/lift")
    request = WriteRequest(task.goal, task.spec, task.action)
    usual = [answer.source for answer in OfflineWriter().write(request, 2)]
    scored = ScoredProgram("1.0", source, 0.1, terms={"closeness": [0.1, 0.2]}, curve=[0.0, 0.1])
    found = [a.source for a in OfflineWriter().write(replace(request, feedback=Feedback(scored)), 4)]
    assert [found[1], found[3]] == usual
    for descendant in (found[0], found[2]):
        assert descendant is not None and "closeness" in descendant and descendant != source
