"""The simulated arm: the protocol, its faults, and a policy on it through the safety filter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from robo_reward.envs.batch import BatchSim
from robo_reward.envs.state import State
from robo_reward.envs.task import make_task
from robo_reward.errors import UsageError, WrongShape
from robo_reward.hardware.arm import ArmDriver, ArmFault, FaultKind, Mode, Target
from robo_reward.hardware.drivers.mujoco import MujocoArm
from robo_reward.hardware.safety.fault_messages import make_fault
from robo_reward.hardware.safety.filter import SafetyFilter, Verdict
from robo_reward.hardware.safety.limits import policy_limits
from robo_reward.hardware.safety.recovery import FaultMachine, Reaction

pytest.importorskip("ruckig")

TASK: Any = make_task("panda/lift")


@pytest.fixture
def arm() -> MujocoArm:
    arm = MujocoArm(TASK)
    arm.connect()
    return arm


def test_it_is_an_arm(arm: MujocoArm):
    assert isinstance(arm, ArmDriver)
    state = arm.state()
    assert state.mode is Mode.IDLE and state.is_finite()
    assert state.hand_position == pytest.approx(arm.data.site("tcp").xpos, abs=1e-9)
    assert abs(state.hand_quat[1]) == pytest.approx(1.0, abs=1e-3)
    assert state.gripper_width == pytest.approx(0.08)


def test_the_same_targets_move_it_as_in_the_batch_simulator():
    """Without the filter, the controller's targets must do here what they do in training."""
    sim, arm = BatchSim(TASK, 1, seed=3), MujocoArm(TASK, seed=3)
    arm.connect()
    arm.start_streaming()
    assert arm.data.qpos == pytest.approx(sim.qpos[0])
    action = np.array([[1.0, -0.5, -1.0, -1.0]])
    ctrl = TASK.controller.start(sim.qpos)
    for _ in range(10):
        ctrl = TASK.controller.advance(ctrl, sim.qpos, action)
        for _ in range(TASK.substeps):
            arm.stream(Target(joints=ctrl[0, :7], gripper=float(ctrl[0, 7:].sum())))
        sim.step(action)
    assert arm.data.qpos == pytest.approx(sim.qpos[0], abs=1e-4)
    assert arm.read_scene_state().array == pytest.approx(sim.state.array[0], abs=1e-3)


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ({"joints": np.full(7, np.nan)}, UsageError),
        ({"joints": np.zeros(6)}, WrongShape),
        ({"joints": np.zeros(7), "gripper": np.inf}, UsageError),
    ],
)
def test_targets_that_are_none(target: dict, error: type[Exception]):
    with pytest.raises(error, match="target"):
        Target(**target)


def test_moves_are_slow_and_arrive(arm: MujocoArm):
    q = arm.state().q + np.array((0.3, -0.1, 0, 0.1, 0, 0, 0.2))
    begin, speeds = arm.data.time, []
    step = arm._step_physics

    def watched() -> None:
        step()
        speeds.append(np.abs(arm.data.qvel[:7]).max())

    arm._step_physics = watched
    arm.move_to(q, speed_fraction=0.1)
    assert arm.state().q == pytest.approx(q, abs=2e-3)
    assert max(speeds) < 1.1 * 0.1 * 2.61
    assert arm.data.time - begin > 0.3 / (0.1 * 2.175)


def test_streaming_has_to_be_started_and_ends_with_stop(arm: MujocoArm):
    q = arm.state().q
    here = Target(joints=q)
    with pytest.raises(ArmFault, match="is idle, expected moving") as fault:
        arm.stream(here)
    assert fault.value.kind is FaultKind.CONTROL
    arm.start_streaming()
    assert arm.state().mode is Mode.MOVING
    with pytest.raises(ArmFault):
        arm.move_to(arm.state().q)
    for _ in range(20):
        arm.stream(Target(joints=q + 0.1))
    arm.stop()
    assert np.abs(arm.state().dq).max() < 2e-3
    with pytest.raises(ArmFault):
        arm.stream(here)


def test_not_connected(arm: MujocoArm):
    arm.close()
    with pytest.raises(ArmFault, match="not connected"):
        arm.state()


def test_a_user_stop_is_pressed_until_it_is_released(arm: MujocoArm):
    arm.start_streaming()
    arm.set_user_stop()
    assert arm.state().mode is Mode.USER_STOPPED
    with pytest.raises(ArmFault) as fault:
        arm.stream(Target(joints=arm.state().q))
    assert fault.value.kind is FaultKind.USER_STOP
    with pytest.raises(ArmFault):
        arm.recover()
    arm.set_user_stop(False)
    with pytest.raises(ArmFault):  # releasing it is not enough
        arm.start_streaming()
    arm.recover()
    assert arm.state().mode is Mode.IDLE


@pytest.mark.parametrize("kind", [FaultKind.REFLEX, FaultKind.COMMUNICATION, FaultKind.CONTROL])
def test_a_fault_in_motion_recovery_and_on(arm: MujocoArm, kind: FaultKind):
    """The whole round: fault, confirmation, recovery, new seed, and the arm moves again from where it stands."""
    filter = SafetyFilter.from_task(TASK)
    machine = FaultMachine()
    machine.seed(arm.state())
    filter.start(arm.state())
    arm.start_streaming()
    machine.start()
    for _ in range(10):
        filter.filter_action(np.array((0.5, 0.5, 0, 1.0)), arm.state())
        for _ in range(8):
            arm.stream(filter.next_command())
    arm.inject_fault(make_fault(kind))
    with pytest.raises(ArmFault) as caught:
        arm.stream(filter.next_command())
    step = machine.handle_fault(caught.value)
    assert (step.reaction is Reaction.RECOVER) == (kind is FaultKind.COMMUNICATION)
    if step.reaction is Reaction.ASK:
        machine.confirm("Ada")
    arm.recover()
    machine.finish_recovery(arm.state())
    machine.seed(arm.state())
    filter.start(arm.state())
    begin = arm.state().q
    arm.start_streaming()
    machine.start()
    first = filter.next_command().joints
    assert first == pytest.approx(begin, abs=1e-9), "the target from before the fault must be forgotten"


def test_versions_are_refused_on_connect():
    arm = MujocoArm(TASK)
    arm.inject_fault(make_fault(FaultKind.VERSION, recoverable=False))
    with pytest.raises(ArmFault, match="another version"):
        arm.connect()


def test_a_calm_expert_reaches_through_the_filter():
    """At a third of the speed of training it arrives, within 30 % of the limits of the FR3."""
    task: Any = make_task("fr3/reach")
    arm = MujocoArm(task, seed=5)
    arm.connect()
    filter = SafetyFilter.from_task(task, policy_limits(task.arm, 0.3, 0.3))
    for _ in range(5):
        arm.reset()
        filter.start(arm.state())
        arm.start_streaming()
        state = arm.read_scene_state()
        for _ in range(task.horizon):
            action = 0.3 * task.expert(State(task.spec, state.array[None]))[0]
            decision = filter.filter_action(action, arm.state(), 3 * task.control_dt)
            assert decision.verdict is Verdict.FOLLOW
            for _ in range(3 * task.substeps):
                arm.stream(filter.next_command())
            state = arm.read_scene_state()
        arm.stop()
        assert task.success(state)
