"""The settings that a client can change on the robot: collision thresholds, stiffness, frames, load."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from robo_reward.envs.arm.model import Link
from robo_reward.errors import RoboRewardError
from robo_reward.hardware.emulator.robot.control import InternalControl
from robo_reward.hardware.emulator.robot.model import RobotModel

TORQUE_THRESHOLDS = (20.0, 20.0, 18.0, 18.0, 16.0, 14.0, 12.0)
"""Initial thresholds of joint torque [N m], as in libfranka's examples; Franka publishes no default."""
FORCE_THRESHOLDS = (20.0, 20.0, 20.0, 25.0, 25.0, 25.0)
"""Initial thresholds of the external wrench [N, N m], from the same examples."""
FILTER = 1 - np.exp(-2 * np.pi * 30.0 * 1e-3)
"""Coefficient of the low-pass filter of external torques and forces: 30 Hz, at 1 kHz."""
NEGLIGIBLE = 1e-9
"""Filtered torques and forces below this count as zero after a contact [N m, N]."""


@dataclass
class CollisionBehavior:
    """The thresholds of contacts (lower) and of collisions (upper), which trigger a reflex.

    The first row of each array holds while a joint is accelerated, the second at constant speed.

    Args:
        lower_torque: (2, 7) [N m].
        upper_torque: (2, 7) [N m].
        lower_force: (2, 6) [N, N m].
        upper_force: (2, 6) [N, N m].
    """

    lower_torque: np.ndarray = field(default_factory=lambda: np.array([TORQUE_THRESHOLDS] * 2))
    upper_torque: np.ndarray = field(default_factory=lambda: np.array([TORQUE_THRESHOLDS] * 2))
    lower_force: np.ndarray = field(default_factory=lambda: np.array([FORCE_THRESHOLDS] * 2))
    upper_force: np.ndarray = field(default_factory=lambda: np.array([FORCE_THRESHOLDS] * 2))

    @classmethod
    def from_request(cls, request: np.ndarray) -> CollisionBehavior | None:
        """Returns the thresholds of a SetCollisionBehavior request, or None where one is not a positive number."""
        made = cls(
            *(
                np.array([request[f"{side}_{kind}_acceleration"], request[f"{side}_{kind}_nominal"]])
                for kind in ("torque", "force")
                for side in ("lower", "upper")
            )
        )
        arrays = (made.lower_torque, made.upper_torque, made.lower_force, made.upper_force)
        return made if all((np.isfinite(a) & (a > 0)).all() for a in arrays) else None


class ContactObserver:
    """Filters external torques and forces and compares them with the thresholds.

    Attributes:
        tau: filtered external torques (7,) [N m].
        wrench: filtered external force and torque in the base frame (6,) [N, N m].
    """

    def __init__(self) -> None:
        self.behavior = CollisionBehavior()
        self.reset()

    def reset(self) -> None:
        """Resets the filters and the contact flags."""
        self.tau, self.wrench = np.zeros(7), np.zeros(6)
        self.joint_contact, self.cartesian_contact = np.zeros(7), np.zeros(6)
        self.joint_collision, self.cartesian_collision = np.zeros(7), np.zeros(6)
        self._quiet = True

    def update(self, tau_ext: np.ndarray, wrench: np.ndarray, accelerating: bool) -> tuple[str, ...]:
        """Advances by one millisecond; returns the names of the reflexes that follow."""
        touched = tau_ext.any() or wrench.any()
        # Fast path: no contact, and the filters have decayed.
        if self._quiet and not touched:
            return ()
        if not touched and max(np.abs(self.tau).max(), np.abs(self.wrench).max()) < NEGLIGIBLE:
            self.reset()
            return ()
        self._quiet = False
        # First-order low-pass, one cycle of 1 ms.
        self.tau = self.tau + FILTER * (tau_ext - self.tau)
        self.wrench = self.wrench + FILTER * (wrench - self.wrench)
        row, behavior = 0 if accelerating else 1, self.behavior
        tau, wrench = np.abs(self.tau), np.abs(self.wrench)
        self.joint_contact = (tau > behavior.lower_torque[row]).astype(float)
        self.joint_collision = (tau > behavior.upper_torque[row]).astype(float)
        self.cartesian_contact = (wrench > behavior.lower_force[row]).astype(float)
        self.cartesian_collision = (wrench > behavior.upper_force[row]).astype(float)
        found = ("joint_reflex",) if self.joint_collision.any() else ()
        return (*found, "cartesian_reflex") if self.cartesian_collision.any() else found


def apply_setting(
    command: str, body: np.ndarray, model: RobotModel, control: InternalControl, observer: ContactObserver
) -> bool:
    """Applies a setting; returns False where the robot would refuse its numbers.

    Guiding masks and filters are accepted and change nothing.
    """
    try:
        if command == "SetCollisionBehavior":
            behavior = CollisionBehavior.from_request(body)
            observer.behavior = behavior or observer.behavior
            return behavior is not None
        if command == "SetJointImpedance":
            control.set_joint_impedance(body["K_theta"])
        elif command == "SetCartesianImpedance":
            control.set_cartesian_impedance(body["K_x"])
        elif command == "SetEEToK":
            model.set_EE_T_K(body["EE_T_K"].reshape(4, 4).T)
        elif command == "SetNEToEE":
            model.set_NE_T_EE(body["NE_T_EE"].reshape(4, 4).T)
        elif command == "SetLoad":
            model.set_load(_parse_load(body))
    except RoboRewardError:
        return False  # reported as a status of the protocol
    return True


def _parse_load(body: np.ndarray) -> Link:
    inertia, (x, y, z) = body["I_load"].reshape(3, 3).tolist(), body["F_x_Cload"].tolist()
    # xx, yy, zz, xy, xz, yz
    moments = tuple(inertia[i][j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)))
    return Link(float(body["m_load"]), (x, y, z), moments)
