"""Unmodified clients from PyPI drive the emulator, each in a process of its own."""

import numpy as np
import pytest

from robo_reward.envs.arm.model import FR3, PANDA
from robo_reward.envs.task import make_task
from robo_reward.hardware.emulator.robot import model_library as library
from robo_reward.hardware.emulator.robot.session import RobotSession
from robo_reward.hardware.emulator.wire.versions import ControllerMode, GeneratorMode
from robo_reward.hardware.emulator.world.mujoco_plant import MujocoPlant
from robo_reward.hardware.emulator.world.plant import KinematicPlant
from tests.hardware.emulator.serving import drive, needs, serving

EXAMPLES = {  # name -> generator, controller, cycles
    "joint_position": (GeneratorMode.JOINT_POSITION, ControllerMode.JOINT_IMPEDANCE, 5000),
    "joint_velocity": (GeneratorMode.JOINT_VELOCITY, ControllerMode.JOINT_IMPEDANCE, 2000),
    "cartesian_pose": (GeneratorMode.CARTESIAN_POSITION, ControllerMode.JOINT_IMPEDANCE, 5000),
    "cartesian_velocity": (GeneratorMode.CARTESIAN_VELOCITY, ControllerMode.CARTESIAN_IMPEDANCE, 4000),
    "joint_impedance": (GeneratorMode.NONE, ControllerMode.EXTERNAL, 2000),
}


def body(robot):
    """The task's scene with the arm at home, far from the table."""
    plant = MujocoPlant(make_task(f"{robot}/reach"))
    plant.reset(np.array(plant.arm.home))
    return plant


@pytest.mark.parametrize("name", EXAMPLES)
def test_pylibfrankas_examples_run_to_the_end(name):
    needs("pylibfranka")
    generator, controller, cycles = EXAMPLES[name]
    with serving("fr3") as emulator:
        found = drive(emulator, "pylibfranka_examples", name)[name]
        log = emulator.log.cycles()
        assert emulator.log.errors() == []
    moving = log[log["robot_mode"] == 2]
    assert set(moving["motion_generator_mode"]) == {generator} and set(moving["controller_mode"]) == {controller}
    assert cycles <= found["cycles"] <= cycles + 1  # every millisecond of robot time exactly once
    begun = np.argmax(moving["received"])
    assert moving["received"][begun:].all() and not moving["lost"].any()  # lock-step: nothing is late
    assert np.ptp(moving["q"], axis=0).max() > 0.05
    assert found["mode"] == "Idle"


def test_pylibfranka_reads_states_and_interpolates_on_the_robot_and_grips():
    needs("pylibfranka")
    needs("ruckig")
    with serving("fr3", plant=KinematicPlant(FR3, object_width=0.02)) as emulator:
        found = drive(emulator, "pylibfranka_examples", "echo_state", "async_position", "gripper")
        log = emulator.log.cycles()
        assert emulator.log.errors() == []
    assert found["echo_state"]["rising"]
    assert found["async_position"]["status"] == "kTargetReached"
    moving = log[log["robot_mode"] == 2]
    assert np.ptp(moving["q_d"], axis=0) == pytest.approx(np.full(7, 0.1), abs=1e-3)
    assert (np.abs(moving["dq_d"]) <= np.array([0.655] * 4 + [1.315] * 3) + 1e-6).all()  # what the client allowed
    grip = found["gripper"]
    assert grip["homed"] and grip["moved"] and grip["grasped"] and grip["is_grasped"]
    assert grip["widest"] == pytest.approx(0.08) and grip["width"] == pytest.approx(0.02)


def test_franky_drives_the_scene():
    needs("franky")
    plant = body("fr3")
    names = ("joints", "hand", "velocities", "cartesian_impedance", "joint_impedance", "gripper", "reflex")
    try:
        with serving("fr3", plant=plant) as emulator:
            found = drive(emulator, "franky_client", *names)
            log = emulator.log.cycles()
            errors = emulator.log.errors()
    finally:
        plant.close()
    assert found["joints"]["error"] < 1e-3
    assert found["hand"]["moved"] == pytest.approx(0.05 * 2**0.5, abs=1e-3)
    assert found["velocities"]["turned"] > 0.14 and found["velocities"]["rose"] > 0.02
    assert found["cartesian_impedance"]["moved"] == pytest.approx(0.04, abs=4e-3)  # dry friction keeps it 2 mm away
    assert found["joint_impedance"]["moved"] == pytest.approx(0.1, abs=5e-3)
    assert found["gripper"] == {"moved": True, "width": pytest.approx(0.03, abs=2e-3)}
    # franky allows joints 7500 rad/s³, the FR3 5000
    assert errors == ["joint_motion_generator_acceleration_discontinuity"]
    assert errors[0] in found["reflex"]["said"] and "Reflex" in found["reflex"]["refused"]
    assert ControllerMode.EXTERNAL in log["controller_mode"]


