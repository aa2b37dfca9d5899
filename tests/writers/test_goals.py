"""Goal sentences: the meaning of each word, the conditions that follow, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import mujoco
import numpy as np
import pytest

from robo_reward.envs.start_ranges import measure_start_ranges, sample_start_states
from robo_reward.envs.state import State, StateSpec, Transitions
from robo_reward.envs.task import ActionSpec, Task, make_task
from robo_reward.language.language import compile_program
from robo_reward.scenes.rules import make_rule
from robo_reward.writers.offline.goals.phrases import extract_phrases
from robo_reward.writers.offline.goals.understanding import GoalNotUnderstood, Understanding, understand_goal
from robo_reward.writers.offline.writer import OfflineWriter
from robo_reward.writers.writer import WriteRequest


@cache
def _task(name: str) -> Task:
    return make_task(name)


@cache
def _start(name: str) -> dict:
    return measure_start_ranges(sample_start_states(_task(name)))


def understand(goal: str, name: str = "panda/lift") -> Understanding:
    task = _task(name)
    return understand_goal(WriteRequest(goal, task.spec, task.action, start=_start(name)))


class Bench:
    """Panda/lift in MuJoCo: the arm stands in a start pose, the cube is put somewhere, the sensors give the state."""

    def __init__(self) -> None:
        self.task = _task("panda/lift")
        self.data = mujoco.MjData(self.task.model)
        self.start = self.task.sample(np.random.default_rng(0), 1).qpos[0]
        self.hand = self.measure((0.5, 0.0, 0.02)).hand_position[0]

    def measure(self, cube: Sequence[float] | np.ndarray, opening: float = 0.08) -> State:
        model, data = self.task.model, self.data
        data.qpos[:] = self.start
        address = model.jnt_qposadr[np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)[0]]
        data.qpos[address : address + 3] = cube
        for joint in range(model.njnt):
            if "finger" in model.joint(joint).name:
                data.qpos[model.jnt_qposadr[joint]] = opening / 2
        mujoco.mj_forward(model, data)
        return State(self.task.spec, data.sensordata[None].copy())

    def beside_hand(self, dx: float, dy: float, dz: float, opening: float = 0.08) -> State:
        return self.measure(self.hand + np.array([dx, dy, dz]), opening)


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


def _judge(text: str, state: State) -> bool:
    return bool(make_rule(text, _task("panda/lift"))(state)[0])


class TestConditions:
    """The rule that follows is true where the sentence says so, false elsewhere; the states are MuJoCo's."""

    @pytest.mark.parametrize(("sentence", "height"), [
        ("Pick up the cube and lift it 15 cm.", 0.17),
        ("Lift the red cube by ten centimetres.", 0.12),
        ("Raise the block 0.2 m above the table, gently.", 0.22),
        ("Lift the cube.", 0.12),
    ])  # fmt: skip
    def test_lift_by_the_amount_of_the_sentence(self, bench: Bench, sentence: str, height: float):
        conditions = understand(sentence).conditions
        assert conditions is not None
        assert _judge(conditions.success, bench.measure((0.5, 0, height + 0.003)))
        assert not _judge(conditions.success, bench.measure((0.5, 0, height - 0.003)))

    @pytest.mark.parametrize(
        "sentence", ["Keep the hand 20 cm above the cube.", "Hover the gripper 0.2 m over the cube"]
    )
    def test_hand_above_an_object(self, bench: Bench, sentence: str):
        conditions = understand(sentence).conditions
        assert conditions is not None
        assert _judge(conditions.success, bench.beside_hand(0, 0, -0.2))
        for other in ((0, 0, -0.1), (0, 0, -0.25), (0.08, 0, -0.2), (0, 0, 0.2)):
            assert not _judge(conditions.success, bench.beside_hand(*other))

    def test_put_down_at_coordinates(self, bench: Bench):
        conditions = understand("Pick up the cube and put it down at x = 0.6, y = -0.1").conditions
        assert conditions is not None
        assert _judge(conditions.success, bench.measure((0.6, -0.1, 0.02)))
        for cube, opening in (((0.6, 0.1, 0.02), 0.08), ((0.5, -0.1, 0.02), 0.08), ((0.6, -0.1, 0.2), 0.08),
                              ((0.6, -0.1, 0.02), 0.04)):  # fmt: skip
            assert not _judge(conditions.success, bench.measure(cube, opening))

    @pytest.mark.parametrize(("sentence", "axis", "sign", "amount"), [
        ("Push the cube 20 cm to the left.", 1, 1, 0.2),
        ("Push the cube to the right by 5 cm", 1, -1, 0.05),
        ("Push the cube forward", 0, 1, 0.1),
    ])  # fmt: skip
    def test_push_along_an_axis_from_every_start(
        self, bench: Bench, sentence: str, axis: int, sign: int, amount: float
    ):
        conditions = understand(sentence).conditions
        assert conditions is not None
        low, high = _start("panda/lift")["cube_position"][axis]
        for over, wanted in ((0.003, True), (-0.003, False)):
            cube = [0.5, 0.0, 0.02]
            cube[axis] = (high if sign > 0 else low) + sign * (amount + over)
            assert _judge(conditions.success, bench.measure(cube)) == wanted

    def test_left_of_an_object(self, bench: Bench):
        conditions = understand("Place the cube 10 cm to the left of the hand").conditions
        assert conditions is not None
        x, y, _ = bench.hand
        assert _judge(conditions.success, bench.measure((x, y + 0.1, 0.02)))
        for cube in ((x, y - 0.1, 0.02), (x + 0.1, y, 0.02), (x, y + 0.1, 0.3)):
            assert not _judge(conditions.success, bench.measure(cube))

    def test_a_prohibition_is_a_condition_of_failure(self, bench: Bench):
        conditions = understand("Move the hand to x = 0.5, y = 0.2 without touching the cube").conditions
        assert conditions is not None
        assert _judge(conditions.failure, bench.beside_hand(0.02, 0, 0))
        assert not _judge(conditions.failure, bench.beside_hand(0.08, 0, 0))
        raised = understand("Push the cube to the left without lifting it.").conditions
        assert raised is not None
        assert _judge(raised.failure, bench.measure((0.5, 0, 0.08)))
        assert not _judge(raised.failure, bench.measure((0.5, 0, 0.03)))

    @pytest.mark.parametrize(("sentence", "rule"), [
        ("Lift the cube and hold it for 1 s.", "held(cube_height > 0.12, 1.0)"),
        ("Lift the cube 5 cm twice", "count(cube_height > 0.07) >= 2"),
        ("Lift the cube three times", "count(cube_height > 0.12) >= 3"),
    ])  # fmt: skip
    def test_durations_and_repetitions_become_rules_over_time(self, sentence: str, rule: str):
        conditions = understand(sentence).conditions
        assert conditions is not None
        assert conditions.success == rule
        make_rule(conditions.success, _task("panda/lift"))

    @pytest.mark.parametrize(("name", "sentence"), [
        ("panda/drawer", "Open the drawer by 10 cm."), ("panda/drawer", "Pull the drawer open."),
        ("panda/push", "Push the puck to the goal."), ("panda/reach", "Move the hand to the goal."),
        ("panda/pick", "Bring the cube to the goal."), ("panda/stack", "Stack the red cube on the blue cube."),
        ("panda/door", "Turn the handle and push the door open by 30 degrees."),
    ])  # fmt: skip
    def test_it_agrees_with_the_task_of_the_same_goal(self, name: str, sentence: str):
        conditions, task = understand(sentence, name).conditions, _task(name)
        assert conditions is not None
        rng, first = np.random.default_rng(1), sample_start_states(task)
        rule = make_rule(conditions.success, task)
        assert not rule(first).any()
        states = first.array.repeat(200, axis=0)
        moved = [f for f in task.spec if f.role in ("object", "part", "hand", "gripper") and f.unit in ("m", "rad")]
        for field in moved:  # near the goal as well as far from it
            part = states[:, task.spec.slice(field.name)]
            low, high = field.typical
            goal = State(task.spec, states)
            aim = goal.goal_position if "goal_position" in task.spec and part.shape[1] == 3 else rng.uniform(
                low, high, part.shape)  # fmt: skip
            part[:] = aim + rng.normal(0, 0.015, part.shape)
        if name == "panda/stack":
            states[:, task.spec.slice("red_position")] = states[:, task.spec.slice("blue_position")] + [0, 0, 0.04]
            states[:, task.spec.slice("red_position")] += rng.normal(0, 0.008, (len(states), 3))
        own, derived = task.success(State(task.spec, states)), rule(State(task.spec, states))
        assert 0.02 < own.mean() < 0.98
        assert np.mean(own == derived) > (0.8 if "Pull" in sentence or name == "panda/stack" else 0.99)


