"""The driver protocol of every arm (simulator, emulator, Panda, FR3), with its states, targets and faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, runtime_checkable

import numpy as np

from robo_reward.errors import RoboRewardError, UsageError, WrongShape


class Mode(Enum):
    """Operating mode that the robot reports; `REFLEX` and `USER_STOPPED` end only by a person's decision."""

    IDLE = "idle"
    MOVING = "moving"
    GUIDING = "guiding"
    REFLEX = "reflex"
    USER_STOPPED = "user_stopped"
    DISCONNECTED = "disconnected"
    OTHER = "other"


class FaultKind(Enum):
    """Reason why an arm cannot go on; `safety/recovery.py` defines the reaction to each."""

    COMMUNICATION = "communication"
    REFLEX = "reflex"
    USER_STOP = "user_stop"
    CONTROL = "control"
    GRIPPER = "gripper"
    VERSION = "version"
    UNREACHABLE = "unreachable"


class ArmFault(RoboRewardError):
    """The arm stopped, or cannot be reached or commanded.

    Args:
        cause: what happened, in terms an operator understands.
        remedy: what to do about it.
        recoverable: whether `recover` may help; false where a person must change something first.
        kind: determines the reaction, see `safety/recovery.py`.
        errors: the robot's own names of it, such as `joint_reflex`.
    """

    def __init__(
        self, cause: str, remedy: str, recoverable: bool, kind: FaultKind, errors: tuple[str, ...] = ()
    ) -> None:
        self.cause, self.remedy, self.recoverable, self.kind, self.errors = cause, remedy, recoverable, kind, errors
        super().__init__(f"{cause}. {remedy}")


@dataclass(frozen=True, eq=False)
class ArmState:
    """The measured state of an arm at one moment.

    Args:
        stamp: when it was received, by this computer's monotonic clock [s].
        robot_time: by the robot's own clock [s].
        q: joint angles (7,) [rad].
        dq: joint speeds (7,) [rad/s].
        tau_ext: joint torques of contacts (7,) [N m].
        wrench: force and torque on the hand (6,) [N, N m], in the base frame.
        hand_position: of the tool centre point between the finger tips, as tasks define it (3,) [m].
        hand_quat: orientation of the hand (w, x, y, z); pointing straight down is (0, 1, 0, 0).
        gripper_width: opening between the fingers [m].
        mode: operating mode that the robot reports.
        errors: the robot's own names of what is wrong, empty if nothing is.
        gripper_busy: whether a command of `gripper` is in progress.
    """

    stamp: float
    robot_time: float
    q: np.ndarray
    dq: np.ndarray
    tau_ext: np.ndarray
    wrench: np.ndarray
    hand_position: np.ndarray
    hand_quat: np.ndarray
    gripper_width: float
    mode: Mode
    errors: tuple[str, ...] = ()
    gripper_busy: bool = False

    def is_finite(self) -> bool:
        """Returns whether every number that a decision depends on is finite."""
        arrays = (self.q, self.dq, self.hand_position, self.hand_quat)
        return all(bool(np.isfinite(array).all()) for array in arrays) and bool(np.isfinite(self.gripper_width))


@dataclass(frozen=True, eq=False)
class Target:
    """Target of an arm for the next command of the stream.

    Args:
        joints: joint angles (7,) [rad].
        gripper: opening between the fingers [m]; a negative value leaves the fingers unchanged.

    Raises:
        UsageError: numbers that are not finite.
        WrongShape: not seven joint angles.
    """

    joints: np.ndarray
    gripper: float = -1.0

    def __post_init__(self) -> None:
        if np.shape(self.joints) != (7,):
            raise WrongShape("target joints", np.shape(self.joints), "(7,)")
        if not np.isfinite(self.joints).all():
            raise UsageError(f"target joints are not finite: {self.joints}")
        if not np.isfinite(self.gripper):
            raise UsageError(f"target gripper is not finite: {self.gripper}")


@runtime_checkable
class ArmDriver(Protocol):
    """Protocol of an arm that follows a stream of targets.

    One thread calls it; every method may raise `ArmFault`.
    """

    name: str

    def connect(self) -> None:
        """Connects to the robot and checks its type and version; moves nothing."""
        ...

    def state(self) -> ArmState:
        """Returns the latest measured state; blocks for a few milliseconds at most once connected."""
        ...

    def start_streaming(self) -> None:
        """Starts to follow targets, from the present pose of the arm."""
        ...

    def stream(self, target: Target) -> None:
        """Sends the next target, which must come from the safety filter, since that keeps it within the limits."""
        ...

    def hold(self) -> None:
        """Keeps the arm at the last target, still under control, ready for further targets."""
        ...

    def stop(self) -> None:
        """Brings the arm to rest at once but gently, and ends streaming."""
        ...

    def recover(self) -> None:
        """Clears the robot's error after an operator confirmed.

        Afterwards, targets start from the measured state.
        """
        ...

    def move_to(self, q: np.ndarray, speed_fraction: float = 0.1) -> None:
        """Moves slowly to joint angles (7,) [rad] and waits; not while streaming."""
        ...

    def gripper(self, width: float, speed: float, force: float | None = None) -> None:
        """Moves the fingers to a width [m], or grasps with a force [N]; may return before they arrive."""
        ...

    def close(self) -> None:
        """Stops the arm if needed, and disconnects."""
        ...


def describe_arm(arm: ArmDriver) -> dict[str, Any]:
    """Returns the JSON of an arm's optional method `about`: versions and the load it assumes; empty without it."""
    read_details: Callable[[], dict[str, Any]] | None = getattr(arm, "about", None)
    return {} if read_details is None else read_details()
