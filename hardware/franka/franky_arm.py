"""An FR3 through franky: its torque loop runs at 1 kHz in C++, untouched by Python's pauses."""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np

from robo_reward.envs.panda.arm import FR3
from robo_reward.errors import MissingExtra, UsageError
from robo_reward.hardware.franka.complaints import classified, told
from robo_reward.hardware.franka.compliance import Compliance, checked_realtime
from robo_reward.hardware.franka.fingers import Fingers, LibraryHand, Wish
from robo_reward.hardware.franka.measured import Receipts, arm_state, check_limits, mode_named, rested, standing_fault
from robo_reward.hardware.robot import ArmFault, ArmState, FaultKind, Mode, Target

log = logging.getLogger(__name__)
RECOVERIES = 3
"""How often errors are cleared in one `recover`."""
MAX_DYNAMICS = 0.4
"""franky's own maxima are a Panda's, 20 rad/s² in the wrist; half of that is the FR3's limit and trips it."""
GENTLE = 0.5
"""Share of what is left that slow motions use of acceleration and jerk."""
STOP_PATIENCE = 4.0
"""The stop motion ends by itself after 2 s [s]."""


class FrankyArm:
    """A Franka Research 3 with system 5.9 or later (server version 10).

    Targets in joints are followed by franky's joint impedance tracker, poses by its Cartesian one. Both hold the last
    target for ever: that somebody falls silent is for the watchdog and the control process to see.

    Args:
        host: the robot's address.
        realtime: `enforce` (a real-time kernel, or no connection) or `ignore`.
        compliance: gains and collision thresholds.
        force: of a grasp [N].
        gripper: whether a Franka Hand is mounted.

    Raises:
        UsageError: another word for `realtime`.
    """

    name = "fr3"

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
        self._with_gripper = gripper
        self._receipts = Receipts()
        self._force = force
        self._franky: Any = None
        self._robot: Any = None
        self._tracker: Any = None
        self._fingers: Fingers | None = None
        self._streaming = False

    def connect(self) -> None:
        """Reaches the robot, checks version and joint limits, sets gains and collision thresholds.

        Raises:
            ArmFault: it cannot be reached, is another robot, or the kernel is not real-time.
            MissingExtra: franky is not installed.
        """
        self._franky = franky = _library()
        if self.realtime == "ignore":
            log.warning(
                "realtime=ignore: when this computer is late by 20 ms the robot stops itself; not for daily use"
            )
        mode = franky.RealtimeConfig.Ignore if self.realtime == "ignore" else franky.RealtimeConfig.Enforce
        try:
            self._robot = franky.Robot(self.host, relative_dynamics_factor=MAX_DYNAMICS, realtime_config=mode)
            check_limits(FR3, self._robot.model_urdf)
            if rested(self.state_mode) is Mode.IDLE:  # else `recover` does it
                self._set_thresholds()
            if self._with_gripper:
                hand = franky.Gripper(self.host)
                self._fingers = Fingers(
                    LibraryHand(hand, lambda: hand.width),
                    self._gripper_fault,
                    self._force,
                    lag=self.compliance.finger_lag,
                    clearance=self.compliance.clearance,
                )
        except ArmFault:
            self._drop()
            raise
        except Exception as error:
            self._drop()
            raise classified(error, self.host, connected=False) from error

    def state_mode(self) -> Mode:
        """What the robot says it is doing."""
        return mode_named(self._connected().state.robot_mode.name)

    def state(self) -> ArmState:
        robot = self._connected()
        try:
            if self._streaming and not robot.is_in_control:
                robot.poll_motion()  # raises what ended the motion
            state = robot.state
        except Exception as error:
            self._streaming = False
            raise self._fault(error) from error
        width = self._fingers.width if self._fingers else 0.0
        return arm_state(
            FR3,
            self._receipts.stamp(state.time.to_sec()),
            state.time.to_sec(),
            state.q,
            state.dq,
            state.tau_ext_hat_filtered,
            state.O_F_ext_hat_K,
            width,
            mode_named(state.robot_mode.name),
            _errors(state),
        )

    def start_streaming(self) -> None:
        self._refuse_standing_fault()
        c = self.compliance
        try:
            self._tracker = self._franky.JointImpedanceTracker(
                self._connected(),
                stiffness=np.array(c.stiffness),
                damping=np.array(c.damping),
                max_delta_tau=c.torque_step,
                lower_joint_limits=np.array(FR3.q_min),
                upper_joint_limits=np.array(FR3.q_max),
            )
        except Exception as error:
            raise self._fault(error) from error
        self._streaming = True

    def stream(self, target: Target) -> None:
        if not self._streaming:
            raise UsageError("the arm does not follow targets: call start_streaming first")
        try:
            self._connected().poll_motion()
            if target.joints is not None:
                self._follow_joints(target.joints)
            elif target.position is not None and target.quat is not None:
                self._follow_pose(target.position, target.quat)
        except Exception as error:
            self._streaming = False
            raise self._fault(error) from error
        self._follow_gripper(target.gripper)

    def _follow_joints(self, q: np.ndarray) -> None:
        if not isinstance(self._tracker, self._franky.JointImpedanceTracker):
            self.start_streaming()
        self._tracker.set_target(np.asarray(q, float))

    def _follow_pose(self, position: np.ndarray, quat: np.ndarray) -> None:
        franky, c = self._franky, self.compliance
        if not isinstance(self._tracker, franky.CartesianImpedanceTracker):
            self._tracker = franky.CartesianImpedanceTracker(
                self._connected(),
                translational_stiffness=c.translational,
                rotational_stiffness=c.rotational,
                max_delta_tau=c.torque_step,
                lower_joint_limits=np.array(FR3.q_min),
                upper_joint_limits=np.array(FR3.q_max),
            )
        w, x, y, z = quat
        self._tracker.set_target(franky.Affine(np.asarray(position, float), np.array([x, y, z, w])))

    def _follow_gripper(self, width: float) -> None:
        if self._fingers is not None and width >= 0:
            self._fingers.follow(width)

    def hold(self) -> None:
        """Nothing needs to be sent: the tracker holds its last target."""
        self.state()

    def stop(self) -> None:
        """Ramps the torques into pure damping until the joints are at rest."""
        if not self._streaming or self._robot is None:
            return
        self._streaming = False
        try:
            if self._robot.is_in_control:
                self._robot.move(self._franky.TorqueStopMotion(), asynchronous=True)
            self._join(STOP_PATIENCE)
        except Exception as error:
            raise self._fault(error) from error

    def recover(self) -> None:
        """Clears the errors; a connection that was lost is made anew.

        Raises:
            ArmFault: the cause is still there, such as a pressed user stop.
        """
        self._streaming = False
        if self._robot is None or not self._alive():
            self._drop()
            self.connect()
        for _ in range(RECOVERIES):
            self._clear()
            fault = standing_fault(self.state())
            if fault is None:
                return
            time.sleep(0.1)  # what was under way when the connection broke may end in an error of its own
        self._refuse_standing_fault()

    def _clear(self) -> None:
        """One recovery of the robot."""
        robot, mode = self._connected(), rested(self.state_mode)
        if mode is Mode.USER_STOPPED:
            self._refuse_standing_fault()
        try:
            if mode is Mode.REFLEX or robot.has_errors:
                robot.recover_from_errors()
            self._set_thresholds()
        except Exception as error:
            raise self._fault(error) from error

    def move_to(self, q: np.ndarray, speed_fraction: float = 0.1) -> None:
        if not 0 < speed_fraction <= MAX_DYNAMICS:
            raise UsageError(f"speed_fraction={speed_fraction}: expected above 0, at most {MAX_DYNAMICS} on an FR3")
        if self._streaming:
            raise UsageError("the arm follows targets: stop before move_to")
        self._refuse_standing_fault()
        franky, robot = self._franky, self._connected()
        factor = franky.RelativeDynamicsFactor(speed_fraction / MAX_DYNAMICS, GENTLE, GENTLE)
        try:
            robot.move(franky.JointMotion(np.asarray(q, float), relative_dynamics_factor=factor), asynchronous=True)
            self._join(120.0)
        except BaseException as error:
            if not isinstance(error, Exception):  # Ctrl-C: come to rest, then go on interrupting
                self._interrupt_motion()
                raise
            raise self._fault(error) from error

    def gripper(self, width: float, speed: float, force: float | None = None) -> None:
        if self._fingers is None:
            return
        self._fingers.do(Wish(width, force), speed)

    def close(self) -> None:
        try:
            self.stop()
        finally:
            self._drop()

    def _join(self, patience: float) -> None:
        """Waits for the motion in short slices, so that a signal gets through."""
        end = time.monotonic() + patience
        while not self._robot.join_motion(0.05):
            if time.monotonic() > end:
                raise TimeoutError(f"the motion did not end within {patience:g} s")

    def _interrupt_motion(self) -> None:
        try:
            self._robot.move(self._franky.JointStopMotion(), asynchronous=True)
            self._join(STOP_PATIENCE)
        except Exception as error:  # noqa: BLE001  it is on its way out already
            log.warning("the arm was interrupted and did not stop by itself: %s", error)

    def _set_thresholds(self) -> None:
        torque, force = self.compliance.torque_threshold, self.compliance.force_threshold
        self._connected().set_collision_behavior(list(torque), list(force))

    def _refuse_standing_fault(self) -> None:
        fault = standing_fault(self.state())
        if fault:
            raise fault

    def _alive(self) -> bool:
        try:
            return self._robot.state is not None
        except Exception:  # noqa: BLE001  whatever it is, the connection is of no use
            return False

    def _connected(self) -> Any:
        if self._robot is None:
            raise UsageError("the arm is not connected: call connect first")
        return self._robot

    def _fault(self, error: Exception) -> ArmFault:
        fault = classified(error, self.host)
        if fault.kind is FaultKind.CONTROL and self._robot is not None and self._alive():
            standing = self._robot.state
            if mode_named(standing.robot_mode.name) is Mode.USER_STOPPED:
                return told(FaultKind.USER_STOP)
        return fault

    def _gripper_fault(self, error: Exception) -> ArmFault:
        found = classified(error, self.host)
        if found.kind is FaultKind.COMMUNICATION:
            return found
        return told(FaultKind.GRIPPER, str(error))

    def _drop(self) -> None:
        if self._fingers:
            self._fingers.close()
        self._fingers = self._tracker = self._robot = None
        self._streaming = False


def _errors(state: Any) -> tuple[str, ...]:
    """Names of the active errors, and in a reflex of those that ended the last motion."""
    found = _flags(state.current_errors)
    if not found and state.robot_mode.name == "Reflex":
        found = _flags(state.last_motion_errors)
    return tuple(found)


def _flags(errors: Any) -> list[str]:
    return [n for n in dir(errors) if not n.startswith("_") and getattr(errors, n) is True]


def _library() -> Any:
    try:
        import franky
    except ImportError as error:
        raise MissingExtra("franky-control", "franka", "an FR3") from error
    return franky
