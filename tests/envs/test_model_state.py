"""The readable state of models that others wrote, against MuJoCo's own answers."""

from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest

from robo_reward.envs.model.names import make_identifier
from robo_reward.envs.model.state import ModelState, build_state_spec
from robo_reward.envs.state import StateSpec
from robo_reward.errors import WrongShape

ASSETS = Path(gymnasium.__file__).parent / "envs/mujoco/assets"
MODELS = ("hopper", "ant", "half_cheetah", "humanoid", "reacher", "pusher_v5", "walker2d", "swimmer")


def shaken(model: mujoco.MjModel, rng: np.random.Generator) -> mujoco.MjData:
    data = mujoco.MjData(model)
    for _ in range(30):
        data.ctrl[:] = rng.uniform(-1, 1, model.nu)
        mujoco.mj_step(model, data)
    return data


def body_velocity(model: mujoco.MjModel, data: mujoco.MjData, body: int) -> np.ndarray:
    """(ω, v) of the body's frame in the world, by MuJoCo."""
    out = np.zeros(6)
    mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_XBODY.value, body, out, 0)
    return out


@pytest.mark.parametrize("name", MODELS)
def test_every_body_and_joint_of_gymnasiums_models(name: str, rng: np.random.Generator):
    model = mujoco.MjModel.from_xml_path(str(ASSETS / f"{name}.xml"))
    data, reader = shaken(model, rng), ModelState(model)
    state = reader.spec.view(reader.read_state(data))
    mujoco.mj_forward(model, data)  # the truth, up to date
    moving = [b for b in range(1, model.nbody) if model.body(b).name and model.body_treeid[b] >= 0]
    assert moving
    for body in moving:
        subject = make_identifier(model.body(body).name, "")
        np.testing.assert_allclose(state[f"{subject}_position"], data.xpos[body], atol=1e-12)
        np.testing.assert_allclose(state[f"{subject}_rotation"], data.xquat[body], atol=1e-12)
        if f"{subject}_velocity" in state.spec:
            np.testing.assert_allclose(state[f"{subject}_velocity"], body_velocity(model, data, body)[3:], atol=1e-10)
    for joint in range(model.njnt):
        fields = [
            f for f in state.spec if repr(model.joint(joint).name) in f.description and " joint " in f.description
        ]
        if not fields:
            assert model.jnt_type[joint] == int(mujoco.mjtJoint.mjJNT_FREE) or name in ("reacher", "pusher_v5")
            continue
        value, rate = fields
        assert state[value.name] == data.qpos[model.jnt_qposadr[joint]]
        assert state[rate.name] == data.qvel[model.jnt_dofadr[joint]]
        assert (value.unit, rate.unit) in (("rad", "rad/s"), ("m", "m/s")) and value.role == rate.role == "joint"
    assert build_state_spec(model) == reader.spec == StateSpec.from_json(reader.spec.to_json())
    assert reader.spec.dim < 200


def test_roles_of_gymnasiums_models():
    def roles(name: str) -> dict[str, str]:
        spec = StateSpec.from_model(mujoco.MjModel.from_xml_path(str(ASSETS / f"{name}.xml")))
        return {field.name: field.role for field in spec}

    ant = roles("ant")
    assert ant["torso_position"] == ant["torso_spin"] == "body" and ant["hip_1_angle"] == "joint"
    assert ant["aux_1_contact"] == "contact" and "torso_contact" not in ant
    assert roles("hopper")["foot_contact"] == "contact"
    reacher = roles("reacher")
    assert reacher["target_position"] == "goal" and reacher["fingertip_position"] == "hand"
    pusher = roles("pusher_v5")
    assert (pusher["object_position"], pusher["goal_position"]) == ("object", "goal")
    assert pusher["tips_arm_position"] == "hand" and not any("obj_slide" in name for name in pusher)


def test_reading_does_not_change_the_trajectory(rng: np.random.Generator):
    model = mujoco.MjModel.from_xml_path(str(ASSETS / "ant.xml"))
    reader, read, alone = ModelState(model), mujoco.MjData(model), mujoco.MjData(model)
    for _ in range(60):
        read.ctrl[:] = alone.ctrl[:] = rng.uniform(-1, 1, model.nu)
        mujoco.mj_step(model, read)
        mujoco.mj_step(model, alone)
        reader.read_state(read)
    np.testing.assert_array_equal(read.qpos, alone.qpos)
    np.testing.assert_array_equal(read.qvel, alone.qvel)


