"""What the drivers of both Franka arms share: how they connect, stream, recover, and what they say of faults."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from robo_reward.envs.panda.arm import Arm as Numbers
from robo_reward.errors import UsageError
from robo_reward.hardware.braking import Braking, brake_from
from robo_reward.hardware.franka.complaints import classified, hand_lost, told
from robo_reward.hardware.franka.compliance import Compliance, checked_realtime
from robo_reward.hardware.franka.fingers import NEAR, Fingers, LibraryHand, Wish
from robo_reward.hardware.franka.measured import Receipts, rested, standing_fault
from robo_reward.hardware.limits import policy_limits
from robo_reward.hardware.robot import ArmFault, ArmState, FaultKind, Mode, Target

log = logging.getLogger(__name__)
RECOVERIES = 3
"""How often errors are cleared in one `recover`."""
ENDS = 0.01
"""What an arm that brakes is told keeps this distance from the ends of the joints [rad]."""
BRAKE_TICK = 0.004
"""How often an arm that brakes is told where to be [s]."""
BRAKE_PATIENCE = 1.0
"""An arm that has braked comes to rest within this time [s]; contacts and friction may keep it from standing still."""
AT_REST = 0.01
"""Joint speed below which the arm stands [rad/s] ..."""
RESTED = 0.1
"""... if it stays so for this time of the robot's clock [s]: an arm that turns round is at rest for a moment only."""
HAND_PATIENCE = 5.0
"""How long `recover` tries to reach a gripper whose connection was lost [s]."""
UNHOMED = (
    "the hand was not homed since it was switched on: it says that it opens to 0 mm",
    "Home it in Desk, with nothing between the fingers, then confirm",
)
"""Cause and remedy."""


