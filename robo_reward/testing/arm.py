"""The contract of an arm's driver as tests.

Inherit the mixin and say how to make yours; pytest runs the rest:

    class TestMine(ArmDriverContract):
        def make_arm(self): return MyArm("127.0.0.1")

The tests move the arm by a few centimetres and open and close the fingers. Run them on a simulator or an emulator
first; on a real arm keep the workspace free and the stop button at hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np

from robo_reward.errors import RoboRewardError
from robo_reward.hardware.arm import ArmDriver, ArmState, Mode, Target


class ArmDriverContract:
    """The contract of `robo_reward.hardware.arm.ArmDriver` as tests.

    Attributes:
        period: time between two targets of a stream [s]; 0 where time passes only with targets.
        ticks: number of targets in which the arm moves by `step`.
        step: motion of the first joint [rad].
        accuracy: largest distance from a target that is held [rad].
        rest: joint speed below which the arm is at rest [rad/s].
        widths: openings that the fingers are moved to [m]; empty without a gripper.
        width_accuracy: largest distance from such an opening [m].
        patience: number of further targets in which the arm and the fingers arrive.
    """

    period = 0.004
    ticks = 200
    step = 0.08
    accuracy = 0.02
    rest = 0.05
    widths = (0.03, 0.06)
    width_accuracy = 0.004
    patience = 2000

    def make_arm(self) -> ArmDriver:
        """Returns a driver that is not connected, of an arm at rest away from its limits."""
        raise NotImplementedError

    @contextmanager
    def open_arm(self) -> Iterator[ArmDriver]:
        """Provides a connected arm, and closes it."""
        with closing(self.make_arm()) as arm:
            arm.connect()
            yield arm

    def send_target(self, arm: ArmDriver, target: Target) -> ArmState:
        """Streams a target and returns the state one period later."""
        arm.stream(target)
        time.sleep(self.period)
        return arm.state()

    def stream_step(self, arm: ArmDriver, begin: np.ndarray, fraction: float = 1.0) -> Target:
        """Streams the first part of a smooth way from joints (7,) [rad], and returns its last target."""
        target = Target(joints=begin)
        for k in range(round(fraction * self.ticks)):
            s = (k + 1) / self.ticks
            target = Target(joints=begin + self.step * np.eye(7)[0] * (3 * s**2 - 2 * s**3))
            self.send_target(arm, target)
        return target

    def stream_until(self, arm: ArmDriver, target: Target, condition: Callable[[ArmState], Any]) -> ArmState:
        """Streams one target until the state fulfils a condition; returns the last state in any case."""
        state = arm.state()
        for _ in range(self.patience):
            if condition(state):
                break
            state = self.send_target(arm, target)
        return state

    def assert_at_rest(self, state: ArmState) -> None:
        assert np.abs(state.dq).max() < self.rest
        assert state.mode is Mode.IDLE

    def assert_refused(self, *calls: Callable[[], Any]) -> None:
        """Checks that one of the calls raises: a driver in another process reports a fault with the next call."""
        try:
            for call in calls:
                call()
        except RoboRewardError:
            return
        raise AssertionError("no RoboRewardError, such as ArmFault or UsageError, was raised")

    def test_it_has_the_parts_of_a_driver(self) -> None:
        with closing(self.make_arm()) as arm:
            assert isinstance(arm, ArmDriver)
            assert arm.name

    def test_a_connected_arm_reports_a_finite_state_at_rest(self) -> None:
        with self.open_arm() as arm:
            state = arm.state()
            assert state.is_finite()
            for values, size in ((state.q, 7), (state.dq, 7), (state.tau_ext, 7), (state.wrench, 6)):
                assert values.shape == (size,) and np.isfinite(values).all()
            assert state.hand_position.shape == (3,) and state.hand_quat.shape == (4,)
            np.testing.assert_allclose(np.linalg.norm(state.hand_quat), 1.0, atol=1e-3)
            assert state.gripper_width >= 0.0
            assert state.errors == ()
            self.assert_at_rest(state)

    def test_states_are_newer_and_share_nothing(self) -> None:
        with self.open_arm() as arm:
            first = arm.state()
            joints = first.q.copy()
            for array in (first.q, first.dq, first.hand_position, first.hand_quat):
                array[:] = np.nan
            time.sleep(self.period)
            second = arm.state()
            assert second.is_finite()
            np.testing.assert_allclose(second.q, joints, atol=self.accuracy)
            assert second.stamp >= first.stamp and second.robot_time >= first.robot_time

    def test_without_a_connection_there_is_no_state(self) -> None:
        arm = self.make_arm()
        try:
            self.assert_refused(arm.state)
        finally:
            arm.close()

    def test_it_follows_a_stream_and_holds_its_end(self) -> None:
        with self.open_arm() as arm:
            first = arm.state()
            arm.start_streaming()
            target = self.stream_step(arm, first.q)
            assert target.joints is not None
            goal = target.joints
            state = self.stream_until(arm, target, lambda s: np.abs(s.q - goal).max() < self.accuracy)
            np.testing.assert_allclose(state.q, goal, atol=self.accuracy)
            assert state.mode is Mode.MOVING
            assert state.robot_time > first.robot_time and state.stamp > first.stamp
            for _ in range(20):
                arm.hold()
                time.sleep(self.period)
            np.testing.assert_allclose(arm.state().q, goal, atol=self.accuracy)
            self.send_target(arm, target)  # still under control
            arm.stop()
            self.assert_at_rest(arm.state())

    def test_a_stream_has_to_be_started(self) -> None:
        with self.open_arm() as arm:
            here = Target(joints=arm.state().q)
            self.assert_refused(lambda: arm.stream(here), arm.state)

    def test_stop_in_motion_ends_at_rest_where_the_arm_is(self) -> None:
        with self.open_arm() as arm:
            begin = arm.state().q
            arm.start_streaming()
            target = self.stream_step(arm, begin, fraction=0.5)
            place = arm.state().q
            arm.stop()
            state = arm.state()
            self.assert_at_rest(state)
            assert np.abs(state.q - place).max() < self.step, "the arm went on, or back, after the stop"
            arm.stop()
            self.assert_at_rest(arm.state())
            np.testing.assert_allclose(arm.state().q, state.q, atol=self.accuracy)
            self.assert_refused(lambda: arm.stream(target), arm.state)

    def test_a_stop_without_a_stream_changes_nothing(self) -> None:
        with self.open_arm() as arm:
            before = arm.state()
            arm.stop()
            self.assert_at_rest(arm.state())
            np.testing.assert_allclose(arm.state().q, before.q, atol=self.accuracy)

    def test_it_streams_again_after_a_stop(self) -> None:
        with self.open_arm() as arm:
            for _ in range(2):
                begin = arm.state().q
                arm.start_streaming()
                self.stream_step(arm, begin, fraction=0.2)
                arm.stop()
            self.assert_at_rest(arm.state())

    def test_the_fingers_reach_a_width(self) -> None:
        with self.open_arm() as arm:
            arm.start_streaming()
            here = Target(joints=arm.state().q)
            for width in self.widths:
                arm.gripper(width, 0.1)
                assert isinstance(arm.state().gripper_busy, bool)
                state = self.stream_until(arm, here, lambda s, w=width: abs(s.gripper_width - w) < self.width_accuracy)
                np.testing.assert_allclose(state.gripper_width, width, atol=self.width_accuracy)
            arm.stop()

    def test_a_slow_motion_arrives_and_needs_the_end_of_the_stream(self) -> None:
        with self.open_arm() as arm:
            goal = arm.state().q + self.step * np.eye(7)[0]
            arm.start_streaming()
            self.assert_refused(lambda: arm.move_to(goal, 0.1))
            arm.stop()
            arm.move_to(goal, 0.1)
            np.testing.assert_allclose(arm.state().q, goal, atol=self.accuracy)
            self.assert_at_rest(arm.state())

    def test_close_ends_a_stream_and_may_be_called_twice(self) -> None:
        arm = self.make_arm()
        try:
            arm.connect()
            begin = arm.state().q
            arm.start_streaming()
            self.stream_step(arm, begin, fraction=0.2)
        finally:
            arm.close()
        arm.close()
        self.assert_refused(arm.state)
