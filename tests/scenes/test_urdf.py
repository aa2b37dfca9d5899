"""Robots in URDF files as tasks."""

from __future__ import annotations

import struct
from pathlib import Path

import mujoco
import numpy as np
import pytest

from robo_reward.envs.batch import BatchSim
from robo_reward.envs.task import make_task
from robo_reward.errors import UnknownName
from robo_reward.scenes.model_file import ModelFileError, find_model_files, load_model_spec
from robo_reward.scenes.task import SceneTask
from robo_reward.scenes.urdf_robots.meshes import convert_mesh

INERTIAL = (
    '<inertial><origin xyz="0 0 {z}"/><mass value="{m}"/>'
    '<inertia ixx="{i}" ixy="0" ixz="0" iyy="{i}" iyz="0" izz="{i}"/></inertial>'
)
ROBOT = f"""
<robot name="arm" xmlns:xacro="http://www.ros.org/wiki/xacro">
  <link name="base"><visual><geometry><mesh filename="package://arm_description/meshes/missing.stl"/></geometry></visual>
    <collision><geometry><box size="0.1 0.1 0.1"/></geometry></collision></link>
  <link name="upper">{INERTIAL.format(z=0.2, m=2, i=0.02)}
    <visual><geometry><mesh filename="package://arm_description/meshes/cube.stl" scale="0.05 0.05 0.2"/></geometry>
    </visual><collision><origin xyz="0 0 0.2"/><geometry><mesh filename="package://arm_description/meshes/cube.dae"/>
    </geometry></collision>
  </link>
  <link name="lower">{INERTIAL.format(z=0.15, m=1, i=0.01)}
    <collision><geometry><mesh filename="../meshes/cube.obj" scale="0.03 0.03 0.1"/></geometry></collision></link>
  <link name="tool"/>
  <link name="left">{INERTIAL.format(z=0, m=0.1, i=0.0001)}</link>
  <link name="right">{INERTIAL.format(z=0, m=0.1, i=0.0001)}</link>
  <joint name="shoulder" type="revolute"><parent link="base"/><child link="upper"/><axis xyz="0 1 0"/>
    <limit lower="-2" upper="2" effort="40" velocity="2"/></joint>
  <joint name="elbow" type="continuous"><parent link="upper"/><child link="lower"/><origin xyz="0 0 0.4"/>
    <axis xyz="0 1 0"/><limit effort="20" velocity="2"/><dynamics damping="0.5"/></joint>
  <joint name="flange" type="fixed"><parent link="lower"/><child link="tool"/><origin xyz="0 0 0.3"/></joint>
  <joint name="finger" type="prismatic"><parent link="tool"/><child link="left"/><axis xyz="0 1 0"/>
    <limit lower="0" upper="0.04" effort="10" velocity="0.1"/></joint>
  <joint name="finger_mimic" type="prismatic"><parent link="tool"/><child link="right"/><axis xyz="0 -1 0"/>
    <limit lower="0" upper="0.04" effort="10" velocity="0.1"/><mimic joint="finger" multiplier="1"/></joint>
  <transmission name="t"><type>transmission_interface/SimpleTransmission</type><joint name="elbow">
    <hardwareInterface>hardware_interface/EffortJointInterface</hardwareInterface></joint></transmission>
  <gazebo><gazebo:plugin name="p"/></gazebo>
</robot>
"""
CORNERS = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
SQUARES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
TRIANGLES = [t for a, b, c, d in SQUARES for t in ((a, b, c), (a, c, d))]
COLLADA = f"""<?xml version="1.0"?>
<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
  <asset><unit meter="0.01"/><up_axis>Z_UP</up_axis></asset>
  <library_geometries><geometry id="g"><mesh>
    <source id="p"><float_array id="a" count="24">{" ".join(str(v) for v in CORNERS.ravel())}</float_array></source>
    <vertices id="v"><input semantic="POSITION" source="#p"/></vertices>
    <polylist count="6"><input semantic="VERTEX" source="#v" offset="0"/>
      <input semantic="NORMAL" source="#n" offset="1"/><vcount>4 4 4 4 4 4</vcount>
      <p>{" ".join(f"{i} 0" for square in SQUARES for i in square)}</p></polylist>
  </mesh></geometry></library_geometries>
  <library_visual_scenes><visual_scene id="s"><node><scale>8 8 40</scale><node><translate>0 0 0.25</translate>
    <rotate>0 0 1 90</rotate><instance_geometry url="#g"/></node></node></visual_scene></library_visual_scenes>
</COLLADA>
"""


