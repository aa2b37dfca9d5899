"""The judges of commands against smooth motions that keep the limits, and against each way to break them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo_reward.configs.emulation import Checks
from robo_reward.envs.arm.model import FR3, PANDA
from robo_reward.hardware.emulator.robot.control import rotation_matrix
from robo_reward.hardware.emulator.robot.limit_checks import (
    CARTESIAN_JOINT,
    CartesianChecker,
    JointChecker,
    MeasuredChecker,
    SpeedLimit,
    StreamState,
    check_torque,
)
from robo_reward.hardware.emulator.robot.model import RobotModel

ruckig = pytest.importorskip("ruckig")
HOME = np.array(FR3.home)


def profile(arm, q, share=0.98):
    """Time-optimal joint positions from home to `q` within a share of the limits, every millisecond."""
    otg, given_, out = ruckig.Ruckig(7, 0.001), ruckig.InputParameter(7), ruckig.OutputParameter(7)
    given_.current_position, given_.target_position = list(arm.home), list(q)
    given_.max_velocity = (share * np.array(arm.dq_max)).tolist()
    given_.max_acceleration = (share * np.array(arm.ddq_max)).tolist()
    given_.max_jerk = (share * np.array(arm.dddq_max)).tolist()
    path = [np.array(arm.home)]
    while otg.update(given_, out) == ruckig.Result.Working:
        path.append(np.array(out.new_position))
        out.pass_to_input(given_)
    return path


def judged(judge, path, skip=()):
    """The first error on the way, or nothing; the commands numbered in `skip` get lost."""
    assert judge.check_first(np.array(path[0])) == ""
    last = 0
    for k, q in enumerate(path[1:], start=1):
        if k in skip:
            judge.extrapolate()
            continue
        error = judge.check_position(q, k - last)
        if error:
            return error
        last = k
    return ""


def judged_on(judge, path):
    """The first error of the positions to come, or nothing."""
    return next(filter(None, map(judge.check_position, path)), "")


@pytest.mark.parametrize("arm", [FR3, PANDA], ids=lambda arm: arm.name)
@given(move=st.lists(st.floats(-0.3, 0.3), min_size=7, max_size=7))
@settings(max_examples=10, deadline=None)
def test_whoever_keeps_the_limits_passes(arm, move):
    assert judged(JointChecker(arm, Checks(), np.array(arm.home)), profile(arm, np.array(arm.home) + move)) == ""


@given(move=st.lists(st.floats(-0.3, 0.3), min_size=7, max_size=7), begun=st.integers(2, 100), lost=st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_lost_packets_of_a_gentle_motion_are_forgiven(move, begun, lost):
    path = profile(FR3, HOME + move, share=0.2)
    assert judged(JointChecker(FR3, Checks(), HOME), path, range(begun, begun + lost)) == ""


@pytest.mark.parametrize(("arm", "share"), [(FR3, 1.3), (PANDA, 1.3)], ids=["fr3", "panda"])
def test_whoever_exceeds_acceleration_fails(arm, share):
    error = judged(JointChecker(arm, Checks(), np.array(arm.home)), profile(arm, np.array(arm.home) + 0.3, share))
    assert error.endswith("_discontinuity")


def test_each_break_has_its_name():
    still = [HOME] * 3
    step = np.zeros(7)
    step[3] = 0.02  # 20 rad/s
    assert judged(JointChecker(FR3, Checks(), HOME), [*still, HOME + step]).endswith("velocity_limits_violation")
    step[3] = 1e-4  # 0.1 rad/s at once: 100 rad/s²
    assert (
        judged(JointChecker(FR3, Checks(), HOME), [*still, HOME + step])
        == "joint_motion_generator_velocity_discontinuity"
    )
    step[3] = 8e-6  # 8 rad/s² at once: 8000 rad/s³
    error = judged(JointChecker(FR3, Checks(), HOME, CARTESIAN_JOINT), [*still, HOME + step])
    assert error == "cartesian_motion_generator_joint_acceleration_discontinuity"
    step[3] = 4e-6
    assert judged(JointChecker(FR3, Checks(), HOME), [*still, HOME + step]) == ""
    beyond = np.array(FR3.q_max) + 1e-6
    judge = JointChecker(FR3, Checks(discontinuity=False), beyond - 2e-6)
    assert judge.check_position(beyond).endswith("position_limits_violation")
    assert JointChecker(FR3, Checks(), HOME).check_first(HOME + 0.03).endswith("start_pose_invalid")


def test_a_motion_goes_on_from_the_robot_or_begins_near_it():
    path = profile(FR3, HOME + 0.3)
    late = JointChecker(FR3, Checks(), HOME)
    assert late.check_first(path[1]) == "" and judged_on(late, path[2:]) == ""  # no command for where it already is
    near = JointChecker(FR3, Checks(), HOME + 0.003)
    assert near.check_first(path[0]) == "" and judged_on(near, path[1:]) == ""
    assert not JointChecker(FR3, Checks(), HOME + 0.003).now.rate.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_never_passes_even_unchecked(bad):
    off = Checks(False, False, False, False, False, False)
    q = HOME.copy()
    q[2] = bad
    assert JointChecker(FR3, off, HOME).check_position(q)
    assert JointChecker(FR3, off, HOME).check_first(q)
    assert JointChecker(FR3, off, HOME).check_velocity(q)
    pose = np.eye(4)
    pose[0, 0] = bad
    assert CartesianChecker(FR3, off, np.eye(4)).check_position(pose)
    assert CartesianChecker(FR3, off, np.eye(4)).check_first(pose)
    assert CartesianChecker(FR3, off, np.eye(4)).check_velocity(np.array([bad, 0, 0, 0, 0, 0]))
    assert check_torque(np.zeros(7), q, 1, off)


def test_the_speed_limit_shrinks_towards_the_end_of_a_joint():
    low, high = SpeedLimit(FR3)((np.array(FR3.q_min) + FR3.q_max) / 2)
    assert np.allclose(high, FR3.dq_max) and np.allclose(low, -np.array(FR3.dq_max))
    q = np.array(FR3.q_max) - 0.1
    q[3] = FR3.q_min[3] + 0.1
    low, high = SpeedLimit(FR3)(q)
    # by hand, joint 1: sqrt(2 · 6 · 0.1) - 0.6599; joint 4: sqrt(2 · 4 · 0.1) - 0.3533 downwards
    assert high[0] == pytest.approx(1.0954451 - 0.6599, abs=1e-6)
    assert low[3] == pytest.approx(-(0.8944272 - 0.3533), abs=1e-6)
    assert (high >= 0).all() and (SpeedLimit(FR3)(np.array(FR3.q_max))[1] == 0).all()
    assert (SpeedLimit(PANDA)(np.array(PANDA.q_max))[1] == PANDA.dq_max).all()


def test_fr3_is_stopped_where_a_panda_is_not():
    q = np.array(FR3.q_max) - 0.02
    dq = np.zeros(7)
    dq[0] = 0.5
    checks = Checks(discontinuity=False)
    assert JointChecker(FR3, checks, q).check_velocity(dq).endswith("velocity_limits_violation")
    q = np.array(PANDA.q_max) - 0.02
    assert JointChecker(PANDA, checks, q).check_velocity(dq) == ""


def test_the_hand_is_judged_like_the_joints():
    pose = RobotModel(FR3).pose(HOME)

    def moved(x=0.0, turn=0.0):
        out = pose.copy()
        out[0, 3] += x
        out[:3, :3] = rotation_matrix(np.array([0, 0, turn])) @ out[:3, :3]
        return out

    assert CartesianChecker(FR3, Checks(), pose).check_position(moved(4e-3)).endswith("velocity_limits_violation")
    assert CartesianChecker(FR3, Checks(), pose).check_position(moved(turn=3e-3)).endswith("velocity_limits_violation")
    for other in (moved(1e-4), moved(turn=1e-4)):
        assert (
            CartesianChecker(FR3, Checks(), pose).check_position(other)
            == "cartesian_motion_generator_velocity_discontinuity"
        )
    for other in (moved(8e-6), moved(turn=1.5e-5)):
        error = CartesianChecker(FR3, Checks(), pose).check_position(other)
        assert error == "cartesian_motion_generator_acceleration_discontinuity"
    for other in (moved(4e-6), moved(turn=8e-6)):
        assert CartesianChecker(FR3, Checks(), pose).check_position(other) == ""
    skewed = pose.copy()
    skewed[0, 0] *= 1.01
    assert CartesianChecker(FR3, Checks(), pose).check_position(skewed).endswith("invalid_frame")
    assert CartesianChecker(FR3, Checks(), pose).check_first(moved(0.02)).endswith("start_pose_invalid")
    assert CartesianChecker(FR3, Checks(), pose).check_first(moved(0.005)) == ""


def test_torques_may_change_by_one_newton_metre_a_millisecond():
    before, tau = np.zeros(7), np.zeros(7)
    tau[6] = 1.0
    assert check_torque(before, tau, 1, Checks()) == ""
    tau[6] = 1.1
    assert check_torque(before, tau, 1, Checks()) == "controller_torque_discontinuity"
    assert check_torque(before, tau, 2, Checks()) == ""
    assert check_torque(before, tau, 1, Checks(torque_rate=False)) == ""


def test_how_the_arm_really_moves_is_watched_too():
    assert MeasuredChecker(FR3, Checks())(HOME, np.zeros(7)) == ()
    assert MeasuredChecker(FR3, Checks())(np.array(FR3.q_max) + 0.05, np.zeros(7)) == (
        "joint_position_limits_violation",
    )
    assert MeasuredChecker(FR3, Checks())(HOME, 1.2 * np.array(FR3.dq_max)) == ("joint_velocity_violation",)
    assert MeasuredChecker(FR3, Checks(limits=False))(HOME, 1.2 * np.array(FR3.dq_max)) == ()


def test_a_measured_speed_is_held_against_the_limit_where_the_joint_is_and_flags_add_up():
    near = HOME.copy()
    near[0] = FR3.q_max[0] - 0.2  # sqrt(2 * 6 * 0.2) - 0.6599 = 0.889 rad/s, of 2.62
    speed = np.zeros(7)
    speed[0] = 0.85 * FR3.dq_max[0]
    assert MeasuredChecker(FR3, Checks())(near, speed) == ("joint_velocity_violation",)
    assert MeasuredChecker(FR3, Checks())(near, -speed) == ()  # away from the end
    assert MeasuredChecker(FR3, Checks())(HOME, speed) == ()
    panda = np.array(PANDA.home)
    panda[0] = PANDA.q_max[0] - 0.1
    assert MeasuredChecker(PANDA, Checks())(panda, 0.85 * np.array(PANDA.dq_max)) == ()  # whose limits are flat
    beyond = np.array(FR3.q_max) + 0.05
    both = ("joint_position_limits_violation", "joint_velocity_violation")
    assert MeasuredChecker(FR3, Checks())(beyond, np.full(7, 0.5)) == both


def reference(arm, before, q, dq, ddq, dddq, factor):
    """The verdict on a step, once more and by arrays, from the rules as Franka publishes them."""
    q_min, q_max = np.array(arm.q_min), np.array(arm.q_max)
    low = high = np.array(arm.dq_max)
    if arm.ddq_dec:
        slowing, offset = 2 * np.array(arm.ddq_dec), np.array(arm.dq_offset)
        high = np.clip(np.sqrt(slowing * np.maximum(q_max - before, 0)) - offset, 0, high)
        low = np.clip(np.sqrt(slowing * np.maximum(before - q_min, 0)) - offset, 0, low)
    if not ((q <= q_max) | (dq <= 0)).all() or not ((q >= q_min) | (dq >= 0)).all():
        return "position_limits_violation"
    if (dq > 1.001 * high + 1e-3).any() or (dq < -1.001 * low - 1e-3).any():
        return "velocity_limits_violation"
    if (np.abs(ddq) > factor * (1.001 * np.array(arm.ddq_max))).any():
        return "velocity_discontinuity"
    return "acceleration_discontinuity" if (np.abs(dddq) > factor * (1.001 * np.array(arm.dddq_max))).any() else ""


@pytest.mark.parametrize("arm", [FR3, PANDA], ids=lambda arm: arm.name)
def test_the_judge_of_joints_agrees_with_the_rules_written_as_arrays(arm):
    rng, seen = np.random.default_rng(5), {}
    for _ in range(300):
        judge = JointChecker(arm, Checks(), HOME)
        share = rng.choice((0.5, 0.98, 1.02, 1.5))
        q = rng.uniform(arm.q_min, arm.q_max) if rng.random() < 0.7 else rng.choice((arm.q_min, arm.q_max))
        dq = share * rng.uniform(-1, 1, 7) * arm.dq_max * rng.choice((0.02, 0.3, 1.0))
        ddq = share * rng.uniform(-1, 1, 7) * arm.ddq_max
        judge.now = judge._last = StreamState(q, dq, ddq)
        for _ in range(6):
            q, dq, ddq = judge.now
            jerk = share * rng.uniform(-1, 1, 7) * arm.dddq_max
            target = q + 1e-3 * (dq + 1e-3 * (ddq + 1e-3 * jerk))
            rate = (target - q) / 1e-3
            acceleration = (rate - dq) / 1e-3
            factor = judge._tolerance.factor
            expected = reference(arm, q, target, rate, acceleration, (acceleration - ddq) / 1e-3, max(1, factor - 1))
            found = judge.check_position(target)
            assert found == (f"joint_motion_generator_{expected}" if expected else "")
            seen[expected] = seen.get(expected, 0) + 1
            if found:
                break
            np.testing.assert_array_equal(judge.now.rate, rate)
            np.testing.assert_array_equal(judge.now.acceleration, acceleration)
    assert len(seen) == 5  # every verdict came up


@pytest.mark.parametrize("arm", [FR3, PANDA], ids=lambda arm: arm.name)
def test_the_speed_limits_of_one_joint_are_those_of_all(arm):
    rng, limit, exceeded = np.random.default_rng(6), SpeedLimit(arm), 0
    for _ in range(500):
        q = rng.uniform(np.array(arm.q_min) - 0.05, np.array(arm.q_max) + 0.05)
        dq = rng.uniform(-1.1, 1.1, 7) * arm.dq_max * rng.choice((0.05, 0.5, 1.0))
        low, high = limit(q)
        expected = bool((dq > high + 0.01).any() or (dq < low - 0.01).any())
        assert limit.is_exceeded(q.tolist(), dq.tolist(), 1.0, 0.01) is expected
        exceeded += expected
    assert 50 < exceeded < 450
    assert limit.is_exceeded([*HOME], [float("nan"), *[0.0] * 6], 1.0, 0.0)
