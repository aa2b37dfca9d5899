"""The action convention `ee_delta` of scenes, and the kinematics behind it."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest

from robo_reward.envs.arm.control import EndEffectorDelta
from robo_reward.envs.batch import BatchSim
from robo_reward.envs.model.chain import KinematicChain
from robo_reward.envs.task import make_task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.scenes.end_effector import ActionSettings, SiteDelta

ASSETS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
MIXED = """
<mujoco>
  <worldbody>
    <body pos="0.1 0 0.3" euler="10 20 30">
      <freejoint/><geom size="0.1"/>
      <body pos="0 0.2 0.1" euler="0 40 0">
        <joint type="ball" pos="0.02 0 0.01"/><geom size="0.1"/>
        <body name="arm" pos="0.3 0 0" quat="1 2 3 4">
          <joint type="slide" axis="1 1 0" pos="0 0.1 0" ref="0.2"/>
          <joint axis="0 1 1" pos="0.05 0 -0.02" ref="0.3"/><joint axis="1 0 0"/>
          <geom size="0.1"/><site name="tip" pos="0.1 0.2 0.3" euler="30 0 60"/>
        </body>
      </body>
    </body>
  </worldbody>
</mujoco>
"""


def random_configurations(model: mujoco.MjModel, n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    qpos = np.repeat(model.qpos0[None], n, axis=0)
    for row in qpos:
        mujoco.mj_integratePos(model, row, rng.normal(0, 1, model.nv), 1.0)
    return qpos


@pytest.mark.parametrize("name", ["mixed", "pusher_v5", "humanoid", "ant", "half_cheetah"])
def test_poses_and_jacobians_are_those_of_mujoco(name: str) -> None:
    model = (
        mujoco.MjModel.from_xml_string(MIXED)
        if name == "mixed"
        else mujoco.MjModel.from_xml_path(str(ASSETS / f"{name}.xml"))
    )
    data, qpos = mujoco.MjData(model), random_configurations(model, 20)
    named = [b for b in range(1, model.nbody) if model.body(b).name]
    last = max(named, key=lambda b: len(KinematicChain(model, body=model.body(b).name).joints))
    chain = KinematicChain(model, "tip") if name == "mixed" else KinematicChain(model, body=model.body(last).name)
    pose = chain.compute_pose(qpos)
    jac = chain.compute_jacobian(pose)
    dofs = [int(model.jnt_dofadr[j]) for j in chain.joints]
    linear, angular = np.empty((3, model.nv)), np.empty((3, model.nv))
    for row in range(len(qpos)):
        data.qpos[:] = qpos[row]
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        if name == "mixed":
            mujoco.mj_jacSite(model, data, linear, angular, model.site("tip").id)
            position, frame = data.site_xpos[0], data.site_xmat[0].reshape(3, 3)
        else:
            mujoco.mj_jacBody(model, data, linear, angular, last)
            position, frame = data.xpos[last], data.xmat[last].reshape(3, 3)
        np.testing.assert_allclose(pose.position[:, row], position, atol=1e-12)
        np.testing.assert_allclose(np.stack([pose.x, pose.y, pose.z], axis=1)[..., row], frame, atol=1e-12)
        np.testing.assert_allclose(jac[row], np.concatenate([linear, angular])[:, dofs], atol=1e-12)
    step = 1e-6
    for column, joint in enumerate(chain.joints):  # finite differences
        moved = qpos.copy()
        moved[:, model.jnt_qposadr[joint]] += step
        difference = (chain.compute_pose(moved).position - pose.position).T / step
        np.testing.assert_allclose(jac[:, :3, column], difference, atol=1e-5)


@pytest.mark.parametrize("control", ["ee_delta", "ee_delta_yaw"])
def test_the_arm_of_this_project_moves_as_with_its_own_controller(control: str) -> None:
    task = make_task("panda/reach", control=control)
    own, rng = task.controller, np.random.default_rng(0)
    assert isinstance(own, EndEffectorDelta)
    home = np.zeros(task.model.nq)
    home[:7] = own.home
    settings = ActionSettings(
        "ee_delta", "tcp", step=own.scale, turn=own.yaw or 0.1, workspace=(tuple(own.low), tuple(own.high)),
        rotation="yaw" if own.yaw else "fixed", speed=2.0,
    )  # fmt: skip
    own.max_step = np.full(7, 2.0 * task.control_dt)
    derived = SiteDelta(task.model, settings, home, 1 / task.control_dt)
    qpos = task.sample(rng, 64).qpos
    ctrl = own.start(qpos)
    for _ in range(20):
        action = rng.uniform(-1, 1, (64, own.spec.dim))
        measured = qpos + rng.normal(0, 0.01, qpos.shape)
        expected = own.advance(ctrl, measured, action)
        found = derived.advance(ctrl, measured, action[:, : derived.spec.dim])
        # Where the hand is not exactly vertical, the two measure its yaw differently, to second order.
        np.testing.assert_allclose(found[:, :7], expected[:, :7], atol=5e-3 if own.yaw else 1e-12)
        ctrl, qpos[:, :7] = expected, expected[:, :7]


SIX = """
<mujoco>
  <option timestep="0.004" integrator="implicitfast"/>
  <default>
    <joint damping="1" armature="0.1" range="-170 170"/>
    <geom type="capsule" size="0.03" mass="0.5"/>
    <position kp="600" kv="40"/>
  </default>
  <worldbody>
    <body name="base" pos="0 0 0.1"><joint name="j1" axis="0 0 1"/><geom fromto="0 0 0 0 0 0.2"/>
    <body name="upper" pos="0 0 0.2"><joint name="j2" axis="0 1 0"/><geom fromto="0 0 0 0 0 0.3"/>
    <body name="lower" pos="0 0 0.3"><joint name="j3" axis="0 1 0"/><geom fromto="0 0 0 0 0 0.3"/>
    <body name="wrist1" pos="0 0 0.3"><joint name="j4" axis="0 1 0"/><geom fromto="0 0 0 0.05 0 0"/>
    <body name="wrist2" pos="0.05 0 0"><joint name="j5" axis="0 0 1"/><geom fromto="0 0 0 0.05 0 0"/>
    <body name="wrist3" pos="0.05 0 0"><joint name="j6" axis="1 0 0"/><geom fromto="0 0 0 0.05 0 0"/>
      <site name="tool" pos="0.1 0 0"/>
      <body name="finger"><joint name="slide" type="slide" axis="0 1 0" range="0 0.04"/><geom size="0.01 0.01"/></body>
    </body></body></body></body></body></body>
  </worldbody>
  <contact><exclude body1="wrist3" body2="finger"/><exclude body1="wrist2" body2="finger"/></contact>
  <actuator>
    <position name="a1" joint="j1" ctrlrange="-2.9 2.9"/><position name="a2" joint="j2" ctrlrange="-2.9 2.9"/>
    <position name="a3" joint="j3" ctrlrange="-2.9 2.9"/><position name="a4" joint="j4" ctrlrange="-2.9 2.9"/>
    <position name="a5" joint="j5" ctrlrange="-2.9 2.9"/><position name="a6" joint="j6" ctrlrange="-2.9 2.9"/>
    <position name="grip" joint="slide" kp="2000" kv="60" ctrlrange="0 0.04"/>
  </actuator>
  <keyframe><key qpos="0 0.3 1.2 -1.5 0 0 0.02" ctrl="0 0.3 1.2 -1.5 0 0 0.02"/></keyframe>
