"""A Panda through franka-rs: its torque loop runs at 1 kHz on a thread of Rust.

Of the two libraries on PyPI that speak a Panda's protocol (server version 5), franka-rs has the model of the arm built
in. panda-python loads a compiled library from the robot and runs it, so that it needs a robot, or an emulator beside a
C compiler, to do anything; and franka-rs says why a motion ended by the robot's own flags.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import numpy as np

from robo_reward.envs.panda.arm import PANDA
from robo_reward.errors import MissingExtra, UsageError
from robo_reward.hardware.franka.complaints import classified, told
from robo_reward.hardware.franka.compliance import Compliance, checked_realtime
from robo_reward.hardware.franka.fingers import Fingers, LibraryHand, Wish
from robo_reward.hardware.franka.measured import Receipts, arm_state, mode_named, rested, standing_fault
from robo_reward.hardware.robot import ArmFault, ArmState, FaultKind, Mode, Target

log = logging.getLogger(__name__)
RECOVERIES = 3
"""How often errors are cleared in one `recover`."""
PANDA_VERSION = 5
BUDGET = 0.5
"""Share of the joints' limits that the library's own smoothing may use on top of the safety filter's plan."""
CLOSE = 2e-3
"""A joint motion has arrived when no joint is further from its goal [rad]."""


