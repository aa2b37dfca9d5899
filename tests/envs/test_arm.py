"""The arm's table, its kinematics and its model, against each other and against the raw Denavit-Hartenberg product."""

from __future__ import annotations

import dataclasses

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo_reward.envs.arm.kinematics import (
    compute_forward_kinematics,
    compute_jacobian,
    solve_damped_step,
    solve_position,
)
from robo_reward.envs.arm.mjcf import scene_xml
from robo_reward.envs.arm.model import UR5E, ArmModel, get_arm_model, to_modified_dh
from robo_reward.errors import UnknownName, UsageError

EVERY = [
    get_arm_model(name, tool) for name, tool in (("panda", ""), ("fr3", ""), ("panda", "pusher"), ("ur5e", "pusher"))
]
ALL = pytest.mark.parametrize("arm", EVERY, ids=lambda arm: f"{arm.name}-{arm.tool}")


def dh_product(arm: ArmModel, q: np.ndarray) -> np.ndarray:
    """The TCP's pose (4, 4) as the textbook multiplies it: RotX(alpha) TransX(a) RotZ(q) TransZ(d)."""
    pose = np.eye(4)
    rows = [*arm.dh, (0.0, arm.flange, 0.0), (0.0, arm.tcp, 0.0)]
    for (a, d, alpha), angle in zip(rows, [*q, 0.0, arm.hand_yaw], strict=True):
        ca, sa, c, s = np.cos(alpha), np.sin(alpha), np.cos(angle), np.sin(angle)
        pose = pose @ np.array(
            [[c, -s, 0, a], [s * ca, c * ca, -sa, -sa * d], [s * sa, c * sa, ca, ca * d], [0, 0, 0, 1]]
        )
    return pose


