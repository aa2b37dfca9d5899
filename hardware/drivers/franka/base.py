"""Base class of the drivers of both Franka arms: connecting, streaming, recovering and reporting faults."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from robo_reward.configs.robots import FrankaConfig
from robo_reward.envs.arm.model import ArmModel
from robo_reward.errors import UsageError
from robo_reward.hardware.arm import ArmFault, ArmState, FaultKind, Mode, Target
from robo_reward.hardware.drivers.franka.compliance import Compliance, validate_realtime
from robo_reward.hardware.drivers.franka.errors import classify_error, make_hand_lost_fault, make_library_fault
from robo_reward.hardware.drivers.franka.gripper import NEAR, FingerCommand, FingerController, LibraryHand
from robo_reward.hardware.drivers.franka.state import ReceiptClock, find_reported_fault, wait_for_motion_end
from robo_reward.hardware.safety.limits import policy_limits
from robo_reward.hardware.safety.trajectory.braking import BrakingProfile, compute_braking

log = logging.getLogger(__name__)
RECOVERIES = 3
"""Largest number of times that one `recover` clears errors."""
END_MARGIN = 0.01
"""Distance of braking targets from the ends of the joints [rad]."""
BRAKE_TICK = 0.004
"""Period of the targets sent while braking [s]."""
BRAKE_PATIENCE = 1.0
"""Longest wait for rest after the braking path has ended [s]; contacts and friction may prevent complete rest."""
AT_REST = 0.01
"""Joint speed below which the arm counts as at rest [rad/s], if it stays below for `REST_TIME`."""
REST_TIME = 0.1
"""Time below `AT_REST` by the robot's clock [s]: an arm that reverses its direction is at rest only for a moment."""
HAND_PATIENCE = 5.0
"""Time for which `recover` tries to reconnect a lost gripper [s]."""
UNHOMED = (
    "the hand was not homed since it was switched on: it reports a maximum opening of 0 mm",
    "Home it in Desk, with nothing between the fingers, then confirm",
)
"""Cause and remedy of the fault of a hand that was not homed."""


