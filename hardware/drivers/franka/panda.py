"""Driver of a Panda through franka-rs: its torque loop runs at 1 kHz on a thread of Rust.

Of the two libraries on PyPI that speak a Panda's protocol (server version 5), franka-rs has the model of the arm
built in. panda-python loads a compiled library from the robot and runs it, so that it needs a robot, or an
emulator beside a C compiler, to do anything; and franka-rs reports why a motion ended by the robot's own flags.
"""

from __future__ import annotations

import time
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np

from robo_reward.envs.arm.model import PANDA
from robo_reward.errors import MissingExtra
from robo_reward.hardware.arm import ArmState, FaultKind, Target
from robo_reward.hardware.drivers.franka.base import FrankaArm
from robo_reward.hardware.drivers.franka.errors import make_library_fault
from robo_reward.hardware.drivers.franka.gripper import LibraryHand
from robo_reward.hardware.drivers.franka.state import make_arm_state, parse_mode
from robo_reward.hardware.safety.trajectory.braking import BrakingProfile, compute_braking

PANDA_VERSION = 5
BUDGET = 0.5
"""Largest share of the joint limits that a slow motion may use."""
SMOOTHING = 1.0
"""Share of the joint limits that the library's smoothing of a stream may use on top of the safety filter's plan. The
smoothed target leads the arm by its lag and must return to the arm in a stop; the smaller this share, the farther the
arm moves during that time."""
CLOSE = 2e-3
"""Largest difference of a joint from its goal at which a motion has arrived [rad]."""


class PandaArm(FrankaArm):
    """A Franka Emika Robot, "Panda", with system 4.2 (server version 5).

    Targets are joints; the library's loop holds the last one indefinitely.
    """

    name = "panda"
    arm_model = PANDA
    version = PANDA_VERSION
    max_speed_fraction = BUDGET

    @property
    def library(self) -> str:
        return f"franka-rs {version('franka-rs')}"

    def _import_library(self) -> Any:
        try:
            import franka
        except ImportError as error:
            raise MissingExtra("franka-rs", "panda", "a Panda") from error
        if not hasattr(franka, "JointTargets"):
            raise MissingExtra("franka-rs", "panda", "a Panda")
        return franka

    def _open(self) -> Any:
        return self._library.Robot(self.host, realtime=self.realtime)

    def _check_robot(self) -> None:
        found = self._robot.fci_version
        if found != PANDA_VERSION:
            raise make_library_fault(FaultKind.VERSION, f"server version {found}, this library's is {PANDA_VERSION}")

    def _hand(self) -> LibraryHand:
        hand = self._robot.gripper()
        return LibraryHand(hand, hand.read_once)

    _last_q: np.ndarray | None = None
    """The last finite measured joint angles (7,) [rad]."""

    def _read(self) -> ArmState:
        loop = self._follower
        state = loop.state() if loop is not None and loop.running else self._require_robot().read_once()
        if np.isfinite(state.q).all():
            self._last_q = np.array(state.q, float)
        return make_arm_state(
            PANDA,
            self._receipts.stamp_state(state.time),
            state.time,
            state.q,
            state.dq,
            state.tau_ext_hat_filtered,
            state.O_F_ext_hat_K,
            self._finger_width,
            parse_mode(state.robot_mode),
            tuple(state.current_errors) or (tuple(state.last_motion_errors) if state.robot_mode == "reflex" else ()),
        )

    def _read_library_state(self) -> Any:
        return self._require_robot().read_once()

    def _follow(self) -> Any:
        stiffness, damping = list(self.compliance.stiffness), list(self.compliance.damping)
        return self._require_robot().joint_targets(
            fraction=SMOOTHING, max_deviation=6.0, joint_stiffness=stiffness, joint_damping=damping, leash=0.3
        )

    def _check_motion(self) -> None:
        if not self._follower.running:
            self._follower.stop()  # raises the error that ended the loop
            raise RuntimeError("the control loop ended by itself")

    def _find_cause(self, error: Exception) -> Exception:
        if "has ended" in str(error) and self._follower is not None and not self._follower.running:
            try:
                self._follower.stop()
            except Exception as cause:  # noqa: BLE001  any error raised here is the cause
                return cause
        return error

    def _is_following(self) -> bool:
        return self._follower is not None and bool(self._follower.running)

    def _send(self, target: Target) -> None:
        self._follower.move_to(np.asarray(target.joints, float))

    def _compute_brake_goal(self, way: BrakingProfile, elapsed: float) -> np.ndarray:
        """Returns the place of rest at once, since the library plans its own path to a target."""
        return super()._compute_brake_goal(way, way.duration)

    def _come_to_rest(self) -> None:
        """Ends the loop at its last target, the place of rest; without one, at the last measured joints."""
        try:
            if not self._braked and self._last_q is not None and self._follower.running:
                self._follower.move_to(self._last_q)
        finally:
            self._follower.stop()

    def _go(self, q: np.ndarray, speed_fraction: float) -> None:
        with self._require_robot().joint_targets(
            fraction=speed_fraction, max_deviation=6.0, backend="robot"
        ) as targets:
            try:
                targets.move_to(q)
                self._wait_for_arrival(targets, q)
            except BaseException:  # including Ctrl-C; leaving the context would complete the motion
                self._interrupt_motion(targets, speed_fraction)
                raise

    def _interrupt_motion(self, targets: Any, speed_fraction: float) -> None:
        """Sets the target of a slow motion to the joints at which the arm can be at rest soonest."""
        if targets.running:
            state = targets.state()
            limits = replace(self._brakes, ddq=speed_fraction * np.array(PANDA.ddq_max))
            way = compute_braking(PANDA, limits, np.array(state.q), np.array(state.dq))
            targets.move_to(super()._compute_brake_goal(way, way.duration))

    def _wait_for_arrival(self, targets: Any, goal: np.ndarray) -> None:
        end = time.monotonic() + 120.0
        while targets.running and time.monotonic() < end:
            state = targets.state()
            if np.abs(np.array(state.q_d) - goal).max() < CLOSE and np.abs(np.array(state.dq)).max() < 0.02:
                return
            time.sleep(0.01)
        if targets.running:
            raise TimeoutError("the motion did not end within 120 s")

    def _clear_errors(self) -> None:
        self._robot.automatic_error_recovery()

    def _set_thresholds(self) -> None:
        torque, force = list(self.compliance.torque_threshold), list(self.compliance.force_threshold)
        self._robot.set_collision_behavior_simple(torque, torque, force, force)
