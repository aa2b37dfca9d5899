"""The arm's state machine: modes, motions, requests and reflexes, one millisecond at a time, without any socket."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from robo_reward.configs.emulation import Checks
from robo_reward.hardware.emulator.robot.control import InternalControl
from robo_reward.hardware.emulator.robot.limit_checks import LOST_IN_A_ROW, MeasuredChecker, check_torque
from robo_reward.hardware.emulator.robot.model import RobotModel
from robo_reward.hardware.emulator.robot.model_library import model_library
from robo_reward.hardware.emulator.robot.reference import AsyncReference, Reference
from robo_reward.hardware.emulator.robot.settings import ContactObserver, apply_setting
from robo_reward.hardware.emulator.robot.urdf import robot_urdf
from robo_reward.hardware.emulator.tools.faults import Faults
from robo_reward.hardware.emulator.wire.codec import response_layout
from robo_reward.hardware.emulator.wire.versions import ControllerMode, GeneratorMode, ProtocolVersion, RobotMode
from robo_reward.hardware.emulator.world.plant import DT, GripperCommand, Plant

GRACE = 500
"""Cycles that a client may take from the start of a motion to its first command; later ones count as lost."""
OPENING = 20
"""Cycles from the start of a motion within which a client that keeps up sends its first command."""
GUIDED = 10.0
"""Damping of joints that are guided by hand [N m s/rad], so that a released arm stops."""
UNKNOWN_STATUS = b"\xff"
"""A status that no version of the protocol defines; clients report it as unexpected."""
RATE_WINDOW = 100
"""Number of last cycles over which the success rate of commands is computed."""


@dataclass
class ActiveMotion:
    """A Move in progress.

    Args:
        identifier: that of the request, which is answered a second time at the end.
        generator: the motion generator.
        controller: the controller that turns the motion into torques.
        reference: the generator's joint reference, or None in pure torque control.
        started: robot time [ms].
        last: robot time of the state that the newest command answers, or 0 before the first.
        lost: cycles in a row without a command.
        stop: the identifier of a StopMove to be answered when the arm is at rest, or None.
    """

    identifier: int
    generator: GeneratorMode
    controller: ControllerMode
    reference: Reference | AsyncReference | None
    started: int
    last: int = 0
    lost: int = 0
    stop: int | None = None

    @property
    def is_async(self) -> bool:
        """True if the robot interpolates between targets."""
        return isinstance(self.reference, AsyncReference)


@dataclass(frozen=True)
class RobotReply:
    """A reply to be sent on the client's TCP connection."""

    command: str
    identifier: int
    body: bytes


