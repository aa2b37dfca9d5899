"""The reset procedure between episodes, slow throughout.

The hand opens, the arm retreats and goes home, the objects are put back, and the arm moves to the start pose.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise

import numpy as np

from robo_reward.configs.deployment import DeployConfig
from robo_reward.envs.arm.base import ArmTask
from robo_reward.envs.arm.kinematics import compute_forward_kinematics, solve_position
from robo_reward.envs.arm.model import ArmModel
from robo_reward.errors import UsageError
from robo_reward.hardware.arm import ArmDriver, ArmFault, FaultKind
from robo_reward.hardware.deployment.operator import interrupt_on_signals
from robo_reward.hardware.drivers.isolated import ArmProcess
from robo_reward.hardware.drivers.mujoco import MujocoArm
from robo_reward.hardware.perception.scene import SceneReset
from robo_reward.hardware.safety.filter import SLACK

RETREAT = 0.08
"""Height by which the hand is raised before it moves sideways [m]."""
FINGER_SPEED = 0.05
OPEN_TOLERANCE = 0.005
"""Largest difference from the full opening at which the hand counts as open [m]."""
JOINT_TOLERANCE = 0.02
"""Largest joint error at which no motion is needed [rad]."""
PATH_POINTS = 50
"""Number of points on a path at which the hand's position is checked."""
RETREAT_TOLERANCE = 0.02
"""Largest distance between the end of a retreat and the raised point; beyond it there is no valid retreat [m]."""


