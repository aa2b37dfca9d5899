"""How stiffly an arm follows its targets and how hard it may be pushed before it stops itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robo_reward.errors import UsageError

REALTIME = ("enforce", "ignore")


@dataclass(frozen=True)
class Compliance:
    """Gains and collision thresholds, set explicitly on every connect.

    The joint gains are those of libfranka's own impedance example. Damping is a tenth of the stiffness: the arm then
    nears a target with the time constant of the simulated servos, kv / kp = 0.1 s, so that a policy finds the same
    lag on the robot as in training.

    Args:
        stiffness: of the joints (7,) [N m/rad].
        damping: of the joints (7,) [N m s/rad].
        translational: stiffness of the hand [N/m], for targets given as poses.
        rotational: likewise [N m/rad].
        torque_threshold: external joint torque at which the robot stops itself (7,) [N m].
        force_threshold: external force and torque on the hand at which it does (6,) [N, N m].
        torque_step: by how much a commanded torque may change in a millisecond [N m].
    """

    stiffness: tuple[float, ...] = (600.0, 600.0, 600.0, 600.0, 250.0, 150.0, 50.0)
    damping: tuple[float, ...] = (60.0, 60.0, 60.0, 60.0, 25.0, 15.0, 5.0)
    translational: float = 750.0
    rotational: float = 40.0
    torque_threshold: tuple[float, ...] = (40.0,) * 7
    force_threshold: tuple[float, ...] = (40.0,) * 6
    torque_step: float = 1.0

    def __post_init__(self) -> None:
        sizes = {"stiffness": 7, "damping": 7, "torque_threshold": 7, "force_threshold": 6}
        for name, size in sizes.items():
            values = np.asarray(getattr(self, name), float)
            if values.shape != (size,) or not (np.isfinite(values) & (values > 0)).all():
                raise UsageError(f"{name}={getattr(self, name)}: expected {size} positive numbers")
            object.__setattr__(self, name, tuple(map(float, values)))
        for name in ("translational", "rotational", "torque_step"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name}={getattr(self, name)}: expected a positive number")


def checked_realtime(value: str) -> str:
    """`enforce` or `ignore`.

    Raises:
        UsageError: anything else.
    """
    if value not in REALTIME:
        raise UsageError(f"realtime={value!r}: expected one of {', '.join(REALTIME)}")
    return value
