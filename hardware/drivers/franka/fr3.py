"""Driver of an FR3 through franky: its torque loop runs at 1 kHz in C++, untouched by Python's pauses."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import numpy as np

from robo_reward.envs.arm.model import FR3
from robo_reward.errors import MissingExtra
from robo_reward.hardware.arm import ArmFault, ArmState, FaultKind, Mode, Target
from robo_reward.hardware.drivers.franka.base import FrankaArm
from robo_reward.hardware.drivers.franka.errors import make_library_fault
from robo_reward.hardware.drivers.franka.gripper import LibraryHand
from robo_reward.hardware.drivers.franka.state import check_joint_limits, make_arm_state, parse_mode

log = logging.getLogger(__name__)
MAX_DYNAMICS = 0.4
"""Share of franky's maxima that motions use. These are a Panda's, 20 rad/s² in the wrist; half of that is the FR3's
limit and triggers its reflex."""
GENTLE = 0.5
"""Further factor on acceleration and jerk of slow motions, on top of `MAX_DYNAMICS`."""
STOP_PATIENCE = 4.0
"""Longest wait for the end of a stop motion [s], which ends by itself after 2 s."""


class FrankyArm(FrankaArm):
    """A Franka Research 3 with system 5.9 or later (server version 10).

    Targets are followed by franky's joint impedance tracker, which holds the last one indefinitely: the watchdog and
    the control process detect missing targets.
    """

    name = "fr3"
    arm_model = FR3
    version = 10
    max_speed_fraction = MAX_DYNAMICS

    @property
    def library(self) -> str:
        return f"franky-control {version('franky-control')}"

    def _import_library(self) -> Any:
        try:
            import franky
        except ImportError as error:
            raise MissingExtra("franky-control", "franka", "an FR3") from error
        return franky

    def _open(self) -> Any:
        config = self._library.RealtimeConfig
        mode = config.Ignore if self.realtime == "ignore" else config.Enforce
        return self._library.Robot(self.host, relative_dynamics_factor=MAX_DYNAMICS, realtime_config=mode)

    def _check_robot(self) -> None:
        check_joint_limits(FR3, self._robot.model_urdf)

    def _hand(self) -> LibraryHand:
        hand = self._library.Gripper(self.host)
        return LibraryHand(hand, lambda: hand.state)

    def _read(self) -> ArmState:
        state = self._require_robot().state
        return make_arm_state(
            FR3,
            self._receipts.stamp_state(state.time.to_sec()),
            state.time.to_sec(),
            state.q,
            state.dq,
            state.tau_ext_hat_filtered,
            state.O_F_ext_hat_K,
            self._finger_width,
            parse_mode(state.robot_mode.name),
            _active_errors(state),
        )

    def _read_library_state(self) -> Any:
        return self._require_robot().state

    def _follow(self) -> Any:
        c = self.compliance
        return self._library.JointImpedanceTracker(
            self._require_robot(),
            stiffness=np.array(c.stiffness),
            damping=np.array(c.damping),
            max_delta_tau=c.torque_step,
            lower_joint_limits=np.array(FR3.q_min),
            upper_joint_limits=np.array(FR3.q_max),
        )

    def _check_motion(self) -> None:
        self._require_robot().poll_motion()

    def _is_following(self) -> bool:
        return bool(self._robot.is_in_control)

    def _send(self, target: Target) -> None:
        self._follower.set_target(np.asarray(target.joints, float))

    def _come_to_rest(self) -> None:
        """Ramps the torques into pure damping until the joints are at rest; if that fails, the robot stops itself."""
        try:
            if self._robot.is_in_control:
                self._robot.move(self._library.TorqueStopMotion(), asynchronous=True)
            self._follower = None
            self._join_motion(STOP_PATIENCE)
        except Exception:
            if self._robot.is_in_control:
                self._robot.stop()
                with suppress(Exception):  # raised because the motion was preempted
                    self._join_motion(STOP_PATIENCE)
            raise

    def _go(self, q: np.ndarray, speed_fraction: float) -> None:
        factor = self._library.RelativeDynamicsFactor(speed_fraction / MAX_DYNAMICS, GENTLE, GENTLE)
        try:
            self._robot.move(self._library.JointMotion(q, relative_dynamics_factor=factor), asynchronous=True)
            self._join_motion(120.0)
        except BaseException:  # including Ctrl-C: bring the arm to rest, then raise again
            if self._robot.is_in_control:
                self._interrupt_motion()
            raise

    def _join_motion(self, patience: float) -> None:
        """Waits for the motion in short slices, so that a signal gets through."""
        end = time.monotonic() + patience
        while not self._robot.join_motion(0.05):
            if time.monotonic() > end:
                raise TimeoutError(f"the motion did not end within {patience:g} s")

    def _interrupt_motion(self) -> None:
        try:
            self._robot.move(self._library.JointStopMotion(), asynchronous=True)
            self._join_motion(STOP_PATIENCE)
        except Exception as error:  # noqa: BLE001  the caller already raises the first error
            log.warning("the arm was interrupted and did not stop by itself: %s", error)

    def _clear_errors(self) -> None:
        self._robot.recover_from_errors()

    def _set_thresholds(self) -> None:
        torque, force = self.compliance.torque_threshold, self.compliance.force_threshold
        self._require_robot().set_collision_behavior(list(torque), list(force))

    def _to_fault(self, error: Exception) -> ArmFault:
        fault = super()._to_fault(error)
        unclear = fault.kind is FaultKind.CONTROL and self._robot is not None and self._is_alive()
        return make_library_fault(FaultKind.USER_STOP) if unclear and self._read().mode is Mode.USER_STOPPED else fault


def _active_errors(state: Any) -> tuple[str, ...]:
    """Returns names of the active errors, and in a reflex of those that ended the last motion."""
    found = _list_set_flags(state.current_errors)
    if not found and state.robot_mode.name == "Reflex":
        found = _list_set_flags(state.last_motion_errors)
    return tuple(found)


def _list_set_flags(errors: Any) -> list[str]:
    return [n for n in dir(errors) if not n.startswith("_") and getattr(errors, n) is True]
