"""Braking of an arm from a measured state to rest, within the safety filter's limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robo_reward.envs.arm.kinematics import compute_forward_kinematics, compute_jacobian
from robo_reward.envs.arm.model import ArmModel
from robo_reward.hardware.safety.limits import MotionLimits


@dataclass(frozen=True, eq=False)
class BrakingProfile:
    """A straight path in joint space on which the speed falls linearly to zero.

    Args:
        q: joint angles at the begin (7,) [rad].
        dq: joint speeds there (7,) [rad/s].
        duration: until the arm is at rest [s].
    """

    q: np.ndarray
    dq: np.ndarray
    duration: float

    def sample_at(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """Returns joint angles (7,) [rad] and speeds (7,) [rad/s] at a time [s] after the begin."""
        if self.duration <= 0.0:
            return self.q.copy(), np.zeros(7)
        t = min(max(time, 0.0), self.duration)  # constant deceleration: q + dq (t - t²/2T), dq (1 - t/T)
        return self.q + self.dq * (t - t * t / (2 * self.duration)), self.dq * (1 - t / self.duration)

    def compute_target(self, time: float, lag: float | np.ndarray) -> np.ndarray:
        """Returns the target (7,) [rad] that keeps an arm with a time constant `lag` [s] on this path."""
        q, dq = self.sample_at(time)
        return q + lag * dq  # a damped servo at speed dq is behind its target by lag * dq


def compute_braking(arm: ArmModel, limits: MotionLimits, q: np.ndarray, dq: np.ndarray) -> BrakingProfile:
    """Computes the shortest braking to rest on which neither a joint nor the hand exceeds its acceleration limit.

    Args:
        arm: whose kinematics hold.
        limits: of which the accelerations of joints and hand are kept.
        q: measured joint angles (7,) [rad].
        dq: measured joint speeds (7,) [rad/s].
    """
    q, dq = np.array(q, float), np.array(dq, float)
    # Twist of the hand (6,) [m/s, rad/s] before the braking.
    hand = compute_jacobian(compute_forward_kinematics(arm, q[None]))[0] @ dq
    # Shortest duration [s] for the joints, the hand's translation and its rotation; the longest of them is used.
    # The hand's deceleration is taken as |J dq| / T, with the Jacobian J at the start.
    times = (
        float((np.abs(dq) / limits.ddq).max()),
        float(np.linalg.norm(hand[:3])) / limits.translation[1],
        float(np.linalg.norm(hand[3:])) / limits.rotation[1],
    )
    return BrakingProfile(q, dq, max(times))
