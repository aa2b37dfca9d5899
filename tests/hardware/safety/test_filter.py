"""The safety filter, case by case; `tests/properties/test_safety.py` has the sequences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mujoco
import numpy as np
import pytest

from robo_reward.envs.arm.kinematics import Configuration, compute_forward_kinematics
from robo_reward.envs.task import make_task
from robo_reward.errors import UsageError
from robo_reward.hardware.arm import Mode
from robo_reward.hardware.safety.filter import SafetyFilter, SafetySettings, Verdict
from robo_reward.hardware.safety.trajectory.space import HandCoordinates
from tests.hardware.wild import state_at

pytest.importorskip("ruckig")

TASK: Any = make_task("fr3/lift")


def started(task=TASK, **settings) -> tuple[SafetyFilter, np.ndarray]:
    filter = SafetyFilter.from_task(task, settings=SafetySettings(**settings))
    q = task.sample(np.random.default_rng(0), 1).qpos[0, :7]
    filter.start(state_at(q))
    return filter, q


def step(filter: SafetyFilter, action, q: np.ndarray, ticks: int = 8) -> tuple:
    decision = filter.filter_action(np.asarray(action, float), state_at(q))
    for _ in range(ticks):
        q = tick(filter)
    return decision, q


def tick(filter: SafetyFilter) -> np.ndarray:
    joints = filter.next_command().joints
    assert joints is not None
    return joints


def place(task, q: np.ndarray) -> np.ndarray:
    data = mujoco.MjData(task.model)
    data.qpos[:7] = q
    mujoco.mj_kinematics(task.model, data)
    return data.site("tcp").xpos.copy()


def test_the_hand_goes_where_the_action_points():
    filter, q = started()
    begin = place(TASK, q)
    for _ in range(10):
        decision, q = step(filter, (1, 0, 0, 1), q)
        assert decision.verdict is Verdict.FOLLOW
    way = place(TASK, q) - begin
    assert way[0] > 0.03
    assert abs(way[1:]).max() < 0.002


def test_targets_accumulate_on_the_last_target_not_on_the_measurement():
    """An arm that sags a little below every command must not be lowered step by step."""
    ends = []
    for sag in (0.0, 0.02):
        filter, q = started()
        for _ in range(25):
            decision = filter.filter_action(np.array((0, 0, 0, 1.0)), state_at(q + np.array((0, sag, 0, 0, 0, 0, 0))))
            assert decision.verdict is Verdict.FOLLOW
            for _ in range(8):
                q = tick(filter)
        ends.append(q)
    assert np.array_equal(*ends)


def test_dt_sets_how_far_a_step_goes():
    ways = []
    for dt in (0.01, 0.12):
        filter, q = started()
        decision = filter.filter_action(np.array((0, 1, 0, 1.0)), state_at(q), dt)
        assert filter.count_commands(dt) == round(dt * 200)
        assert ("joint_speed" in {clip.rule for clip in decision.clips}) == (dt == 0.01)
        ways.append(np.linalg.norm(place(TASK, filter.planner.rest_position.q) - place(TASK, q)))
    assert ways[1] > 1.5 * ways[0]


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ((np.nan, 0, 0, 0), "not finite in dx"),
        ((0, np.inf, 0, -np.inf), "not finite in dy, gripper"),
        ((0, 0, 0), r"shape \(3,\), expected \(4,\)"),
        ("left", "not an array of numbers"),
        ([10**400, 0, 0, 0], "not an array of numbers"),
        (None, "shape"),
    ],
)
def test_unusable_actions_hold_and_then_stop(action, words: str):
    import re

    filter, q = started()
    for _ in range(4):
        _, q = step(filter, (1, 1, 0, 1), q)
    first = filter.filter_action(action, state_at(q))
    assert first.verdict is Verdict.HOLD and re.search(words, first.cause)
    assert filter.filter_action(action, state_at(q)).verdict is Verdict.HOLD
    third = filter.filter_action(action, state_at(q))
    assert third.verdict is Verdict.STOP and "3 unusable actions in a row" in third.cause
    again = filter.filter_action(np.zeros(4), state_at(q))
    assert again.verdict is Verdict.STOP and again.cause == third.cause


def test_a_broken_controller_holds():
    class Broken:
        spec = TASK.action

        def start(self, qpos: np.ndarray) -> np.ndarray:
            return qpos[:, :9]

        def advance(self, ctrl: np.ndarray, qpos: np.ndarray, action: np.ndarray) -> np.ndarray:
            return np.full_like(ctrl, np.nan)

    filter, q = started()
    filter.controller = Broken()
    decision, after = step(filter, (1, 0, 0, 1), q)
    assert decision.verdict is Verdict.HOLD and "controller" in decision.cause
    assert np.array_equal(after, q)


def test_a_good_action_forgives_bad_ones():
    filter, q = started()
    for _ in range(5):
        for action in ((np.nan,) * 4, (np.nan,) * 4, (0,) * 4):
            decision, q = step(filter, action, q)
    assert decision.verdict is Verdict.FOLLOW


def test_after_a_hold_the_arm_rests_and_targets_go_on_from_there():
    filter, q = started()
    for _ in range(8):
        _, q = step(filter, (1, 0, 0, 1), q)
    filter.hold()
    path = np.array([tick(filter) for _ in range(150)])
    assert np.ptp(path[-10:], axis=0).max() == 0
    _, q = step(filter, (0, 0, 0, 1), path[-1], ticks=100)
    assert np.abs(place(TASK, q) - place(TASK, path[-1])).max() < 0.002


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mode": Mode.REFLEX}, "mode reflex"),
        ({"mode": Mode.USER_STOPPED}, "mode user_stopped"),
        ({"mode": Mode.DISCONNECTED}, "mode disconnected"),
        ({"q": np.full(7, np.nan)}, "not finite"),
        ({"gripper_width": np.inf}, "not finite"),
    ],
)
def test_states_that_stop(change: dict, words: str):
    filter, q = started()
    decision = filter.filter_action(np.zeros(4), replace(state_at(q), **change))
    assert decision.verdict is Verdict.STOP and words in decision.cause


def test_an_arm_that_does_not_follow_stops():
    filter, q = started()
    far = q.copy()
    far[3] += 0.4
    decision = filter.filter_action(np.zeros(4), state_at(far))
    assert decision.verdict is Verdict.STOP and "joint 4 is 0.40 rad away from its command" in decision.cause


def test_nothing_moves_before_start():
    filter = SafetyFilter.from_task(TASK)
    assert (
        filter.filter_action(np.zeros(4), state_at(np.array(TASK.arm.home))).cause
        == "the safety filter was not started"
    )


def test_actions_are_clipped_and_it_is_said():
    filter, q = started()
    decision, _ = step(filter, (5, 0, 0, 1), q)
    assert ("action", "5") in [clip[:2] for clip in decision.clips]
    assert "joint_speed" in {clip.rule for clip in decision.clips}


@pytest.mark.parametrize("direction", [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, -1), (1, 1, -1)])
def test_the_hand_stops_at_the_walls_of_its_box(direction: tuple):
    filter, q = started()
    for _ in range(60):
        _, q = step(filter, (*direction, 1), q)
    position = place(TASK, q)
    assert (position > np.array(TASK.low) - 0.002).all() and (position < np.array(TASK.high) + 0.002).all()
    reached = np.where(np.array(direction) > 0, TASK.high, TASK.low)[np.array(direction) != 0]
    near = np.abs(position[np.array(direction) != 0] - reached)
    assert near.min() < 0.06  # the far corners are beyond the arm's own reach


def test_a_joint_policy_cannot_push_joint_6_of_an_fr3_below_its_end():
    task: Any = make_task("fr3/lift", control="joint_delta")
    filter, q = started(task)
    for _ in range(80):
        decision, q = step(filter, (0, 0, 0, 0, 0, -1, 0, 1), q)
    assert q[5] >= 0.4398 + 0.1 - 1e-9
    assert decision.clips


def test_the_hand_cannot_lean_out_of_its_cone():
    task: Any = make_task("panda/lift", control="joint_delta")
    filter, q = started(task)
    for _ in range(80):
        _, q = step(filter, (0, 0, 0, 0, 0, 1, 0, 1), q)
    pose = compute_forward_kinematics(task.arm, q[None])
    assert 0.3 < np.arccos(-pose.z[2, 0]) <= 0.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dq": np.full(7, 0.2)}, "still moves at 0.200 rad/s"),
        ({"q": np.array((0, -0.785, 0, -2.356, 0, 1.571, 0.785))}, "outside the workspace. Move it to a start pose"),
        ({"q": np.array((0, -0.5, 0, -2.356, 0, 0.45, 0.785))}, "joint 6 at 0.450 rad, expected 0.5"),
        ({"q": np.full(7, np.nan)}, "not finite"),
    ],
)
def test_where_an_arm_cannot_start(change: dict, words: str):
    filter = SafetyFilter.from_task(TASK)
    q = TASK.sample(np.random.default_rng(0), 1).qpos[0, :7]
    with pytest.raises(UsageError, match=words):
        filter.start(replace(state_at(q), **change))


def test_an_arm_that_starts_a_little_outside_only_comes_back():
    task: Any = make_task("fr3/push")
    filter = SafetyFilter.from_task(task)
    data = mujoco.MjData(task.model)
    from robo_reward.envs.arm.kinematics import solve_position

    q = solve_position(task.arm, np.array([[0.5, 0.0, 0.08]]))[0]  # 2 cm above the box
    filter.start(state_at(q))
    heights = []
    for k in range(40):
        _, q = step(filter, (0, 0, 1 if k < 10 else -1), q)
        data.qpos[:7] = q
        mujoco.mj_kinematics(task.model, data)
        heights.append(data.site("tcp").xpos[2])
    assert max(heights) < 0.0801
    assert heights[-1] < 0.062
    for _ in range(40):
        _, q = step(filter, (0, 0, 1), q)
    assert place(task, q)[2] <= 0.062 + 1e-6


def test_limits_hold_at_a_finer_rate_too():
    from tests.hardware.wild import Judge, violations

    filter, q = started(rate=1000.0)
    rng = np.random.default_rng(1)
    path = [q]
    for _ in range(30):
        filter.filter_action(rng.uniform(-1, 1, 4), state_at(path[-1]))
        path += [tick(filter) for _ in range(40)]
    assert not violations(Judge(TASK, 0.3, 1000.0)(np.array(path)))


@pytest.mark.parametrize("lean", [0.0, 0.3])
def test_hand_coordinates_and_joints_are_the_same_pose(lean: float):
    arm = TASK.arm
    coordinates = HandCoordinates(arm)
    rng = np.random.default_rng(2)
    for _ in range(20):
        q = np.array(arm.home) + rng.normal(0, lean + 0.05, 7)
        goal = q + rng.normal(0, 0.03, 7)
        here = coordinates.from_joints(Configuration(TASK.arm, q))
        there = coordinates.from_joints(Configuration(TASK.arm, goal), here)
        path = here + np.linspace(0, 1, 30)[:, None] * (there - here)
        joints = coordinates.to_joints(path, q, goal)
        assert joints is not None
        assert joints[0] == pytest.approx(q, abs=1e-9) and joints[-1] == pytest.approx(goal, abs=1e-9)
        middle = compute_forward_kinematics(arm, joints)
        assert np.abs(middle.position.T - path[:, :3]).max() < 1e-9


def test_out_of_reach_is_no_plan():
    coordinates = HandCoordinates(TASK.arm)
    q = np.array(TASK.arm.home)
    here = coordinates.from_joints(Configuration(TASK.arm, q))
    path = here + np.linspace(0, 1, 30)[:, None] * np.array((1.0, 0, 0, 0, 0, 0, 0))
    assert coordinates.to_joints(path, q, q) is None
