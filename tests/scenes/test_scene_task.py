"""Tasks from model files that other people wrote, and from scene files."""

from __future__ import annotations

import re
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest
import yaml
from msgspec import convert

from robo_reward.cli.arguments.choices import register_scene
from robo_reward.envs.batch import BatchSim
from robo_reward.envs.gym import TaskEnv
from robo_reward.envs.model.state import ModelState
from robo_reward.envs.task import make_task
from robo_reward.envs.vec import SB3VecEnv
from robo_reward.errors import BadArtifact, UnknownName, UsageError
from robo_reward.scenes.check import check_task
from robo_reward.scenes.end_effector import ROTATIONS, ActionSettings
from robo_reward.scenes.model_file import ModelFileError, compile_model, load_model_spec
from robo_reward.scenes.sensors import add_state_sensors
from robo_reward.scenes.task import SceneTask
from robo_reward.testing.task import TaskContract

ASSETS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
MODELS = sorted(path.stem for path in ASSETS.glob("*.xml"))
PUCK = """
<mujoco>
  <option timestep="0.01"/>
  <worldbody>
    <geom type="plane" size="2 2 0.1"/>
    <body name="cart" pos="0 0 0.06">
      <joint name="slider" type="slide" axis="1 0 0" range="-1 1" limited="true" damping="1"/>
      <geom type="box" size="0.1 0.1 0.05" mass="1"/>
    </body>
    <body name="puck" pos="0.5 0 0.05"><freejoint/><geom type="cylinder" size="0.05 0.02" mass="0.1"/></body>
    <body name="goal" mocap="true" pos="0.8 0 0.05">
      <geom type="sphere" size="0.02" contype="0" conaffinity="0"/>
    </body>
  </worldbody>
  <actuator><motor name="push" joint="slider" gear="10" ctrlrange="-1 1" ctrllimited="true"/></actuator>
</mujoco>
"""
SCENE = """
model: puck.xml
goal: Push the puck to the goal.
success: norm(puck_position - goal_position) < 0.1
horizon: 40
start:
  bodies:
    puck: {x: [0.4, 0.6], y: 0.0, yaw: [-1.0, 1.0]}
    goal: {x: [0.7, 0.9]}
  joints: {slider: [-0.2, 0.0]}
state:
  exclude: ["*_contact"]
  fields:
    puck_position: {description: where the puck is, role: object}
"""


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    (tmp_path / "puck.xml").write_text(PUCK)
    (tmp_path / "scene.yaml").write_text(SCENE)
    return tmp_path / "scene.yaml"


@pytest.mark.parametrize("name", MODELS)
def test_sensors_are_the_state_and_change_no_motion(name: str) -> None:
    path = ASSETS / f"{name}.xml"
    base = compile_model(load_model_spec(path), path)
    measured = add_state_sensors(load_model_spec(path), path)
    model, reader = measured.model, ModelState(base)
    data, plain = mujoco.MjData(model), mujoco.MjData(base)
    rng = np.random.default_rng(0)
    for _ in range(100):
        data.ctrl[:] = plain.ctrl[:] = rng.uniform(-1, 1, model.nu)
        mujoco.mj_step(model, data)
        mujoco.mj_step(base, plain)
    np.testing.assert_array_equal(data.qpos, plain.qpos)
    mujoco.mj_forward(model, data)
    mujoco.mj_forward(base, plain)
    truth = reader.spec.view(reader.read_state(plain, refresh=False))
    found = measured.state.view(data.sensordata)
    assert set(measured.state.names) == set(reader.spec.names)
    for field in measured.state:
        if field.role != "contact":
            np.testing.assert_allclose(found[field.name], truth[field.name], atol=1e-6, err_msg=field.name)


class TestSceneContract(TaskContract):
    has_expert = False

    @pytest.fixture(autouse=True)
    def file(self, scene: Path) -> None:
        self.path = scene

    def make_task(self):
        return make_task(str(self.path))


def test_a_scene_file_is_a_task(scene: Path) -> None:
    task = make_task(str(scene))
    assert task.id == "scene/scene" and task.goal == "Push the puck to the goal."
    assert task.action.names == ("push",) and task.cameras == ("overview",)
    assert task.spec["puck_position"].description == "where the puck is"
    sim = BatchSim(task, 200, seed=0)
    state = sim.state
    assert 0.4 <= state.puck_position[:, 0].min() < 0.45 < 0.55 < state.puck_position[:, 0].max() <= 0.6
    assert state.goal_position[:, 0].min() >= 0.7 and state.goal_position[:, 0].max() <= 0.9
    assert np.ptp(state.slider_displacement) > 0.15
    sim.close()
    again = make_task(task.id, **task.options)
    assert again.spec == task.spec and np.array_equal(again.observation.matrix, task.observation.matrix)


