"""Between episodes: with a hand that did not open, nothing moves."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from robo_reward.envs.panda.base import ArmTask
from robo_reward.envs.task import make_task
from robo_reward.hardware.reset import Reset
from robo_reward.hardware.robot import ArmFault, ArmState, FaultKind
from tests.hardware.paper_arm import PaperArm


class Handed(PaperArm):
    """An arm whose fingers stop at a width; a hand that fails says so at the next call."""

    def __init__(self, log: Path, widest: float, problem: ArmFault | None = None) -> None:
        super().__init__(str(log))
        self.width, self.widest, self.problem, self.moved = 0.02, widest, problem, 0

    def state(self) -> ArmState:
        return dataclasses.replace(super().state(), gripper_width=self.width)

    def gripper(self, width: float, speed: float, force: float | None = None) -> None:
        if self.width != 0.02 and self.problem:
            raise self.problem
        self.width = min(width, self.widest)

    def move_to(self, q: np.ndarray, speed_fraction: float = 0.1) -> None:
        self.moved += 1


def reset_of(arm: PaperArm, settle: float = 0.12, **more: bool) -> Reset:
    task = make_task("fr3/lift")
    assert isinstance(task, ArmTask)
    return Reset(task, arm, lambda episode: np.array(task.arm.home), settle=settle, **more)


@pytest.mark.parametrize("widest", [0.0, 0.03, 0.07])
def test_nothing_moves_with_a_hand_that_did_not_open(tmp_path: Path, widest: float) -> None:
    arm = Handed(tmp_path / "log", widest)
    with pytest.raises(ArmFault, match=rf"did not open: {widest * 1e3:.0f} mm of 80 mm.*home it in Desk") as told:
        reset_of(arm)(0)
    assert arm.moved == 0 and told.value.kind is FaultKind.GRIPPER


def test_a_hand_that_says_why_is_believed(tmp_path: Path) -> None:
    arm = Handed(tmp_path / "log", 0.01, ArmFault("it is jammed", "Free it.", True, FaultKind.GRIPPER))
    with pytest.raises(ArmFault, match="it is jammed"):
        reset_of(arm)(0)
    assert arm.moved == 0


def test_an_open_hand_or_none_of_ours_lets_the_arm_move(tmp_path: Path) -> None:
    arm = Handed(tmp_path / "log", 0.078)
    reset_of(arm)(0)
    bare = Handed(tmp_path / "log", 0.0)
    reset_of(bare, hand=False)(0)
    assert arm.moved and bare.moved and bare.width == 0.02


def test_whoever_says_not_ready_keeps_the_arm_where_it_is(tmp_path: Path) -> None:
    arm = Handed(tmp_path / "log", 0.08)
    reset = reset_of(arm)
    looks: list[int] = []

    def blind() -> None:
        looks.append(arm.moved)
        if arm.moved:
            raise ArmFault("blind", "Look.", True, FaultKind.CONTROL)

    reset.ready = blind
    with pytest.raises(ArmFault, match="blind"):
        reset(0)
    assert arm.moved == 1 and looks[-1] == 1, "the camera is looked at before each motion"
