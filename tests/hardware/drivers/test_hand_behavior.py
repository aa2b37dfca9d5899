"""The drivers and a hand with the real one's behaviour, over sockets, through the unmodified client libraries."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from robo_reward.configs.emulation import REPORTED, HandBehavior
from robo_reward.envs.arm.model import ARMS
from robo_reward.errors import UsageError
from robo_reward.hardware.arm import ArmFault, FaultKind, Mode, Target
from robo_reward.hardware.deployment.doctor import diagnose_robot
from robo_reward.hardware.drivers.franka.fr3 import FrankyArm
from robo_reward.hardware.drivers.franka.panda import PandaArm
from robo_reward.hardware.emulator.emulator import Emulator
from robo_reward.hardware.emulator.world.plant import KinematicPlant
from tests.hardware.emulator.serving import free_host
from tests.hardware.patience import eventually

pytest.importorskip("franky")
pytest.importorskip("franka")
DRIVERS: dict[str, Callable[..., Any]] = {"fr3": FrankyArm, "panda": PandaArm}


@pytest.fixture(params=["fr3", "panda"])
def robot(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def behavior() -> HandBehavior:
    return HandBehavior()


@pytest.fixture
def emulator(robot: str, behavior: HandBehavior) -> Iterator[Emulator]:
    plant = KinematicPlant(ARMS[robot], object_width=0.04)
    with Emulator(robot, free_host(), plant, lockstep=True, hand=behavior) as emulator:
        yield emulator


@pytest.fixture
def arm(robot: str, emulator: Emulator) -> Iterator[Any]:
    arm = DRIVERS[robot](emulator.host, realtime="ignore")
    arm.connect()
    yield arm
    arm.close()


def streamed(arm: Any, widths: list[float]) -> float:
    """Streams widths while the arm stands; returns the longest pause between two of them [s]."""
    here, longest, last = arm.state().q, 0.0, time.monotonic()
    for width in widths:
        arm.stream(Target(joints=here, gripper=width))
        time.sleep(0.005)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    return longest


@pytest.mark.parametrize("behavior", [HandBehavior(100.0, True, 0.2), REPORTED])
def test_a_stream_that_closes_grasps_and_one_that_opens_lets_go(arm: Any, emulator: Emulator) -> None:
    body = emulator.plant
    arm.gripper(0.08, 0.1)
    assert eventually(lambda: body.state().gripper_width > 0.077)
    arm.start_streaming()
    longest = streamed(arm, [max(0.08 - 0.001 * k, 0.02) for k in range(120)])
    assert eventually(lambda: body.state().gripper_force > 10)
    longest = max(longest, streamed(arm, [min(0.02 + 0.001 * k, 0.08) for k in range(120)]))
    assert eventually(lambda: body.state().gripper_width > 0.077)
    assert longest < 5  # the hand's 100 s are nobody's
    arm.stop()


@pytest.mark.parametrize("behavior", [HandBehavior(100.0, True, 0.0)])
def test_an_end_does_not_wait_for_a_hand_that_hangs(arm: Any, emulator: Emulator) -> None:
    arm.gripper(0.01, 0.1)  # an explicit move, onto what is there
    assert eventually(lambda: emulator.plant.state().gripper_width < 0.041)
    arm.gripper(0.08, 0.1)
    begun = time.monotonic()
    arm.close()
    assert time.monotonic() - begun < 30  # of 100 s


@pytest.mark.parametrize("behavior", [HandBehavior(100.0, True, 0.0)])
def test_a_hand_that_hangs_goes_on_when_the_object_is_gone(arm: Any, emulator: Emulator) -> None:
    arm.gripper(0.01, 0.1)
    assert eventually(lambda: emulator.plant.state().gripper_width < 0.041)
    assert arm.state().gripper_busy
    emulator.plant.object_width = 0.0  # pyright: ignore[reportAttributeAccessIssue]
    assert eventually(lambda: not arm.state().gripper_busy)
    assert arm.state().gripper_width == pytest.approx(0.01, abs=0.002)


@pytest.mark.parametrize("behavior", [HandBehavior(needs_homing=True)])
def test_a_hand_that_was_not_homed_is_told_before_anything_moves(arm: Any, emulator: Emulator) -> None:
    before = emulator.session.q_d.copy()
    for refused in (arm.start_streaming, lambda: arm.move_to(before + 0.02, 0.2), arm.recover):
        with pytest.raises(ArmFault, match=r"not homed.*Home it in Desk") as caught:
            refused()
        assert caught.value.kind is FaultKind.GRIPPER
    assert (emulator.session.q_d == before).all()
    arm._library_hand._gripper.homing()  # as Desk does it
    assert eventually(lambda: arm.is_homed) and arm.max_width == pytest.approx(0.08)
    arm.recover()
    assert arm.state().mode is Mode.IDLE


@pytest.mark.parametrize(("behavior", "homed"), [(HandBehavior(needs_homing=True), False), (HandBehavior(), True)])
def test_doctor_reads_how_far_the_hand_opens(robot: str, emulator: Emulator, homed: bool) -> None:
    found = {f.name: f for f in diagnose_robot(robot, emulator.host, {"realtime": "ignore"}, seconds=0.01)}
    assert found["hand"].ok is homed
    assert f"of {80 if homed else 0} mm" in found["hand"].value
    assert ("Desk" in found["hand"].remedy) is not homed


@pytest.mark.parametrize("wrong", [{"command_delay": -1.0}, {"blocked_move_hangs": float("inf")}])
def test_times_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"hand.{next(iter(wrong))}"):
        HandBehavior(**wrong)
