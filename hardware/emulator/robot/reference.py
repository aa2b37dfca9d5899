"""The reference of the motion generators: client commands as joint positions and velocities."""

from __future__ import annotations

from typing import Any

import numpy as np

from robo_reward.errors import MissingExtra
from robo_reward.hardware.emulator.robot.control import solve_pose_ik
from robo_reward.hardware.emulator.robot.limit_checks import (
    CARTESIAN_JOINT,
    JOINT,
    CartesianChecker,
    Checks,
    JointChecker,
)
from robo_reward.hardware.emulator.robot.model import RobotModel
from robo_reward.hardware.emulator.wire.versions import GeneratorMode
from robo_reward.hardware.emulator.world.plant import DT

ZERO = np.zeros(6)


class Reference:
    """The joint reference of a motion, from one stream of commands.

    Args:
        generator: the motion generator that the stream feeds.
        model: the arm, with the end effector that the client has set.
        checks: the armed reflexes.
        q: where the arm is commanded to be (7,) [rad].

    Attributes:
        q: commanded joint positions (7,) [rad].
        dq: velocities (7,) [rad/s].
        ddq: accelerations (7,) [rad/s²].
        pose: the last commanded O_T_EE (4, 4), or None where joints are commanded.
        twist: the last commanded O_dP_EE (6,).
        acceleration: its rate of change (6,).
    """

    def __init__(self, generator: GeneratorMode, model: RobotModel, checks: Checks, q: np.ndarray) -> None:
        self._generator, self._model = generator, model
        cartesian = generator in (GeneratorMode.CARTESIAN_POSITION, GeneratorMode.CARTESIAN_VELOCITY)
        self._joints = JointChecker(model.arm, checks, q, CARTESIAN_JOINT if cartesian else JOINT)
        self._hand = CartesianChecker(model.arm, checks, model.pose(q)) if cartesian else None
        self._limits, self._fastest = checks.limits, 0.999 * DT * np.array(model.arm.dq_max)
        self._low, self._high = np.array(model.arm.q_min), np.array(model.arm.q_max)
        self._begun = False
        self._update_outputs()

    def _update_outputs(self) -> None:
        self.q, self.dq, self.ddq = self._joints.now
        hand = self._hand
        self.pose, self.twist, self.acceleration = (None, ZERO, ZERO) if hand is None else hand.now

    def follow_command(self, command: np.ndarray, cycles: int) -> str:
        """Follows the next command, `cycles` milliseconds after the last.

        Returns:
            An error's name, or an empty string.
        """
        begun, self._begun = self._begun, True
        error = self._check_command(command, cycles, begun)
        if not error:
            self._update_outputs()
        return error

    def _check_command(self, command: np.ndarray, cycles: int, begun: bool) -> str:
        if self._generator == GeneratorMode.JOINT_POSITION:
            return (
                self._joints.check_position(command["q_c"], cycles)
                if begun
                else self._joints.check_first(command["q_c"])
            )
        if self._generator == GeneratorMode.JOINT_VELOCITY:
            return self._joints.check_velocity(command["dq_c"], cycles)
        hand = self._hand
        assert hand is not None
        if self._generator == GeneratorMode.CARTESIAN_VELOCITY:
            error = hand.check_velocity(command["O_dP_EE_c"], cycles)
        else:
            # Matrices are column-major on the wire.
            pose = command["O_T_EE_c"].reshape(4, 4).T
            error = hand.check_position(pose, cycles) if begun else hand.check_first(pose)
        if error:
            return error
        # The joints follow the pose that passed the check, and are checked themselves.
        q = solve_pose_ik(
            self._model,
            self._joints.now.value,
            hand.now.value,
            DT,
            command["elbow_c"] if command["valid_elbow"] else None,
        )
        if not begun and self._generator == GeneratorMode.CARTESIAN_POSITION:
            return self._joints.check_first(q)  # the first pose may differ from the joints' pose within the tolerance
        return self._check_reachable(q) or self._joints.check_position(q, cycles)

    def _check_reachable(self, q: np.ndarray) -> str:
        """Returns an error's name where the joints cannot follow the hand, or an empty string.

        `solve_pose_ik` stops at the limits: joints that are there could not follow the hand.
        """
        if not self._limits:
            return ""
        # `_fastest` is 99.9 % of the largest step of a cycle [rad], so a step that was clipped to the limit is found.
        step = np.abs(q - self._joints.now.value)
        if (step >= self._fastest).any():
            return f"{CARTESIAN_JOINT}_velocity_limits_violation"
        stuck = ((q <= self._low) | (q >= self._high)) & (step > 0)
        return f"{CARTESIAN_JOINT}_position_limits_violation" if stuck.any() else ""

    def extrapolate(self) -> None:
        """Advances by a millisecond without a command: constant acceleration, as the robot does."""
        self._joints.extrapolate()
        if self._hand is not None:
            self._hand.extrapolate()
        self._update_outputs()


class AsyncReference:
    """Joint targets at the client's own rate, between which the robot interpolates (version 10, "experimental").

    Args:
        model: the arm.
        q: the commanded joint positions at the start (7,) [rad].
        fastest: joint velocity limits (7,) [rad/s].

    Raises:
        MissingExtra: `ruckig`, which plans the trajectory, is not installed.
    """

    pose: np.ndarray | None = None

    def __init__(self, model: RobotModel, q: np.ndarray, fastest: np.ndarray) -> None:
        try:
            import ruckig
        except ImportError as error:
            raise MissingExtra("ruckig", "franka", "asynchronous joint position control") from error
        arm = model.arm
        self._arm = arm
        self._finished: Any = ruckig.Result.Finished
        self._otg: Any = ruckig.Ruckig(7, DT)
        self._in, self._out = ruckig.InputParameter(7), ruckig.OutputParameter(7)
        # Client limits of zero mean the arm's own; half of its acceleration and jerk is used.
        self._in.max_velocity = np.minimum(np.where(fastest > 0, fastest, arm.dq_max), arm.dq_max).tolist()
        self._in.max_acceleration = (0.5 * np.array(arm.ddq_max)).tolist()
        self._in.max_jerk = (0.5 * np.array(arm.dddq_max)).tolist()
        self._in.current_position = self._in.target_position = q.tolist()
        self.q, self.dq, self.ddq = q.copy(), np.zeros(7), np.zeros(7)
        self.twist = self.acceleration = np.zeros(6)

    def follow_command(self, command: np.ndarray, cycles: int) -> str:
        """Sets a new target.

        Returns:
            An error's name, or an empty string.
        """
        if command["motion_generation_finished"]:
            return ""  # libfranka sends zeros as the last target: the robot stops where it is
        target = command["q_c"]
        if not ((target >= self._arm.q_min) & (target <= self._arm.q_max)).all():
            return "joint_motion_generator_position_limits_violation"
        self._in.target_position = target.tolist()
        return ""

    def extrapolate(self) -> None:
        """Advances by a millisecond towards the target."""
        self._otg.update(self._in, self._out)
        self._out.pass_to_input(self._in)
        self.q, self.dq = np.array(self._out.new_position), np.array(self._out.new_velocity)
        self.ddq = np.array(self._out.new_acceleration)
