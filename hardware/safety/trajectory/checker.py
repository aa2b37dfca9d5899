"""Checks that a sequence of commands keeps every limit, which each plan must do before it is streamed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from robo_reward.envs.arm.kinematics import Pose, compute_forward_kinematics
from robo_reward.envs.arm.model import ArmModel
from robo_reward.hardware.safety.limits import MotionLimits, Workspace

HISTORY = 3
"""Number of earlier commands that third-order differences (jerk) need."""
TOLERANCE = 1e-6
FIRST_MOVING = 3  # index of joint 4, the elbow: the first joint whose origin can move down


class LimitViolation(NamedTuple):
    """The limit that a sequence breaks first.

    Attributes:
        rule: such as `hand_speed`.
        ratio: commanded value over allowed value.
        index: of the offending command.
    """

    rule: str
    ratio: float
    index: int


class LimitChecker:
    """Computes finite differences of commands and compares them with the limits.

    Speed, acceleration and jerk of K commands at rate f are f Δq, f² Δ²q, f³ Δ³q (7,); the hand's are those of its
    position p and of the rotation vectors between two commands [rad].

    Args:
        arm: whose kinematics hold.
        limits: of joints and hand.
        workspace: of the hand.
        rate: of the commands [Hz].
    """

    def __init__(self, arm: ArmModel, limits: MotionLimits, workspace: Workspace, rate: float) -> None:
        self.arm, self.limits, self.workspace, self.rate = arm, limits, workspace, rate

    def compute_ratios(self, path: np.ndarray) -> dict[str, np.ndarray]:
        """Computes commanded over allowed values, (K,) per rule, above 1 where a limit is broken.

        Args:
            path: (HISTORY + K, 7) [rad]: the last `HISTORY` commands that were streamed, then the K new ones.
        """
        pose = compute_forward_kinematics(self.arm, path)
        return {
            **self._compute_joint_ratios(path),
            **self._compute_hand_ratios(pose),
            **self._compute_workspace_ratios(pose),
        }

    def first_violation(self, path: np.ndarray) -> LimitViolation | None:
        """Returns the first limit that new commands break, or None; arguments as in `compute_ratios`."""
        first: LimitViolation | None = None
        for rule, ratio in self.compute_ratios(path).items():
            bad = np.flatnonzero(~(ratio <= 1.0 + TOLERANCE))  # negated, so that NaN counts as a violation
            if len(bad) and (first is None or bad[0] < first.index):
                first = LimitViolation(rule, float(ratio[bad[0]]), int(bad[0]))
        return first

    def _compute_joint_ratios(self, path: np.ndarray) -> dict[str, np.ndarray]:
        limits, rate, new = self.limits, self.rate, path[HISTORY:]
        low, high = limits.speed_bounds(path)
        low, high = np.maximum(low[:-1], low[1:]), np.minimum(high[:-1], high[1:])  # the stricter end of a step
        speed = rate * np.diff(path, axis=0)
        speed_ratio = np.where(speed > 0, speed / np.maximum(high, 1e-9), speed / np.minimum(low, -1e-9))
        middle, half = (limits.q_max + limits.q_min) / 2, (limits.q_max - limits.q_min) / 2
        return {
            # Each difference is one row shorter; the slices keep the K rows that end at a new command.
            "joint_position": (np.abs(new - middle) / half).max(axis=1),
            "joint_speed": speed_ratio[2:].max(axis=1),
            "joint_acceleration": (np.abs(rate * np.diff(speed, axis=0)) / limits.ddq)[1:].max(axis=1),
            "joint_jerk": (np.abs(rate**2 * np.diff(speed, n=2, axis=0)) / limits.dddq).max(axis=1),
        }

    def _compute_hand_ratios(self, pose: Pose) -> dict[str, np.ndarray]:
        velocity = self.rate * np.diff(pose.position, axis=1)  # (3, HISTORY + K - 1)
        spin = self.rate * _step_rotations(pose)
        out = {}
        for name, rates, (speed, acceleration) in (
            ("hand", velocity, self.limits.translation),
            ("turn", spin, self.limits.rotation),
        ):
            out[f"{name}_speed"] = np.linalg.norm(rates, axis=0)[2:] / speed
            change = self.rate * np.diff(rates, axis=1)
            out[f"{name}_acceleration"] = np.linalg.norm(change, axis=0)[1:] / acceleration
        return out

    def _compute_workspace_ratios(self, pose: Pose) -> dict[str, np.ndarray]:
        """Computes ratios that exceed 1 where a wall is reached, linear in the distance."""
        space = self.workspace
        middle, half = (space.high + space.low) / 2, (space.high - space.low) / 2
        # Heights [m] of the origins of elbow and wrist joints and of the flange, (n, HISTORY + K).
        heights = np.concatenate([pose.joint_origins[FIRST_MOVING:, 2], _flange_position(self.arm, pose)[None, 2]])
        lowest = heights[:, HISTORY:].min(axis=0) - space.table
        return {
            "workspace": (np.abs(pose.position[:, HISTORY:].T - middle) / half).max(axis=1),
            "orientation": compute_tilt(pose)[HISTORY:] / space.cone,
            "table": 1.0 + np.maximum(space.clearance - lowest, 0.0),
        }


def compute_tilt(pose: Pose) -> np.ndarray:
    """Computes the angle (n,) [rad] between the hand's approach direction and straight down."""
    return np.arctan2(np.hypot(pose.z[0], pose.z[1]), -pose.z[2])


def _flange_position(arm: ArmModel, pose: Pose) -> np.ndarray:
    return pose.position - arm.tcp * pose.z


def _step_rotations(pose: Pose) -> np.ndarray:
    """Computes the rotation vectors (3, n - 1) [rad] from each pose to the next."""
    # ½ Σ axis × next axis is sin θ times the rotation axis; arcsin assumes less than 90° per step.
    sine = 0.5 * sum(_cross_with_next(axis) for axis in (pose.x, pose.y, pose.z))
    length = np.linalg.norm(sine, axis=0)
    return sine * (np.arcsin(np.minimum(length, 1.0)) / np.maximum(length, 1e-12))


def _cross_with_next(axis: np.ndarray) -> np.ndarray:
    """Computes the cross product (3, n - 1) of each column of (3, n) with the next."""
    (a, b, c), (x, y, z) = axis[:, :-1], axis[:, 1:]
    return np.stack([b * z - c * y, c * x - a * z, a * y - b * x])
