"""Between episodes: open the hand, go up, go home, have the things put back, go to the start; all of it slowly."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from robo_reward.envs.panda.arm import Arm as Numbers
from robo_reward.envs.panda.base import ArmTask
from robo_reward.envs.panda.kinematics import forward, solve_position
from robo_reward.errors import UsageError
from robo_reward.hardware.mujoco_arm import MujocoArm
from robo_reward.hardware.robot import Arm, ArmFault, FaultKind
from robo_reward.hardware.safety import SLACK
from robo_reward.hardware.scene import SceneReset

RETREAT = 0.08
"""How far the hand goes up before it moves sideways [m]."""
FINGER_SPEED = 0.05
OPEN = 0.005
"""A hand that lacks no more than this of its opening is open [m]."""
NEAR = 0.02
"""Joints this close to their goal need no motion [rad]."""


class Reset:
    """The reset procedure.

    Args:
        task: whose workspace bounds the retreat.
        arm: connected, not streaming.
        scene: puts the things back and says where the arm begins.
        speed: share of the joints' speed limits.
        settle: how long the fingers get to open [s].
        hand: whether the arm has a hand of ours.
        low: lower corner of a space that the hand must not leave (3,) [m], or none: then only the retreat keeps to the
            task's own.
        high: likewise.

    Attributes:
        ready: called before each motion; raises, or waits until the arm may move.
    """

    def __init__(
        self,
        task: ArmTask,
        arm: Arm,
        scene: SceneReset,
        speed: float = 0.1,
        settle: float = 5.0,
        hand: bool = True,
        low: np.ndarray | None = None,
        high: np.ndarray | None = None,
    ) -> None:
        self.task, self.arm, self.scene, self.speed, self.settle = task, arm, scene, speed, settle
        self.hand = hand and task.gripper
        self._bounded = low is not None and high is not None
        self.low, self.high = task.low if low is None else low, task.high if high is None else high
        self.ready: Callable[[], None] = lambda: None

    def __call__(self, episode: int) -> np.ndarray:
        """Prepares an episode; returns where the arm stands (7,) [rad].

        Raises:
            ArmFault: the arm cannot, or the hand did not open.
            UsageError: the scene's start is outside the workspace.
        """
        self.ready()
        if not isinstance(self.arm, MujocoArm):  # whose scene's reset puts the arm back, too
            self.open()
            self.clear()
        start = self.scene(episode)
        if not self._inside(start):
            place = forward(self.task.arm, start[None]).position[:, 0]
            raise UsageError(
                f"episode {episode} starts with the hand at {place.round(3)} m, outside the workspace from {self.low} "
                f"to {self.high} m: enlarge workspace="
            )
        self.go(start)
        return start

    def open(self) -> None:
        """Opens the hand and waits until the fingers rest.

        Raises:
            ArmFault: they did not open: a dead, jammed or unhomed hand, with which nothing must move.
        """
        if not self.hand:
            return
        for _ in range(2):  # the second time tells why the first failed, if the hand said so
            self.arm.gripper(self.task.opening, FINGER_SPEED)
            if self._opened():
                return
        width = self.arm.state().gripper_width
        raise ArmFault(
            f"the hand did not open: {width * 1e3:.0f} mm of {self.task.opening * 1e3:.0f} mm after {self.settle:g} s",
            "See that nothing jams it and home it in Desk; then confirm.",
            True,
            FaultKind.GRIPPER,
        )

    def _opened(self) -> bool:
        """Whether the fingers came to rest open in time."""
        end, last = time.monotonic() + self.settle, -1.0
        while time.monotonic() < end:
            width = self.arm.state().gripper_width
            if width >= self.task.opening - OPEN and abs(width - last) < 1e-4:
                return True
            last = width
            time.sleep(0.05)
        return False

    def clear(self) -> None:
        """Goes up, then home, unless that is outside the space that was given."""
        here = self.arm.state()
        above = np.clip(here.hand_position + np.array((0.0, 0.0, RETREAT)), self.low, self.high)
        if above[2] > here.hand_position[2] + 0.01:
            self.go(nearest(self.task.arm, above, here.q))
        home = np.array(self.task.arm.home)
        if self._inside(home):
            self.go(home)

    def _inside(self, q: np.ndarray) -> bool:
        """Whether the hand would be inside the space that was given, if one was."""
        place = forward(self.task.arm, q[None]).position[:, 0]
        return not self._bounded or bool((np.maximum(self.low - place, place - self.high) <= SLACK).all())

    def go(self, q: np.ndarray) -> None:
        """A slow joint motion, unless the arm is there."""
        self.ready()
        if np.abs(self.arm.state().q - q).max() > NEAR / 10:
            self.arm.move_to(q, self.speed)


def nearest(arm: Numbers, position: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Joints (7,) [rad] with the hand at a position [m], pointing down; the present ones if there are none."""
    found = solve_position(arm, position[None])[0]
    return found if np.abs(found - q).max() < 1.5 else q