ZOO = """
<mujoco>
  <worldbody>
    <geom type="plane" size="2 2 .1"/>
    <site name="target spot" pos="1 2 3"/>
    <body name="table" pos="3 0 0"><geom size=".1"/></body>
    <body name="goal.pad" pos="1 0 .2"><geom size=".1" contype="0" conaffinity="0"/></body>
    <body name="mocap goal" mocap="true" pos="0 1 1"/>
    <body name="puller" mocap="true" pos="0 0 2"/>
    <body name="Robot Base" pos="0 0 1">
      <joint name="turn" axis="0 0 1"/><geom size=".05" mass="1"/>
      <body pos=".3 0 0"><joint type="ball"/><geom size=".05" mass="1"/>
        <body name="leftHand" pos=".2 0 0"><joint type="slide" axis="1 0 0" range="0 .1" limited="true"/>
          <geom size=".05" mass="1"/><site name="grip" pos=".1 0 0"/><site name="hand tip" pos=".2 0 0"/></body>
      </body>
    </body>
    <body name="cube 1" pos="-1 0 .1"><freejoint/><geom type="box" size=".1 .1 .1" mass="2"/></body>
    <body name="cube.1" pos="-2 0 .1"><freejoint/><geom type="box" size=".1 .1 .1" mass="1"/></body>
    <body pos="-3 0 .1"><freejoint/><geom size=".1" mass="1"/></body>
    <body name="door" pos="0 2 1"><joint axis="0 0 1"/><geom size=".05"/>
      <body name="door handle" pos=".2 0 0"><joint name="door"/><geom size=".05"/></body></body>
  </worldbody>
  <equality><weld body1="puller" body2="leftHand"/></equality>
  <actuator><motor joint="turn"/></actuator>
  <sensor>
    <framepos name="array" objtype="body" objname="door"/>
    <jointpos name="2nd angle" joint="turn"/>
    <gyro name="lambda" site="grip"/>
    <clock/>
  </sensor>
</mujoco>
"""


@pytest.fixture(scope="module")
def zoo() -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(ZOO)


def test_a_long_outline_describes_alike_parts_together() -> None:
    legs = "".join(
        f'<body name="leg_{i}" pos="{i} 0 0"><joint name="hip_{i}"/><geom size=".1"/></body>' for i in range(40)
    )
    xml = f"""<mujoco><worldbody><body name="trunk" pos="0 0 1"><freejoint/><geom size=".1"/>{legs}</body>
      <body name="ball" pos="3 0 0"><freejoint/><geom size=".1"/></body></worldbody>
      <actuator>{"".join(f'<motor joint="hip_{i}"/>' for i in range(40))}</actuator></mujoco>"""
    spec = build_state_spec(mujoco.MjModel.from_xml_string(xml))
    text = spec.outline()
    assert len(spec.names) > 200 and len(text.splitlines()) < 40
    assert "state.ball_position" in text and "state.trunk_position" in text
    blocks = [block.partition(":") for block in text.split("For each SUBJECT of ")[1:]]
    for field in spec:  # every field is there by its own name, or its subject in a list with its quantity
        shared = [lines for subjects, _, lines in blocks if field.subject in subjects.split(", ")]
        assert f"state.{field.name} " in text or f"state.SUBJECT_{field.quantity} " in "".join(shared), field.name


def test_names_are_public_unique_identifiers(zoo: mujoco.MjModel):
    names = build_state_spec(zoo).names
    assert len(set(names)) == len(names)
    assert all(n.isidentifier() and n.isascii() and not n.startswith("_") and n == n.lower() for n in names)
    for name in ("cube_1_position", "cube_1_body_position", "robot_base_velocity", "left_hand_position"):
        assert name in names
    assert {"array_value", "sensor_2nd_angle", "lambda_value", "door_joint_angle", "door_joint_2_angle"} <= set(names)
    assert "sphere_position" in names  # free, though without a name
    assert "table_position" not in names  # cannot move


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("left Hand.2", "left_hand_2"),
        ("leftHand", "left_hand"),
        ("robot0:hand/tip", "robot0_hand_tip"),
        ("  ", "body_7"),
        ("Größe", "groe"),
        ("物", "body_7"),
        ("3rd", "body_3rd"),
        ("class", "class_value"),
        ("rows", "rows_value"),
        ("__x__", "x"),
    ],
)
def test_identifiers(name: str, expected: str):
    assert make_identifier(name, "body_7") == expected


def test_roles_and_units_of_the_zoo(zoo: mujoco.MjModel):
    spec = build_state_spec(zoo)
    expected = {
        "target_spot_position": ("goal", "m"),
        "goal_pad_position": ("goal", "m"),
        "mocap_goal_rotation": ("goal", "quaternion"),
        "puller_position": ("other", "m"),
        "left_hand_position": ("hand", "m"),
        "hand_tip_position": ("hand", "m"),
        "left_hand_joint_displacement": ("joint", "m"),
        "cube_1_spin": ("object", "rad/s"),
        "cube_1_contact": ("contact", "N"),
        "sphere_velocity": ("object", "m/s"),
        "door_position": ("part", "m"),
        "sensor_2nd_angle": ("other", "rad"),
        "lambda_value": ("other", "rad/s"),
    }
    assert {name: (spec[name].role, spec[name].unit) for name in expected} == expected
    assert spec["left_hand_joint_displacement"].typical == (0, 0.1)
    assert all(field.description for field in spec)
    assert "'cube 1'" in spec["cube_1_position"].description


