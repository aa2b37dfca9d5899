"""The arm's table, its kinematics and its model, against each other and against the raw Denavit-Hartenberg product."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo_reward.envs.panda.arm import ARMS, Arm, arm_named
from robo_reward.envs.panda.kinematics import damped_step, forward, jacobian, solve_position
from robo_reward.envs.panda.mjcf import scene_xml
from robo_reward.errors import UnknownName

BOTH = pytest.mark.parametrize("arm", ARMS.values(), ids=ARMS)


def dh_product(arm: Arm, q: np.ndarray) -> np.ndarray:
    """The TCP's pose (4, 4) as the textbook multiplies it: RotX(alpha) TransX(a) RotZ(q) TransZ(d)."""
    pose = np.eye(4)
    rows = [*arm.dh, (0.0, arm.flange, 0.0), (0.0, arm.tcp, 0.0)]
    for (a, d, alpha), angle in zip(rows, [*q, 0.0, arm.hand_yaw], strict=True):
        ca, sa, c, s = np.cos(alpha), np.sin(alpha), np.cos(angle), np.sin(angle)
        pose = pose @ np.array(
            [[c, -s, 0, a], [s * ca, c * ca, -sa, -sa * d], [s * sa, c * sa, ca, ca * d], [0, 0, 0, 1]]
        )
    return pose


def random_joints(arm: Arm, n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(arm.q_min, arm.q_max, (n, 7))


@BOTH
def test_forward_kinematics_agree_with_the_chain_to_a_nanometre(arm: Arm) -> None:
    q = random_joints(arm, 50)
    pose = forward(arm, q)
    for i, joints in enumerate(q):
        expected = dh_product(arm, joints)
        np.testing.assert_allclose(pose.position[:, i], expected[:3, 3], atol=1e-9)
        np.testing.assert_allclose(np.stack([pose.x[:, i], pose.y[:, i], pose.z[:, i]], 1), expected[:3, :3], atol=1e-9)


@BOTH
def test_the_model_agrees_with_the_kinematics(arm: Arm) -> None:
    model = mujoco.MjModel.from_xml_string(scene_xml(arm, "", ""))
    data = mujoco.MjData(model)
    q = random_joints(arm, 30, seed=1)
    pose, jac = forward(arm, q), jacobian(forward(arm, q))
    linear, angular = np.zeros((3, model.nv)), np.zeros((3, model.nv))
    for i, joints in enumerate(q):
        data.qpos[:7] = joints
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        site = model.site("tcp").id
        np.testing.assert_allclose(data.site_xpos[site], pose.position[:, i], atol=1e-9)
        mujoco.mj_jacSite(model, data, linear, angular, site)
        np.testing.assert_allclose(jac[i], np.concatenate([linear, angular])[:, :7], atol=1e-9)


@BOTH
def test_the_model_holds_the_table_of_limits(arm: Arm) -> None:
    model = mujoco.MjModel.from_xml_string(scene_xml(arm, "", ""))
    np.testing.assert_allclose(model.jnt_range[:7], np.stack([arm.q_min, arm.q_max], 1))
    np.testing.assert_allclose(model.actuator_forcerange[:7, 1], arm.tau_max)
    np.testing.assert_allclose(
        model.body_mass[[model.body(f"link{i}").id for i in range(1, 8)]], [k.mass for k in arm.links]
    )


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_the_jacobian_is_the_derivative(seed: int) -> None:
    arm, step = arm_named("panda"), 1e-6
    q = random_joints(arm, 1, seed)
    jac = jacobian(forward(arm, q))[0]
    for joint in range(7):
        nudge = np.eye(7)[joint] * step
        difference = (forward(arm, q + nudge).position - forward(arm, q - nudge).position) / (2 * step)
        np.testing.assert_allclose(jac[:3, joint], difference[:, 0], atol=1e-7)


@BOTH
def test_inverse_kinematics_reach_the_target_pointing_down(arm: Arm) -> None:
    target = np.random.default_rng(2).uniform((0.35, -0.25, 0.05), (0.65, 0.25, 0.4), (100, 3))
    q = solve_position(arm, target)
    pose = forward(arm, q)
    np.testing.assert_allclose(pose.position.T, target, atol=1e-4)
    np.testing.assert_allclose(pose.z[2], -1.0, atol=1e-6)
    assert (q > np.array(arm.q_min)).all()
    assert (q < np.array(arm.q_max)).all()


def test_the_posture_task_does_not_move_the_hand() -> None:
    arm = arm_named("panda")
    q = random_joints(arm, 20, seed=3)
    jac = jacobian(forward(arm, q))
    step = damped_step(jac, np.zeros((20, 6)), np.array(arm.home) - q, damping=1e-6, posture_gain=0.1)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", jac, step), 0.0, atol=1e-4)


def test_an_unknown_arm_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="panda"):
        arm_named("pandda")
