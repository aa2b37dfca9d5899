"""Internal control against a rigid body of our own, and inverse kinematics against the pose it is asked for."""

import numpy as np
import pytest

from robo_reward.envs.arm.model import FR3, PANDA, ArmModel
from robo_reward.errors import UsageError, WrongShape
from robo_reward.hardware.emulator.robot.control import (
    InternalControl,
    TorqueSource,
    pose_error,
    rotation_matrix,
    rotation_vector,
    solve_pose_ik,
    solve_twist_ik,
)
from robo_reward.hardware.emulator.robot.model import RobotModel
from robo_reward.hardware.emulator.world.plant import DT, PlantState

ARMS = pytest.mark.parametrize("arm", [PANDA, FR3], ids=lambda arm: arm.name)
ZERO = np.zeros(7)


def measured(q: np.ndarray, dq: np.ndarray = ZERO) -> PlantState:
    return PlantState(0.0, q, dq, ZERO, ZERO, np.zeros(6), 0.08, 0.08, False, 0.0, False)


class Body:
    """The arm as a rigid body in free space, M ddq = tau + push - C dq, stepped by itself."""

    def __init__(self, arm: ArmModel, q: np.ndarray) -> None:
        self.model, self.q, self.dq = RobotModel(arm), q.copy(), np.zeros(7)

    def step(self, tau: np.ndarray, push: np.ndarray) -> None:
        inertia = self.model.mass(self.q) + 0.1 * np.eye(7)
        self.dq = self.dq + DT * np.linalg.solve(inertia, tau + push - self.model.coriolis(self.q, self.dq))
        self.q = self.q + DT * self.dq


@ARMS
@pytest.mark.parametrize("mode", [TorqueSource.JOINT_IMPEDANCE, TorqueSource.CARTESIAN_IMPEDANCE])
def test_impedance_comes_back_after_a_push(arm: ArmModel, mode: TorqueSource):
    home = np.array(arm.home)
    control, body = InternalControl(arm), Body(arm, home)
    far = []
    for k in range(1500 if mode == TorqueSource.JOINT_IMPEDANCE else 3000):
        push = body.model.zero_jacobian(body.q).T @ (20.0, 10.0, -15.0, 0, 0, 0) if k < 200 else ZERO
        body.step(control.compute_torque(mode, measured(body.q, body.dq), home, ZERO, ZERO), push)
        far.append(np.abs(body.q - home).max())
    assert max(far) > 2e-3
    assert far[-1] < 1e-3 * (0.1 if mode == TorqueSource.JOINT_IMPEDANCE else 1)
    assert np.abs(body.dq).max() < 2e-3


def test_a_cartesian_spring_gives_way_by_its_stiffness():
    """Deflection = force / stiffness along the axes of the stiffness frame, here the base's turned by half a turn."""
    home = np.array(PANDA.home)
    control, body = InternalControl(PANDA), Body(PANDA, home)
    control.set_cartesian_impedance(np.array([500.0, 1000.0, 2000.0, 100.0, 100.0, 100.0]))
    begun = body.model.pose(home)
    for _ in range(4000):
        push = body.model.zero_jacobian(body.q).T @ (5.0, 10.0, 20.0, 0, 0, 0)
        body.step(control.compute_torque(1, measured(body.q, body.dq), home, ZERO, ZERO), push)
    moved = body.model.pose(body.q)[:3, 3] - begun[:3, 3]
    assert np.allclose(moved, [0.01, 0.01, 0.01], atol=2e-3)  # the elbow's spring takes a little of it


def test_joint_torques_are_stiffness_times_error():
    control, home = InternalControl(FR3), np.array(FR3.home)
    control.set_joint_impedance(np.full(7, 100.0))
    tau = control.compute_torque(0, measured(home), home + 0.01, ZERO, ZERO)
    assert np.allclose(tau, 1.0)
    assert np.allclose(control.compute_torque(3, measured(home), home + 0.01, ZERO, ZERO), 1.0)


def test_external_torque_is_passed_on_within_limits():
    control, home = InternalControl(FR3), np.array(FR3.home)
    wanted = np.array([1.0, -2.0, 200.0, -200.0, 1.0, 100.0, -100.0])
    assert control.compute_torque(2, measured(home), home, ZERO, wanted).tolist() == [1, -2, 87, -87, 1, 12, -12]


def test_stiffnesses_are_checked():
    control = InternalControl(PANDA)
    with pytest.raises(WrongShape):
        control.set_joint_impedance(np.ones(6))
    with pytest.raises(UsageError, match="joint stiffness"):
        control.set_joint_impedance(np.full(7, -1.0))
    with pytest.raises(UsageError, match="Cartesian stiffness"):
        control.set_cartesian_impedance(np.full(6, np.nan))


