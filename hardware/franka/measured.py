"""What a Franka reports, as an `ArmState` in the tasks' convention."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable

import mujoco
import numpy as np

from robo_reward.envs.panda.arm import Arm
from robo_reward.envs.panda.kinematics import forward
from robo_reward.hardware.explain import guided, locked
from robo_reward.hardware.franka.complaints import LOST, error_name, told
from robo_reward.hardware.robot import ArmFault, ArmState, FaultKind, Mode

log = logging.getLogger(__name__)
MODES = {
    "idle": Mode.IDLE,
    "move": Mode.MOVING,
    "guiding": Mode.GUIDING,
    "reflex": Mode.REFLEX,
    "userstopped": Mode.USER_STOPPED,
}


def mode_named(name: str) -> Mode:
    """The mode behind a library's name of it, such as `RobotMode.UserStopped` or `user_stopped`."""
    return MODES.get(name.rpartition(".")[2].replace("_", "").lower(), Mode.OTHER)


def tool_pose(arm: Arm, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position (3,) [m] and orientation (w, x, y, z) of the tool centre point, by the tasks' own kinematics.

    The robot's `O_T_EE` is not used: it depends on an end effector that anybody can change in Desk.
    """
    pose = forward(arm, q[None])
    matrix = np.concatenate([pose.x, pose.y, pose.z], axis=1)  # columns are the axes
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(matrix).ravel())
    return pose.position[:, 0], quat


class Receipts:
    """When the newest state was received: a library that gives the same one again and again does not make it newer."""

    def __init__(self) -> None:
        self._robot_time, self._stamp = -1.0, 0.0

    def stamp(self, robot_time: float) -> float:
        """On this computer's monotonic clock [s], for a state of that time on the robot's [s]."""
        if robot_time != self._robot_time:
            self._robot_time, self._stamp = robot_time, time.monotonic()
        return self._stamp


def arm_state(
    arm: Arm,
    stamp: float,
    robot_time: float,
    q: np.ndarray,
    dq: np.ndarray,
    tau_ext: np.ndarray,
    wrench: np.ndarray,
    gripper_width: float,
    mode: Mode,
    errors: Iterable[str] = (),
) -> ArmState:
    """An `ArmState` with the hand's pose by the tasks' kinematics."""
    q = np.array(q, float)
    position, quat = tool_pose(arm, q)
    return ArmState(
        stamp,
        robot_time,
        q,
        np.array(dq, float),
        np.array(tau_ext, float),
        np.array(wrench, float),
        position,
        quat,
        gripper_width,
        mode,
        tuple(map(error_name, errors)),
    )


def standing_fault(state: ArmState) -> ArmFault | None:
    """The fault that a robot which stands still reports of itself, if it has one."""
    if state.mode is Mode.USER_STOPPED:
        return told(FaultKind.USER_STOP)
    if state.mode is Mode.GUIDING:
        return guided()
    if state.mode is Mode.OTHER:
        return locked()
    if state.mode is Mode.REFLEX:
        kind = FaultKind.COMMUNICATION if LOST in state.errors else FaultKind.REFLEX
        return told(kind, errors=state.errors)
    return None


def rested(mode: Callable[[], Mode], patience: float = 1.5) -> Mode:
    """The robot's mode, once a motion that somebody's lost connection left behind has ended.

    Args:
        mode: reads it.
        patience: [s].
    """
    end = time.monotonic() + patience
    found = mode()
    while found is Mode.MOVING and time.monotonic() < end:
        time.sleep(0.02)
        found = mode()
    return found


def check_limits(arm: Arm, urdf: str) -> None:
    """Compares the joint limits that the robot reports with our table.

    Raises:
        ArmFault: they differ by more than a hundredth of a radian or so: another arm, or another system version.
    """
    limits = [(float(low), float(high)) for name, low, high in _joint_limits(urdf) if re.search(r"joint[1-7]$", name)][
        :7
    ]
    if len(limits) != 7:
        log.warning(
            "the robot's model names no limits of its seven joints; the table of %s is used unchecked", arm.name
        )
        return
    for i, ((low, high), own_low, own_high) in enumerate(zip(limits, arm.q_min, arm.q_max, strict=True), 1):
        if abs(low - own_low) > 0.02 or abs(high - own_high) > 0.02:
            raise ArmFault(
                f"joint {i} of this robot turns from {low:.4f} to {high:.4f} rad, of an {arm.name} with current system "
                f"from {own_low:.4f} to {own_high:.4f}",
                "choose robot= by what is on the table, or update the robot's system",
                False,
                FaultKind.VERSION,
            )


def _joint_limits(urdf: str) -> list[tuple[str, str, str]]:
    """Name, lower and upper limit of the joints of a URDF."""
    from xml.etree import ElementTree

    found = []
    for joint in ElementTree.fromstring(urdf).iter("joint"):
        limit = joint.find("limit")
        if limit is not None and "lower" in limit.attrib and "upper" in limit.attrib:
            found.append((joint.get("name", ""), limit.attrib["lower"], limit.attrib["upper"]))
    return found