def test_fields_are_renamed_described_and_hidden(scene: Path) -> None:
    state = """
state:
  fields:
    puck_*: {name: disc_*, role: object}
    disc: {}
    slider_velocity: {hide: true}
    slider_displacement: {name: rail, description: where the cart is, typical: [-1, 1]}
"""
    text = SCENE[: SCENE.index("state:")].replace("norm(puck_position", "norm(disc_position") + state
    scene.write_text(text)
    with pytest.raises(UnknownName, match="state field 'disc'"):
        make_task(str(scene))
    scene.write_text(text.replace("    disc: {}\n", ""))
    task = make_task(str(scene))
    task.check()  # the sensors have the new names, too
    assert "disc_velocity" in task.spec and "disc_contact" in task.spec and "puck_position" not in task.spec
    assert "slider_velocity" not in task.spec and task.spec["rail"].description == "where the cart is"
    sim = BatchSim(task, 3, seed=0)
    np.testing.assert_allclose(sim.state.disc_position[:, :2], sim.qpos[:, 1:3])
    np.testing.assert_allclose(sim.state.rail, sim.qpos[:, 0])
    sim.close()
    scene.write_text(text.replace("    disc: {}\n", "").replace("disc_*", "disc"))
    with pytest.raises(UsageError, match="the name 'disc' would be that of 5 fields"):
        make_task(str(scene))
    scene.write_text(text.replace("    disc: {}\n", "").replace("name: rail", "name: disc_position"))
    with pytest.raises(UsageError, match="'disc_position' appears twice"):
        make_task(str(scene))


def test_episodes_start_with_velocities(scene: Path) -> None:
    text = SCENE.replace("slider: [-0.2, 0.0]", "slider: {position: 0.1, velocity: [0.5, 1.0]}")
    scene.write_text(text.replace("yaw: [-1.0, 1.0]", "vy: 0.3, vx: [-0.2, 0.2]"))
    sim = BatchSim(make_task(str(scene)), 100, seed=0)
    state = sim.state
    np.testing.assert_allclose(state.slider_displacement, 0.1)
    assert 0.5 <= state.slider_velocity.min() < 0.6 and 0.9 < state.slider_velocity.max() <= 1.0
    np.testing.assert_allclose(state.puck_velocity[:, 1], 0.3)
    after = sim.step(np.zeros((100, 1))).transitions.state
    moved = after.puck_position[:, 0] - state.puck_position[:, 0]
    assert np.corrcoef(moved, state.puck_velocity[:, 0])[0, 1] > 0.99
    sim.close()
    scene.write_text(text.replace("goal: {x", "goal: {vx: 1, x"))
    with pytest.raises(UsageError, match=r"start\.bodies\.goal\.vx: a mocap body stands still"):
        make_task(str(scene))
    model = scene.with_name("puck.xml")
    key = '<keyframe><key qpos="0.2 0.5 0 0.05 1 0 0 0" qvel="0.7 0 0 0 0 0 0"/></keyframe></mujoco>'
    model.write_text(PUCK.replace("</mujoco>", key))
    task = make_task(str(model), goal="Push.", success="puck_x > 0.7")
    np.testing.assert_allclose(BatchSim(task, 3, seed=0).state.slider_velocity, 0.7)


def test_a_bare_model_needs_a_goal_and_a_rule_and_shows_one(scene: Path) -> None:
    model = scene.with_name("puck.xml")
    with pytest.raises(UsageError, match=r"puck.xml has no goal: give goal="):
        make_task(str(model))
    with pytest.raises(UsageError, match=r"success='norm\(puck_position - goal_position\) < 0.05'"):
        make_task(str(model), goal="Push the puck.")
    task = make_task(str(model), goal="Push the puck.", success="puck_x > 0.7")
    assert task.success_rule == "puck_x > 0.7"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (("horizon: 40", "horizont: 40"), UnknownName, "key of the scene file 'horizont'. Did you mean 'horizon'"),
        (("{slider:", "{slidr:"), UnknownName, "joint 'slidr'. Did you mean 'slider'"),
        (("    puck: {x", "    cart: {x"), UsageError, "no free joint and is no mocap body.*puck, goal"),
        (("[0.4, 0.6]", "[0.6, 0.4]"), UsageError, r"start.bodies.puck.x=.*LOWEST, HIGHEST"),
        (("horizon: 40", "horizon: many"), BadArtifact, "horizon"),
        (("puck.xml", "pack.xml"), ModelFileError, "no such file.*puck.xml"),
        (('["*_contact"]', '["*_touch"]'), UnknownName, "pattern of state fields"),
        (("role: object", "role: thing"), UnknownName, "role of puck_position 'thing'"),
        (("horizon: 40", "rate: 0"), UsageError, "expected positive"),
        (("horizon: 40", "rate: 1000"), ModelFileError, "time step of 0.01 s is longer"),
    ],
)
def test_mistakes_in_a_scene_file_are_named(scene: Path, change: tuple, error: type, words: str) -> None:
    scene.write_text(SCENE.replace(*change))
    with pytest.raises(error, match=words):
        make_task(str(scene))


