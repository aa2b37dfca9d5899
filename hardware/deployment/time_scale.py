"""The time scale of a policy: slower than in training, and slower still at the beginning of an episode."""

from __future__ import annotations

from dataclasses import dataclass

from robo_reward.errors import UsageError

SIMULATED_LAG = 0.135
"""How far a simulated arm is behind its targets: the servos' kv / kp, and most of a control step [s]."""
MIN_LAG = 0.04
"""No robot follows closer behind its targets [s]."""


@dataclass(frozen=True)
class TimeScale:
    """Time scale of a deployment: at a scale of one half every control step takes twice as long.

    All speeds are halved and all accelerations a quarter, while the policy, which observes velocities in its own
    time, finds the world of its training. That is what makes a fast policy slow; limits alone would only make it
    late.

    Args:
        value: 1 is the speed of training.
        ramp: number of control steps at the beginning that are slower ...
        first: ... the first at this share of the time scale.

    Raises:
        UsageError: values out of range.
    """

    value: float = 0.35
    ramp: int = 10
    first: float = 0.6

    def __post_init__(self) -> None:
        if not 0.1 <= self.value <= 1.0:
            raise UsageError(f"tempo={self.value}: expected 0.1 to 1; 1 is the speed of training")
        if self.ramp < 0 or not 0.1 <= self.first <= 1.0:
            raise UsageError(f"ramp={self.ramp} first={self.first}: expected 0 or more steps, and a share of 0.1 to 1")

    def scale_at(self, step: int) -> float:
        """Returns the time scale of a control step."""
        share = 1.0 if step >= self.ramp else self.first + (1.0 - self.first) * step / self.ramp
        return self.value * share

    def compute_lag(self, control_dt: float) -> float:
        """Computes the lag of the arm behind its commands [s] with which a policy finds the lag of its training.

        The stream itself is one control step behind the targets.

        Args:
            control_dt: control period of the task [s].
        """
        return max((SIMULATED_LAG - control_dt) / self.value, MIN_LAG)