class FrankaArm(ABC):
    """An arm of Franka's behind a client library; what differs between libraries is in the methods at the end.

    Args:
        host: the robot's address.
        realtime: `enforce` (a real-time kernel, or no connection) or `ignore`.
        compliance: gains and collision thresholds.
        force: of a grasp [N].
        gripper: whether a Franka Hand is mounted.

    Raises:
        UsageError: another word for `realtime`.
    """

    name: ClassVar[str]
    numbers: ClassVar[Numbers]
    version: ClassVar[int]
    """Of the protocol that the library speaks."""
    fastest: ClassVar[float]
    """The largest `speed_fraction` of `move_to`."""

    def __init__(
        self,
        host: str,
        realtime: str = "enforce",
        compliance: Compliance | None = None,
        force: float = 20.0,
        gripper: bool = True,
    ) -> None:
        self.host, self.realtime = host, checked_realtime(realtime)
        self.compliance = compliance or Compliance()
        self._with_gripper, self._force = gripper, force
        self._brakes = policy_limits(self.numbers, acceleration=self.compliance.braking)
        self._receipts = Receipts()
        self._library: Any = None
        self._robot: Any = None
        self._follower: Any = None  # the library's loop that follows targets
        self._fingers: Fingers | None = None
        self._streaming = self._reached = self._cut = False
        self._braked = False  # whether the library was told a place of rest
        self._thresholds_set = False
        self._library_hand: LibraryHand | None = None

    def connect(self) -> None:
        """Reaches the robot, checks that it is the right one, sets gains and collision thresholds.

        Raises:
            ArmFault: it cannot be reached, is another robot, or the kernel is not real-time.
            MissingExtra: the client library is not installed.
        """
        self._library = self._imported()
        if self.realtime == "ignore":
            log.warning(
                "realtime=ignore: when this computer is late by 20 ms the robot stops itself; not for daily use"
            )
        try:
            self._robot = self._open()
            self._check_robot()
            if rested(lambda: self._read().mode) is Mode.IDLE:  # else it is done before the first motion
                self._ensure_thresholds()
            if self._with_gripper:
                self._reach_hand(0.0)
        except ArmFault:
            self._drop()
            raise
        except Exception as error:
            self._drop()
            first = not self._reached
            raise classified(error, self.host, connected=False, first=first, speaks=self.version) from error
        self._reached = True

    def about(self) -> dict[str, Any]:
        """Returns the versions of robot and library, and the load that the robot reckons with [kg, m]."""
        state, versions = self._raw(), {"robot": self.name, "server_version": self.version, "library": self.library}
        load = {"m_ee": float(state.m_ee), "F_x_Cee": [float(x) for x in state.F_x_Cee]}
        return {**versions, **load, "m_load": float(state.m_load)}

    def state(self) -> ArmState:
        self._connected()
        try:
            if self._streaming:
                self._check_motion()
            return replace(self._read(), gripper_busy=self._fingers is not None and self._fingers.busy)
        except Exception as error:
            raise self._broken(error) from error

    def start_streaming(self) -> None:
        self._refuse_lost_hand()
        self._refuse_standing_fault()
        try:
            self._ensure_thresholds()
            self._follower = self._follow()
        except Exception as error:
            raise self._fault(error) from error
        self._streaming = True

    def stream(self, target: Target) -> None:
        """The next target.

        Raises:
            ArmFault: the robot ended the motion.
            UsageError: not streaming, or a target that this driver does not take.
        """
        if not self._streaming:
            raise UsageError("the arm does not follow targets: call start_streaming first")
        try:
            self._check_motion()
            self._send(target)
        except UsageError:
            raise
        except Exception as error:
            raise self._broken(error) from error
        if self._fingers is not None and target.gripper >= 0:
            self._fingers.follow(target.gripper)

    def hold(self) -> None:
        """Nothing needs to be sent: the library holds the last target."""
        self.state()

    def stop(self) -> None:
        """Brakes from where the arm is, by the measured joints and speeds, and ends the stream.

        The stream is ended even if braking fails or is interrupted; if the library's loop still runs afterwards, the
        next call tries again.
        """
        if self._fingers is not None:
            self._fingers.end()
        if not self._streaming or self._robot is None:
            return
        self._braked = False
        try:
            try:
                if self._follower is not None:
                    self._brake()
            finally:
                self._come_to_rest()
        except Exception as error:
            raise self._fault(error) from error
        finally:
            self._streaming = self._loop_runs()
            if not self._streaming:
                self._follower = None

    def recover(self) -> None:
        """Clears the errors; a connection that was lost is made anew, the gripper's included.

        Raises:
            ArmFault: the cause is still there, such as a pressed user stop, or the arm still moves.
        """
        if self._loop_runs():
            with suppress(ArmFault):
                self.stop()
        if self._robot is None or not self._alive():
            self._drop()
            self.connect()
        elif self._loop_runs():
            raise told(FaultKind.CONTROL, "the arm still follows targets")
        elif self._hand_lost:
            self._reach_hand(HAND_PATIENCE)
        self._streaming, self._follower = False, None
        for _ in range(RECOVERIES):
            self._clear()
            if standing_fault(self.state()) is None:
                break
            time.sleep(0.1)  # what was under way when the connection broke may end in an error of its own
        self._refuse_standing_fault()
        if rested(lambda: self._read().mode) is Mode.MOVING:
            raise told(FaultKind.CONTROL, "the arm still moves")

    def move_to(self, q: np.ndarray, speed_fraction: float = 0.1) -> None:
        if not 0 < speed_fraction <= self.fastest:
            raise UsageError(
                f"speed_fraction={speed_fraction}: expected above 0, at most {self.fastest} on a {self.name}"
            )
        if self._streaming:
            raise UsageError("the arm follows targets: stop before move_to")
        self._refuse_lost_hand()
        self._refuse_standing_fault()
        try:
            self._ensure_thresholds()
            self._go(np.asarray(q, float), speed_fraction)
        except Exception as error:
            raise self._fault(error) from error

    def gripper(self, width: float, speed: float, force: float | None = None) -> None:
        if self._fingers is not None:
            self._refuse_lost_hand()
            self._fingers.do(Wish(width, force), speed)

    def close(self) -> None:
        try:
            self.stop()
        finally:
            self._drop()

    def _brake(self) -> None:
        """Leads the arm to rest from its measured state, within the limits of acceleration.

        Neither what was commanded last nor what the robot calls its desired state tells where the arm is: it follows
        the stream with a lag, and in torque control a Panda reports the pose in which the stream began.
        """
        state = self._measured()
        way, begun, still = brake_from(self.numbers, self._brakes, state.q, state.dq), state.robot_time, 0.0
        end = time.monotonic() + way.duration + BRAKE_PATIENCE
        while time.monotonic() < end:
            self._check_motion()
            elapsed = state.robot_time - begun
            if elapsed < way.duration or np.abs(state.dq).max() > AT_REST:
                still = elapsed
            elif elapsed - still >= RESTED:
                return
            self._send(Target(joints=self._brake_goal(way, elapsed + BRAKE_TICK)))
            self._braked = True
            time.sleep(BRAKE_TICK)
            state = self._measured()

    def _measured(self) -> ArmState:
        """Returns a state whose joints, speeds and time are numbers.

        Raises:
            ArmFault: they are not.
        """
        state = self._read()
        if not (np.isfinite(state.q).all() and np.isfinite(state.dq).all() and np.isfinite(state.robot_time)):
            raise told(FaultKind.COMMUNICATION, "measured joints or speeds are not finite")
        return state

    def _brake_goal(self, way: Braking, elapsed: float) -> np.ndarray:
        """The joints (7,) [rad] that the library must be told for the arm to be on its way to rest."""
        low, high = self._brakes.q_end
        return np.clip(way.goal(elapsed, self.compliance.lag), low + ENDS, high - ENDS)

    @property
    def _width(self) -> float:
        return self._fingers.width if self._fingers else 0.0

    @property
    def has_hand(self) -> bool:
        """Whether the hand is connected."""
        return self._library_hand is not None

    @property
    def is_homed(self) -> bool:
        """Whether the hand knows how far it opens."""
        return self.max_width > NEAR

    @property
    def max_width(self) -> float:
        """The widest opening of the hand [m], which is 0 until it was homed; 0 without a hand."""
        return self._library_hand.max_width if self._library_hand else 0.0

    def _hand_followed(self, hand: LibraryHand) -> Fingers:
        lag, clearance = self.compliance.finger_lag, self.compliance.clearance
        return Fingers(hand, self._gripper_fault, self._force, lag=lag, clearance=clearance)

    def _reach_hand(self, patience: float) -> None:
        """Connects to the gripper, if need be again and again for some time [s].

        Raises:
            ArmFault: it does not answer.
        """
        if self._fingers is not None:
            self._fingers.close()
        end = time.monotonic() + patience
        while True:
            try:
                self._library_hand = self._hand()
                self._fingers = self._hand_followed(self._library_hand)
                self._cut = False
                return
            except Exception as error:
                if time.monotonic() >= end:
                    raise hand_lost(str(error), tried=True) from error
                time.sleep(0.2)

    def _refuse_lost_hand(self) -> None:
        """Nothing moves while the gripper does not answer, or before the failure of its last command was told."""
        if self._fingers is not None:
            self._fingers.check()
            if self._hand_lost:
                raise hand_lost("no state of it comes")

    @property
    def _hand_lost(self) -> bool:
        """Whether there was a gripper whose connection must be made anew."""
        return self._fingers is not None and (self._cut or not self._fingers.alive)

    def _clear(self) -> None:
        """One recovery of the robot."""
        mode = rested(lambda: self._read().mode)
        if mode is Mode.USER_STOPPED:
            self._refuse_standing_fault()
        try:
            if mode is Mode.REFLEX or self._read().errors:
                self._clear_errors()
            self._set_thresholds()
            self._thresholds_set = True
        except Exception as error:
            raise self._fault(error) from error

    def _ensure_thresholds(self) -> None:
        """Sets the collision thresholds, unless they were since the connection was made."""
        if not self._thresholds_set:
            self._set_thresholds()
            self._thresholds_set = True

    def _refuse_standing_fault(self) -> None:
        fault = standing_fault(self.state())
        if fault:
            raise fault
        if self.has_hand and not self.is_homed:
            raise ArmFault(*UNHOMED, True, FaultKind.GRIPPER)

    def _alive(self) -> bool:
        try:
            return self._read() is not None
        except Exception:  # noqa: BLE001  whatever it is, the connection is of no use
            return False

    def _connected(self) -> Any:
        if self._robot is None and self._library is not None:
            raise told(FaultKind.COMMUNICATION, "the connection was lost and could not be made anew")
        if self._robot is None:
            raise UsageError("the arm is not connected: call connect first")
        return self._robot

    def _broken(self, error: Exception) -> ArmFault:
        """Returns the fault; the fingers follow no longer, and the stream goes on only as long as the loop runs."""
        if self._fingers is not None:
            self._fingers.end()
        error = self._find_cause(error)
        self._streaming = self._streaming and self._loop_runs()
        return self._fault(error)

    def _find_cause(self, error: Exception) -> Exception:
        """Returns what ended the library's loop, where the library only said that it has ended."""
        return error

    def _loop_runs(self) -> bool:
        """Whether the library's loop follows targets; true of a stream whose end is not known for sure."""
        if self._robot is None:
            return False
        try:
            return self._streaming and self._is_following()
        except Exception:  # noqa: BLE001  whatever it is, it is no proof of an end
            return True

    def _fault(self, error: Exception) -> ArmFault:
        return classified(error, self.host)

    def _gripper_fault(self, error: Exception) -> ArmFault:
        kind = classified(error, self.host).kind
        lost = type(error).__name__ == "NetworkException" or kind is FaultKind.COMMUNICATION
        self._cut |= lost
        return hand_lost(str(error)) if lost else told(FaultKind.GRIPPER, str(error))

    def _drop(self) -> None:
        if self._fingers:
            self._fingers.close()
        self._fingers = self._library_hand = self._follower = self._robot = None
        self._streaming = self._thresholds_set = False

    @property
    @abstractmethod
    def library(self) -> str:
        """Name and version of the library."""

    @abstractmethod
    def _imported(self) -> Any:
        """The library."""

    @abstractmethod
    def _open(self) -> Any:
        """The library's robot, connected."""

    @abstractmethod
    def _check_robot(self) -> None:
        """Raises `ArmFault` for another robot than this driver's."""

    @abstractmethod
    def _hand(self) -> LibraryHand:
        """The library's client of the hand."""

    @abstractmethod
    def _read(self) -> ArmState:
        """The newest state."""

    @abstractmethod
    def _raw(self) -> Any:
        """The library's own state; not while targets are followed."""

    @abstractmethod
    def _follow(self) -> Any:
        """Begins to follow targets; returns what takes them."""

    @abstractmethod
    def _check_motion(self) -> None:
        """Raises what ended the stream, if something did."""

    @abstractmethod
    def _is_following(self) -> bool:
        """Whether the library's loop runs and commands the arm."""

    @abstractmethod
    def _send(self, target: Target) -> None:
        """The next target of the stream."""

    @abstractmethod
    def _come_to_rest(self) -> None:
        """Ends the stream of an arm, whether it has braked or not."""

    @abstractmethod
    def _go(self, q: np.ndarray, speed_fraction: float) -> None:
        """A slow motion to joint angles (7,) [rad]."""

    @abstractmethod
    def _clear_errors(self) -> None:
        """The robot's own recovery."""

    @abstractmethod
    def _set_thresholds(self) -> None:
        """Collision thresholds."""