def test_models_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    rule = {"goal": "Go.", "success": "cart_x > 1"}
    path = tmp_path / "still.xml"
    path.write_text(PUCK.split("<actuator>")[0] + "</mujoco>")
    with pytest.raises(UsageError, match=r"no actuators.*<position"):
        make_task(str(path), **rule)
    path.write_text('<mujoco><asset><mesh name="a" file="arm.stl"/></asset><worldbody/></mujoco>')
    with pytest.raises(ModelFileError, match=r"arm\.stl.*Remedy"):
        make_task(str(path), **rule)
    path.write_text("<mujoco><worldbody><body><joint/></body></worldbody></mujoco>")
    with pytest.raises(ModelFileError, match=r"mass and inertia.*geom with mass"):
        make_task(str(path), **rule)
    path.write_text("<html/>")
    with pytest.raises(ModelFileError, match="Remedy"):
        make_task(str(path), **rule)
    urdf = tmp_path / "arm.urdf"
    urdf.write_text(
        '<robot name="a"><link name="base"/><link name="l"/><joint name="j" type="revolute"><parent link="base"/>'
        '<child link="l"/><axis xyz="0 0 1"/><limit lower="-1" upper="1" effort="1" velocity="1"/></joint></robot>'
    )
    with pytest.raises(ModelFileError, match="<inertial>"):
        make_task(str(urdf), **rule)


def test_failure_ends_an_episode_and_success_may(scene: Path) -> None:
    task = make_task(str(scene), failure="slider_displacement > 0.3")
    sim = BatchSim(task, 8, seed=1)
    lengths, ends = np.zeros(8), []
    for _ in range(60):
        before = sim.elapsed.copy()
        result = sim.step(np.ones((8, 1)))
        crossed = result.transitions.state.slider_displacement > 0.3
        np.testing.assert_array_equal(result.terminated, crossed)
        assert not (result.terminated & (result.truncated | result.success)).any()
        assert (sim.elapsed[result.has_ended] == 0).all()
        ends += [int(n) + 1 for n in before[result.terminated]]
        lengths += 1
    sim.close()
    assert len(ends) >= 8 and max(ends) < task.horizon

    venv = SB3VecEnv(BatchSim(task, 4, seed=1))
    venv.reset()
    infos = []
    for _ in range(60):
        venv.step_async(np.ones((4, 1)))
        _, _, dones, found = venv.step_wait()
        infos += [info for done, info in zip(dones, found, strict=True) if done]
    assert infos and not any(info["TimeLimit.truncated"] for info in infos)
    assert {info["episode"]["l"] for info in infos} <= set(ends)
    venv.close()

    env = TaskEnv(task, reward=None)
    env.reset(seed=0)
    while not (step := env.step(np.ones(1)))[2]:
        assert not step[3]
    assert task.failure(task.spec.view(np.zeros((1, task.spec.dim)))) is not None


def test_the_overview_camera_sees_the_scene(scene: Path) -> None:
    from robo_reward.envs.rendering.render import Renderer

    task = make_task(str(scene))
    with Renderer(task.model, width=64, height=48, camera="overview") as renderer:
        start = task.sample(np.random.default_rng(0), 1)
        frame = renderer.render(start.qpos[0], start.mocap[0])
    assert frame.std() > 5 and frame.mean() > 50  # a model without lights is not black


