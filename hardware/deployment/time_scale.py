"""The time scale of a policy: slower than in training, and slower still at the beginning of an episode."""

from __future__ import annotations

from dataclasses import dataclass

from robo_reward.configs.deployment import DeployConfig
from robo_reward.configs.robots import RobotConfig
from robo_reward.errors import UsageError

SIMULATED_LAG = 0.135
"""Lag of a simulated arm behind its targets [s]: the servos' kv / kp, and most of a control step."""
MIN_LAG = 0.04
"""Smallest lag of a real arm behind its targets [s]."""


@dataclass(frozen=True)
class TimeScale:
    """Time scale of a deployment: at a scale of one half every control step takes twice as long.

    All speeds are halved and all accelerations a quarter, while the policy, which observes velocities in its own
    time, experiences the dynamics of its training. This slows a fast policy down; speed limits alone would only make
    it lag.

    Args:
        value: 1 is the speed of training.
        ramp: number of control steps at the beginning that are slower ...
        first: ... the first at this share of the time scale.

    Raises:
        UsageError: values out of range.
    """

    value: float = RobotConfig.tempo
    ramp: int = DeployConfig.ramp
    first: float = 0.6

    def __post_init__(self) -> None:
        if not 0.1 <= self.value <= 1.0:
            raise UsageError(f"tempo={self.value}: expected 0.1 to 1; 1 is the speed of training")
        if self.ramp < 0 or not 0.1 <= self.first <= 1.0:
            raise UsageError(f"ramp={self.ramp} first={self.first}: expected 0 or more steps, and a share of 0.1 to 1")

    def scale_at(self, step: int) -> float:
        """Returns the time scale of a control step."""
        # Linear ramp from `first` to 1 over the first `ramp` control steps.
        share = 1.0 if step >= self.ramp else self.first + (1.0 - self.first) * step / self.ramp
        return self.value * share

    def compute_lag(self, control_dt: float) -> float:
        """Computes the lag of the arm behind its commands [s] that equals, in the policy's time, the lag in training.

        The stream itself is one control step behind the targets.

        Args:
            control_dt: control period of the task [s].
        """
        # The lag in the policy's time is the lag in real time multiplied by the time scale.
        return max((SIMULATED_LAG - control_dt) / self.value, MIN_LAG)
