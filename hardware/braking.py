"""How an arm brakes from where it is: the way from a measured state to rest, within the safety filter's limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robo_reward.envs.panda.arm import Arm
from robo_reward.envs.panda.kinematics import forward, jacobian
from robo_reward.hardware.limits import MotionLimits


@dataclass(frozen=True, eq=False)
class Braking:
    """A straight way in the joints on which the speed falls evenly to zero.

    Args:
        q: joint angles where it begins (7,) [rad].
        dq: joint speeds there (7,) [rad/s].
        duration: until the arm is at rest [s].
    """

    q: np.ndarray
    dq: np.ndarray
    duration: float

    def at(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """Returns joint angles (7,) [rad] and speeds (7,) [rad/s] at a time [s] after the begin."""
        if self.duration <= 0.0:
            return self.q.copy(), np.zeros(7)
        t = min(max(time, 0.0), self.duration)
        return self.q + self.dq * (t - t * t / (2 * self.duration)), self.dq * (1 - t / self.duration)

    def goal(self, time: float, lag: float | np.ndarray) -> np.ndarray:
        """Returns what an arm must be told (7,) [rad] to be on this way, if it follows with a time constant `lag` [s].

        A damped servo at speed dq stands behind its target by `lag` times dq.
        """
        q, dq = self.at(time)
        return q + lag * dq


def brake_from(arm: Arm, limits: MotionLimits, q: np.ndarray, dq: np.ndarray) -> Braking:
    """Returns the shortest way to rest on which no joint, nor the hand, exceeds its limit of acceleration.

    Args:
        arm: whose kinematics hold.
        limits: of which the accelerations of joints and hand are kept.
        q: measured joint angles (7,) [rad].
        dq: measured joint speeds (7,) [rad/s].
    """
    q, dq = np.array(q, float), np.array(dq, float)
    hand = jacobian(forward(arm, q[None]))[0] @ dq
    times = (
        float((np.abs(dq) / limits.ddq).max()),
        float(np.linalg.norm(hand[:3])) / limits.translation[1],
        float(np.linalg.norm(hand[3:])) / limits.rotation[1],
    )
    return Braking(q, dq, max(times))
