"""The drivers, through the unmodified client libraries, over sockets, against the emulator; its log is the judge."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo_reward.cli.app import compose_config
from robo_reward.cli.robot.deploy import read_deploy_config
from robo_reward.envs.arm.kinematics import compute_forward_kinematics
from robo_reward.envs.arm.model import ARMS, get_arm_model
from robo_reward.errors import UsageError
from robo_reward.hardware.arm import ArmDriver, ArmFault, FaultKind, Mode, Target, describe_arm
from robo_reward.hardware.drivers.franka.base import FrankaArm
from robo_reward.hardware.drivers.franka.compliance import Compliance
from robo_reward.hardware.drivers.franka.fr3 import FrankyArm
from robo_reward.hardware.drivers.franka.panda import PandaArm
from robo_reward.hardware.drivers.registry import driver_options, make_arm
from robo_reward.hardware.emulator.emulator import Emulator
from robo_reward.hardware.emulator.wire.gripper_server import GripperServer
from robo_reward.hardware.emulator.wire.server import RobotServer
from robo_reward.hardware.emulator.world.plant import KinematicPlant
from robo_reward.hardware.safety.recovery import FaultMachine
from tests.hardware.patience import eventually, repeated

pytest.importorskip("franky")
pytest.importorskip("franka")

HOSTS = {"fr3": "127.0.4.41", "panda": "127.0.4.42"}
DRIVERS: dict[str, Callable[..., Any]] = {"fr3": FrankyArm, "panda": PandaArm}
NEAR = np.array((0.05, -0.7, 0.05, -2.3, 0.05, 1.6, 0.75))


@pytest.fixture(params=["fr3", "panda"])
def robot(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def emulator(robot: str) -> Iterator[Emulator]:
    with Emulator(robot, HOSTS[robot], KinematicPlant(ARMS[robot], object_width=0.04), lockstep=True) as emulator:
        yield emulator


@pytest.fixture
def arm(robot: str, emulator: Emulator) -> Iterator[ArmDriver]:
    arm = DRIVERS[robot](HOSTS[robot], realtime="ignore")
    arm.connect()
    yield arm
    arm.close()


def streamed(arm: ArmDriver, goal: np.ndarray, steps: int, gripper: float = -1.0) -> None:
    """A smooth way from the present joints to others."""
    begin = arm.state().q
    for k in range(steps):
        s = (k + 1) / steps
        arm.stream(Target(joints=begin + (goal - begin) * (3 * s**2 - 2 * s**3), gripper=gripper))
        time.sleep(0.004)


def test_the_state_is_the_emulators_own_and_the_hand_is_where_the_tasks_have_it(
    arm: ArmDriver, emulator: Emulator
) -> None:
    state = arm.state()
    plant = emulator.plant.state()
    np.testing.assert_allclose(state.q, plant.q, atol=1e-6)
    pose = compute_forward_kinematics(get_arm_model(emulator.robot), plant.q[None])
    np.testing.assert_allclose(state.hand_position, pose.position[:, 0], atol=1e-6)
    np.testing.assert_allclose(np.abs(state.hand_quat), (0, 1, 0, 0), atol=1e-6)
    assert state.mode is Mode.IDLE and state.is_finite() and state.errors == ()
    later = arm.state()
    assert later.robot_time > state.robot_time and later.stamp > state.stamp


def test_collision_thresholds_are_set_on_connect(arm: ArmDriver, emulator: Emulator) -> None:
    behavior = emulator.session.observer.behavior
    assert (behavior.upper_torque == 40).all() and (behavior.upper_force == 40).all()


def test_slow_motions_arrive(arm: ArmDriver, emulator: Emulator) -> None:
    arm.move_to(NEAR, 0.2)
    assert np.abs(arm.state().q - NEAR).max() < 0.01
    fastest = np.abs(emulator.log.cycles()["dq_d"]).max(axis=0)
    assert (fastest <= 0.25 * np.array(get_arm_model(emulator.robot).dq_max)).all()
    assert emulator.log.errors() == []


def test_a_stream_is_followed_held_and_ended_at_rest(arm: ArmDriver, emulator: Emulator) -> None:
    arm.start_streaming()
    goal = arm.state().q + 0.15
    streamed(arm, goal, 150)
    arm.hold()
    assert eventually(lambda: np.abs(arm.state().q - goal).max() < 0.02)
    assert arm.state().mode is Mode.MOVING
    arm.stop()
    assert arm.state().mode is Mode.IDLE
    assert np.abs(arm.state().dq).max() < 0.05
    with pytest.raises(UsageError, match="start_streaming"):
        arm.stream(Target(joints=goal))
    assert emulator.log.errors() == []


def test_the_hand_opens_closes_and_holds(arm: ArmDriver, emulator: Emulator) -> None:
    arm.gripper(0.07, 0.1)
    assert eventually(lambda: abs(arm.state().gripper_width - 0.07) < 0.003)
    arm.gripper(0.0, 0.1, 20.0)
    assert eventually(lambda: emulator.plant.state().gripper_force > 10)
    assert eventually(lambda: abs(arm.state().gripper_width - 0.04) < 0.003)


def test_a_stream_of_widths_ends_in_a_grasp(arm: ArmDriver, emulator: Emulator) -> None:
    arm.gripper(0.08, 0.1)
    assert eventually(lambda: arm.state().gripper_width > 0.077)
    arm.start_streaming()
    here = arm.state().q
    for k in range(200):
        arm.stream(Target(joints=here, gripper=max(0.08 - 0.001 * k, 0.0)))
        time.sleep(0.005)
    assert eventually(lambda: emulator.plant.state().gripper_force > 10)


@pytest.mark.parametrize(
    ("fault", "kind", "mode"),
    [
        (lambda f: f.reflex("cartesian_reflex"), FaultKind.REFLEX, Mode.REFLEX),
        (lambda f: f.user_stop(True), FaultKind.USER_STOP, Mode.USER_STOPPED),
        (lambda f: f.drop_packets(80), FaultKind.COMMUNICATION, Mode.REFLEX),
    ],
)
def test_faults_in_a_stream_are_told_in_one_vocabulary_and_recovered_from(
    arm: ArmDriver, emulator: Emulator, fault: Callable[[Any], None], kind: FaultKind, mode: Mode
) -> None:
    arm.start_streaming()
    here = arm.state().q
    streamed(arm, here + 0.05, 20)
    fault(emulator.faults)
    with pytest.raises(ArmFault) as caught:
        repeated(lambda: arm.stream(Target(joints=here + 0.05)), arm.state)
    assert caught.value.kind is kind and caught.value.cause and caught.value.remedy
    arm.stop()
    assert arm.state().mode is mode
    if kind is FaultKind.USER_STOP:
        with pytest.raises(ArmFault, match="user stop"):
            arm.recover()
        emulator.faults.user_stop(False)
        assert eventually(lambda: arm.state().mode is not Mode.USER_STOPPED)
    with pytest.raises(ArmFault) if mode is Mode.REFLEX else _fine():
        arm.move_to(NEAR, 0.2)
    arm.recover()
    assert arm.state().mode is Mode.IDLE
    arm.start_streaming()
    streamed(arm, arm.state().q + 0.05, 20)
    arm.stop()


def test_an_arm_that_somebody_guides_takes_no_motion_and_says_who_must_let_go(
    arm: ArmDriver, emulator: Emulator
) -> None:
    emulator.faults.guiding(True)
    assert eventually(lambda: arm.state().mode is Mode.GUIDING)
    for refused in (lambda: arm.move_to(NEAR, 0.2), arm.start_streaming, arm.recover):
        with pytest.raises(ArmFault, match=r"guided by hand.*Let go"):
            refused()
    emulator.faults.guiding(False)
    assert eventually(lambda: arm.state().mode is Mode.IDLE)
    arm.recover()


def _fine() -> Any:
    return contextlib.nullcontext()


def test_a_gripper_that_fails_is_a_fault_of_the_gripper(arm: ArmDriver, emulator: Emulator) -> None:
    arm.start_streaming()
    here = arm.state().q
    emulator.faults.gripper_failure(True)
    with pytest.raises(ArmFault) as caught:
        repeated(lambda: arm.stream(Target(joints=here, gripper=0.02)))
    assert caught.value.kind is FaultKind.GRIPPER
    emulator.faults.gripper_failure(False)


@pytest.mark.parametrize("motion", [lambda arm: arm.start_streaming(), lambda arm: arm.move_to(NEAR, 0.2)])
def test_nothing_moves_after_a_gripper_command_that_failed(
    arm: ArmDriver, emulator: Emulator, motion: Callable[[ArmDriver], None]
) -> None:
    """An open hand whose command fails stands as wide as asked: its width does not show the failure."""
    emulator.faults.gripper_failure(True)
    arm.gripper(arm.state().gripper_width, 0.1)
    assert eventually(lambda: not arm.state().gripper_busy)
    with pytest.raises(ArmFault) as caught:
        motion(arm)
    assert caught.value.kind is FaultKind.GRIPPER
    assert arm.state().mode is Mode.IDLE
    emulator.faults.gripper_failure(False)


def test_a_gripper_failure_is_not_reported_again_after_a_recovery(arm: ArmDriver, emulator: Emulator) -> None:
    emulator.faults.gripper_failure(True)
    arm.gripper(arm.state().gripper_width, 0.1)
    assert eventually(lambda: not arm.state().gripper_busy)
    emulator.faults.gripper_failure(False)
    arm.recover()
    arm.move_to(NEAR, 0.2)


def cut_gripper(emulator: Emulator) -> None:
    """Ends the TCP connection of the gripper, as a pulled plug does."""
    server = next(part for part in emulator._parts if isinstance(part, GripperServer))
    assert server._client is not None
    server._client.shutdown(socket.SHUT_RDWR)


def test_a_gripper_whose_connection_was_cut_is_reached_again_before_anything_moves(
    arm: ArmDriver, emulator: Emulator
) -> None:
    assert isinstance(arm, FrankaArm)
    arm.gripper(0.07, 0.1)
    arm.start_streaming()
    here = arm.state().q
    streamed(arm, here, 10, 0.07)
    first = arm._fingers
    cut_gripper(emulator)
    with pytest.raises(ArmFault, match="connection to the gripper was lost") as caught:
        repeated(lambda: arm.stream(Target(joints=here, gripper=0.07)))
    assert caught.value.kind is FaultKind.COMMUNICATION and caught.value.recoverable
    arm.stop()
    for moves in (lambda: arm.move_to(NEAR, 0.2), arm.start_streaming, lambda: arm.gripper(0.03, 0.1)):
        with pytest.raises(ArmFault, match="gripper"):
            moves()
    arm.recover()
    assert arm._fingers is not first and arm._fingers is not None and arm._fingers.is_alive
    arm.gripper(0.03, 0.1)
    assert eventually(lambda: abs(arm.state().gripper_width - 0.04) < 0.004)  # of the thing between the fingers
    arm.move_to(NEAR, 0.2)


def test_a_gripper_that_stays_away_is_named_and_a_person_is_asked(
    arm: FrankaArm, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robo_reward.hardware.drivers.franka.base.HAND_PATIENCE", 0.3)
    cut_gripper(emulator)
    assert eventually(lambda: arm._fingers is not None and not arm._fingers.is_alive)
    monkeypatch.setattr(arm, "_hand", lambda: (_ for _ in ()).throw(RuntimeError("Connection refused")))
    for _ in range(2):
        with pytest.raises(ArmFault, match=r"gripper does not answer \(Connection refused\)") as caught:
            arm.recover()
        assert (
            caught.value.kind is FaultKind.GRIPPER and "confirm" not in caught.value.remedy
        )  # on connecting nobody is asked
        assert FaultMachine().handle_fault(caught.value).message.endswith("Then confirm")
        with pytest.raises(ArmFault, match="gripper"):
            arm.move_to(NEAR, 0.2)
    monkeypatch.undo()
    arm.recover()
    arm.move_to(NEAR, 0.2)


def test_a_robot_whose_connection_was_cut_is_one_that_was_lost(arm: ArmDriver, emulator: Emulator) -> None:
    """franky says no more than `Net Exception`, which once asked a person to seed targets."""
    arm.start_streaming()
    here = arm.state().q
    streamed(arm, here, 10)
    server = next(part for part in emulator._parts if isinstance(part, RobotServer))
    assert server._client is not None
    server._client.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ArmFault) as caught:
        repeated(lambda: arm.stream(Target(joints=here)), arm.state)
    assert caught.value.kind is FaultKind.COMMUNICATION and caught.value.recoverable
    with contextlib.suppress(ArmFault):
        arm.stop()
    arm.recover()
    arm.move_to(NEAR, 0.2)


def test_the_driver_tells_versions_and_load(arm: ArmDriver, robot: str) -> None:
    said = describe_arm(arm)
    assert said["server_version"] == {"fr3": 10, "panda": 5}[robot] and said["library"].startswith("fran")
    assert len(said["F_x_Cee"]) == 3 and said["m_ee"] >= 0


def test_a_connection_that_was_lost_is_made_anew(arm: ArmDriver, emulator: Emulator, robot: str) -> None:
    arm.start_streaming()
    here = arm.state().q
    streamed(arm, here, 10)
    emulator.faults.refuse_connections(True)
    with pytest.raises(ArmFault) as caught:
        repeated(lambda: arm.stream(Target(joints=here)), arm.state)
    assert caught.value.kind is FaultKind.COMMUNICATION
    for refused in (arm.recover, arm.state):
        with pytest.raises(ArmFault):
            refused()
    emulator.faults.refuse_connections(False)
    arm.recover()
    assert arm.state().mode is Mode.IDLE


def test_nobody_there_is_told_with_the_address(robot: str) -> None:
    with pytest.raises(ArmFault, match=r"127\.0\.4\.43") as caught:
        DRIVERS[robot]("127.0.4.43", realtime="ignore").connect()
    assert caught.value.kind is FaultKind.UNREACHABLE and "FCI" in caught.value.remedy


def test_another_version_is_told_as_such(robot: str, emulator: Emulator) -> None:
    emulator.faults.version_mismatch(9)
    with pytest.raises(ArmFault) as caught:
        DRIVERS[robot](HOSTS[robot], realtime="ignore").connect()
    assert caught.value.kind is FaultKind.VERSION and not caught.value.recoverable


def test_an_fr3_is_not_taken_for_a_panda() -> None:
    with Emulator("fr3", "127.0.4.44", lockstep=True), pytest.raises(ArmFault, match="version") as caught:
        PandaArm("127.0.4.44", realtime="ignore").connect()
    assert caught.value.kind is FaultKind.VERSION


def test_real_time_is_enforced_unless_somebody_says_so_loudly(
    robot: str, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    if Path("/sys/kernel/realtime").exists():
        pytest.skip("this kernel is real-time")
    with pytest.raises(ArmFault, match="real-time") as caught:
        DRIVERS[robot](HOSTS[robot]).connect()
    assert "realtime=ignore" in caught.value.remedy
    arm = DRIVERS[robot](HOSTS[robot], realtime="ignore")
    with caplog.at_level("WARNING"):
        arm.connect()
    arm.close()
    assert "not for regular use" in caplog.text
    with pytest.raises(UsageError, match="enforce, ignore"):
        DRIVERS[robot](HOSTS[robot], realtime="maybe")


def test_compliance_is_checked() -> None:
    assert Compliance(lag=0.2).damping[0] == pytest.approx(0.2 * 300)
    with pytest.raises(UsageError, match="7 positive numbers"):
        Compliance(stiffness=(1.0,))
    with pytest.raises(UsageError, match="positive number"):
        Compliance(lag=0.0)
    with pytest.raises(UsageError, match=r"clearance=0\.1"):
        Compliance(clearance=0.1)


@pytest.mark.parametrize(
    ("given", "tempo"), [((), {"fr3": 0.35, "panda": 0.25}), (("tempo=0.2",), dict.fromkeys(DRIVERS, 0.2))]
)
def test_settings_reach_the_driver_and_each_robot_has_a_tempo(given: tuple[str, ...], tempo: dict[str, float]) -> None:
    for kind in DRIVERS:
        config = compose_config("deploy", [f"robot={kind}", "robot.compliance.clearance=0.002", *given])
        deploy_config = read_deploy_config(config)
        assert deploy_config.tempo == tempo[kind]
        arm = make_arm(kind, HOSTS[kind], driver_options(deploy_config.robot), process=False)
        assert isinstance(arm, FrankaArm) and arm.compliance.clearance == 0.002


def test_a_stranger_can_import_the_drivers_without_the_libraries() -> None:
    code = (
        "import sys; sys.modules['franky'] = None; sys.modules['franka'] = None\n"
        "from robo_reward.hardware.drivers.franka.fr3 import FrankyArm\n"
        "from robo_reward.hardware.drivers.franka.panda import PandaArm\n"
        "for kind in (FrankyArm, PandaArm):\n"
        "    try: kind('127.0.4.43').connect()\n"
        "    except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "robo-reward[franka]" in done.stdout and "robo-reward[panda]" in done.stdout