def test_panda_python_drives_a_panda():
    needs("panda_py")
    with serving("panda", plant=KinematicPlant(PANDA, object_width=0.02)) as emulator:
        found = drive(emulator, "panda_client", "layer")["layer"]
        assert emulator.log.errors() == []
    assert found["version"] == 5
    assert found["q"] == pytest.approx(PANDA.home)  # doubles on the wire
    assert 1.0 <= found["elapsed"] < 1.002
    assert found["homed"] and found["moved"] and found["grasped"]
    assert found["width"] == pytest.approx(0.02)


def test_panda_pys_own_controllers_work_with_the_compiled_model():
    needs("panda_py")
    if not library.model_library(PANDA):
        pytest.skip("no C compiler here")
    plant = body("panda")
    try:
        with serving("panda", plant=plant) as emulator:
            found = drive(emulator, "panda_client", "motions", "impedance")
            assert emulator.log.errors() == []
    finally:
        plant.close()
    assert found["motions"]["reached"] and found["motions"]["placed"]
    assert found["motions"]["error"] < 1e-3
    assert found["impedance"]["moved"] == pytest.approx(0.03, abs=3e-3)


def test_without_a_compiler_the_client_is_told(monkeypatch):
    needs("panda_py")
    monkeypatch.setattr("robo_reward.hardware.emulator.robot.session.model_library", lambda *_: b"")
    with serving("panda") as emulator:
        assert "error" in drive(emulator, "panda_client", "model_refused")["model_refused"]["said"]


@pytest.mark.parametrize(("robot", "version"), [("fr3", 10), ("panda", 5)])
def test_franka_rs_drives_both_versions(robot, version):
    needs("franka")
    with serving(robot) as emulator:
        found = drive(emulator, "franka_rs_client")
        assert emulator.log.errors() == []
    assert found["version"] == version
    assert found["hand"] == pytest.approx(0.04, abs=2e-3)
    assert found["joints"] == pytest.approx(0.1, abs=2e-3)
    assert found["moved"] and found["width"] == pytest.approx(0.03, abs=1e-3)


@pytest.mark.slow
def test_two_arms_at_once():
    needs("pylibfranka")
    with serving("fr3") as one, serving("fr3") as other:
        assert one.host != other.host
        drive(one, "pylibfranka_examples", "joint_velocity")
        assert np.ptp(one.log.cycles()["q"], axis=0).max() > 0.05
        assert np.ptp(other.log.cycles()["q"], axis=0).max() == 0


def test_lockstep_repeats_itself_to_the_bit():
    needs("pylibfranka")
    paths = []
    for _ in range(2):
        with serving("fr3") as emulator:
            drive(emulator, "pylibfranka_examples", "joint_velocity")
            log = emulator.log.cycles()
        moving = log[log["received"]]
        paths.append(moving["q"])
    assert np.array_equal(*paths)


def test_lockstep_can_be_held_to_real_time():
    needs("pylibfranka")
    with serving("fr3", speed=1.0) as emulator:
        drive(emulator, "pylibfranka_examples", "joint_velocity")
        log = emulator.log.cycles()
    moving = log[log["received"]]
    assert np.ptp(moving["wall"]) > 0.99e-3 * (len(moving) - 1)
    assert emulator.log.errors() == []


def test_a_free_running_arm_keeps_its_millisecond():
    needs("pylibfranka")
    with serving("fr3", lockstep=False) as emulator:
        drive(emulator, "pylibfranka_examples", "echo_state")
        log = emulator.log.cycles()
    # absolute deadlines: over the whole run robot time and wall time agree, but for what the machine was asleep
    slipped = np.sum(np.maximum(0.0, np.diff(log["wall"]) - 0.1))
    took = log["wall"][-1] - log["wall"][0]
    assert abs((took - slipped) - 1e-3 * (len(log) - 1)) < 0.12
    assert isinstance(emulator.session, RobotSession)
