"""Action conventions of the arm: mapping an action in [-1, 1] to actuator targets."""

from __future__ import annotations

import numpy as np

from robo_reward.envs.arm.kinematics import (
    DOWN,
    Pose,
    compute_forward_kinematics,
    compute_jacobian,
    compute_orientation_error,
    solve_damped_step,
)
from robo_reward.envs.arm.model import ArmModel
from robo_reward.envs.task import ActionSpec

FINGER_MAX = 0.04  # travel of one finger [m]
FINGER_SPEED = 0.05  # nominal speed of one finger [m/s]


class GripperController:
    """Maps the last component of an action to finger targets: +1 opens, -1 closes, at the hand's own speed."""

    def __init__(self, dt: float) -> None:
        self.step = FINGER_SPEED * dt

    def advance_fingers(self, fingers: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Returns the next finger targets (n, 2) [m] from the last ones and the action's component (n,)."""
        # [-1, 1] -> [0, FINGER_MAX] [m]; the change per control step is limited by the speed of the fingers
        wanted = (action[:, None] + 1.0) * (FINGER_MAX / 2)
        return np.clip(fingers + np.clip(wanted - fingers, -self.step, self.step), 0.0, FINGER_MAX)


class EndEffectorDelta:
    """Moves the hand's target by the action; batched inverse kinematics finds the joints.

    Each target is the previous one plus the action, within `max_lead` of the measured position and inside the
    workspace. The hand keeps pointing down; with `yaw` it also turns about the vertical.

    Args:
        arm: its joint limits apply.
        dt: control period [s].
        scale: displacement of the target for an action of 1.0 [m].
        low: lower corner of the workspace for the TCP [m].
        high: upper corner [m].
        gripper: whether the last component moves the fingers; else they hold `opening`.
        yaw: rotation for an action of 1.0 [rad], or 0 for a fixed heading.
        opening: width between the fingers while they are not controlled [m].
    """

    def __init__(
        self,
        arm: ArmModel,
        dt: float,
        scale: float,
        low: tuple[float, float, float],
        high: tuple[float, float, float],
        gripper: bool = True,
        yaw: float = 0.0,
        opening: float = 2 * FINGER_MAX,
    ) -> None:
        self.arm, self.scale, self.yaw, self.opening = arm, scale, yaw, opening
        self.low, self.high = np.array(low), np.array(high)
        self.gripper = GripperController(dt) if gripper else None
        self.max_lead = 1.5 * scale  # [m]
        self.max_step = np.array(arm.dq_max) * dt  # [rad]
        # The targets keep 0.01 rad away from the joint limits.
        self.q_min, self.q_max = np.array(arm.q_min) + 0.01, np.array(arm.q_max) - 0.01
        self.home = np.array(arm.home)
        names = ("dx", "dy", "dz") + (("dyaw",) if yaw else ()) + (("gripper",) if gripper else ())
        scales = (scale,) * 3 + ((yaw,) if yaw else ()) + ((FINGER_MAX,) if gripper else ())
        units = ("m",) * 3 + (("rad",) if yaw else ()) + (("m",) if gripper else ())
        self.spec = ActionSpec("ee_delta", names, scales, units, round(1 / dt, 6))

    def start(self, qpos: np.ndarray) -> np.ndarray:
        """Returns the targets (n, j + fingers) that hold the configuration."""
        joints, fingers = self.arm.joint_count, np.full((len(qpos), self.arm.finger_count), self.opening / 2)
        held = qpos[:, joints : joints + self.arm.finger_count] if self.gripper else fingers
        return np.concatenate([qpos[:, :joints], held], axis=1)

    def advance(self, ctrl: np.ndarray, qpos: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Returns the next targets (n, j + fingers)."""
        n, j = len(ctrl), self.arm.joint_count
        q = ctrl[:, :j]
        # One batch for both: the pose of the last targets, then the measured pose.
        both = compute_forward_kinematics(self.arm, np.concatenate([q, qpos[:, :j]]))
        target = Pose(*(part[..., :n] for part in both))
        actual = both.position[:, n:].T  # (n, 3)
        # Anti-windup: a blocked hand must not let the target run ahead by more than `max_lead`.
        wanted = target.position.T + action[:, :3] * self.scale
        wanted = np.clip(np.clip(wanted, actual - self.max_lead, actual + self.max_lead), self.low, self.high)
        turn = compute_orientation_error(target, *self._compute_target_axes(target, action))
        error = np.concatenate([wanted - target.position.T, turn.T], axis=1)  # (n, 6) [m, rad]
        # One step of differential inverse kinematics from the last target; the null space pulls towards home.
        step = solve_damped_step(compute_jacobian(target), error, self.home - q)
        joints = np.clip(q + np.clip(step, -self.max_step, self.max_step), self.q_min, self.q_max)
        fingers = self.gripper.advance_fingers(ctrl[:, j:], action[:, -1]) if self.gripper else ctrl[:, j:]
        return np.concatenate([joints, fingers], axis=1)

    def _compute_target_axes(self, pose: Pose, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the target axes of the hand: straight down, turned by the action when yaw is controlled."""
        if not self.yaw:
            return DOWN[0], DOWN[1], DOWN[2]
        angle = np.arctan2(pose.x[1], pose.x[0]) + action[:, 3] * self.yaw  # (n,) [rad]
        zero = np.zeros_like(angle)
        x = np.stack([np.cos(angle), np.sin(angle), zero])
        y = np.stack([np.sin(angle), -np.cos(angle), zero])
        return x, y, DOWN[2]


class JointDelta:
    """Moves each joint's target by the action; targets stay near the real joints and inside their limits.

    Args:
        arm: its joint limits apply.
        dt: control period [s].
        scale: rotation of a joint's target for an action of 1.0 [rad].
        gripper: whether the last component moves the fingers; else they hold `opening`.
        opening: width between the fingers while they are not controlled [m].
    """

    def __init__(
        self, arm: ArmModel, dt: float, scale: float = 0.05, gripper: bool = True, opening: float = 2 * FINGER_MAX
    ) -> None:
        self.arm, self.scale, self.opening = arm, scale, opening
        self.gripper = GripperController(dt) if gripper else None
        self.max_step = np.array(arm.dq_max) * dt
        self.q_min, self.q_max = np.array(arm.q_min) + 0.01, np.array(arm.q_max) - 0.01
        names = tuple(f"dq{i}" for i in range(1, arm.joint_count + 1)) + (("gripper",) if gripper else ())
        scales = (scale,) * arm.joint_count + ((FINGER_MAX,) if gripper else ())
        units = ("rad",) * arm.joint_count + (("m",) if gripper else ())
        self.spec = ActionSpec("joint_delta", names, scales, units, round(1 / dt, 6))

    start = EndEffectorDelta.start

    def advance(self, ctrl: np.ndarray, qpos: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Returns the next targets (n, j + fingers)."""
        j, max_lead = self.arm.joint_count, 2 * self.scale
        step = np.clip(action[:, :j] * self.scale, -self.max_step, self.max_step)
        # Anti-windup, as in `EndEffectorDelta.advance`: the target stays within `max_lead` [rad] of the measured angle.
        joints = np.clip(ctrl[:, :j] + step, qpos[:, :j] - max_lead, qpos[:, :j] + max_lead)
        joints = np.clip(joints, self.q_min, self.q_max)
        fingers = self.gripper.advance_fingers(ctrl[:, j:], action[:, -1]) if self.gripper else ctrl[:, j:]
        return np.concatenate([joints, fingers], axis=1)