REFUSED = {
    "Do not touch the cube.": "holds from the start",
    "Throw the cube.": "'throw'",
    "Hit the cube.": "'hit'",
    "Rotate the cube by 90 degrees.": "how far the cube has been turned",
    "asdf qwer": "'asdf', 'qwer'",
    "Make me a coffee": "'coffee'",
    "Push the cube to the left edge of the table.": "'edge'",
    "Lift the blue cube.": "'blue'",
    "Push the cube off the table": "'table'",
    "Put the cube on the table": "does not say where",
    "Pick up the cube and put it down": "does not say where",
    "Move the hand away from the cube": "'away'",
    "Move the hand up": "does not say where",
    "Lift the cube again and again": "'again and again'",
    "Lift the cube with the hammer": "'with the hammer'",
    "Lift the cube to the left of the bowl": "'to the left of the bowl'",
    "Lift the cube while the hand is still": "'while'",
    "Grasp the cube 10 cm to the left": "'left'",
    "Hebe den Würfel hoch": "'würfel'",
    "": "no verb",
    "Lift the cube at most 5 cm.": "'most'",
    "Lift the cube -10 cm.": "cannot be negative",
    "Lift the cube 10 cm and move it 20 cm to the left.": "0.1 m and 0.2 m",
    "Push the cube to the left and then to the right.": "two directions",
    "Lift the cube 10 cm and move it to x = 0.5": "both an amount",
    "Keep the hand at least 20 cm above the cube.": "'at least'",
    "Don't push the cube to the left, push it to the right.": "'Do not push the cube to the left'",
    "Don't push the cube, lift it.": "'Do not push the cube'",
    "Hold the cube 10 cm above the table for 3 seconds.": "no use for 0.1 m",
    "Push the cube to the left at 5 cm/s": "no use for 0.05 m/s",
    "Swing the cube.": "'swing'",
    "Balance the cube on the hand.": "'balance'",
}