</mujoco>
"""
SCENE = """
model: six.xml
goal: Move the tool.
success: tool_z > 0.9
horizon: 100
action: {kind: ee_delta, site: tool, step: 0.01, turn: 0.05, rotation: full, gripper: [grip]}
"""


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    (tmp_path / "six.xml").write_text(SIX)
    (tmp_path / "scene.yaml").write_text(SCENE)
    return tmp_path / "scene.yaml"


def test_an_arm_goes_where_the_actions_say(scene: Path) -> None:
    task = make_task(str(scene))
    assert task.action.names == ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper")
    assert task.action.scale == (0.01,) * 3 + (0.05,) * 3 + (1.0,) and task.action.units[3] == "rad"
    assert isinstance(task.controller, SiteDelta)
    chain = KinematicChain(task.model, "tool")
    rng = np.random.default_rng(1)
    actions = rng.uniform(-0.6, 0.6, (8, 7))
    actions[:, 6] = 1.0
    still = np.concatenate([np.zeros((8, 6)), actions[:, 6:]], axis=1)
    resting, sim = BatchSim(task, 8, seed=0), BatchSim(task, 8, seed=0)
    for t in range(40):
        sim.step(actions if t < 8 else still)
        resting.step(still)  # the servos sag under gravity, with and without actions
    first, last = chain.compute_pose(resting.qpos), chain.compute_pose(sim.qpos)
    start = chain.compute_pose(BatchSim(task, 8, seed=0).qpos)
    assert np.abs(first.position - start.position).max() < task.controller.sag < 0.1
    moved = (last.position - first.position).T
    np.testing.assert_allclose(moved, 8 * 0.01 * actions[:, :3], atol=0.012)
    turned = np.einsum("ikn,jkn->nij", *(np.stack([p.x, p.y, p.z], axis=1) for p in (last, first)))
    angle = np.arccos(np.clip((np.trace(turned, axis1=1, axis2=2) - 1) / 2, -1, 1))
    np.testing.assert_allclose(angle, 8 * 0.05 * np.linalg.norm(actions[:, 3:6], axis=1), atol=0.06)
    np.testing.assert_allclose(sim.state.slide_displacement, 0.04, atol=0.004)
    for _ in range(200):  # towards the floor and beyond the reach: joints stay in their limits
        sim.step(np.array([[1.0, 0, -1, 0, 1, 0, -1]] * 8))
    limits = task.model.jnt_range
    assert (sim.qpos[:, :6] > limits[:6, 0] - 0.02).all() and (sim.qpos[:, :6] < limits[:6, 1] + 0.02).all()
    assert np.isfinite(sim.qpos).all()
    sim.close()


@pytest.mark.parametrize(
    ("old", "new", "error", "words"),
    [
        ("site: tool", "site: tol", UnknownName, "action.site 'tol'. Did you mean 'tool'"),
        ("site: tool, ", "", UsageError, "give action.site or action.body. Sites: tool. Bodies: base"),
        ("site: tool", "body: wrst3", UnknownName, "Did you mean 'wrist3'"),
        ("kind: ee_delta", "kind: ee_dela", UnknownName, "Did you mean 'ee_delta'"),
        ("rotation: full", "rotation: ful", UnknownName, "Did you mean 'full'"),
        ("[grip]", "[grp]", UnknownName, "action.gripper 'grp'. Did you mean 'grip'"),
        ("step: 0.01", "step: -1", UsageError, "action.step=-1"),
        ("step: 0.01", "steps: 0.01", UnknownName, "action.step"),
        ("step: 0.01", "joints: [k*]", UnknownName, "action.joints"),
        ("step: 0.01", "workspace: [[0, 0, 0], [1, 1, 0]]", UsageError, "action.workspace"),
    ],
)
def test_mistakes_are_named(scene: Path, old: str, new: str, error: type, words: str) -> None:
    scene.write_text(SCENE.replace(old, new))
    with pytest.raises(error, match=words):
        make_task(str(scene))


def test_motors_are_named_with_the_remedy(scene: Path) -> None:
    model = scene.with_name("six.xml")
    model.write_text(SIX.replace('<position name="a3" joint="j3"', '<motor name="a3" joint="j3"'))
    with pytest.raises(UsageError, match=r"position servos on its joints \(j3\).*<position joint="):
        make_task(str(scene))