class ResetProcedure:
    """Prepares the arm and the scene for an episode.

    Args:
        task: its workspace bounds the retreat.
        arm: connected, not streaming.
        scene: puts the objects back and returns where the arm begins.
        speed: share of the joints' speed limits.
        settle: how long the fingers get to open [s].
        hand: True if the arm has a hand that this project drives.
        low: lower corner of a space that the hand must not leave (3,) [m], or None: then the retreat ends in the
            task's own, and the hand stays above the arm's base.
        high: upper corner of that space (3,) [m], or None.

    Attributes:
        ready: called before each motion; raises, or waits until the arm may move.
    """

    def __init__(
        self,
        task: ArmTask,
        arm: ArmDriver,
        scene: SceneReset,
        speed: float = DeployConfig.reset_speed,
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
        """Prepares an episode and returns the arm's start configuration (7,) [rad].

        Raises:
            ArmFault: the arm cannot, the hand did not open, or there is no path inside the workspace.
            UsageError: the scene's start is outside the workspace.
        """
        self.ready()
        if not isinstance(self.arm, MujocoArm):  # the reset of its scene also resets the arm
            self.open_hand()
            self.retreat_home()
        start = self.scene(episode)
        if not self._is_inside(start):
            place = compute_forward_kinematics(self.task.arm, start[None]).position[:, 0]
            raise UsageError(
                f"episode {episode} starts with the hand at {place.round(3)} m, outside the workspace from {self.low} "
                f"to {self.high} m: enlarge workspace="
            )
        self.move_through(start)
        return start

    def open_hand(self) -> None:
        """Opens the hand and waits until the fingers rest.

        Raises:
            ArmFault: they did not open: a dead, jammed or unhomed hand, with which nothing must move.
        """
        if not self.hand:
            return
        for _ in range(2):  # the second attempt raises the cause of the first failure, if the hand reported one
            self.ready()
            self.arm.gripper(self.task.opening, FINGER_SPEED)
            if self._wait_until_open():
                return
        state = self.arm.state()
        busy = ", and its command has not ended" if state.gripper_busy else ""
        raise ArmFault(
            f"the hand did not open: {state.gripper_width * 1e3:.0f} mm of {self.task.opening * 1e3:.0f} mm after "
            f"{self.settle:g} s{busy}",
            "Check that nothing blocks it and home it in Desk; then confirm.",
            True,
            FaultKind.GRIPPER,
        )

    def _wait_until_open(self) -> bool:
        """Waits for the fingers; returns whether they came to rest open in time."""
        end, last = time.monotonic() + self.settle, -1.0
        while time.monotonic() < end:
            state = self.arm.state()
            width = state.gripper_width
            if not state.gripper_busy and width >= self.task.opening - OPEN_TOLERANCE and abs(width - last) < 1e-4:
                return True
            last = width
            time.sleep(0.05)
        return False

    def retreat_home(self) -> None:
        """Moves the hand up, then the arm home, unless home is outside the configured workspace.

        Raises:
            ArmFault: the hand cannot go up, or not on from there; nothing has moved.
        """
        here = self.arm.state()
        above = np.clip(here.hand_position + np.array((0.0, 0.0, RETREAT)), self.low, self.high)
        goals = []
        if above[2] > here.hand_position[2] + 0.01:
            raised = solve_joints_or_keep(self.task.arm, above, here.q)
            if np.linalg.norm(self._compute_hand_positions(raised[None])[0] - above) > RETREAT_TOLERANCE:
                raise _make_path_fault(
                    f"the hand cannot go up from {here.hand_position.round(3)} to {above.round(3)} m"
                )
            goals.append(raised)
        home = np.array(self.task.arm.home)
        if self._is_inside(home):
            goals.append(home)
        self.move_through(*goals)

    def _is_inside(self, q: np.ndarray) -> bool:
        """Returns whether the hand would be inside the workspace at joint angles (7,) [rad].

        Without a configured workspace only the height above the base counts.
        """
        return bool((self._compute_excess(q[None]) <= SLACK).all())

    def _compute_hand_positions(self, q: np.ndarray) -> np.ndarray:
        """Computes the hand's positions (n, 3) [m] at joint angles (n, 7) [rad]."""
        return compute_forward_kinematics(self.task.arm, q).position.T

    def _compute_excess(self, q: np.ndarray) -> np.ndarray:
        """Computes the distances beyond the sides of the workspace (n, 6) [m]; without one, below the base (n, 1)."""
        places = self._compute_hand_positions(q)
        if self._bounded:
            return np.concatenate([self.low - places, places - self.high], axis=1)
        return -places[:, 2:]

    def _is_path_clear(self, begin: np.ndarray, end: np.ndarray) -> bool:
        """Returns whether the straight joint path stays in the workspace; an arm that starts outside may come in."""
        excess = self._compute_excess(np.linspace(begin, end, PATH_POINTS))
        return bool((excess <= np.maximum(SLACK, excess[0])).all())

    def _plan_path(self, begin: np.ndarray, end: np.ndarray) -> list[np.ndarray]:
        """Returns the joint waypoints to `end`, the end included.

        The path is straight, or leads over points above its begin and end.

        Raises:
            ArmFault: on every such path the hand leaves the workspace.
        """
        if self._is_path_clear(begin, end):
            return [end]
        places = self._compute_hand_positions(np.stack([begin, end]))
        height = min(places[:, 2].max() + RETREAT, self.high[2])
        first, last = (
            solve_joints_or_keep(self.task.arm, np.array((*place[:2], height)), q)
            for place, q in zip(places, (begin, end), strict=True)
        )
        for way in ([first, end], [last, end], [first, last, end]):
            if all(self._is_path_clear(a, b) for a, b in pairwise([begin, *way])):
                return way
        raise _make_path_fault(
            f"on the way from {places[0].round(3)} to {places[1].round(3)} m the hand would leave the workspace"
        )

    def move_through(self, *goals: np.ndarray) -> None:
        """Moves slowly in joint space to one goal after the other, skipping those where the arm already is.

        Raises:
            ArmFault: the hand would leave the workspace on the path; nothing has moved.
        """
        self.ready()
        at, ways = self.arm.state().q, []
        for goal in goals:
            if np.abs(at - goal).max() > JOINT_TOLERANCE / 10:
                ways += self._plan_path(at, goal)
                at = goal
        for q in ways:
            # A control process receives stop requests itself and ends the motion.
            with nullcontext() if isinstance(self.arm, ArmProcess) else interrupt_on_signals():
                self.ready()
                self.arm.move_to(q, self.speed)


def _make_path_fault(cause: str) -> ArmFault:
    remedy = "Guide the arm by hand to the middle of the workspace, or enlarge workspace=; then confirm."
    return ArmFault(cause, remedy, True, FaultKind.CONTROL)


def solve_joints_or_keep(arm: ArmModel, position: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Returns joint angles (7,) [rad] near `q` with the hand at a position (3,) [m], pointing down; `q` if none are."""
    found = solve_position(arm, position[None])[0]
    return found if np.abs(found - q).max() < 1.5 else q
