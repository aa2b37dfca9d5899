"""Limits and workspaces."""

from __future__ import annotations

import numpy as np
import pytest

from robo_reward.envs.arm.model import ARMS
from robo_reward.errors import UsageError
from robo_reward.hardware.safety.limits import Workspace, official_limits, policy_limits

FR3, PANDA = ARMS["fr3"], ARMS["panda"]


def test_joint_6_is_the_trap():
    panda, fr3 = official_limits(PANDA), official_limits(FR3)
    assert panda.q_min[5] == -0.0175 and panda.q_max[5] == 3.7525
    assert fr3.q_min[5] == 0.4398 and fr3.q_max[5] == 4.6216


@pytest.mark.parametrize(("joint", "distance"), [(0, 0.05), (1, 0.3), (5, 0.1), (6, 1.0)])
def test_the_speed_of_an_fr3_shrinks_towards_the_ends(joint: int, distance: float):
    limits = official_limits(FR3)
    q = np.zeros(7)
    q[joint] = limits.q_max[joint] - distance
    offset = (0.6599, 0.2517, 0.2, 0.3533, 0.5757, 0.4878, 0.4628)[joint]
    deceleration = (6, 2.585, 3.5, 4, 17, 5.5, 17)[joint]
    top = (2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26)[joint]
    expected = min(top, max(0.0, (2 * deceleration * distance) ** 0.5 - offset))
    assert limits.speed_bounds(q)[1][joint] == pytest.approx(expected)
    q[joint] = limits.q_min[joint] + distance
    assert limits.speed_bounds(q)[0][joint] == pytest.approx(-expected)


def test_at_the_end_of_a_joint_no_speed_is_left_but_the_way_back():
    limits = official_limits(FR3)
    low, high = limits.speed_bounds(limits.q_max)
    assert (high == 0).all()
    assert (low < 0).all()


def test_a_panda_has_the_same_speed_everywhere():
    low, high = official_limits(PANDA).speed_bounds(np.zeros((5, 7)))
    assert (high == PANDA.dq_max).all() and (low == -high).all()


def test_a_policy_gets_a_share_away_from_the_ends():
    limits = policy_limits(FR3, speed=0.2, acceleration=0.5, margin=0.2)
    assert limits.dq == pytest.approx(0.2 * np.array(FR3.dq_max))
    assert limits.ddq == pytest.approx(0.5 * np.array(FR3.ddq_max))
    assert limits.q_max == pytest.approx(np.array(FR3.q_max) - 0.2)
    assert limits.translation == pytest.approx((0.6, 4.5))
    assert limits.speed_bounds(limits.q_max)[1] == pytest.approx(
        np.minimum(0.2 * np.array(FR3.dq_max), 0.2 * official_limits(FR3).speed_bounds(limits.q_max)[1])
    )


def test_inside_the_margins_an_fr3_can_always_move_both_ways():
    for limits in (policy_limits(FR3), policy_limits(FR3, box=True), policy_limits(FR3, margin=0.04)):
        for q in (limits.q_min, limits.q_max):
            low, high = limits.speed_bounds(q)
            assert (low < 0).all() and (high > 0).all()


def test_the_suggested_box():
    limits = policy_limits(FR3, speed=0.8, box=True)
    assert limits.q_max[5] == 4.2841 and limits.q_min[5] == 0.7773
    assert limits.dq[1] == 1.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"speed": 0.0}, "speed share is 0.0"),
        ({"speed": 1.0}, "at most 0.8"),
        ({"acceleration": float("nan")}, "acceleration share"),
        ({"margin": 0.01}, "joint margin is 0.01 rad"),
    ],
)
def test_shares_that_cannot_be_meant(options: dict, words: str):
    with pytest.raises(UsageError, match=words):
        policy_limits(FR3, **options)


def test_what_has_no_limits_cannot_be_driven():
    with pytest.raises(UsageError, match="panda, fr3"):
        official_limits(ARMS["ur5e"])
    with pytest.raises(UsageError, match="no box"):
        policy_limits(PANDA, box=True)


def test_a_joint_outside_is_named():
    q = np.array(PANDA.home)
    assert policy_limits(PANDA).describe_violation(q) == ""
    q[5] = 0.2
    assert policy_limits(PANDA).describe_violation(q) == ""
    assert "joint 6 at 0.200 rad, expected 0.540 to 4.522 for this fr3" in policy_limits(FR3).describe_violation(q)


@pytest.mark.parametrize(
    ("low", "high", "cone", "words"),
    [
        ((0.3, 0.3, 0.1), (0.2, 0.4, 0.2), 0.5, "not a box"),
        ((0.3, -0.3, -0.1), (0.5, 0.3, 0.2), 0.5, "below the table"),
        ((0.3, -0.3, 0.1), (0.5, 0.3, 0.2), 2.0, "cone is 2.0"),
        ((0.3, -0.3), (0.5, 0.3), 0.5, "not a box"),
    ],
)
def test_impossible_workspaces(low: tuple, high: tuple, cone: float, words: str):
    with pytest.raises(UsageError, match=words):
        Workspace(np.array(low), np.array(high), cone)


def test_a_workspace_has_room_for_where_the_hand_stands_but_never_in_the_table():
    space = Workspace.from_box(np.array((0.3, -0.3, 0.001)), np.array((0.5, 0.3, 0.2)))
    assert space.low == pytest.approx((0.298, -0.302, 0.0))
    wider = space.widen_to(np.array((0.52, 0.0, -0.01)), 0.6)
    assert wider.high == pytest.approx((0.52, 0.302, 0.202)) and wider.low[2] == 0.0 and wider.cone == 0.6
