"""RAPL's tasks re-made: success and truth against the published formulas, starts, pushers of many qualities."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
import pytest

from robo_reward.data.collect import collect_episodes
from robo_reward.data.episode import Episode
from robo_reward.envs.arm.pushers import behaviours, pusher
from robo_reward.envs.arm.tasks.clutter import REDS, Clutter
from robo_reward.envs.arm.tasks.group import GOAL_X, Group
from robo_reward.envs.batch import BatchSim
from robo_reward.envs.rendering.frames import FrameRenderer, FrameSpec
from robo_reward.envs.state import State, Transitions
from robo_reward.envs.task import make_task
from robo_reward.errors import UnknownName
from robo_reward.language.language import compile_program

NAMES = ("panda/group", "panda/clutter", "ur5e/group", "ur5e/clutter")
EVERY = pytest.mark.parametrize("name", NAMES)


@cache
def task_of(name: str) -> Group:
    task = make_task(name)
    assert isinstance(task, Group)
    return task


def states(task: Group, at: dict[str, tuple[float, float, float]] | None = None, n: int = 1) -> State:
    """Start states (n, D) with some things put elsewhere."""
    sim = BatchSim(task, n, seed=0)
    state = State(task.spec, sim.state.array.copy())
    sim.close()
    for name, position in (at or {}).items():
        state[f"{name}_position"][:] = position
    return state


@EVERY
@pytest.mark.parametrize(
    ("blue", "yellow", "succeeds"),
    [
        (0.0, 0.0, True),
        (0.0799, -0.0799, True),
        (0.0801, 0.0, False),
        (0.0, -0.0801, False),
        (-0.2, 0.0, False),
        (0.2, 0.2, False),
    ],
)
def test_success_is_the_larger_distance_to_the_plane(name: str, blue: float, yellow: float, succeeds: bool) -> None:
    task = task_of(name)
    state = states(task, {"blue": (GOAL_X + blue, 0.1, 0.025), "yellow": (GOAL_X + yellow, -0.1, 0.025)})
    assert task.success(state).item() is succeeds
    assert task.true_preference(state).item() == pytest.approx(-max(abs(blue), abs(yellow)))


@pytest.mark.parametrize(("red", "succeeds"), [(-0.0399, False), (0.0399, False), (0.0, False), (-0.0401, True)])
@pytest.mark.parametrize("which", REDS)
def test_a_red_cube_in_the_way_spoils_it(which: str, red: float, succeeds: bool) -> None:
    task = task_of("panda/clutter")
    middle = (GOAL_X, 0.0, 0.025)
    state = states(task, {"blue": middle, "yellow": middle, which: (GOAL_X + red, 0.2, 0.025)})
    assert task.success(state).item() is succeeds
    assert task.true_preference(state).item() == pytest.approx(0.0 if succeeds else -1.0)


def distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.sqrt(np.sum((first - second) ** 2)))


@cache
def clips(name: str, behaviour: str, n: int = 16) -> list[Episode]:
    task = task_of(name)
    return collect_episodes(task, pusher(task, behaviour, seed=3), n, seed=5)


@EVERY
def test_the_truth_is_the_published_formula(name: str) -> None:
    task = task_of(name)
    program = compile_program(task.truth_reward, task.spec, task.action.dim)
    for episode in clips(name, "back_and_forth", 2) + clips(name, "overshoot", 2):
        state, action = episode.to_transitions().state, episode.action
        expected = []
        for t in range(len(episode)):
            blue, yellow, hand = state.blue_position[t], state.yellow_position[t], state.hand_position[t]
            aside = np.array([0, 0.04, 0])
            left, right = hand + aside, hand - aside
            value = -3 * max(abs(blue[0] - 0.6), abs(yellow[0] - 0.6)) - 3 * distance(blue, yellow)
            value -= 0.5 * distance(left, blue) + 0.5 * distance(right, blue) + 0.01 * action[t] @ action[t]
            value -= 0.5 * (blue[2] > 0.03)
            if isinstance(task, Clutter):
                value -= min(abs(state[f"{red}_position"][t, 0] - 0.6) for red in REDS) < 0.04
            expected.append(value)
        np.testing.assert_allclose(program(episode.to_transitions()).total, expected, atol=1e-12)


@EVERY
def test_starts_keep_the_cubes_apart_and_out_of_the_strip(name: str) -> None:
    task = task_of(name)
    state = states(task, n=300)
    cubes = [name for name in (*task.wanted, *REDS) if f"{name}_position" in task.spec]
    where = np.stack([state[f"{cube}_position"] for cube in cubes], axis=1)
    for first, second in combinations(range(len(cubes)), 2):
        assert (np.linalg.norm(where[:, first] - where[:, second], axis=1) > 0.05).all()
    assert (np.abs(where[:, :, 0] - GOAL_X) > 0.08 + 0.02).all()
    left = state.blue_position[:, 1] > state.yellow_position[:, 1]
    assert 0.3 < left.mean() < 0.7


WRONG = ("backwards", "there_and_back")


def successes(name: str, *which: str) -> list[float]:
    return [float(np.mean([episode.is_successful for episode in clips(name, behaviour)])) for behaviour in which]


def test_pushers_differ_in_quality() -> None:
    known = behaviours(task_of("panda/group"))
    assert len(known) >= 12
    assert successes("panda/group", "together") >= [0.95]
    assert max(successes("panda/group", "one", "apart", "miss", "hover", "still", "sweep_sideways")) <= 0.1
    middling = successes("panda/group", "short", "overshoot", "late", "slow", "back_and_forth")
    assert 0.1 <= min(middling) < max(middling) <= 0.95
    returns = {
        b: np.mean([task_of("panda/group").true_preference(e.states).mean() for e in clips("panda/group", b)])
        for b in known
    }
    assert max(returns, key=returns.__getitem__) == "together"


def test_pushers_can_move_the_cubes_away_from_the_strip() -> None:
    distance = {b: [task_of("panda/group").true_preference(e.states) for e in clips("panda/group", b)] for b in WRONG}
    assert all(d[-1] < d[0] - 0.02 for d in distance["backwards"])
    assert np.mean([d[-1] < d.max() - 0.03 for d in distance["there_and_back"]]) >= 0.4


def test_pushers_of_clutter_know_how_to_spoil_it() -> None:
    task = task_of("panda/clutter")
    assert isinstance(task, Clutter)
    assert successes("panda/clutter", "together") >= [0.95]
    careless, spoilt, other = successes("panda/clutter", "careless", "with_red", "only_red")
    assert careless <= 0.7
    assert max(spoilt, other) <= 0.1
    assert np.mean([task.is_red_in_strip(e.states)[-1] for e in clips("panda/clutter", "with_red")]) > 0.9


def test_some_behaviours_leave_the_cubes_where_they_are() -> None:
    for behaviour in ("miss", "hover", "still"):
        for episode in clips("panda/group", behaviour):
            assert np.ptp(task_of("panda/group").true_preference(episode.states)) < 2e-3


def test_the_same_seed_gives_the_same_clip() -> None:
    task = task_of("panda/group")
    again = collect_episodes(task, pusher(task, "noise", seed=3), 16, seed=5)
    np.testing.assert_array_equal(again[7].state, clips("panda/group", "noise")[7].state)
    other = collect_episodes(task, pusher(task, "noise", seed=4), 16, seed=5)
    assert not np.array_equal(other[7].action, again[7].action)


def test_only_clutter_knows_of_red_cubes() -> None:
    assert set(behaviours(task_of("panda/clutter"))) > set(behaviours(task_of("panda/group")))
    with pytest.raises(UnknownName, match="together"):
        pusher(task_of("panda/group"), "togehter")


@EVERY
def test_the_third_person_camera_sees_the_strip_and_the_cubes(name: str) -> None:
    """At 112 pixels the smaller of the two cubes covers 60 pixels or more, at the start and in the strip."""
    task = task_of(name)
    assert task.cameras[0] == "third"
    start = task.sample(np.random.default_rng(1), 8)
    there = start.qpos.copy()
    free = task.arm.joint_count + task.arm.finger_count
    there[:, free] += 0.15
    there[:, free + 7] += 0.15
    with FrameRenderer(task, FrameSpec(("third",), 112)) as filmer:
        frames = filmer(np.concatenate([start.qpos, there]), np.concatenate([start.mocap, start.mocap])).astype(int)
    red, green, blue = np.moveaxis(frames, -1, 0)
    assert (((blue > 120) & (blue > red + 60) & (blue > green + 40)).sum(axis=(1, 2)) >= 60).all()
    assert (((red > 110) & (green > 90) & (blue < 60)).sum(axis=(1, 2)) >= 60).all()
    assert (((green > red + 40) & (green > blue + 30)).sum(axis=(1, 2)) > 1000).all()


def test_both_arms_have_the_same_fields_but_for_the_joints() -> None:
    for kind in ("group", "clutter"):
        ours, theirs = task_of(f"panda/{kind}").spec, task_of(f"ur5e/{kind}").spec
        assert [f for f in ours if f.role != "joint"] == [f for f in theirs if f.role != "joint"]
        assert (ours["joint_position"].size, theirs["joint_position"].size) == (7, 6)


def test_ur5e_has_no_meshes() -> None:
    with pytest.raises(UnknownName, match="primitive"):
        make_task("ur5e/group", assets="menagerie")


def test_one_reward_program_judges_both_arms() -> None:
    for name in ("panda/group", "ur5e/group"):
        task = task_of(name)
        state = states(task, n=4)
        batch = Transitions(state, np.zeros((4, 3)), state)
        total = compile_program(task.expert_reward, task.spec, 3)(batch).total
        if name == "panda/group":
            first = total
    np.testing.assert_allclose(first, total, atol=0.05)