class RobotSession:
    """The state machine of one arm, as its client sees it.

    `tick` and `handle_request` must not run at the same time.

    Args:
        plant: the simulated arm.
        version: the protocol version.
        checks: the armed reflexes.
        faults: the faults to inject.

    Attributes:
        time: robot time [ms], the message identifier of states.
        mode: the mode of the arm.
        motion: the Move in progress, or None.
        q_d: commanded joint positions (7,) [rad], also without a motion; `dq_d` and `ddq_d` are their derivatives.
        tau: torques of the last cycle, without gravity (7,) [N m].
        errors: the errors that hold the arm now.
        last_errors: the errors that ended the last motion.
        outbox: replies that the next state must precede.
        gripper: the gripper command for the next cycle, or None.
        settings: number of setting requests so far.
    """

    def __init__(
        self, plant: Plant, version: ProtocolVersion, checks: Checks | None = None, faults: Faults | None = None
    ):
        self.plant, self.version = plant, version
        self.checks, self.faults = checks or Checks(), faults or Faults()
        self.model = RobotModel(plant.arm)
        self.control = InternalControl(self.model)
        self.observer = ContactObserver()
        self._measured = MeasuredChecker(plant.arm, self.checks)
        # Largest change of speed in a cycle of braking [rad/s].
        self._brakes = DT * np.array(plant.arm.ddq_max)
        self._low, self._high = np.array(plant.arm.q_min), np.array(plant.arm.q_max)
        self.state = plant.state()
        self.time = 1
        self.mode = RobotMode.IDLE
        self.motion: ActiveMotion | None = None
        self.braking = False
        self.q_d, self.dq_d, self.ddq_d = self.state.q.copy(), np.zeros(7), np.zeros(7)
        self.tau, self.tau_c = np.zeros(7), np.zeros(7)
        self.errors: frozenset[str] = frozenset()
        self.last_errors: frozenset[str] = frozenset()
        self.outbox: list[RobotReply] = []
        self.gripper: GripperCommand | None = None
        self.settings = 0
        self._received: deque[bool] = deque([True] * RATE_WINDOW, maxlen=RATE_WINDOW)

    @property
    def expects_command(self) -> bool:
        """True if a client that keeps up has a command for the last state."""
        motion = self.motion
        return motion is not None and motion.last > 0 and not motion.is_async and not self.braking

    @property
    def is_motion_starting(self) -> bool:
        """True if a motion has just begun and the client is about to send its first command."""
        motion = self.motion
        if motion is None or motion.last or motion.is_async or self.braking:
            return False
        return self.time - motion.started < OPENING

    @property
    def success_rate(self) -> float:
        """The share of the last hundred cycles of the motion that had a command; 0 without motion."""
        return sum(self._received) / RATE_WINDOW if self.motion is not None else 0.0

    def tick(self, command: np.ndarray | None) -> None:
        """Advances by one millisecond.

        Args:
            command: the newest robot command since the last tick, or None; it counts if it answers the last state.
        """
        self.time += 1
        self._apply_faults()
        motion = self.motion
        if self.braking:
            self._brake_one_cycle()
        elif motion is not None:
            if command is not None and self._is_in_time(motion, int(command["message_id"])):
                self._execute_command(motion, command)
            else:
                self._handle_missed_command(motion)
        self._step_plant()

    def _is_in_time(self, motion: ActiveMotion, answered: int) -> bool:
        """Returns whether a command answers the last state; later ones count only if the client sets the rate."""
        if motion.is_async or not motion.last:
            return answered >= motion.started and answered > motion.last
        return answered == self.time - 1

    def _apply_faults(self) -> None:
        """Applies events outside the protocol.

        These are the stop button, the guiding button, the brakes, safety functions and injected reflexes.
        """
        name = self.faults.take_reflex()
        if name:
            self.trigger_reflex(name)
        if self.faults.safety_function and self.motion is not None:
            # Version 5 has no separate status for safety functions.
            preempted = "preempted_by_safety" if "preempted_by_safety" in self.version.statuses["Move"] else "preempted"
            self._abort_motion(preempted)
            self.mode = RobotMode.IDLE
        # Closed brakes: mode `OTHER`; once they open, the arm holds its present position.
        if self.faults.brakes_closed and self.mode in (RobotMode.IDLE, RobotMode.MOVE):
            self._abort_motion("aborted")
            self.mode = RobotMode.OTHER
        elif not self.faults.brakes_closed and self.mode == RobotMode.OTHER:
            self._hold_position()
            self.mode = RobotMode.IDLE
        # Errors outlast a user stop: releasing it returns to `REFLEX` if there are any.
        if self.faults.user_stopped and self.mode != RobotMode.USER_STOPPED:
            self._abort_motion("emergency_aborted")
            self.mode = RobotMode.USER_STOPPED
        elif not self.faults.user_stopped and self.mode == RobotMode.USER_STOPPED:
            self.mode = RobotMode.REFLEX if self.errors else RobotMode.IDLE
        # Guiding button: the arm can be moved by hand; on release it holds its present position.
        if self.faults.guided and self.mode in (RobotMode.IDLE, RobotMode.MOVE):
            self._abort_motion("aborted")
            self.mode = RobotMode.GUIDING
        elif not self.faults.guided and self.mode == RobotMode.GUIDING:
            self._hold_position()
            self.mode = RobotMode.IDLE

    def _execute_command(self, motion: ActiveMotion, command: np.ndarray) -> None:
        """Executes a command that came in time."""
        cycles, first = int(command["message_id"]) - motion.last if motion.last else 1, not motion.last
        motion.last, motion.lost = int(command["message_id"]), 0
        self._received.append(True)
        error = ""
        if motion.controller == ControllerMode.EXTERNAL:
            if first:  # the first torques may lie anywhere between zero and the robot's own
                self.tau_c = np.clip(command["tau_J_d"], np.minimum(self.tau_c, 0.0), np.maximum(self.tau_c, 0.0))
            error = check_torque(self.tau_c, command["tau_J_d"], cycles, self.checks)
        if not error and motion.reference is not None:
            error = motion.reference.follow_command(command, cycles)
            if motion.is_async and not error:
                motion.reference.extrapolate()
        if error:
            self.trigger_reflex(error)
            return
        if motion.controller == ControllerMode.EXTERNAL:
            self.tau_c = np.array(command["tau_J_d"], float)
        self._adopt_reference(motion)
        done = command["motion_generation_finished"]
        if self.version.has_torque_finished and motion.reference is None:
            done = command["torque_command_finished"]
        if done:
            self._finish_motion(motion)

    def _finish_motion(self, motion: ActiveMotion) -> None:
        """Ends the motion at the client's request; a generator must have come to rest by then."""
        follows = isinstance(motion.reference, Reference) and motion.controller != ControllerMode.EXTERNAL
        # At rest means: slower than what 10 ms of full braking take away.
        if follows and self.checks.discontinuity and (np.abs(self.dq_d) > 10 * self._brakes).any():
            self.trigger_reflex("joint_motion_generator_velocity_discontinuity")
            return
        self._end_motion(motion, "success")
        self.mode = RobotMode.IDLE
        self.braking = True

    def _handle_missed_command(self, motion: ActiveMotion) -> None:
        """Handles a cycle without a command: the robot extrapolates, for a while."""
        if motion.is_async or not motion.last:
            # Before the first command, cycles count as lost only after `GRACE`; asynchronous motions lose none.
            late = self.time - motion.started > GRACE and not motion.is_async
            if motion.reference is not None and motion.is_async:
                motion.reference.extrapolate()
                self._adopt_reference(motion)
            motion.lost += late
        else:
            # The reference continues at constant acceleration until the next command.
            motion.lost += 1
            self._received.append(False)
            if motion.reference is not None:
                motion.reference.extrapolate()
                self._adopt_reference(motion)
        if motion.lost >= LOST_IN_A_ROW and self.checks.communication:
            self.trigger_reflex("communication_constraints_violation")

    def _adopt_reference(self, motion: ActiveMotion) -> None:
        """Copies the desired positions, velocities and accelerations from the motion's reference."""
        if motion.reference is None:
            self.q_d, self.dq_d, self.ddq_d = self.state.q, self.state.dq, np.zeros(7)
        else:
            self.q_d, self.dq_d, self.ddq_d = motion.reference.q, motion.reference.dq, motion.reference.ddq

    def _brake_one_cycle(self) -> None:
        """Advances the robot's own braking to standstill by one millisecond."""
        # Each joint decelerates at its acceleration limit until its speed is zero.
        dq = self.dq_d - np.clip(self.dq_d, -self._brakes, self._brakes)
        self.ddq_d = (dq - self.dq_d) / DT
        self.q_d = np.clip(self.q_d + DT * dq, self._low, self._high)
        self.dq_d = dq
        if not dq.any():
            self.braking, self.ddq_d = False, np.zeros(7)
            if self.motion is not None and self.motion.stop is not None:
                stop, motion = self.motion.stop, self.motion
                self._end_motion(motion, "preempted")
                self._queue_reply("StopMove", stop, "success")
                self.mode = RobotMode.IDLE if self.mode == RobotMode.MOVE else self.mode

    def _step_plant(self) -> None:
        """Computes the torques, steps the plant, and checks the measured motion and contacts."""
        motion, mode = self.motion, ControllerMode.JOINT_IMPEDANCE
        if motion is not None and not self.braking:
            # Until the first torque command, the robot holds its position by joint impedance.
            mode = motion.controller if motion.last or motion.controller != ControllerMode.EXTERNAL else mode
        if self.mode == RobotMode.GUIDING and not self.braking:
            self.q_d, mode, self.tau_c = self.state.q, ControllerMode.EXTERNAL, -GUIDED * self.state.dq
        self.tau = self.control.compute_torque(mode, self.state, self.q_d, self.dq_d, self.tau_c)
        gripper, self.gripper = self.gripper, None
        self.state = self.plant.step(self.tau, gripper)
        # Collision thresholds differ while joints accelerate; 0.1 rad/s² separates the two.
        felt = self.observer.update(self.state.tau_ext, self.state.wrench, bool(np.abs(self.ddq_d).max() > 0.1))
        if self.motion is not None and self.mode == RobotMode.MOVE:
            errors = self._measured(self.state.q, self.state.dq)
            if self.checks.collision:
                errors += felt
            if errors:
                self.trigger_reflex(*errors)

    def trigger_reflex(self, *names: str) -> None:
        """Stops the arm with all these errors; it stays stopped until the client requests recovery."""
        self.errors = self.last_errors = self.errors | frozenset(names)
        self._abort_motion("reflex_aborted")
        if self.mode != RobotMode.USER_STOPPED:
            self.mode = RobotMode.REFLEX

    def _abort_motion(self, status: str) -> None:
        """Ends the motion, if any, and brakes."""
        motion = self.motion
        if motion is not None:
            if motion.stop is not None:
                self._queue_reply("StopMove", motion.stop, "success")
            self._end_motion(motion, status)
        self.braking = True

    def _end_motion(self, motion: ActiveMotion, status: str) -> None:
        # With external torques the arm need not follow the reference, so braking starts from the measured state.
        if motion.reference is None or motion.controller == ControllerMode.EXTERNAL:
            self.q_d, self.dq_d, self.ddq_d = self.state.q.copy(), self.state.dq.copy(), np.zeros(7)
        self.motion, self.tau_c = None, np.zeros(7)
        self._queue_reply("Move", motion.identifier, status)

    def _hold_position(self) -> None:
        self.q_d, self.dq_d, self.ddq_d = self.state.q.copy(), np.zeros(7), np.zeros(7)

    def lose_client(self) -> None:
        """Clears the outbox after the client's connection has ended."""
        self.outbox.clear()

    def _queue_reply(self, command: str, identifier: int, status: str) -> None:
        self.outbox.append(self._make_reply(command, identifier, status))

    def _make_reply(self, command: str, identifier: int, status: str, more: bytes = b"") -> RobotReply:
        body = np.zeros((), response_layout(command))
        body["status"] = self.version.status_code(command, status)
        return RobotReply(command, identifier, body.tobytes() + more)

    def handle_request(self, command: str, identifier: int, body: np.ndarray) -> RobotReply | None:
        """Executes a request; returns its reply, or None where it comes later, through the outbox."""
        if command == "Move":
            return self._start_motion(identifier, body)
        if command == "StopMove":
            return self._stop_motion(identifier)
        if command == "AutomaticErrorRecovery":
            return self._recover_from_errors(identifier)
        if command == "GetRobotModel":
            if self.faults.model_fails:
                return RobotReply(command, identifier, UNKNOWN_STATUS)
            return self._make_reply(command, identifier, "success", robot_urdf(self.plant.arm).encode())
        if command == "LoadModelLibrary":
            if self.faults.model_fails:
                return self._make_reply(command, identifier, "error")
            library = model_library(self.plant.arm, int(body["architecture"]), int(body["system"]))
            return self._make_reply(command, identifier, "success" if library else "error", library)
        if command == "GetCartesianLimit":
            return self._make_reply(command, identifier, "success")
        if self.mode == RobotMode.MOVE or self.motion is not None:
            return self._make_reply(command, identifier, "not_possible")
        if self.faults.safety_function:
            return self._make_reply(command, identifier, self._rejection_status)
        self.settings += 1
        accepted = apply_setting(command, body, self.model, self.control, self.observer)
        return self._make_reply(command, identifier, "success" if accepted else "invalid_argument")

    @property
    def _rejection_status(self) -> str:
        """The status of a rejected command while a safety function is active; version 5 has no separate one."""
        return "rejected_by_safety" if "rejected_by_safety" in self.version.statuses["Move"] else "not_possible"

    def _start_motion(self, identifier: int, body: np.ndarray) -> RobotReply:
        if self.faults.safety_function:
            return self._make_reply("Move", identifier, self._rejection_status)
        if self.mode != RobotMode.IDLE or self.motion is not None:
            return self._make_reply("Move", identifier, "not_possible")
        generator, controller = int(body["motion_generator_mode"]) + 1, int(body["controller_mode"])
        pure = generator == GeneratorMode.NONE
        if generator > GeneratorMode.NONE or controller > ControllerMode.EXTERNAL:
            return self._make_reply("Move", identifier, "invalid_argument")
        if pure and (controller != ControllerMode.EXTERNAL or not self.version.has_torque_finished):
            return self._make_reply("Move", identifier, "invalid_argument")
        wants_async = self.version.has_async and bool(body["use_async_motion_generator"])
        if wants_async and generator != GeneratorMode.JOINT_POSITION:
            return self._make_reply("Move", identifier, "invalid_argument")
        if self.faults.start_singular:
            return self._make_reply("Move", identifier, "singular_start")
        if self.braking:  # a motion that has just ended leaves the arm almost at rest
            self.braking, self.dq_d, self.ddq_d = False, np.zeros(7), np.zeros(7)
        if pure:
            reference = None
        elif wants_async:
            reference = AsyncReference(self.model, self.q_d, np.array(body["maximum_velocity"], float))
        else:
            reference = Reference(GeneratorMode(generator), self.model, self.checks, self.q_d)
        self.motion = ActiveMotion(
            identifier, GeneratorMode(generator), ControllerMode(controller), reference, self.time
        )
        self.mode, self.last_errors, self.tau_c = RobotMode.MOVE, frozenset(), self.tau.copy()
        # A motion starts with a success rate of 1.
        self._received.extend([True] * RATE_WINDOW)
        return self._make_reply("Move", identifier, "started")

    def _stop_motion(self, identifier: int) -> RobotReply | None:
        motion = self.motion
        if motion is None:
            return self._make_reply("StopMove", identifier, "success")
        if motion.reference is None or motion.controller == ControllerMode.EXTERNAL:
            self.q_d, self.dq_d = self.state.q.copy(), self.state.dq.copy()
        motion.stop, self.braking = identifier, True
        return None

    def _recover_from_errors(self, identifier: int) -> RobotReply:
        if self.faults.safety_function:
            return self._make_reply("AutomaticErrorRecovery", identifier, self._rejection_status)
        if self.faults.needs_manual_recovery:
            return self._make_reply("AutomaticErrorRecovery", identifier, "manual_recovery_required")
        if self.mode not in (RobotMode.IDLE, RobotMode.REFLEX):
            return self._make_reply("AutomaticErrorRecovery", identifier, "not_possible")
        self.errors, self.mode = frozenset(), RobotMode.IDLE
        self.observer.reset()
        self._hold_position()
        return self._make_reply("AutomaticErrorRecovery", identifier, "success")