class PandaArm:
    """A Franka Emika Robot, "Panda", with system 4.2 (server version 5).

    Args:
        host: the robot's address.
        realtime: `enforce` (a real-time kernel, or no connection) or `ignore`.
        compliance: gains and collision thresholds.
        force: of a grasp [N].
        gripper: whether a Franka Hand is mounted.

    Raises:
        UsageError: another word for `realtime`.
    """

    name = "panda"

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
        self._robot: Any = None
        self._targets: Any = None
        self._fingers: Fingers | None = None
        self._streaming = False
        self._lock = threading.Lock()

    def connect(self) -> None:
        """Reaches the robot, checks its version, sets collision thresholds.

        Raises:
            ArmFault: it cannot be reached, is another robot, or the kernel is not real-time.
            MissingExtra: franka-rs is not installed.
        """
        library = _library()
        if self.realtime == "ignore":
            log.warning(
                "realtime=ignore: when this computer is late by 20 ms the robot stops itself; not for daily use"
            )
        try:
            self._robot = library.Robot(self.host, realtime=self.realtime)
            if self._robot.fci_version != PANDA_VERSION:
                raise told(FaultKind.VERSION, f"server version {self._robot.fci_version}, a Panda's is {PANDA_VERSION}")
            if rested(lambda: self._read().mode) is Mode.IDLE:  # else `recover` does it
                self._set_thresholds()
            if self._with_gripper:
                hand = self._robot.gripper()
                self._fingers = Fingers(
                    LibraryHand(hand, lambda: hand.read_once().width),
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

    def state(self) -> ArmState:
        self._connected()
        try:
            if self._streaming and not self._targets.running:
                self._targets.stop()  # raises what ended the loop
                raise RuntimeError("the control loop ended by itself")
            return self._read()
        except Exception as error:
            self._streaming = False
            raise classified(error, self.host) from error

    def _read(self) -> ArmState:
        state = (
            self._targets.state() if self._targets is not None and self._targets.running else self._robot.read_once()
        )
        return arm_state(
            PANDA,
            self._receipts.stamp(state.time),
            state.time,
            state.q,
            state.dq,
            state.tau_ext_hat_filtered,
            state.O_F_ext_hat_K,
            self._fingers.width if self._fingers else 0.0,
            mode_named(state.robot_mode),
            tuple(state.current_errors) or (tuple(state.last_motion_errors) if state.robot_mode == "reflex" else ()),
        )

    def start_streaming(self) -> None:
        self._refuse_standing_fault()
        c = self.compliance
        try:
            self._targets = self._connected().joint_targets(
                fraction=BUDGET,
                max_deviation=6.0,
                joint_stiffness=list(c.stiffness),
                joint_damping=list(c.damping),
                leash=0.3,
            )
        except Exception as error:
            raise classified(error, self.host) from error
        self._streaming = True

    def stream(self, target: Target) -> None:
        """The next target.

        Raises:
            ArmFault: the robot ended the motion.
            UsageError: not streaming, or a pose: this driver takes joints, which is what the safety filter gives.
        """
        if not self._streaming:
            raise UsageError("the arm does not follow targets: call start_streaming first")
        if target.joints is None:
            raise UsageError("a Panda is streamed joints; let the safety filter turn poses into joints")
        try:
            if not self._targets.running:
                self._targets.stop()
                raise RuntimeError("the control loop ended by itself")
            self._targets.move_to(np.asarray(target.joints, float))
        except Exception as error:
            self._streaming = False
            raise classified(error, self.host) from error
        self._follow_gripper(target.gripper)

    def _follow_gripper(self, width: float) -> None:
        if self._fingers is not None and width >= 0:
            self._fingers.follow(width)

    def hold(self) -> None:
        """Nothing needs to be sent: the loop holds its last target."""
        self.state()

    def stop(self) -> None:
        """Sets the target to where the arm comes to rest by itself and ends the loop there."""
        if not self._streaming or self._targets is None:
            return
        self._streaming = False
        try:
            if self._targets.running:
                state = self._targets.state()
                slowing = BUDGET * np.array(PANDA.ddq_max)
                q, dq = np.array(state.q_d), np.array(state.dq_d)
                rest = q + dq * np.abs(dq) / (2 * slowing)
                self._targets.move_to(np.clip(rest, np.array(PANDA.q_min) + 0.01, np.array(PANDA.q_max) - 0.01))
            self._targets.stop()
        except Exception as error:
            raise classified(error, self.host) from error
        finally:
            self._targets = None

    def recover(self) -> None:
        """Clears the errors; a connection that was lost is made anew.

        Raises:
            ArmFault: the cause is still there, such as a pressed user stop.
        """
        self._streaming, self._targets = False, None
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
        robot, mode = self._connected(), rested(lambda: self._read().mode)
        if mode is Mode.USER_STOPPED:
            self._refuse_standing_fault()
        try:
            if mode is Mode.REFLEX or self._read().errors:
                robot.automatic_error_recovery()
            self._set_thresholds()
        except Exception as error:
            raise classified(error, self.host) from error

    def move_to(self, q: np.ndarray, speed_fraction: float = 0.1) -> None:
        if not 0 < speed_fraction <= BUDGET:
            raise UsageError(f"speed_fraction={speed_fraction}: expected above 0, at most {BUDGET}")
        if self._streaming:
            raise UsageError("the arm follows targets: stop before move_to")
        self._refuse_standing_fault()
        goal = np.asarray(q, float)
        try:
            with self._connected().joint_targets(
                fraction=speed_fraction, max_deviation=6.0, backend="robot"
            ) as targets:
                targets.move_to(goal)
                self._arrive(targets, goal)
        except Exception as error:
            raise classified(error, self.host) from error

    def _arrive(self, targets: Any, goal: np.ndarray) -> None:
        end = time.monotonic() + 120.0
        while targets.running and time.monotonic() < end:
            state = targets.state()
            if np.abs(np.array(state.q_d) - goal).max() < CLOSE and np.abs(np.array(state.dq)).max() < 0.02:
                return
            time.sleep(0.01)

    def gripper(self, width: float, speed: float, force: float | None = None) -> None:
        if self._fingers is None:
            return
        self._fingers.do(Wish(width, force), speed)

    def close(self) -> None:
        try:
            self.stop()
        finally:
            self._drop()

    def _set_thresholds(self) -> None:
        torque, force = list(self.compliance.torque_threshold), list(self.compliance.force_threshold)
        self._robot.set_collision_behavior_simple(torque, torque, force, force)

    def _refuse_standing_fault(self) -> None:
        fault = standing_fault(self.state())
        if fault:
            raise fault

    def _alive(self) -> bool:
        try:
            return self._robot.read_once() is not None
        except Exception:  # noqa: BLE001  whatever it is, the connection is of no use
            return False

    def _connected(self) -> Any:
        if self._robot is None:
            raise UsageError("the arm is not connected: call connect first")
        return self._robot

    def _gripper_fault(self, error: Exception) -> ArmFault:
        found = classified(error, self.host)
        if found.kind is FaultKind.COMMUNICATION:
            return found
        return told(FaultKind.GRIPPER, str(error))

    def _drop(self) -> None:
        if self._fingers:
            self._fingers.close()
        self._fingers = self._targets = self._robot = None
        self._streaming = False


def _library() -> Any:
    try:
        import franka
    except ImportError as error:
        raise MissingExtra("franka-rs", "panda", "a Panda") from error
    if not hasattr(franka, "JointTargets"):
        raise MissingExtra("franka-rs", "panda", "a Panda")
    return franka