class TestRefusals:
    @pytest.mark.parametrize("sentence", REFUSED)
    def test_a_refusal_names_the_words_and_the_nearest_sentence(self, sentence: str):
        task = _task("panda/lift")
        with pytest.raises(GoalNotUnderstood, match=re.escape(REFUSED[sentence])) as caught:
            OfflineWriter().write(WriteRequest(sentence, task.spec, task.action), 1)
        assert caught.value.exit_code == 2
        nearest = re.search(r"nearest that it can do: '([^']+)'", str(caught.value))
        assert nearest is not None
        found = understand(nearest[1])
        assert found.reading.is_clear and found.conditions is not None
        assert OfflineWriter(strict=False).write(WriteRequest(sentence, task.spec, task.action), 1)[0].source

    def test_a_clear_sentence_has_a_meaning_for_each_word(self):
        reading = understand("Gently pick up the red cube and lift it 15 cm above the table.").reading
        meanings = {word.text: word.meaning for word in reading.words}
        assert meanings["pick"] == "lift cube" and meanings["red"] == meanings["cube"] == "cube_position"
        assert meanings["15 cm"] == "amount" and meanings["gently"] == "less effort" and "heights" in meanings["table"]

    @pytest.mark.parametrize("sentence", ["Push the puck out of the goal.", "Push the puck off the goal.",
        "Push the puck beyond the goal by 5 cm."])  # fmt: skip
    def test_away_from_a_goal_is_not_towards_it(self, sentence: str):
        assert not understand(sentence, "panda/push").reading.is_clear

    def test_within_a_distance_of_a_goal(self):
        found = understand("Push the puck within 1 cm of the goal without touching it.", "panda/push")
        assert found.reading.is_clear and found.conditions is not None
        assert found.conditions.success == "norm(puck_position[:2] - goal_position[:2]) < 0.01"
        assert "puck_position" in found.conditions.failure  # a goal cannot be touched

    def test_no_rule_beyond_the_range_of_a_mechanism(self):
        assert "range of only 0.16 m" in understand("Open the drawer by 30 cm.", "panda/drawer").reason