def path(model: RobotModel, q: np.ndarray, seconds: float = 3.5):
    """A smooth loop of the hand with a turn, at rest at both ends."""
    begun = model.pose(q)
    for k in range(1, int(seconds / DT) + 1):
        s = k * DT / seconds
        phase = 2 * np.pi * (s - np.sin(2 * np.pi * s) / (2 * np.pi))
        target = begun.copy()
        target[:3, 3] += (0.1 * (1 - np.cos(phase)), 0.1 * np.sin(phase), 0.05 * np.sin(phase))
        target[:3, :3] = rotation_matrix(np.array([0.3, 0.1, 0.2]) * np.sin(phase)) @ begun[:3, :3]
        yield target


@ARMS
def test_a_cartesian_path_is_followed_smoothly(arm: ArmModel):
    model, q = RobotModel(arm), np.array(arm.home)
    joints, worst = [q], 0.0
    for target in path(model, q):
        joints.append(solve_pose_ik(model, joints[-1], target, DT))
        worst = max(worst, np.abs(pose_error(model.pose(joints[-1]), target)).max())
    assert worst < 1e-6
    assert (np.abs(np.diff(joints, axis=0) / DT) < arm.dq_max).all()
    assert (np.abs(np.diff(joints, 2, axis=0) / DT**2) < arm.ddq_max).all()
    assert (np.abs(np.diff(joints, 3, axis=0) / DT**3) < arm.dddq_max).all()


def test_a_pose_that_is_held_is_held_still():
    model, q = RobotModel(PANDA), np.array(PANDA.home)
    target = model.pose(q)
    found = q
    for _ in range(100):
        found = solve_pose_ik(model, found, target, DT)
    assert np.array_equal(found, q)


def test_the_elbow_goes_where_it_is_told_and_the_hand_stays():
    model, q = RobotModel(FR3), np.array(FR3.home)
    target, found = model.pose(q), q
    for k in range(2000):
        s = (k + 1) / 2000
        found = solve_pose_ik(model, found, target, DT, np.array([0.4 * s * s * (3 - 2 * s), -1.0]))
    assert found[2] == pytest.approx(0.4, abs=1e-5)
    assert np.abs(pose_error(model.pose(found), target)).max() < 1e-5


def test_a_twist_moves_the_hand_at_its_speed():
    model, q = RobotModel(PANDA), np.array(PANDA.home)
    begun, twist = model.pose(q), np.array([0.05, -0.1, 0.02, 0.1, 0.2, -0.3])
    for _ in range(500):
        q = solve_twist_ik(model, q, twist, DT)
    here = model.pose(q)
    assert np.allclose(here[:3, 3] - begun[:3, 3], 0.5 * twist[:3], atol=1e-5)
    assert np.allclose(rotation_vector(here[:3, :3] @ begun[:3, :3].T), 0.5 * twist[3:], atol=1e-4)


@ARMS
def test_a_hand_that_is_called_out_of_reach(arm: ArmModel):
    """Through the stretched arm, where the Jacobian loses rank: bounded, finite, inside the limits."""
    model, q = RobotModel(arm), np.array(arm.home)
    target = model.pose(q)
    for k in range(3000):
        target[0, 3] += 0.3 * DT * (1 if k < 1500 else -1)
        before, q = q, solve_pose_ik(model, q, target, DT)
        assert np.isfinite(q).all()
        assert (np.abs(q - before) <= DT * np.array(arm.dq_max) * (1 + 1e-9)).all()
        assert (q >= arm.q_min).all() and (q <= arm.q_max).all()
    assert np.linalg.norm(model.pose(q)[:3, 3] - target[:3, 3]) < 0.02


def test_the_end_effector_that_a_client_sets_is_the_one_that_moves():
    model, q = RobotModel(FR3), np.array(FR3.home)
    tool = np.eye(4)
    tool[2, 3] = 0.1
    model.set_NE_T_EE(tool)
    target = model.pose(q)
    tip = target[:3, 3].copy()
    target[:3, :3] = rotation_matrix(np.array([0.0, 0.001, 0.0])) @ target[:3, :3]
    q = solve_pose_ik(model, q, target, DT)
    assert np.allclose(model.pose(q)[:3, 3], tip, atol=1e-7)


def test_rotation_vectors(rng: np.random.Generator):
    for angle in (0.0, 1e-12, 1e-5, 0.3, 2.0, np.pi - 1e-4):
        axis = rng.normal(size=3)
        vector = angle * axis / np.linalg.norm(axis)
        assert np.allclose(rotation_vector(rotation_matrix(vector)), vector, atol=1e-8)
    half = rotation_vector(np.diag([-1.0, 1.0, -1.0]))
    assert np.allclose(np.abs(half), [0, np.pi, 0])
