"""What libraries say to faults of a real robot, injected into the emulator: their own words, over sockets."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from robo_reward.envs.arm.model import ARMS
from robo_reward.hardware.arm import ArmFault, Mode, Target
from robo_reward.hardware.drivers.franka.fr3 import FrankyArm
from robo_reward.hardware.drivers.franka.panda import PandaArm
from robo_reward.hardware.emulator.emulator import Emulator
from robo_reward.hardware.emulator.tools.faults import Faults
from robo_reward.hardware.emulator.wire.versions import RobotMode
from robo_reward.hardware.emulator.world.cameras import CameraServer
from robo_reward.hardware.emulator.world.plant import KinematicPlant
from robo_reward.hardware.perception.cameras import CAMERA_PORT, REPLY
from tests.hardware.emulator.serving import free_host
from tests.hardware.patience import eventually, repeated

pytest.importorskip("franky")
pytest.importorskip("franka")
DRIVERS: dict[str, Callable[..., Any]] = {"fr3": FrankyArm, "panda": PandaArm}
SAFETY = "rejected due to activated safety function! Please disable all safety functions"
BROKEN = ("Net Exception", "reset by peer", "closed connection", "Timeout")
REJECTED = "command not possible in the current mode"  # version 5 knows no safety functions


@pytest.fixture(params=["fr3", "panda"])
def robot(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def emulator(robot: str) -> Iterator[Emulator]:
    with Emulator(robot, free_host(), KinematicPlant(ARMS[robot]), lockstep=True) as emulator:
        yield emulator


@pytest.fixture
def arm(robot: str, emulator: Emulator) -> Iterator[Any]:
    arm = DRIVERS[robot](emulator.host, realtime="ignore")
    yield arm
    arm.close()


def words(call: Callable[[], object]) -> str:
    """What the library said."""
    with pytest.raises(ArmFault) as caught:
        call()
    return f"{caught.value} {caught.value.__cause__}"


def start(arm: Any, gripper: float = -1.0) -> Callable[[], None]:
    """Streams a while; returns what goes on with it."""
    arm.connect()
    arm.start_streaming()
    here = arm.state().q

    def on() -> None:
        arm.stream(Target(joints=here, gripper=gripper))

    repeated(on, times=10)
    return on


def test_a_safety_function_refuses_motions_and_settings_and_preempts_what_runs(arm: Any, emulator: Emulator) -> None:
    fr3 = emulator.robot == "fr3"
    on = start(arm)
    emulator.faults.activate_safety_function()
    preempted = words(lambda: repeated(on, arm.state))
    assert ("preempted due to activated safety function" if fr3 else "preempted") in preempted
    here = arm.state().q
    assert (SAFETY if fr3 else REJECTED) in words(lambda: arm.move_to(here + 0.02, 0.2))
    assert (SAFETY if fr3 else REJECTED) in words(arm.recover)
    again = DRIVERS[emulator.robot](emulator.host, realtime="ignore")
    arm.close()
    assert (SAFETY if fr3 else REJECTED) in words(again.connect)
    emulator.faults.activate_safety_function(False)
    again.connect()
    again.recover()
    again.close()


def test_closed_brakes_are_another_mode(arm: Any, emulator: Emulator) -> None:
    arm.connect()
    emulator.faults.close_brakes()
    assert eventually(lambda: arm.state().mode is Mode.OTHER)
    here = arm.state().q
    assert words(lambda: arm.move_to(here + 0.02, 0.2))
    emulator.faults.close_brakes(False)
    assert eventually(lambda: arm.state().mode is Mode.IDLE)


def test_a_recovery_that_needs_a_person_is_refused(arm: Any, emulator: Emulator) -> None:
    arm.connect()
    emulator.faults.require_manual_recovery()
    emulator.faults.reflex("cartesian_reflex")
    assert eventually(lambda: arm.state().mode is Mode.REFLEX)
    assert "manual error recovery required!" in words(arm.recover)
    emulator.faults.require_manual_recovery(False)
    arm.recover()
    assert arm.state().mode is Mode.IDLE


def test_a_start_at_a_singular_pose_is_refused(arm: Any, emulator: Emulator) -> None:
    arm.connect()
    emulator.faults.refuse_singular_start()
    here = arm.state().q
    assert "cannot start at singular pose!" in words(lambda: arm.move_to(here + 0.02, 0.2))


def test_a_model_that_makes_no_sense_is_told_on_connect(emulator: Emulator) -> None:
    if emulator.robot == "panda":
        pytest.skip("franka-rs has the Panda's model built in")
    emulator.faults.fail_robot_model()
    arm = FrankyArm(emulator.host, realtime="ignore")
    assert "Unexpected response while handling Get Robot Model" in words(arm.connect)


def test_a_cut_robot_connection_is_noticed_and_a_new_one_taken(arm: Any, emulator: Emulator) -> None:
    on = start(arm)
    emulator.faults.cut_robot_connection()
    said = words(lambda: repeated(on, arm.state))
    assert any(text in said for text in BROKEN)  # whichever of the library's threads sees it first
    assert eventually(lambda: emulator.session.mode == RobotMode.REFLEX)
    arm.close()
    again = DRIVERS[emulator.robot](emulator.host, realtime="ignore")
    again.connect()
    again.recover()
    again.close()


def test_a_cut_gripper_connection_is_noticed_and_a_new_one_taken(arm: Any, emulator: Emulator) -> None:
    on = start(arm, gripper=0.08)
    emulator.faults.cut_gripper_connection()
    assert words(lambda: repeated(on, arm.state))
    arm.close()
    again = DRIVERS[emulator.robot](emulator.host, realtime="ignore")
    again.connect()
    again.close()


def test_cut_cameras_answer_no_more_until_they_are_opened_again() -> None:
    host, plant, faults = free_host(), KinematicPlant(ARMS["fr3"]), Faults()
    ask = b'{"camera": "front", "size": 32}\n'
    with CameraServer(plant, host, CAMERA_PORT, faults):
        for _ in range(2):
            with socket.create_connection((host, CAMERA_PORT), timeout=10) as camera, camera.makefile("rb") as answers:
                camera.sendall(ask)
                assert len(answers.read(REPLY.size + 32 * 32 * 3)) == REPLY.size + 32 * 32 * 3
                faults.cut_camera()
                assert answers.read(1) == b""


def test_clear_ends_what_lasts() -> None:
    faults = Faults()
    for name in ("activate_safety_function", "close_brakes", "require_manual_recovery", "fail_robot_model"):
        getattr(faults, name)()
    faults.refuse_singular_start()
    kept = ("safety_function", "brakes_closed", "needs_manual_recovery", "model_fails", "start_singular")
    np.testing.assert_array_equal([getattr(faults, name) for name in kept], True)
    faults.clear()
    np.testing.assert_array_equal([getattr(faults, name) for name in kept], False)
