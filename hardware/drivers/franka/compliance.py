"""Gains with which an arm follows its targets, and thresholds of contact force at which it stops itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robo_reward.configs.robots import ContactConfig
from robo_reward.errors import UsageError
from robo_reward.hardware.drivers.franka.gripper import WIDEST
from robo_reward.hardware.safety.limits import ACCELERATION

REALTIME = ("enforce", "ignore")


@dataclass(frozen=True)
class Compliance(ContactConfig):
    """Gains and collision thresholds, set explicitly on every connect; four of them are keys of `deploy`.

    The stiffness is half that of libfranka's own impedance example: a hand that is led 3 cm into the table
    presses with some 40 N. Damping follows from it, so that the arm is behind its targets by as much as the
    simulated arm was.

    Args:
        lag: damping over stiffness, the time constant with which the arm nears a target [s].
        torque_step: by how much a commanded torque may change in a millisecond [N m].
        braking: share of the official limits of acceleration with which a stop brakes.
    """

    lag: float = 0.1
    torque_step: float = 1.0
    braking: float = ACCELERATION

    def __post_init__(self) -> None:
        sizes = {"stiffness": 7, "torque_threshold": 7, "force_threshold": 6}
        for name, size in sizes.items():
            values = np.asarray(getattr(self, name), float)
            if values.shape != (size,) or not (np.isfinite(values) & (values > 0)).all():
                raise UsageError(f"{name}={getattr(self, name)}: expected {size} positive numbers")
            object.__setattr__(self, name, tuple(map(float, values)))
        for name in ("lag", "torque_step"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name}={getattr(self, name)}: expected a positive number")
        if not 0 <= self.clearance < WIDEST:
            raise UsageError(f"clearance={self.clearance}: expected 0 or more, and less than {WIDEST} m")
        if not 0.0 < self.braking <= 0.8:
            raise UsageError(f"braking={self.braking}: expected above 0 and at most 0.8 of the official limits")

    @property
    def damping(self) -> tuple[float, ...]:
        """Damping of the joints (7,) [N m s/rad]."""
        return tuple(self.lag * value for value in self.stiffness)

    @property
    def finger_lag(self) -> float:
        """Lag of the fingers behind streamed targets [s]: half the arm's, as the hand's own motions add to it."""
        return self.lag / 2


def validate_realtime(value: str) -> str:
    """Returns the value if it is `enforce` or `ignore`.

    Raises:
        UsageError: anything else.
    """
    if value not in REALTIME:
        raise UsageError(f"realtime={value!r}: expected one of {', '.join(REALTIME)}")
    return value