def test_ball_joints_spins_sites_and_sensors(zoo: mujoco.MjModel, rng: np.random.Generator):
    data, reader = mujoco.MjData(zoo), ModelState(zoo)
    data.qvel[:] = rng.normal(size=zoo.nv)
    mujoco.mj_step(zoo, data, 5)
    mujoco.mj_forward(zoo, data)
    state = reader.spec.view(reader.read_state(data))
    ball = next(f.name for f in reader.spec if "ball joint" in f.description and f.unit == "quaternion")
    adr, dof = zoo.jnt_qposadr[1], zoo.jnt_dofadr[1]
    np.testing.assert_array_equal(state[ball], data.qpos[adr : adr + 4])
    np.testing.assert_array_equal(state[ball.replace("rotation", "spin")], data.qvel[dof : dof + 3])
    cube = zoo.body("cube 1").id
    np.testing.assert_allclose(
        np.r_[state.cube_1_spin, state.cube_1_velocity], body_velocity(zoo, data, cube), atol=1e-12
    )
    np.testing.assert_array_equal(state.hand_tip_position, data.site("hand tip").xpos)
    np.testing.assert_array_equal(state.target_spot_position, [1, 2, 3])
    np.testing.assert_array_equal(state.array_value, data.sensor("array").data)
    np.testing.assert_array_equal(state.sensor_2nd_angle, data.qpos[0])


def test_a_cube_at_rest_is_carried_by_its_weight(zoo: mujoco.MjModel):
    data, reader = mujoco.MjData(zoo), ModelState(zoo)
    mujoco.mj_step(zoo, data, 1000)
    state = reader.spec.view(reader.read_state(data))
    assert state.cube_1_contact == pytest.approx(2 * 9.81, rel=1e-3)
    assert state.cube_1_body_contact == pytest.approx(1 * 9.81, rel=1e-3)


def test_many_equals_one_by_one(zoo: mujoco.MjModel, rng: np.random.Generator):
    reader, data = ModelState(zoo), mujoco.MjData(zoo)
    qpos, qvel = np.tile(zoo.qpos0, (3, 1)), rng.normal(size=(3, zoo.nv))
    qpos[:, 0] += [0.1, 0.2, 0.3]
    mocap = np.r_[[1, 1, 1], [2, 2, 2], [1, 0, 0, 0], [1, 0, 0, 0]].astype(float)
    many = reader.read_states(qpos, qvel, np.tile(mocap, (3, 1)))
    data.qpos[:], data.qvel[:] = qpos[1], qvel[1]
    data.mocap_pos[:] = [[1, 1, 1], [2, 2, 2]]
    mujoco.mj_forward(zoo, data)
    np.testing.assert_allclose(many[1], reader.read_state(data, refresh=False), atol=1e-12)
    np.testing.assert_array_equal(reader.spec.view(many).puller_position, np.full((3, 3), 2.0))
    with pytest.raises(WrongShape, match="qvel"):
        reader.read_states(qpos, qvel[:2])
    with pytest.raises(WrongShape, match="another model"):
        reader.read_state(mujoco.MjData(mujoco.MjModel.from_xml_string("<mujoco/>")))


def test_a_geom_that_is_named_as_a_goal_has_a_position():
    text = """<mujoco><worldbody>
    <geom name="target" type="sphere" size=".05" pos="0.1 0.2 0.3"/><geom name="floor" type="plane" size="1 1 1"/>
    <body name="arm"><joint name="a"/><geom size=".1"/><geom name="goal pad" pos="1 0 0" size=".1"/></body>
    <body name="goal" mocap="true"><geom name="goal_ball" size=".1"/></body>
    <body name="b" pos="3 0 0"><joint name="b"/><geom name="goal_mark" size=".1"/><site name="goal_site"/></body>
    </worldbody><actuator><motor joint="a"/></actuator></mujoco>"""
    model = mujoco.MjModel.from_xml_string(text)
    data, reader = mujoco.MjData(model), ModelState(model)
    data.qpos[0] = 0.5
    mujoco.mj_forward(model, data)
    state = reader.spec.view(reader.read_state(data))
    np.testing.assert_array_equal(state.target_position, [0.1, 0.2, 0.3])
    np.testing.assert_allclose(state.goal_pad_position, data.geom("goal pad").xpos)
    assert {f.name for f in reader.spec if f.role == "goal" and f.quantity == "position"} == {
        "target_position", "goal_pad_position", "goal_position", "goal_site_position"}  # fmt: skip


def test_an_empty_model_has_an_empty_state():
    model = mujoco.MjModel.from_xml_string("<mujoco/>")
    assert ModelState(model).read_state(mujoco.MjData(model)).shape == (0,)