def _build(body: str, actuators: str = '<motor joint="j0"/><motor joint="r_close"/>') -> tuple[StateSpec, ActionSpec]:
    """An arm with a hand, and what stands around it, as the families of Meta-World and Franka Kitchen name it."""
    arm = """<body name="base"><joint name="j0" axis="0 0 1"/><geom size=".05"/>
      <body name="right_hand_camera" pos=".05 0 .1"><geom size=".01"/></body>
      <body name="hand" pos="0 0 .4"><geom size=".03"/><site name="endEffector" pos="0 0 .05"/>
       <body name="rightclaw"><joint name="r_close" type="slide" axis="0 1 0" range="0 .04"/>
       <geom size=".01" pos="0 .04 .05"/></body></body></body>"""
    text = (
        f"<mujoco><compiler angle='radian'/><worldbody>{arm}{body}</worldbody><actuator>{actuators}</actuator></mujoco>"
    )
    model = mujoco.MjModel.from_xml_string(text)
    names = tuple(f"a{i}" for i in range(model.nu))
    return StateSpec.from_model(model), ActionSpec("native", names, (1.0,) * model.nu, ("1",) * model.nu, 20.0)


def _hinge(body: str, joint: str, at: float, limits: str = 'range="-1.5 0"') -> str:
    return (
        f'<body name="{body}" pos="{at} 0 .1"><joint name="{joint}" axis="0 0 1" {limits}/>'
        '<geom type="box" size=".1 .02 .02"/></body>'
    )


KNOBS = _hinge("knob1", "knob_Joint_1", 0.9) + _hinge("knob2", "knob_Joint_2", 1.0)
KITCHEN = KNOBS + _hinge("microdoorroot", "microjoint", 0.5)
FAUCET = _hinge("faucet_link1", "faucet_joint", 0.5, 'range="0 1.5"')
WINDOW = (
    '<body name="window_another" pos=".5 0 .1"><joint name="window_slide" type="slide" axis="1 0 0" range="0 .2"/>'
    '<geom size=".02"/></body>'
)
HAMMER = (
    '<body name="hammer" pos=".5 0 .1"><freejoint/><geom size=".05"/></body><body name="nail_link" pos=".9 0 .1">'
    '<joint name="NailSlideJoint" type="slide" axis="1 0 0" range="0 .09"/><geom size=".02"/></body>'
)
SPINNER = '<body name="spinner" pos=".2 0 .4"><joint name="spin" axis="0 1 0"/><geom size=".04"/></body>'
GRIPPERS = "".join(
    f'<body name="{side}_arm" pos="{x} 0 0"><joint name="{side}_j" axis="0 0 1"/><geom size=".05"/>'
    f'<body name="{side}_gripper" pos="0 0 .4"><geom size=".03"/></body></body>'
    for side, x in (("left", 0), ("right", 1))
)


