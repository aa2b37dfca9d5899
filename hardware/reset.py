"""Between episodes: open the hand, go up, go home, have the things put back, go to the start; all of it slowly."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise

import numpy as np

from robo_reward.envs.panda.arm import Arm as Numbers
from robo_reward.envs.panda.base import ArmTask
from robo_reward.envs.panda.kinematics import forward, solve_position
from robo_reward.errors import UsageError
from robo_reward.hardware.arm_process import ArmProcess
from robo_reward.hardware.mujoco_arm import MujocoArm
from robo_reward.hardware.operator import interrupted_by_signals
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
POINTS = 50
"""On the way of a motion, at which the hand is checked."""
REACHED = 0.02
"""A retreat whose end lies farther than this from the raised point is none [m]."""


class Reset:
    """The reset procedure.

    Args:
        task: whose workspace bounds the retreat.
        arm: connected, not streaming.
        scene: puts the things back and says where the arm begins.
        speed: share of the joints' speed limits.
        settle: how long the fingers get to open [s].
        hand: whether the arm has a hand of ours.
        low: lower corner of a space that the hand must not leave (3,) [m], or none: then the retreat ends in the
            task's own, and the hand stays above the arm's base.
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
            ArmFault: the arm cannot, the hand did not open, or there is no way inside the workspace.
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
            self.ready()
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
            state = self.arm.state()
            width = state.gripper_width
            if not state.gripper_busy and width >= self.task.opening - OPEN and abs(width - last) < 1e-4:
                return True
            last = width
            time.sleep(0.05)
        return False

    def clear(self) -> None:
        """Goes up, then home, unless that is outside the space that was given.

        Raises:
            ArmFault: the hand cannot go up, or not on from there; nothing has moved.
        """
        here = self.arm.state()
        above = np.clip(here.hand_position + np.array((0.0, 0.0, RETREAT)), self.low, self.high)
        goals = []
        if above[2] > here.hand_position[2] + 0.01:
            raised = nearest(self.task.arm, above, here.q)
            if np.linalg.norm(self._places(raised[None])[0] - above) > REACHED:
                raise _no_way(f"the hand cannot go up from {here.hand_position.round(3)} to {above.round(3)} m")
            goals.append(raised)
        home = np.array(self.task.arm.home)
        if self._inside(home):
            goals.append(home)
        self.go(*goals)

    def _inside(self, q: np.ndarray) -> bool:
        """Whether the hand would be inside the space that was given, if one was."""
        return bool((self._excess(q[None]) <= SLACK).all())

    def _places(self, q: np.ndarray) -> np.ndarray:
        """The hand's positions (n, 3) [m] at joint angles (n, 7)."""
        return forward(self.task.arm, q).position.T

    def _excess(self, q: np.ndarray) -> np.ndarray:
        """How far the hand is beyond each side of the space (n, 6) [m]; without a space, below the base (n, 1)."""
        places = self._places(q)
        if self._bounded:
            return np.concatenate([self.low - places, places - self.high], axis=1)
        return -places[:, 2:]

    def _clear(self, begin: np.ndarray, end: np.ndarray) -> bool:
        """Whether the hand stays inside on the straight way of the joints; an arm that stands outside may come in."""
        excess = self._excess(np.linspace(begin, end, POINTS))
        return bool((excess <= np.maximum(SLACK, excess[0])).all())

    def _way(self, begin: np.ndarray, end: np.ndarray) -> list[np.ndarray]:
        """Joints to go through, the end included: straight, or by way of points above the begin and the end.

        Raises:
            ArmFault: on every such way the hand leaves the space.
        """
        if self._clear(begin, end):
            return [end]
        places = self._places(np.stack([begin, end]))
        height = min(places[:, 2].max() + RETREAT, self.high[2])
        first, last = (
            nearest(self.task.arm, np.array((*place[:2], height)), q)
            for place, q in zip(places, (begin, end), strict=True)
        )
        for way in ([first, end], [last, end], [first, last, end]):
            if all(self._clear(a, b) for a, b in pairwise([begin, *way])):
                return way
        raise _no_way(
            f"on the way from {places[0].round(3)} to {places[1].round(3)} m the hand would leave the workspace"
        )

    def go(self, *goals: np.ndarray) -> None:
        """Slow joint motions to one goal after the other, without those to where the arm is.

        Raises:
            ArmFault: the hand would leave the space on the way; nothing has moved.
        """
        self.ready()
        at, ways = self.arm.state().q, []
        for goal in goals:
            if np.abs(at - goal).max() > NEAR / 10:
                ways += self._way(at, goal)
                at = goal
        for q in ways:
            # a control process hears a request to stop itself, and ends with the motion
            with nullcontext() if isinstance(self.arm, ArmProcess) else interrupted_by_signals():
                self.ready()
                self.arm.move_to(q, self.speed)


def _no_way(cause: str) -> ArmFault:
    remedy = "Guide the arm by hand to the middle of the workspace, or enlarge workspace=; then confirm."
    return ArmFault(cause, remedy, True, FaultKind.CONTROL)


def nearest(arm: Numbers, position: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Joints (7,) [rad] with the hand at a position [m], pointing down; the present ones if there are none."""
    found = solve_position(arm, position[None])[0]
    return found if np.abs(found - q).max() < 1.5 else q