@pytest.fixture
def urdf(tmp_path: Path) -> Path:
    folder = tmp_path / "arm_description"
    (folder / "urdf").mkdir(parents=True)
    (folder / "meshes").mkdir()
    faces = [np.concatenate([np.zeros(3), *CORNERS[list(t)]]) for t in TRIANGLES]
    binary = b"\0" * 80 + struct.pack("<I", 12) + b"".join(struct.pack("<12fH", *f, 0) for f in faces)
    (folder / "meshes" / "cube.stl").write_bytes(binary)
    (folder / "meshes" / "cube.dae").write_text(COLLADA)
    text = "".join(f"v {x} {y} {z}\n" for x, y, z in CORNERS) + "".join(
        f"f {a + 1} {b + 1} {c + 1}\n" for a, b, c in TRIANGLES
    )
    (folder / "meshes" / "cube.obj").write_text(text)
    path = folder / "urdf" / "arm.urdf"
    path.write_text(ROBOT)
    return path


RULES = {"goal": "Point upwards.", "success": "tool_z > 0.65"}


def test_a_urdf_is_a_task(urdf: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = make_task(str(urdf), **RULES)
    assert "missing.stl" in caplog.text  # a visual mesh that is not there is told and left out
    model = task.model
    assert task.action.names == ("elbow", "finger", "shoulder") or set(task.action.names) == {
        "shoulder",
        "elbow",
        "finger",
    }
    shoulder, elbow = model.actuator("shoulder"), model.actuator("elbow")
    np.testing.assert_allclose(shoulder.ctrlrange, [-2, 2])
    np.testing.assert_allclose(shoulder.forcerange, [-40, 40])
    assert shoulder.biasprm[1] == -shoulder.gainprm[0] < 0
    assert elbow.biasprm[1] == 0 and elbow.gear[0] == 20  # a motor, as its transmission says
    assert float(model.body("base").subtreemass[0]) == pytest.approx(3.2, abs=1e-3)  # shapes weigh nothing
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(data.body("tool").xpos, [0, 0, 0.7], atol=1e-9)
    # The COLLADA cube: 8 x 8 x 40 of 1 cm around z = 10 cm, in a link whose collision is shifted by 20 cm.
    geom = next(
        g for g in range(model.ngeom) if model.geom_bodyid[g] == model.body("upper").id and model.geom_contype[g]
    )
    mesh = model.geom_dataid[geom]
    points = model.mesh_vert[model.mesh_vertadr[mesh] :][: model.mesh_vertnum[mesh]]
    world = points @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom]
    np.testing.assert_allclose(world.min(axis=0), [-0.04, -0.04, 0.1], atol=1e-6)
    np.testing.assert_allclose(world.max(axis=0), [0.04, 0.04, 0.5], atol=1e-6)


def test_its_servos_hold_and_its_mimic_joint_follows(urdf: Path) -> None:
    scene = urdf.with_name("scene.yaml")
    scene.write_text(
        "model: arm.urdf\nstart: {joints: {shoulder: 0.5, finger: 0.0, finger_mimic: 0.0}, noise: 0}\n"
        "actuators: {kind: position}\n"
    )
    task = make_task(str(scene), **RULES)
    sim = BatchSim(task, 2, seed=0)
    action = np.zeros((2, 3))
    action[:, task.action.names.index("shoulder")] = 0.25  # 0.5 rad of ±2 rad
    action[:, task.action.names.index("finger")] = 1.0
    for _ in range(50):
        state = sim.step(action).transitions.state
    sim.close()
    np.testing.assert_allclose(state.shoulder_angle, 0.5, atol=0.03)
    np.testing.assert_allclose(state.finger_displacement, 0.04, atol=0.002)
    np.testing.assert_allclose(state.finger_mimic_displacement, state.finger_displacement, atol=0.003)