class TestScenesOfOthers:
    @pytest.mark.parametrize(("body", "sentence", "fields"), [
        (KITCHEN, "Open the microwave door.", {"hand_position", "microdoorroot_position", "microjoint_angle"}),
        (KITCHEN, "Turn knob 1.", {"hand_position", "knob1_position", "knob_joint_1_angle"}),
        (FAUCET, "Turn the faucet.", {"hand_position", "faucet_link1_position", "faucet_joint_angle"}),
        (WINDOW, "Open the window.", {"hand_position", "window_another_position", "window_slide_displacement"}),
        (HAMMER, "Move the hand to the hammer.", {"hand_position", "hammer_position"}),
        (SPINNER, "Spin the spinner.", {"hand_position", "spinner_position", "spin_velocity"}),
    ])  # fmt: skip
    def test_the_named_parts_are_used(self, body: str, sentence: str, fields: set[str]):
        spec, action = _build(body)
        source = OfflineWriter().write(WriteRequest(sentence, spec, action), 1)[0].source or ""
        assert set(re.findall(r"state\.(\w+)", source)) == fields

    @pytest.mark.parametrize(("body", "sentence", "word"), [
        (HAMMER, "Drive the nail into the board with the hammer.", "'drive'"),
        (HAMMER, "Hammer the nail into the board.", "'board'"),
        (FAUCET, "Unplug.", "'unplug'"),
        (KITCHEN, "Open the hinge cabinet.", "'cabinet'"),
        (KITCHEN, "Turn knob 2 and open the microwave with the left gripper.", "'with the left gripper'"),
        (SPINNER, "Open the spinner.", "no end"),
        (WINDOW, "Open the drawer.", "'drawer'"),
        (WINDOW, "Turn the faucet.", "'faucet'"),
    ])  # fmt: skip
    def test_what_is_not_there_is_named(self, body: str, sentence: str, word: str):
        spec, action = _build(body)
        with pytest.raises(GoalNotUnderstood, match=re.escape(word)):
            OfflineWriter().write(WriteRequest(sentence, spec, action), 1)

    @pytest.mark.parametrize("side", ["left", "right"])
    @pytest.mark.parametrize("sentence", ["Touch the cube with the {} gripper.", "Move the {} gripper to the cube."])
    def test_one_of_two_grippers(self, side: str, sentence: str):
        cube = '<body name="cube" pos=".5 0 .02"><freejoint/><geom type="box" size=".02 .02 .02"/></body>'
        joints = '<motor joint="left_j"/><motor joint="right_j"/>'
        model = mujoco.MjModel.from_xml_string(
            f"<mujoco><worldbody>{GRIPPERS}{cube}</worldbody><actuator>{joints}</actuator></mujoco>"
        )
        spec, action = StateSpec.from_model(model), ActionSpec("native", ("a", "b"), (1.0, 1.0), ("1", "1"), 20.0)
        request = WriteRequest(sentence.format(side), spec, action)
        fields = set(re.findall(r"state\.(\w+)", OfflineWriter().write(request, 1)[0].source or ""))
        assert fields == {f"{side}_gripper_position", "cube_position"}
        conditions = understand_goal(request).conditions
        assert conditions is not None and f"{side}_gripper_position" in conditions.success

    def test_speed_of_a_wheel(self):
        spec, action = _build(SPINNER)
        found = understand_goal(WriteRequest("Spin the spinner at 5 rad/s.", spec, action))
        assert found.reading.is_clear and found.conditions is not None
        assert found.conditions.success == "spin_velocity > 5.0"
        (answer,) = OfflineWriter().write(WriteRequest("Spin the spinner at 5 rad/s.", spec, action), 1)
        assert "np.clip(state.spin_velocity / 6.0, -1.0, 1.0)" in (answer.source or "")

    def test_a_trunk_does_not_go_to_a_ball(self):
        spec, action = _hopper(BALL)
        with pytest.raises(GoalNotUnderstood, match="'walk' to the ball"):
            OfflineWriter().write(WriteRequest("Walk to the ball.", spec, action), 1)

    def test_a_trunk(self):
        spec, action = _hopper()
        for sentence, word in (("Do a back flip.", "'back'"), ("Fetch the ball.", "'fetch'")):
            with pytest.raises(GoalNotUnderstood, match=word):
                OfflineWriter().write(WriteRequest(sentence, spec, action), 1)
        start = {"torso_position": [(0.0, 0.0), (0.0, 0.0), (1.25, 1.25)]}
        for sentence, rule in (
            ("Hop forward at 2 m/s.", "abs(torso_velocity[0] - 2.0) < 0.4"),
            ("Run at at least 2 m/s.", "torso_velocity[0] > 2.0"),
            ("Hop forward at 50 cm/s", "abs(torso_velocity[0] - 0.5) < 0.1"),
            ("Jump 30 cm high twice.", "count(torso_height > 1.55) >= 2"),
            ("Run 3 m backwards.", "torso_x < -3.0"),
            ("Jump 30 cm high.", "ever(torso_height > 1.55)"),
        ):
            found = understand_goal(WriteRequest(sentence, spec, action, start=start))
            assert found.reading.is_clear and found.conditions is not None and found.conditions.success == rule