def test_the_overview_camera_sees_an_arm_wherever_its_joints_are(tmp_path: Path) -> None:
    (tmp_path / "arm.xml").write_text("""<mujoco><worldbody><body name="upper" pos="0 0 0.1">
      <joint name="shoulder" axis="0 0 1" range="-170 170"/><geom type="capsule" size="0.03" fromto="0 0 0 0.4 0 0"/>
      <body name="fore" pos="0.4 0 0"><joint name="elbow" axis="0 0 1" range="-150 150"/>
      <geom type="capsule" size="0.03" fromto="0 0 0 0.6 0 0"/></body></body></worldbody>
      <actuator><motor joint="shoulder" ctrlrange="-1 1"/><motor joint="elbow" ctrlrange="-1 1"/></actuator>
      </mujoco>""")
    task = make_task(str(tmp_path / "arm.xml"), draft=True)
    data, camera = mujoco.MjData(task.model), task.model.camera("overview")
    for shoulder in np.linspace(-2.9, 2.9, 13):
        data.qpos[:] = shoulder, 0.0
        mujoco.mj_forward(task.model, data)
        tip = data.body("fore").xpos + data.body("fore").xmat.reshape(3, 3) @ (0.6, 0, 0)
        right, up, depth = data.camera("overview").xmat.reshape(3, 3).T @ (tip - data.camera("overview").xpos)
        edge = -depth * np.tan(np.deg2rad(task.model.cam_fovy[camera.id]) / 2)  # in a square picture
        assert abs(right) < edge and abs(up) < edge


def test_the_task_names_what_a_job_must_read(scene: Path) -> None:
    folder = scene.parent
    (folder / "meshes").mkdir()
    (folder / "meshes" / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n")
    (folder / "part.xml").write_text('<mujoco><asset><mesh name="a" file="a.obj"/></asset></mujoco>')
    text = PUCK.replace("<mujoco>", '<mujoco><compiler meshdir="meshes"/><include file="part.xml"/>', 1)
    (folder / "puck.xml").write_text(text)
    (folder / "secret.txt").write_text("not for jobs")
    task = make_task(str(scene))
    assert isinstance(task, SceneTask)
    assert {path.name for path in task.files} == {"scene.yaml", "puck.xml", "part.xml", "a.obj"}
    assert all(path.is_file() for path in task.files)


def test_a_changed_file_is_another_run(scene: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = make_task(str(scene)).options
    scene.with_name("puck.xml").write_text(PUCK.replace('mass="0.1"', 'mass="0.2"'))
    after = make_task(before["file"], **{k: v for k, v in before.items() if k != "file"}).options
    assert before["digest"] != after["digest"] and "has changed" in caplog.text
    names = {choice for k in range(2) for choice in [register_scene(str(scene))] if k >= 0}
    other = scene.parent / "other"
    other.mkdir()
    for name in ("scene.yaml", "puck.xml"):
        (other / name).write_text(scene.with_name(name).read_text())
    assert len(names) == 1 and register_scene(str(other / "scene.yaml")) not in names


def test_rules_and_rare_motion_do_not_change_what_a_policy_observes(scene: Path) -> None:
    plain, ruled = make_task(str(scene)), make_task(str(scene), failure="slider_displacement > 0.02")
    np.testing.assert_array_equal(plain.observation.matrix, ruled.observation.matrix)
    far = scene.with_name("far.yaml")
    far.write_text(SCENE.replace("x: [0.4, 0.6]", "x: 1.8"))
    task = make_task(str(far))
    part = next(p for p in task.observation.parts if p.field == "puck_position")
    assert np.min(part.scale) >= 0.1


def test_a_keyframe_s_activation_holds_the_arm(tmp_path: Path) -> None:
    path = tmp_path / "servo.xml"
    path.write_text(
        '<mujoco><option timestep="0.01" gravity="0 0 0"/><worldbody><body name="arm"><joint name="j" damping="1"/>'
        '<geom type="capsule" size="0.02" fromto="0 0 0 0.3 0 0" mass="1"/></body></worldbody><actuator>'
        '<position name="p" joint="j" kp="20" timeconst="0.2" ctrlrange="-2 2" ctrllimited="true"/></actuator>'
        '<keyframe><key name="up" qpos="1.2"/></keyframe></mujoco>'
    )
    sim = BatchSim(make_task(str(path), goal="Hold.", success="j_angle > 1"), 2, seed=0)
    action = np.full((2, 1), 0.6)  # 1.2 rad of ±2 rad
    for _ in range(25):
        state = sim.step(action).transitions.state
    assert np.abs(state.j_angle - 1.2).max() < 0.02
    sim.close()


def findings(path: Path, **rules: str) -> dict[str, bool]:
    return {finding.name: finding.ok for finding in check_task(make_task(str(path), **rules))}


def test_a_good_scene_passes_the_check(scene: Path) -> None:
    found = check_task(make_task(str(scene)))
    assert not [f for f in found if f.needed and not f.ok]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ([("< 0.1", "< 9.0")], "success at the start"),
        ([("horizon: 40", "failure: puck_x > 0\nhorizon: 40")], "failure"),
        ([("y: 0.0", "z: 0.0")], "penetration at the start"),
        ([("slider: [-0.2, 0.0]", "slider: [5.0, 6.0]")], "start in the joint limits"),
    ],
)
def test_the_check_finds_what_will_go_wrong(scene: Path, changes: list, name: str) -> None:
    text = SCENE
    for change in changes:
        assert change[0] in text
        text = text.replace(*change)
    scene.write_text(text)
    assert not findings(scene)[name]