def test_actuators_and_base_of_a_scene_file(urdf: Path) -> None:
    scene = urdf.with_name("scene.yaml")
    scene.write_text(
        "model: arm.urdf\nbase: free\nactuators: {kind: motor, joints: [shoulder, elb*], effort: 5}\n"
        "action: {kind: native}\n"
    )
    task = make_task(str(scene), goal="Jump.", success="base_z > 1")
    assert set(task.action.names) == {"shoulder", "elbow"}
    np.testing.assert_allclose(task.model.actuator_gear[:, 0], 5)
    sim = BatchSim(task, 4, seed=0)
    heights = sim.state.base_position[:, 2]
    np.testing.assert_allclose(heights, 0.05, atol=1e-3)  # the box of 10 cm stands on the floor
    sim.close()
    scene.write_text("model: arm.urdf\naction: {kind: ee_delta, body: tool}\nactuators: {kind: position}\n")
    assert make_task(str(scene), **RULES).action.names == ("dx", "dy", "dz")
    for line, words in (
        ("actuators: {kind: servo}", "actuators.kind 'servo'"),
        ("actuators: {joints: [sholder]}", "Did you mean 'shoulder'"),
        ("actuators: {jonts: [a]}", "Did you mean 'actuators.joints'"),
        ("base: fre", "Did you mean 'free'"),
    ):
        scene.write_text(f"model: arm.urdf\n{line}\n")
        with pytest.raises(UnknownName, match=words):
            make_task(str(scene), **RULES)


def test_models_without_actuators_get_them_from_the_scene_file(tmp_path: Path) -> None:
    body = '<body name="b"><joint name="j" range="-90 90" limited="true"/><geom size="0.1"/></body>'
    (tmp_path / "a.xml").write_text(
        f'<mujoco><worldbody>{body}</worldbody><actuator><motor name="m" joint="j"/></actuator></mujoco>'
    )
    scene = tmp_path / "a.yaml"
    scene.write_text("model: a.xml\nactuators: {kind: position, stiffness: 30, replace: true}\n")
    task = make_task(str(scene), goal="Turn.", success="j_angle > 1")
    assert task.action.names == ("j",) and task.model.actuator_gainprm[0, 0] == 30
    np.testing.assert_allclose(task.model.actuator_ctrlrange[0], [-np.pi / 2, np.pi / 2])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "meshes/cube.dae",
            "meshes/cub.dae",
            r"link 'upper': the mesh .*cub.dae' is not there.*'arm_description' above",
        ),
        ("../meshes/cube.obj", "cube.obj", "the mesh 'cube.obj' is not there.*put it where it counts from"),
        (INERTIAL.format(z=0, m=0.1, i=0.0001), "", "2 links move and have no mass: left, right.*<inertial>"),
        ("</robot>", "", "it is not XML"),
        ('<robot name="arm"', '<sdf name="arm"', "not XML|outermost element is <sdf>"),
        ("<gazebo>", '<xacro:property name="a"/><gazebo>', "xacro FILE > robot.urdf"),
        ('effort="40"', 'effort="forty"', "bad format in attribute 'effort'"),
    ],
)
def test_what_is_wrong_with_a_urdf_is_named(urdf: Path, old: str, new: str, words: str) -> None:
    assert old in ROBOT
    urdf.write_text(ROBOT.replace(old, new))
    with pytest.raises(ModelFileError, match=words):
        make_task(str(urdf), **RULES)


def test_odd_inertia_is_replaced_and_told(urdf: Path, caplog: pytest.LogCaptureFixture) -> None:
    urdf.write_text(ROBOT.replace(INERTIAL.format(z=0.15, m=1, i=0.01), INERTIAL.format(z=0.15, m=1, i=0)))
    model = load_model_spec(urdf).compile()
    assert "the inertia of lower is missing or impossible" in caplog.text
    assert model.body("lower").mass[0] == 1 and model.body("lower").inertia.min() > 0


def test_jobs_may_read_its_meshes(urdf: Path) -> None:
    names = {path.name for path in find_model_files(urdf)}
    assert names == {"arm.urdf", "cube.stl", "cube.dae", "cube.obj"}
    other = urdf.parents[1].rename(urdf.parents[2] / "checkout")  # a folder with another name than its package
    urdf = other / "urdf" / "arm.urdf"
    with pytest.raises(ModelFileError, match="is not there"):
        load_model_spec(urdf)
    (other / "package.xml").write_text("<package><name>arm_description</name></package>")
    assert {path.name for path in find_model_files(urdf)} == names | {"package.xml"}
    task = make_task(str(urdf), **RULES)
    assert isinstance(task, SceneTask) and set(task.files) >= set(find_model_files(urdf))


def test_stl_as_text_is_read(tmp_path: Path) -> None:
    facets = "".join(
        "facet normal 0 0 0\nouter loop\n"
        + "".join("vertex {} {} {}\n".format(*CORNERS[i]) for i in t)
        + "endloop\nendfacet\n"
        for t in TRIANGLES
    )
    path = tmp_path / "a.stl"
    path.write_text(f"solid cube\n{facets}endsolid\n")
    found = convert_mesh(path)
    assert found is not None and found.count(b"\nf ") == 12 and found.count(b"v ") == 36