class FrankaArm(ABC):
    """A Franka arm behind a client library; the abstract methods at the end differ between libraries.

    Args:
        host: the robot's address.
        realtime: `enforce` (a real-time kernel, or no connection) or `ignore`.
        compliance: gains and collision thresholds.
        force: of a grasp [N].
        gripper: whether a Franka Hand is mounted.

    Raises:
        UsageError: an unknown value of `realtime`.
    """

    name: ClassVar[str]
    arm_model: ClassVar[ArmModel]
    version: ClassVar[int]
    """Protocol version of the client library."""
    max_speed_fraction: ClassVar[float]
    """Largest `speed_fraction` that `move_to` accepts."""

    def __init__(
        self,
        host: str,
        realtime: str = FrankaConfig.realtime,
        compliance: Compliance | None = None,
        force: float = FrankaConfig.force,
        gripper: bool = FrankaConfig.gripper,
    ) -> None:
        self.host, self.realtime = host, validate_realtime(realtime)
        self.compliance = compliance or Compliance()
        self._with_gripper, self._force = gripper, force
        self._brakes = policy_limits(self.arm_model, acceleration=self.compliance.braking)
        self._receipts = ReceiptClock()
        self._library: Any = None
        self._robot: Any = None
        self._follower: Any = None  # the library's loop that tracks targets
        self._fingers: FingerController | None = None
        self._streaming = self._reached = self._cut = False
        self._braked = False  # whether the library has received a braking target
        self._thresholds_set = False
        self._library_hand: LibraryHand | None = None

    def connect(self) -> None:
        """Connects to the robot, checks that it is the right one, sets gains and collision thresholds.

        Raises:
            ArmFault: it cannot be reached, is another robot, or the kernel is not real-time.
            MissingExtra: the client library is not installed.
        """
        self._library = self._import_library()
        if self.realtime == "ignore":
            log.warning("realtime=ignore: the robot stops itself when this computer is 20 ms late; not for regular use")
        try:
            self._robot = self._open()
            self._check_robot()
            if wait_for_motion_end(lambda: self._read().mode) is Mode.IDLE:  # otherwise set before the first motion
                self._ensure_thresholds()
            if self._with_gripper:
                self._reach_hand(0.0)
        except ArmFault:
            self._disconnect_all()
            raise
        except Exception as error:
            self._disconnect_all()
            first = not self._reached
            raise classify_error(error, self.host, connected=False, first=first, speaks=self.version) from error
        self._reached = True

    def about(self) -> dict[str, Any]:
        """Returns the versions of robot and library, and the load that the robot assumes [kg, m]."""
        state = self._read_library_state()
        versions = {"robot": self.name, "server_version": self.version, "library": self.library}
        load = {"m_ee": float(state.m_ee), "F_x_Cee": [float(x) for x in state.F_x_Cee]}
        return {**versions, **load, "m_load": float(state.m_load)}

    def state(self) -> ArmState:
        self._require_robot()
        try:
            if self._streaming:
                self._check_motion()
            return replace(self._read(), gripper_busy=self._fingers is not None and self._fingers.is_busy)
        except Exception as error:
            raise self._handle_error(error) from error

    def start_streaming(self) -> None:
        self._require_hand()
        self._require_no_fault()
        try:
            self._ensure_thresholds()
            self._follower = self._follow()
        except Exception as error:
            raise self._to_fault(error) from error
        self._streaming = True

    def stream(self, target: Target) -> None:
        """Sends the next target.

        Raises:
            ArmFault: the robot ended the motion.
            UsageError: not streaming, or a target that this driver does not support.
        """
        if not self._streaming:
            raise UsageError("the arm does not follow targets: call start_streaming first")
        try:
            self._check_motion()
            self._send(target)
        except UsageError:
            raise
        except Exception as error:
            raise self._handle_error(error) from error
        if self._fingers is not None and target.gripper >= 0:
            self._fingers.follow_target(target.gripper)

    def hold(self) -> None:
        """Checks the state only, since the library holds the last target."""
        self.state()

    def stop(self) -> None:
        """Brakes from the measured joints and speeds, and ends the stream.

        The stream is ended even if braking fails or is interrupted; if the library's loop still runs afterwards,
        the next call tries again.
        """
        if self._fingers is not None:
            self._fingers.end_stream()
        if not self._streaming or self._robot is None:
            return
        self._braked = False
        try:
            try:
                if self._follower is not None:
                    self._brake_to_rest()
            finally:
                self._come_to_rest()
        except Exception as error:
            raise self._to_fault(error) from error
        finally:
            # Still streaming if the loop could not be ended, so that the next `stop` tries again.
            self._streaming = self._is_loop_running()
            if not self._streaming:
                self._follower = None

    def recover(self) -> None:
        """Clears the errors, and restores a lost connection, the gripper's included.

        Raises:
            ArmFault: the cause is still there, such as a pressed user stop, or the arm still moves.
        """
        if self._is_loop_running():
            with suppress(ArmFault):
                self.stop()
        # Restore in this order: robot connection, then gripper connection, then the robot's errors.
        if self._robot is None or not self._is_alive():
            self._disconnect_all()
            self.connect()
        elif self._is_loop_running():
            raise make_library_fault(FaultKind.CONTROL, "the arm still follows targets")
        elif self._is_hand_lost:
            self._reach_hand(HAND_PATIENCE)
        if self._fingers is not None:
            # A person confirmed: a gripper command that failed earlier is not reported once more by the next one.
            with suppress(ArmFault):
                self._fingers.raise_failure()
        self._streaming, self._follower = False, None
        for _ in range(RECOVERIES):
            self._recover_once()
            if find_reported_fault(self.state()) is None:
                break
            time.sleep(0.1)  # a motion cut off by a lost connection may report one more error
        self._require_no_fault()
        if wait_for_motion_end(lambda: self._read().mode) is Mode.MOVING:
            raise make_library_fault(FaultKind.CONTROL, "the arm still moves")

    def move_to(self, q: np.ndarray, speed_fraction: float = 0.1) -> None:
        if not 0 < speed_fraction <= self.max_speed_fraction:
            raise UsageError(
                f"speed_fraction={speed_fraction}: expected above 0, at most {self.max_speed_fraction} on a {self.name}"
            )
        if self._streaming:
            raise UsageError("the arm follows targets: stop before move_to")
        self._require_hand()
        self._require_no_fault()
        try:
            self._ensure_thresholds()
            self._go(np.asarray(q, float), speed_fraction)
        except Exception as error:
            raise self._to_fault(error) from error

    def gripper(self, width: float, speed: float, force: float | None = None) -> None:
        if self._fingers is not None:
            self._require_hand()
            self._fingers.submit_command(FingerCommand(width, force), speed)

    def close(self) -> None:
        try:
            self.stop()
        finally:
            self._disconnect_all()

    def _brake_to_rest(self) -> None:
        """Brings the arm to rest from its measured state, within the limits of acceleration.

        Neither the last command nor the robot's own desired state shows where the arm is: it follows
        the stream with a lag, and in torque control a Panda reports the pose in which the stream began.
        """
        state = self._read_finite_state()
        way, begun, still = compute_braking(self.arm_model, self._brakes, state.q, state.dq), state.robot_time, 0.0
        # Elapsed time is the robot's, the deadline this computer's, in case the robot's clock stops.
        end = time.monotonic() + way.duration + BRAKE_PATIENCE
        while time.monotonic() < end:
            self._check_motion()
            elapsed = state.robot_time - begun
            # At rest: the path has ended and the speed stayed below `AT_REST` for `REST_TIME`.
            if elapsed < way.duration or np.abs(state.dq).max() > AT_REST:
                still = elapsed
            elif elapsed - still >= REST_TIME:
                return
            # One period ahead, because the target takes effect until the next one.
            self._send(Target(joints=self._compute_brake_goal(way, elapsed + BRAKE_TICK)))
            self._braked = True
            time.sleep(BRAKE_TICK)
            state = self._read_finite_state()

    def _read_finite_state(self) -> ArmState:
        """Returns a state whose joints, speeds and time are finite.

        Raises:
            ArmFault: they are not finite.
        """
        state = self._read()
        if not (np.isfinite(state.q).all() and np.isfinite(state.dq).all() and np.isfinite(state.robot_time)):
            raise make_library_fault(FaultKind.COMMUNICATION, "measured joints or speeds are not finite")
        return state

    def _compute_brake_goal(self, way: BrakingProfile, elapsed: float) -> np.ndarray:
        """Computes the joints (7,) [rad] to send to the library for the arm to be on its braking path."""
        low, high = self._brakes.q_end
        # The target leads the path by lag times speed, and keeps `END_MARGIN` from the mechanical ends.
        return np.clip(way.compute_target(elapsed, self.compliance.lag), low + END_MARGIN, high - END_MARGIN)

    @property
    def _finger_width(self) -> float:
        return self._fingers.width if self._fingers else 0.0

    @property
    def has_hand(self) -> bool:
        """True if the hand is connected."""
        return self._library_hand is not None

    @property
    def is_homed(self) -> bool:
        """True if the hand was homed, so that its widest opening is known."""
        return self.max_width > NEAR

    @property
    def max_width(self) -> float:
        """The widest opening of the hand [m], which is 0 until it was homed; 0 without a hand."""
        return self._library_hand.max_width if self._library_hand else 0.0

    def _make_finger_controller(self, hand: LibraryHand) -> FingerController:
        lag, clearance = self.compliance.finger_lag, self.compliance.clearance
        return FingerController(hand, self._to_gripper_fault, self._force, lag=lag, clearance=clearance)

    def _reach_hand(self, patience: float) -> None:
        """Connects to the gripper, with repeated attempts for some time [s].

        Raises:
            ArmFault: it does not answer.
        """
        if self._fingers is not None:
            self._fingers.close()
        end = time.monotonic() + patience
        while True:
            try:
                self._library_hand = self._hand()
                self._fingers = self._make_finger_controller(self._library_hand)
                self._cut = False
                return
            except Exception as error:
                if time.monotonic() >= end:
                    raise make_hand_lost_fault(str(error), tried=True) from error
                time.sleep(0.2)

    def _require_hand(self) -> None:
        """Raises a fault while the gripper does not answer, or the unraised failure of its last command."""
        if self._fingers is not None:
            self._fingers.raise_failure()
            if self._is_hand_lost:
                raise make_hand_lost_fault("it sends no states")

    @property
    def _is_hand_lost(self) -> bool:
        """True if a gripper was connected whose connection must be restored."""
        return self._fingers is not None and (self._cut or not self._fingers.is_alive)

    def _recover_once(self) -> None:
        """Attempts one recovery of the robot."""
        mode = wait_for_motion_end(lambda: self._read().mode)
        if mode is Mode.USER_STOPPED:
            self._require_no_fault()
        try:
            if mode is Mode.REFLEX or self._read().errors:
                self._clear_errors()
            self._set_thresholds()
            self._thresholds_set = True
        except Exception as error:
            raise self._to_fault(error) from error

    def _ensure_thresholds(self) -> None:
        """Sets the collision thresholds, unless they were set since the connection was made."""
        if not self._thresholds_set:
            self._set_thresholds()
            self._thresholds_set = True

    def _require_no_fault(self) -> None:
        fault = find_reported_fault(self.state())
        if fault:
            raise fault
        if self.has_hand and not self.is_homed:
            raise ArmFault(*UNHOMED, True, FaultKind.GRIPPER)

    def _is_alive(self) -> bool:
        try:
            return self._read() is not None
        except Exception:  # noqa: BLE001  after any error the connection is unusable
            return False

    def _require_robot(self) -> Any:
        if self._robot is None and self._library is not None:
            raise make_library_fault(FaultKind.COMMUNICATION, "the connection was lost and could not be re-established")
        if self._robot is None:
            raise UsageError("the arm is not connected: call connect first")
        return self._robot

    def _handle_error(self, error: Exception) -> ArmFault:
        """Returns the fault of an error.

        The fingers no longer follow the stream, which continues only while the library's loop runs.
        """
        if self._fingers is not None:
            self._fingers.end_stream()
        error = self._find_cause(error)
        self._streaming = self._streaming and self._is_loop_running()
        return self._to_fault(error)

    def _find_cause(self, error: Exception) -> Exception:
        """Returns the error that ended the library's loop, where the library only reported that it has ended."""
        return error

    def _is_loop_running(self) -> bool:
        """Returns whether the library's loop follows targets; true of a stream whose end is not certain."""
        if self._robot is None:
            return False
        try:
            return self._streaming and self._is_following()
        except Exception:  # noqa: BLE001  an error does not prove that the loop has ended
            return True

    def _to_fault(self, error: Exception) -> ArmFault:
        return classify_error(error, self.host)

    def _to_gripper_fault(self, error: Exception) -> ArmFault:
        kind = classify_error(error, self.host).kind
        lost = type(error).__name__ == "NetworkException" or kind is FaultKind.COMMUNICATION
        self._cut |= lost
        return make_hand_lost_fault(str(error)) if lost else make_library_fault(FaultKind.GRIPPER, str(error))

    def _disconnect_all(self) -> None:
        if self._fingers:
            self._fingers.close()
        self._fingers = self._library_hand = self._follower = self._robot = None
        self._streaming = self._thresholds_set = False

    @property
    @abstractmethod
    def library(self) -> str:
        """Name and version of the client library."""

    @abstractmethod
    def _import_library(self) -> Any:
        """Returns the imported client library."""

    @abstractmethod
    def _open(self) -> Any:
        """Connects to the robot; returns the library's robot object."""

    @abstractmethod
    def _check_robot(self) -> None:
        """Raises `ArmFault` if the robot is not this driver's."""

    @abstractmethod
    def _hand(self) -> LibraryHand:
        """Connects to the hand; returns its client."""

    @abstractmethod
    def _read(self) -> ArmState:
        """Returns the newest state."""

    @abstractmethod
    def _read_library_state(self) -> Any:
        """Returns the library's own state; not while targets are followed."""

    @abstractmethod
    def _follow(self) -> Any:
        """Starts to follow targets; returns the library's object that accepts them."""

    @abstractmethod
    def _check_motion(self) -> None:
        """Raises the error that ended the stream, if one did."""

    @abstractmethod
    def _is_following(self) -> bool:
        """Returns whether the library's loop runs and commands the arm."""

    @abstractmethod
    def _send(self, target: Target) -> None:
        """Sends the next target of the stream."""

    @abstractmethod
    def _come_to_rest(self) -> None:
        """Ends the stream of an arm, whether it has braked or not."""

    @abstractmethod
    def _go(self, q: np.ndarray, speed_fraction: float) -> None:
        """Moves slowly to joint angles (7,) [rad]."""

    @abstractmethod
    def _clear_errors(self) -> None:
        """Calls the robot's own error recovery."""

    @abstractmethod
    def _set_thresholds(self) -> None:
        """Sets the collision thresholds."""
