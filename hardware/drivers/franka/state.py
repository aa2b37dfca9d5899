"""Converts a Franka's reported state to an `ArmState` in the tasks' convention."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable

import mujoco
import numpy as np

from robo_reward.envs.arm.kinematics import compute_forward_kinematics
from robo_reward.envs.arm.model import ArmModel
from robo_reward.hardware.arm import ArmFault, ArmState, FaultKind, Mode
from robo_reward.hardware.drivers.franka.errors import LOST, make_library_fault, normalize_error_name
from robo_reward.hardware.safety.fault_messages import make_guiding_fault, make_locked_fault

log = logging.getLogger(__name__)
MODES = {
    "idle": Mode.IDLE,
    "move": Mode.MOVING,
    "guiding": Mode.GUIDING,
    "reflex": Mode.REFLEX,
    "userstopped": Mode.USER_STOPPED,
}


def parse_mode(name: str) -> Mode:
    """Returns the mode behind a library's name of it, such as `RobotMode.UserStopped` or `user_stopped`."""
    return MODES.get(name.rpartition(".")[2].replace("_", "").lower(), Mode.OTHER)


def compute_tool_pose(arm: ArmModel, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes position (3,) [m] and orientation (w, x, y, z) of the tool centre point by the tasks' kinematics.

    The robot's `O_T_EE` is not used: it depends on an end effector that any user can change in Desk.
    """
    pose = compute_forward_kinematics(arm, q[None])
    matrix = np.concatenate([pose.x, pose.y, pose.z], axis=1)  # (3, 3), the columns are the hand's axes
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(matrix).ravel())
    return pose.position[:, 0], quat


class ReceiptClock:
    """Stamps states with the time of their receipt; the same state returned again does not become newer."""

    def __init__(self) -> None:
        self._robot_time, self._stamp = -1.0, 0.0

    def stamp_state(self, robot_time: float) -> float:
        """Returns the receipt time (monotonic clock) [s] of the state with this time on the robot's clock [s]."""
        if robot_time != self._robot_time:
            self._robot_time, self._stamp = robot_time, time.monotonic()
        return self._stamp


def make_arm_state(
    arm: ArmModel,
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
    """Returns an `ArmState` with the hand's pose by the tasks' kinematics."""
    q = np.array(q, float)
    position, quat = compute_tool_pose(arm, q)
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
        tuple(map(normalize_error_name, errors)),
    )


def find_reported_fault(state: ArmState) -> ArmFault | None:
    """Returns the fault that a robot at rest reports, or None."""
    if state.mode is Mode.USER_STOPPED:
        return make_library_fault(FaultKind.USER_STOP)
    if state.mode is Mode.GUIDING:
        return make_guiding_fault()
    if state.mode is Mode.OTHER:
        return make_locked_fault()
    if state.mode is Mode.REFLEX:
        kind = FaultKind.COMMUNICATION if LOST in state.errors else FaultKind.REFLEX
        return make_library_fault(kind, errors=state.errors)
    return None


def wait_for_motion_end(mode: Callable[[], Mode], patience: float = 1.5) -> Mode:
    """Waits until a motion left over from a lost connection has ended; returns the robot's mode.

    Args:
        mode: reads the mode.
        patience: longest wait [s].
    """
    end = time.monotonic() + patience
    found = mode()
    while found is Mode.MOVING and time.monotonic() < end:
        time.sleep(0.02)
        found = mode()
    return found


def check_joint_limits(arm: ArmModel, urdf: str) -> None:
    """Raises a fault if the joint limits that the robot reports differ from our table.

    Raises:
        ArmFault: they differ by more than a hundredth of a radian or so: another arm, or another system version.
    """
    limits = [
        (float(low), float(high)) for name, low, high in _parse_joint_limits(urdf) if re.search(r"joint[1-7]$", name)
    ][:7]
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
                "choose robot= according to the mounted arm, or update the robot's system",
                False,
                FaultKind.VERSION,
            )


def _parse_joint_limits(urdf: str) -> list[tuple[str, str, str]]:
    """Returns name, lower and upper limit of the joints of a URDF."""
    from xml.etree import ElementTree

    found = []
    for joint in ElementTree.fromstring(urdf).iter("joint"):
        limit = joint.find("limit")
        if limit is not None and "lower" in limit.attrib and "upper" in limit.attrib:
            found.append((joint.get("name", ""), limit.attrib["lower"], limit.attrib["upper"]))
    return found
