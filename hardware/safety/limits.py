"""Motion and workspace limits of an arm: the official ones, and the smaller ones that a policy gets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from robo_reward.configs.deployment import DeployConfig
from robo_reward.envs.arm.model import ArmModel
from robo_reward.errors import UsageError

MARGIN = 0.1
"""Default distance of commands from each end of a joint [rad]."""
ACCELERATION = 0.3
"""Default share of the official limits of acceleration and jerk; `robo-reward deploy` gives a policy more, see
`DeployConfig.acceleration`."""
INSET = 0.002
"""Distance of targets from the workspace's walls [m], because the path between two targets is slightly curved."""


@dataclass(frozen=True, eq=False)
class MotionLimits:
    """Limits of a stream of commands, per joint (7,) and for the hand.

    The FR3's speed limit shrinks towards a joint's end (Franka Robotics, "Robot and interface specifications"):
    dq <= min(dq_max, max(0, sqrt(2 dec (q_end - q)) - offset)), and its mirror image.

    Args:
        name: of the arm.
        q_min: lower end of each joint [rad].
        q_max: upper end [rad].
        dq: speed [rad/s].
        ddq: acceleration [rad/s²].
        dddq: jerk [rad/s³].
        translation: speed [m/s] and acceleration [m/s²] of the tool centre point.
        rotation: speed [rad/s] and acceleration [rad/s²] of the hand.
        q_end: the mechanical ends (2, 7) [rad] that the shrinking speed limit refers to.
        offset: of the shrinking speed limit [rad/s]; empty where there is none.
        deceleration: in it [rad/s²].
        share: of the shrinking limit that may be used.
    """

    name: str
    q_min: np.ndarray
    q_max: np.ndarray
    dq: np.ndarray
    ddq: np.ndarray
    dddq: np.ndarray
    translation: tuple[float, float]
    rotation: tuple[float, float]
    q_end: np.ndarray
    offset: np.ndarray
    deceleration: np.ndarray
    share: float = 1.0

    def speed_bounds(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns lowest (negative) and highest joint speeds (..., 7) [rad/s] at joint angles (..., 7) [rad]."""
        if not len(self.offset):
            high = np.broadcast_to(self.dq, np.shape(q))
            return -high, high
        room_up, room_down = np.maximum(self.q_end[1] - q, 0.0), np.maximum(q - self.q_end[0], 0.0)
        # Speed from which the joint can still brake before its end (Franka Robotics, "Robot and interface
        # specifications"): sqrt(2 dec distance) - offset.
        up, down = (np.sqrt(2 * self.deceleration * room) - self.offset for room in (room_up, room_down))
        return -np.clip(self.share * down, 0.0, self.dq), np.clip(self.share * up, 0.0, self.dq)

    def widen_to(self, q: np.ndarray) -> MotionLimits:
        """Returns the limits, widened to include the present angles (7,), inside the mechanical ends."""
        low, high = np.maximum(q, self.q_end[0]), np.minimum(q, self.q_end[1])
        return replace(self, q_min=np.minimum(self.q_min, low), q_max=np.maximum(self.q_max, high))

    def describe_violation(self, q: np.ndarray) -> str:
        """Returns a text that names the joint outside its range; empty if every joint is inside."""
        for i, (angle, low, high) in enumerate(zip(q, self.q_min, self.q_max, strict=True), start=1):
            if not low <= angle <= high:
                return f"joint {i} at {angle:.3f} rad, expected {low:.3f} to {high:.3f} for this {self.name}"
        return ""


def official_limits(arm: ArmModel) -> MotionLimits:
    """Returns the manufacturer's own limits of an arm.

    Raises:
        UsageError: the manufacturer publishes no limits of acceleration, so none can be enforced.
    """
    if not arm.ddq_max:
        raise UsageError(f"no motion limits are published for {arm.name!r}; arms that can be driven: panda, fr3")
    ends = np.array((arm.q_min, arm.q_max))
    return MotionLimits(
        arm.name,
        *ends,
        dq=np.array(arm.dq_max),
        ddq=np.array(arm.ddq_max),
        dddq=np.array(arm.dddq_max),
        translation=(arm.max_translation[0], arm.max_translation[1]),
        rotation=(arm.max_rotation[0], arm.max_rotation[1]),
        q_end=ends,
        offset=np.array(arm.dq_offset),
        deceleration=np.array(arm.ddq_dec),
    )


def policy_limits(
    arm: ArmModel,
    speed: float = DeployConfig.speed,
    acceleration: float = ACCELERATION,
    margin: float = MARGIN,
    box: bool = False,
) -> MotionLimits:
    """Returns the limits a policy gets: a share of the official ones, away from the ends of the joints.

    Args:
        arm: `panda` or `fr3`.
        speed: share of every speed limit, above 0 up to 0.8.
        acceleration: share of every limit of acceleration and jerk, above 0 up to 0.8.
        margin: kept from each end of a joint [rad].
        box: also keep the rectangular box of angles and speeds that Franka Robotics suggests for the FR3.

    Raises:
        UsageError: a share or a margin out of range, or a box for an arm that has none.
    """
    for name, share in (("speed", speed), ("acceleration", acceleration)):
        if not 0.0 < share <= 0.8:
            raise UsageError(f"{name} share is {share}, expected above 0 and at most 0.8 of the official limits")
    if not 0.04 <= margin <= 0.5:
        raise UsageError(f"joint margin is {margin} rad, expected 0.04 to 0.5")
    if box and not arm.box:
        raise UsageError(f"no box of limits is published for {arm.name!r}; it exists for: fr3")
    full = official_limits(arm)
    # The margin applies to positions, the shares to speeds, accelerations and jerks.
    low, high, dq = full.q_min + margin, full.q_max - margin, speed * full.dq
    if box:
        low, high, dq = np.maximum(low, arm.box[0]), np.minimum(high, arm.box[1]), np.minimum(dq, arm.box[2])
    return replace(
        full,
        q_min=low,
        q_max=high,
        dq=dq,
        ddq=acceleration * full.ddq,
        dddq=acceleration * full.dddq,
        translation=(speed * full.translation[0], acceleration * full.translation[1]),
        rotation=(speed * full.rotation[0], acceleration * full.rotation[1]),
        share=speed,
    )


@dataclass(frozen=True, eq=False)
class Workspace:
    """Region where the hand may be commanded, and its largest tilt.

    Args:
        low: lower corner for the tool centre point (3,) [m].
        high: upper corner (3,) [m].
        cone: largest angle between the hand's approach direction and straight down [rad].
        table: height of the table's top [m].
        clearance: lowest height above the table of elbow, wrist and flange [m].
    """

    low: np.ndarray
    high: np.ndarray
    cone: float = 0.5
    table: float = 0.0
    clearance: float = 0.08

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", np.asarray(self.low, float))
        object.__setattr__(self, "high", np.asarray(self.high, float))
        if self.low.shape != (3,) or self.high.shape != (3,) or not (self.high - self.low > 4 * INSET).all():
            raise UsageError(
                f"workspace from {self.low} to {self.high} m is not a box of at least {4 * INSET} m a side"
            )
        if self.low[2] < self.table:
            raise UsageError(f"workspace begins at {self.low[2]} m, below the table at {self.table} m")
        if not 0.0 < self.cone <= np.pi / 2:
            raise UsageError(f"orientation cone is {self.cone} rad, expected above 0 up to {np.pi / 2:.2f}")

    @classmethod
    def from_box(cls, low: np.ndarray, high: np.ndarray, cone: float = 0.5, table: float = 0.0) -> Workspace:
        """Returns the workspace around a box of targets: `INSET` larger, but never below the table."""
        grown = np.asarray(low, float) - INSET
        # The lower wall must not be below the table.
        grown[2] = max(grown[2], table)
        return cls(grown, np.asarray(high, float) + INSET, cone, table)

    def widen_to(self, position: np.ndarray, lean: float) -> Workspace:
        """Returns the workspace, widened to include the hand's position (3,) [m] and tilt [rad]."""
        low = np.minimum(self.low, position)
        low[2] = max(low[2], self.table)
        return replace(self, low=low, high=np.maximum(self.high, position), cone=max(self.cone, lean))

    def distance_outside(self, position: np.ndarray) -> np.ndarray:
        """Returns how far positions (..., 3) lie outside the box, (...,) [m]; negative inside."""
        return np.maximum(self.low - position, position - self.high).max(axis=-1)
