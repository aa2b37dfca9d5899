"""How the arm of a task follows its targets, for an arm that follows its own at once."""

from __future__ import annotations

from math import exp

import numpy as np

from robo_reward.envs.arm.mjcf import SERVO_LAG


class TaskServo:
    """Turns the targets of a task's controller into joint commands that move a stiff arm as the task's arm moves.

    The servos of our scenes are overdamped, tau = k (target - q) - k T dq, so the arm trails its targets by T; policies
    have learnt with that. A real arm under joint impedance tracks a smooth command within a few milliseconds, and
    would run ahead. So the lag is in the command: dq_c = (target - q_c) / T, solved exactly over each step.

    Args:
        q: where the arm is commanded to be now (7,) [rad].
        lag: T [s].

    Attributes:
        q: the joint command (7,) [rad].
        dq: its velocity (7,) [rad/s].
    """

    def __init__(self, q: np.ndarray, lag: float = SERVO_LAG) -> None:
        self.lag = lag
        self.restart(q)

    def restart(self, q: np.ndarray) -> None:
        """Rests at `q` (7,) [rad], after a stop."""
        self.q, self.dq = np.array(q, float), np.zeros(len(q))

    def advance(self, target: np.ndarray, dt: float) -> np.ndarray:
        """The joint command (7,) [rad] after `dt` [s] of a constant target (7,) [rad]."""
        gap = exp(-dt / self.lag) * (target - self.q)
        self.q, self.dq = target - gap, gap / self.lag
        return self.q
