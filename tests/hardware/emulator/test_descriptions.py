"""What the arm tells of itself: the URDF of version 10 and the compiled library of version 5."""

import ctypes
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from robo_reward.envs.arm.model import FR3, PANDA
from robo_reward.hardware.emulator.robot import model_library as library
from robo_reward.hardware.emulator.robot.model import HAND, RobotModel
from robo_reward.hardware.emulator.robot.model_library import model_library
from robo_reward.hardware.emulator.robot.urdf import robot_urdf


@pytest.fixture(params=[FR3, PANDA], ids=lambda arm: arm.name)
def arm(request):
    return request.param


def rotation(roll, pitch, yaw):
    """A URDF's rpy, by the book: about fixed x, then y, then z."""
    (cr, sr), (cp, sp), (cy, sy) = ((np.cos(a), np.sin(a)) for a in (roll, pitch, yaw))
    x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return z @ y @ x


def read_attribute(element, child, name):
    """An attribute of a child element."""
    found = element.find(child)
    assert found is not None
    return found.attrib[name]


def flange_by_urdf(text, q):
    """Where `link8` is, by an own reading of the URDF."""
    pose, angles = np.eye(4), iter(q)
    for joint in ET.fromstring(text).iter("joint"):
        here = np.eye(4)
        here[:3, :3] = rotation(*map(float, read_attribute(joint, "origin", "rpy").split()))
        here[:3, 3] = list(map(float, read_attribute(joint, "origin", "xyz").split()))
        turn = np.eye(4)
        if joint.get("type") == "revolute":
            turn[:3, :3] = rotation(0, 0, next(angles))
        pose = pose @ here @ turn
    return pose


def test_the_urdf_is_the_same_arm(arm):
    text = robot_urdf(arm)
    root = ET.fromstring(text)
    joints = root.findall("joint")
    assert text.isascii()
    assert [joint.get("name") for joint in joints] == [f"joint{i}" for i in range(1, 9)]
    assert root.findall("link")[-1].get("name") == "link8"
    for i, joint in enumerate(joints[:7]):
        limits = [float(read_attribute(joint, "limit", name)) for name in ("lower", "upper", "velocity", "effort")]
        assert limits == [arm.q_min[i], arm.q_max[i], arm.dq_max[i], arm.tau_max[i]]
        shrinking = "position_based_velocity_limits"
        assert float(read_attribute(joint, shrinking, "deceleration_limit")) > 0
        if arm is FR3:
            assert float(read_attribute(joint, shrinking, "velocity_offset")) == FR3.dq_offset[i]
    model, rng = RobotModel(arm), np.random.default_rng(0)
    for q in rng.uniform(arm.q_min, arm.q_max, (5, 7)):
        assert np.abs(flange_by_urdf(text, q) - model.pose(q, "F")).max() < 1e-9


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """Calls a function of the Panda's library: numbers in, an array of the asked size out."""
    data = model_library(PANDA)
    if not data:
        pytest.skip("no C compiler here")
    file = tmp_path_factory.mktemp("library") / "model.so"
    file.write_bytes(data)
    loaded = ctypes.CDLL(str(file))

    def function(name, size, *args):
        out = np.zeros(size)
        given = [np.ascontiguousarray(a, float) if not isinstance(a, float) else a for a in args]
        words = [ctypes.c_double(a) if isinstance(a, float) else a.ctypes.data_as(ctypes.c_void_p) for a in given]
        loaded[name](*words, out.ctypes.data_as(ctypes.c_void_p))
        return out

    return function


def test_the_library_computes_what_mujoco_does(call):
    model, rng = RobotModel(PANDA), np.random.default_rng(1)
    com, inertia = np.array(HAND.com), np.diag(HAND.inertia[:3])
    tool = model.F_T_EE.T.ravel()
    for q in rng.uniform(PANDA.q_min, PANDA.q_max, (5, 7)):
        dq = rng.normal(size=7)
        assert np.abs(call("M_NE", 49, q, inertia, HAND.mass, com).reshape(7, 7) - model.mass(q)).max() < 1e-6
        assert np.abs(call("c_NE", 7, q, dq, inertia, HAND.mass, com) - model.coriolis(q, dq)).max() < 1e-6
        down = np.array((0, 0, -9.81))
        assert np.abs(call("g_NE", 7, q, down, HAND.mass, com) - model.gravity(q)).max() < 1e-9
        for i in range(1, 8):
            assert np.allclose(call(f"O_T_J{i}", 16, q).reshape(4, 4).T, model.pose(q, f"joint{i}"))
        assert np.allclose(call("O_T_J8", 16, q).reshape(4, 4).T, model.pose(q, "F"))
        assert np.allclose(call("O_T_J9", 16, q, tool).reshape(4, 4).T, model.pose(q))
        assert np.allclose(call("O_J_J8", 42, q).reshape(7, 6).T, model.zero_jacobian(q, "F"))
        assert np.allclose(call("O_J_J9", 42, q, tool).reshape(7, 6).T, model.zero_jacobian(q))
        assert np.allclose(call("Ji_J_J9", 42, q, tool).reshape(7, 6).T, model.body_jacobian(q))
        inner = call("Ji_J_J5", 42, q).reshape(7, 6).T
        assert not inner[:, 5:].any() and np.allclose(inner[:, 4], (0, 0, 0, 0, 0, 1))
    assert call("Ji_J_J1", 42).tolist()[:6] == [0, 0, 0, 0, 0, 1]


def test_without_a_compiler_or_elsewhere_there_is_no_library(monkeypatch, caplog):
    assert model_library(PANDA, architecture=2) == b""
    library._compile_library.cache_clear()
    monkeypatch.setenv("CC", "no-such-compiler")
    assert model_library(PANDA) == b""
    assert "no-such-compiler" in caplog.text
    monkeypatch.setenv("CC", "false")
    library._compile_library.cache_clear()
    assert model_library(PANDA) == b""
    monkeypatch.undo()
    library._compile_library.cache_clear()
