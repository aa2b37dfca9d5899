"""The model against independent truth: the table's own chain in numpy, energies, and differences."""

import json
import subprocess
import sys
from pathlib import Path

import mujoco
import numpy as np
import pytest

from robo_reward.envs.arm.kinematics import compute_forward_kinematics, compute_jacobian
from robo_reward.envs.arm.model import FR3, PANDA, UR5E, ArmModel, Link
from robo_reward.envs.task import make_task
from robo_reward.errors import UnknownName, UsageError, WrongShape
from robo_reward.hardware.emulator.emulator import Emulator
from robo_reward.hardware.emulator.robot.model import ELBOW_FLIP, HAND, RobotModel, elbow_configuration

ARMS = pytest.mark.parametrize("arm", [PANDA, FR3], ids=lambda arm: arm.name)


def configurations(arm: ArmModel, rng: np.random.Generator, n: int = 5) -> np.ndarray:
    return rng.uniform(np.array(arm.q_min) + 0.05, np.array(arm.q_max) - 0.05, (n, 7))


def turn(axis: str, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    out = np.eye(4)
    if axis == "x":
        out[1:3, 1:3] = [[c, -s], [s, c]]
    else:
        out[:2, :2] = [[c, -s], [s, c]]
    return out


def shift(x: float, y: float, z: float) -> np.ndarray:
    out = np.eye(4)
    out[:3, 3] = x, y, z
    return out


def chain(arm: ArmModel, q: np.ndarray) -> list[np.ndarray]:
    """The joints' frames by Craig's formula, then the flange."""
    frames, here = [], np.eye(4)
    for (a, d, alpha), angle in zip(arm.dh, q, strict=True):
        here = here @ turn("x", alpha) @ shift(a, 0, 0) @ turn("z", angle) @ shift(0, 0, d)
        frames.append(here)
    return [*frames, here @ shift(0, 0, arm.flange)]


def bodies(arm: ArmModel, load: Link) -> list[tuple[int, Link]]:
    """Every mass with the frame it belongs to."""
    return [*enumerate(arm.links), (7, HAND), (7, load)]


def tensor(link: Link) -> np.ndarray:
    if link.quat is None:
        xx, yy, zz, xy, xz, yz = link.inertia
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    w, x, y, z = np.array(link.quat) / np.linalg.norm(link.quat)
    r = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return r @ np.diag(link.inertia) @ r.T


def potential(arm: ArmModel, q: np.ndarray, load: Link) -> float:
    frames = chain(arm, q)
    return sum(9.81 * link.mass * float((frames[i] @ [*link.com, 1])[2]) for i, link in bodies(arm, load))


def kinetic(arm: ArmModel, q: np.ndarray, dq: np.ndarray, load: Link) -> float:
    """Half m v² + half ω I ω, with velocities by central differences of the chain."""
    h, total = 1e-5, 0.0
    before, here, after = chain(arm, q - h * dq), chain(arm, q), chain(arm, q + h * dq)
    for i, link in bodies(arm, load):
        com = np.array([*link.com, 1.0])
        v = ((after[i] - before[i]) @ com)[:3] / (2 * h)
        spin = (after[i] - before[i])[:3, :3] @ here[i][:3, :3].T / (2 * h)
        omega = np.array([spin[2, 1], spin[0, 2], spin[1, 0]])
        rotation = here[i][:3, :3]
        total += 0.5 * link.mass * v @ v + 0.5 * omega @ rotation @ tensor(link) @ rotation.T @ omega
    return float(total)


LOAD = Link(0.8, (0.01, -0.02, 0.15), (0.004, 0.003, 0.002, 0.0005, -0.0003, 0.0002))


def test_the_ready_pose_is_the_published_one():
    """O_T_EE of a Panda with its hand in the ready pose, as its users see it printed."""
    pose = RobotModel(PANDA).pose(np.array(PANDA.home))
    assert np.allclose(pose[:3, :3], np.diag([1, -1, -1]), atol=1e-9)
    assert np.allclose(pose[:3, 3], [0.30689, 0.0, 0.48688], atol=1e-5)


@ARMS
def test_frames_are_the_chains(arm: ArmModel, rng: np.random.Generator):
    model = RobotModel(arm)
    for q in configurations(arm, rng):
        frames = chain(arm, q)
        for i in range(7):
            assert np.allclose(model.pose(q, f"joint{i + 1}"), frames[i], atol=1e-12)
        assert np.allclose(model.pose(q, "F"), frames[7], atol=1e-12)
        assert np.allclose(model.pose(q), frames[7] @ turn("z", -np.pi / 4) @ shift(0, 0, 0.1034), atol=1e-12)


@ARMS
def test_the_tcp_is_the_tasks(arm: ArmModel, rng: np.random.Generator):
    q = configurations(arm, rng, 20)
    pose = compute_forward_kinematics(arm, q)
    model = RobotModel(arm)
    assert np.allclose([model.pose(row)[:3, 3] for row in q], pose.position.T, atol=1e-12)
    assert np.allclose([model.pose(row)[:3, 0] for row in q], pose.x.T, atol=1e-12)
    assert np.allclose([model.zero_jacobian(row) for row in q], compute_jacobian(pose), atol=1e-12)


@ARMS
def test_jacobians_are_differences(arm: ArmModel, rng: np.random.Generator):
    model = RobotModel(arm)
    model.set_NE_T_EE(turn("x", 0.4) @ shift(0.03, 0.01, 0.1))
    model.set_EE_T_K(shift(0, 0.05, 0))
    h = 1e-6
    for frame in ("F", "NE", "EE", "K"):
        q = configurations(arm, rng, 1)[0]
        found, own = model.zero_jacobian(q, frame), model.body_jacobian(q, frame)
        here = model.pose(q, frame)
        for i, e in enumerate(np.eye(7) * h):
            change = (model.pose(q + e, frame) - model.pose(q - e, frame)) / (2 * h)
            spin = change[:3, :3] @ here[:3, :3].T
            twist = np.array([*change[:3, 3], spin[2, 1], spin[0, 2], spin[1, 0]])
            assert np.allclose(found[:, i], twist, atol=1e-8)
            assert np.allclose(own[:, i], np.concatenate([here[:3, :3].T @ twist[:3], here[:3, :3].T @ twist[3:]]))


@ARMS
def test_gravity_is_the_slope_of_the_potential(arm: ArmModel, rng: np.random.Generator):
    model = RobotModel(arm)
    model.set_load(LOAD)
    h = 1e-5
    for q in configurations(arm, rng):
        slope = [(potential(arm, q + e, LOAD) - potential(arm, q - e, LOAD)) / (2 * h) for e in np.eye(7) * h]
        assert np.allclose(model.gravity(q), slope, atol=1e-6)


@ARMS
def test_mass_gives_the_kinetic_energy(arm: ArmModel, rng: np.random.Generator):
    model = RobotModel(arm)
    model.set_load(LOAD)
    for q in configurations(arm, rng):
        dq = rng.normal(size=7)
        mass = model.mass(q)
        assert np.allclose(mass, mass.T)
        assert 0.5 * dq @ mass @ dq == pytest.approx(kinetic(arm, q, dq, LOAD), rel=1e-7)


@ARMS
def test_coriolis_by_christoffel(arm: ArmModel, rng: np.random.Generator):
    """C dq = dM/dt dq - half d(dq M dq)/dq."""
    model, h = RobotModel(arm), 1e-5
    for q in configurations(arm, rng, 3):
        dq = rng.normal(size=7)
        slopes = np.array([(model.mass(q + e) - model.mass(q - e)) / (2 * h) for e in np.eye(7) * h])
        expected = np.einsum("kij,k,j->i", slopes, dq, dq) - 0.5 * np.einsum("kij,i,j->k", slopes, dq, dq)
        assert np.allclose(model.coriolis(q, dq), expected, atol=1e-6)


def test_a_load_may_be_taken_off():
    model, q = RobotModel(FR3), np.array(FR3.home)
    before = model.gravity(q), model.mass(q)
    model.set_load(LOAD)
    assert np.abs(model.gravity(q) - before[0]).max() > 1
    model.set_load(Link(0.0, (0.0, 0.0, 0.0), (0.0,) * 6))
    assert np.allclose(model.gravity(q), before[0], atol=1e-12) and np.allclose(model.mass(q), before[1], atol=1e-12)


def test_the_elbow():
    q = np.array(PANDA.home)
    assert elbow_configuration(q).tolist() == [0.0, -1.0]
    q[2:4] = 0.3, -0.4
    assert elbow_configuration(q).tolist() == [0.3, 1.0]
    q[3] = ELBOW_FLIP
    assert elbow_configuration(q)[1] == 0.0


def test_what_is_refused():
    model = RobotModel(PANDA)
    with pytest.raises(UsageError, match="6 joints"):
        RobotModel(UR5E)
    with pytest.raises(UnknownName, match="joint7"):
        model.pose(np.zeros(7), "joint8")
    with pytest.raises(UnknownName, match="Available: EE"):
        model.pose(np.zeros(7), "ee")
    with pytest.raises(WrongShape):
        model.set_EE_T_K(np.eye(3))
    with pytest.raises(UsageError, match="not a rigid transform"):
        model.set_NE_T_EE(2 * np.eye(4))
    with pytest.raises(UsageError, match="must not be negative"):
        model.set_load(Link(-1.0, (0.0, 0.0, 0.0), (0.0,) * 6))


def test_the_model_is_of_the_scenes_arm():
    """The same masses as the arm that is simulated: its gravity is what the scene compensates, fingers apart."""
    task = make_task("panda/reach")
    data = mujoco.MjData(task.model)
    data.qpos[:7] = PANDA.home
    mujoco.mj_forward(task.model, data)
    assert np.allclose(data.qfrc_gravcomp[:7], RobotModel(PANDA).gravity(np.array(PANDA.home)), atol=1.2)


def test_libfranka_computes_the_same(rng: np.random.Generator):
    """Pinocchio inside an unmodified client, from the URDF that the emulator serves."""
    pytest.importorskip("franky", reason="franky is not installed: pip install 'robo-reward[franka]'")
    model, script = RobotModel(FR3), Path(__file__).with_name("franky_model.py")
    q, dq = configurations(FR3, rng), rng.normal(size=(5, 7))
    asked = {"q": q.tolist(), "dq": dq.tolist(), "m": HAND.mass, "com": list(HAND.com)}
    asked |= {"inertia": tensor(HAND).tolist(), "F_T_EE": model.F_T_EE.tolist()}
    with Emulator("fr3", "127.0.2.13"):
        words = [sys.executable, str(script), "127.0.2.13"]
        done = subprocess.run(words, input=json.dumps(asked), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for theirs, angles, speeds in zip(json.loads(done.stdout), q, dq, strict=True):
        ours = {
            "mass": model.mass(angles),
            "coriolis": model.coriolis(angles, speeds),
            "gravity": model.gravity(angles),
            "pose": model.pose(angles),
            "zero_jacobian": model.zero_jacobian(angles),
            "body_jacobian": model.body_jacobian(angles),
        }
        for name, value in ours.items():
            assert np.allclose(value, theirs[name], atol=1e-4), name