def test_the_check_finds_actuators_without_effect_and_fields_that_never_change(scene: Path) -> None:
    model = scene.with_name("puck.xml")
    model.write_text(PUCK.replace('gear="10"', 'gear="0"'))
    found = findings(model, goal="Push.", success="puck_x > 0.7")
    assert not found["actuator effect"] and not found["state"]


def test_the_check_finds_fixed_objects_and_places_out_of_reach(scene: Path) -> None:
    found = {f.name: f for f in check_task(make_task(str(scene)))}
    assert "objects" not in found and found["reach"].ok
    scene.write_text(SCENE.replace("x: [0.7, 0.9]", "x: 3.0"))
    found = {f.name: f for f in check_task(make_task(str(scene)))}
    assert not found["reach"].ok and "goal is up to 2.0" in found["reach"].value
    model = scene.with_name("puck.xml")
    model.write_text(PUCK.replace("<freejoint/>", ""))
    found = {f.name: f for f in check_task(make_task(str(model), goal="Push the puck.", success="slider_velocity > 1"))}
    assert "puck, which is fixed" in found["objects"].value and "freejoint" in found["objects"].remedy


def test_success_by_chance_is_that_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "fall.xml").write_text(PUCK.replace('pos="0.5 0 0.05"', 'pos="0.5 0 1"', 1))
    for rule, share in (
        ("0.3 < puck_z and puck_z < 0.9", "0%"),
        ("puck_z < 0.3", "100%"),
    ):  # it falls through the first
        found = {f.name: f for f in check_task(make_task(str(tmp_path / "fall.xml"), goal="Fall.", success=rule))}
        assert found["success by chance"].value.startswith(f"true at the end of {share} of 64 episodes")


def test_a_model_without_names_is_a_task(tmp_path: Path) -> None:
    path = tmp_path / "nameless.xml"
    path.write_text(
        """<mujoco><worldbody>
        <body><joint name="j"/><geom size="0.1"/>
          <body pos="0 0 0.3"><joint type="slide"/><geom size="0.1"/><site pos="0 0 0.1"/></body></body>
        <body pos="2 0 0"><freejoint/><geom type="box" size=".1 .1 .1"/></body>
        </worldbody><actuator><motor joint="j"/></actuator></mujoco>"""
    )
    task = make_task(str(path), goal="Turn.", success="j_angle > 1")
    assert {"j_angle", "joint_1_displacement", "box_position", "box_spin"} <= set(task.spec.names)
    assert task.action.names == ("j",) and task.cameras == ("overview",)
    assert not [f for f in check_task(task) if f.needed and not f.ok]


def test_a_missing_mesh_is_named_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "arm.xml"
    path.write_text(
        '<mujoco><compiler meshdir="assets"/><asset><mesh name="a" file="link.stl"/></asset><worldbody/></mujoco>'
    )
    with pytest.raises(ModelFileError, match=r"assets/link\.stl.*is not there.*count from"):
        make_task(str(path), goal="Go.", success="x > 1")


def test_the_scene_of_the_documentation_is_a_task(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "own_scene.md").read_text()
    blocks = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    (tmp_path / "puck.xml").write_text(next(block for block in blocks if block.startswith("<mujoco>")))
    path = tmp_path / "scene.yaml"
    path.write_text(next(block for block in blocks if block.startswith("model: puck.xml")))
    task = make_task(str(path))
    assert "rail_displacement" in task.spec and len({v.delay for v in task.variants(np.random.default_rng(0), 9)}) == 9
    action = convert(yaml.safe_load(next(b for b in blocks if b.startswith("action:")))["action"], ActionSettings)
    assert action.kind == "ee_delta" and action.rotation in ROTATIONS