BALL = '<body name="ball" pos="2 0 .1"><freejoint/><geom size=".1"/></body>'


def _hopper(beside: str = "") -> tuple[StateSpec, ActionSpec]:
    text = f"""<mujoco><worldbody><body name="torso" pos="0 0 1.25"><joint name="rootx" type="slide" axis="1 0 0"/>
      <joint name="rootz" type="slide" axis="0 0 1"/><geom type="capsule" fromto="0 0 .2 0 0 -.2" size=".05"/>
      <body name="leg" pos="0 0 -.2"><joint name="knee" axis="0 1 0" range="-150 0"/>
      <geom type="capsule" fromto="0 0 0 0 0 -.5" size=".04"/></body></body>{beside}</worldbody>
      <actuator><motor joint="knee"/></actuator></mujoco>"""
    spec = StateSpec.from_model(mujoco.MjModel.from_xml_string(text))
    return spec, ActionSpec("native", ("knee",), (1.0,), ("1",), 20.0)


class TestPrograms:
    """The reward agrees with the sentence: what it asks for is worth more than what it does not."""

    @staticmethod
    def _totals(sentence: str, states: list[State]) -> np.ndarray:
        task = _task("panda/lift")
        request = WriteRequest(sentence, task.spec, task.action, start=_start("panda/lift"))
        batch = State(task.spec, np.concatenate([s.array for s in states]))
        rows = []
        for answer in OfflineWriter().write(request, 6):
            program = compile_program(answer.source or "", task.spec, task.action.dim)
            rows.append(program(Transitions(batch, np.zeros((len(states), task.action.dim)), batch)).total)
        return np.stack(rows)

    def test_hover_pays_above_and_not_at_the_cube(self, bench: Bench):
        states = [bench.beside_hand(0, 0, -0.2), bench.beside_hand(0, 0, -0.12), bench.beside_hand(0, 0, -0.02)]
        assert np.all(np.diff(self._totals("Keep the hand 20 cm above the cube.", states), axis=1) < 0)

    def test_put_down_pays_at_the_coordinates(self, bench: Bench):
        states = [bench.measure((0.6, 0.1, 0.02)), bench.measure((0.5, 0.0, 0.02))]
        assert np.all(np.diff(self._totals("Put the cube at x = 0.6, y = 0.1", states), axis=1) < 0)

    def test_touching_costs_where_it_is_forbidden(self, bench: Bench):
        states = [bench.beside_hand(0.1, 0, 0), bench.beside_hand(0.01, 0, 0)]
        forbidden = self._totals("Move the hand to x = 0.5, y = 0.2 without touching the cube", states)
        assert np.all(forbidden[:, 0] - forbidden[:, 1] > 1.0)


@pytest.mark.parametrize(
    "text", ["", "....", "ünïcödé 字", "x = y = z", "without", "with the", "for 3", "above " * 300]
)
def test_phrases_of_any_text_can_be_read(text: str):
    extract_phrases(text)
