"""Every driver keeps the contract that drivers of other packages are tested against."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from robo_reward.envs.arm.model import ARMS
from robo_reward.envs.task import make_task
from robo_reward.hardware.arm import ArmDriver, ArmState, Mode
from robo_reward.hardware.drivers.franka.fr3 import FrankyArm
from robo_reward.hardware.drivers.franka.panda import PandaArm
from robo_reward.hardware.drivers.isolated import ArmProcess
from robo_reward.hardware.drivers.mujoco import MujocoArm
from robo_reward.hardware.emulator.emulator import Emulator
from robo_reward.hardware.emulator.world.plant import KinematicPlant
from robo_reward.testing.arm import ArmDriverContract

HOSTS = {"fr3": "127.0.4.61", "panda": "127.0.4.62"}


def make_simulated_arm(task: str) -> MujocoArm:
    return MujocoArm(make_task(task))


class TestSimulatedArm(ArmDriverContract):
    period = 0.0

    def make_arm(self) -> ArmDriver:
        return make_simulated_arm("panda/lift")


@pytest.mark.slow  # a process for each test
class TestIsolatedArm(ArmDriverContract):
    period = 0.0

    def make_arm(self) -> ArmDriver:
        return ArmProcess(make_simulated_arm, {"task": "fr3/lift"}, "simulated")


class EmulatedContract(ArmDriverContract):
    robot: str

    @pytest.fixture(autouse=True)
    def emulator(self) -> Iterator[None]:
        with Emulator(self.robot, HOSTS[self.robot], KinematicPlant(ARMS[self.robot]), lockstep=True):
            yield


class TestEmulatedFR3(EmulatedContract):
    robot = "fr3"

    def make_arm(self) -> ArmDriver:
        pytest.importorskip("franky")
        return FrankyArm(HOSTS["fr3"], realtime="ignore")


class TestEmulatedPanda(EmulatedContract):
    robot = "panda"

    def make_arm(self) -> ArmDriver:
        pytest.importorskip("franka")
        return PandaArm(HOSTS["panda"], realtime="ignore")


class Careless(MujocoArm):
    """Stops by a word only, gives its own arrays away, and forgets the fingers and the end of the connection."""

    def state(self) -> ArmState:
        state = super().state()
        object.__setattr__(state, "q", self.data.qpos[:7])
        return state

    def stop(self) -> None:
        self._mode = Mode.IDLE

    def gripper(self, width: float, speed: float, force: float | None = None) -> None:
        pass

    def move_to(self, q: np.ndarray, speed_fraction: float = 0.1) -> None:
        self._mode = Mode.IDLE
        super().move_to(q, speed_fraction)

    def close(self) -> None:
        pass


class CarelessContract(ArmDriverContract):
    period = 0.0
    patience = 300

    def make_arm(self) -> ArmDriver:
        return Careless(make_task("panda/lift"))


@pytest.mark.parametrize(
    "broken",
    [
        "states_are_newer_and_share_nothing",
        "stop_in_motion_ends_at_rest_where_the_arm_is",
        "the_fingers_reach_a_width",
        "a_slow_motion_arrives_and_needs_the_end_of_the_stream",
        "close_ends_a_stream_and_may_be_called_twice",
    ],
)
def test_a_driver_that_breaks_the_contract_fails(broken: str) -> None:
    with pytest.raises(AssertionError):
        getattr(CarelessContract(), f"test_{broken}")()