def random_joints(arm: ArmModel, n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(arm.q_min, arm.q_max, (n, arm.joint_count))


@ALL
def test_forward_kinematics_agree_with_the_chain_to_a_nanometre(arm: ArmModel) -> None:
    q = random_joints(arm, 50)
    pose = compute_forward_kinematics(arm, q)
    for i, joints in enumerate(q):
        expected = dh_product(arm, joints)
        np.testing.assert_allclose(pose.position[:, i], expected[:3, 3], atol=1e-9)
        np.testing.assert_allclose(np.stack([pose.x[:, i], pose.y[:, i], pose.z[:, i]], 1), expected[:3, :3], atol=1e-9)


@ALL
def test_the_model_agrees_with_the_kinematics(arm: ArmModel) -> None:
    model = mujoco.MjModel.from_xml_string(scene_xml(arm, "", ""))
    data = mujoco.MjData(model)
    q = random_joints(arm, 30, seed=1)
    pose, jac = compute_forward_kinematics(arm, q), compute_jacobian(compute_forward_kinematics(arm, q))
    linear, angular = np.zeros((3, model.nv)), np.zeros((3, model.nv))
    for i, joints in enumerate(q):
        data.qpos[: arm.joint_count] = joints
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        site = model.site("tcp").id
        np.testing.assert_allclose(data.site_xpos[site], pose.position[:, i], atol=1e-9)
        mujoco.mj_jacSite(model, data, linear, angular, site)
        np.testing.assert_allclose(jac[i], np.concatenate([linear, angular])[:, : arm.joint_count], atol=1e-9)


@ALL
def test_the_model_holds_the_table_of_limits(arm: ArmModel) -> None:
    model = mujoco.MjModel.from_xml_string(scene_xml(arm, "", ""))
    n = arm.joint_count
    np.testing.assert_allclose(model.jnt_range[:n], np.stack([arm.q_min, arm.q_max], 1), rtol=1e-6)
    np.testing.assert_allclose(model.actuator_forcerange[:n, 1], arm.tau_max)
    bodies = [model.body(f"link{i}").id for i in range(1, n + 1)]
    np.testing.assert_allclose(model.body_mass[bodies], [k.mass for k in arm.links])
    assert model.nu == n + arm.finger_count


# Universal Robots, support article 45257: a, d [m], alpha [rad] in the standard convention.
UR5E_ROWS = (
    (0, 0.1625, np.pi / 2),
    (-0.425, 0, 0),
    (-0.3922, 0, 0),
    (0, 0.1333, np.pi / 2),
    (0, 0.0997, -np.pi / 2),
    (0, 0.0996, 0),
)


def test_the_ur5e_is_where_its_standard_table_says() -> None:
    """RotZ(q) TransZ(d) TransX(a) RotX(alpha) per row, as the maker's article draws it, ends at our flange."""
    arm = dataclasses.replace(UR5E, tcp=0.0, hand_yaw=0.0)
    q = random_joints(arm, 50)
    pose = compute_forward_kinematics(arm, q)
    for i, joints in enumerate(q):
        expected = np.eye(4)
        for (a, d, alpha), angle in zip(UR5E_ROWS, joints, strict=True):
            ca, sa, c, s = np.cos(alpha), np.sin(alpha), np.cos(angle), np.sin(angle)
            expected = expected @ np.array(
                [[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d], [0, 0, 0, 1]]
            )
        np.testing.assert_allclose(pose.position[:, i], expected[:3, 3], atol=1e-9)
        np.testing.assert_allclose(np.stack([pose.x[:, i], pose.y[:, i], pose.z[:, i]], 1), expected[:3, :3], atol=1e-9)


def test_the_ur5e_is_as_heavy_where_its_article_says() -> None:
    """The article gives centres of mass in the standard frames, which end with TransX(a) RotX(alpha)."""
    article = (
        (3.761, (0, -0.02561, 0.00193)),
        (8.058, (0.2125, 0, 0.11336)),
        (2.846, (0.15, 0, 0.0265)),
        (1.37, (0, -0.0018, 0.01634)),
        (1.3, (0, 0.0018, 0.01634)),
        (0.365, (0, 0, -0.001159)),
    )
    for link, (mass, (x, y, z)), (a, _, alpha) in zip(UR5E.links, article, UR5E_ROWS, strict=True):
        c, s = np.cos(alpha), np.sin(alpha)
        assert link.mass == mass
        np.testing.assert_allclose(link.com, (x + a, c * y - s * z, s * y + c * z), atol=1e-9)


def test_a_tool_frame_that_is_no_joints_is_refused() -> None:
    with pytest.raises(UsageError, match="last row"):
        to_modified_dh(((0.1, 0.2, 0.0), (0.1, 0.0, 0.0)))


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from(("panda", "ur5e")))
def test_the_jacobian_is_the_derivative(seed: int, name: str) -> None:
    arm, step = get_arm_model(name), 1e-6
    q = random_joints(arm, 1, seed)
    jac = compute_jacobian(compute_forward_kinematics(arm, q))[0]
    for joint in range(arm.joint_count):
        nudge = np.eye(arm.joint_count)[joint] * step
        difference = (
            compute_forward_kinematics(arm, q + nudge).position - compute_forward_kinematics(arm, q - nudge).position
        ) / (2 * step)
        np.testing.assert_allclose(jac[:3, joint], difference[:, 0], atol=1e-7)


@ALL
def test_inverse_kinematics_reach_the_target_pointing_down(arm: ArmModel) -> None:
    target = np.random.default_rng(2).uniform((0.35, -0.25, 0.05), (0.65, 0.25, 0.4), (100, 3))
    q = solve_position(arm, target)
    pose = compute_forward_kinematics(arm, q)
    np.testing.assert_allclose(pose.position.T, target, atol=1e-4)
    np.testing.assert_allclose(pose.z[2], -1.0, atol=1e-6)
    assert (q > np.array(arm.q_min)).all()
    assert (q < np.array(arm.q_max)).all()


def test_the_posture_task_does_not_move_the_hand() -> None:
    arm = get_arm_model("panda")
    q = random_joints(arm, 20, seed=3)
    jac = compute_jacobian(compute_forward_kinematics(arm, q))
    step = solve_damped_step(jac, np.zeros((20, 6)), np.array(arm.home) - q, damping=1e-6, posture_gain=0.1)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", jac, step), 0.0, atol=1e-4)


def test_an_unknown_arm_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="panda"):
        get_arm_model("pandda")
    with pytest.raises(UnknownName, match="pusher"):
        get_arm_model("panda", "pushr")
