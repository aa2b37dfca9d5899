"""Operator messages: cause and remedy of every kind of fault and every error name of libfranka."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from robo_reward.hardware.arm import ArmFault, FaultKind, Mode


class Explanation(NamedTuple):
    """Cause and remedy of a fault, for an operator.

    Attributes:
        cause: what happened.
        remedy: what to do, as a sentence.
    """

    cause: str
    remedy: str


FREE = "Look at the arm; remove what it touches or holds; then confirm the recovery"
START = "Guide the arm slowly by hand to a start pose of the task, with the error cleared in Desk; then confirm"
SLOWER = "Lower `speed` and `acceleration`, then confirm the recovery"
OURS = (
    "Lost packets can look like this: see `robo-reward doctor`, then confirm. If none were lost, such commands must "
    "not leave the safety filter: report it with the episode, and use a lower `speed`"
)
POSE = (
    "Targets must begin at the measured pose of the arm: start streaming again, which seeds them "
    "from the measured state"
)
LATE = "Close other programs, use a cable and a real-time kernel, run the policy on another computer; see `doctor`"
SUPPORT = "Restart the robot; if the error recurs, run its self-test in Desk and ask Franka Robotics' support"

KINDS: dict[FaultKind, Explanation] = {
    FaultKind.COMMUNICATION: Explanation("commands or states were lost between this computer and the robot", LATE),
    FaultKind.REFLEX: Explanation("the robot stopped itself", FREE),
    FaultKind.USER_STOP: Explanation(
        "the user stop is pressed", "Look at the arm, release the user stop until its lights are blue, then confirm"
    ),
    FaultKind.CONTROL: Explanation(
        "the robot refused a command in its present mode",
        "Read the message in Desk, and look at the arm; then confirm, and the next episode begins from "
        "its present pose",
    ),
    FaultKind.GRIPPER: Explanation(
        "the gripper did not execute its command", "Check that nothing blocks it; home it in Desk; then confirm"
    ),
    FaultKind.VERSION: Explanation(
        "the robot speaks another version of the protocol than this library",
        "Update the robot, or choose robot= by its system version: robot=panda is for 4.2.1 and later of 4.2 (server "
        "version 5), robot=fr3 for 5.9 and later (server version 10)",
    ),
    FaultKind.UNREACHABLE: Explanation(
        "no robot answers at this address",
        "Check power, cable and address (`ping`); unlock the brakes and activate FCI in Desk",
    ),
}

GUIDED = Explanation("the arm is being guided by hand", "Let go of the guiding button, look at the arm, then confirm")
"""Fault of a hand-guided arm; the libraries report only that a motion was aborted."""

LOCKED = Explanation(
    "the robot accepts no commands in its present mode, such as with locked brakes",
    "Unlock the brakes and activate FCI in Desk; then confirm",
)
"""Fault of a robot in the mode that the libraries call `Other`; they report only that a motion was aborted."""

ERRORS: dict[str, Explanation] = {
    "joint_position_limits_violation": Explanation("a joint is at its position limit", START),
    "cartesian_position_limits_violation": Explanation("the hand left the space set up in Desk", START),
    "self_collision_avoidance_violation": Explanation("the arm was about to touch itself", START),
    "joint_velocity_violation": Explanation("a joint moved too fast", SLOWER),
    "cartesian_velocity_violation": Explanation("the hand moved too fast", SLOWER),
    "force_control_safety_violation": Explanation("a force controller exceeded its safe force", FREE),
    "joint_reflex": Explanation("a joint met more torque than the collision threshold", FREE),
    "cartesian_reflex": Explanation("the hand met more force than the collision threshold", FREE),
    "max_goal_pose_deviation_violation": Explanation("the arm ended too far from its commanded goal", FREE),
    "max_path_pose_deviation_violation": Explanation("the arm deviated too far from its commanded path", FREE),
    "cartesian_velocity_profile_safety_violation": Explanation("the hand's speed exceeded its safe profile", SLOWER),
    "joint_position_motion_generator_start_pose_invalid": Explanation(
        "the first commanded joints differ from the arm's present joints", POSE
    ),
    "joint_motion_generator_position_limits_violation": Explanation(
        "joints were commanded beyond their position limits", OURS
    ),
    "joint_motion_generator_velocity_limits_violation": Explanation("joints were commanded too fast", OURS),
    "joint_motion_generator_velocity_discontinuity": Explanation("commanded joints jumped", OURS),
    "joint_motion_generator_acceleration_discontinuity": Explanation("commanded joint speeds jumped", OURS),
    "cartesian_position_motion_generator_start_pose_invalid": Explanation(
        "the first commanded pose differs from the hand's present pose", POSE
    ),
    "cartesian_motion_generator_elbow_limit_violation": Explanation("the elbow was commanded beyond its limits", OURS),
    "cartesian_motion_generator_velocity_limits_violation": Explanation("the hand was commanded too fast", OURS),
    "cartesian_motion_generator_velocity_discontinuity": Explanation("the commanded pose jumped", OURS),
    "cartesian_motion_generator_acceleration_discontinuity": Explanation(
        "the commanded speed of the hand jumped", OURS
    ),
    "cartesian_motion_generator_elbow_sign_inconsistent": Explanation("the elbow would have to flip", START),
    "cartesian_motion_generator_start_elbow_invalid": Explanation(
        "the first commanded elbow differs from the arm's present elbow", POSE
    ),
    "cartesian_motion_generator_joint_position_limits_violation": Explanation(
        "the commanded pose needs joints beyond their position limits", START
    ),
    "cartesian_motion_generator_joint_velocity_limits_violation": Explanation(
        "the commanded motion of the hand needs a joint to move too fast, as near a stretched arm", START
    ),
    "cartesian_motion_generator_joint_velocity_discontinuity": Explanation(
        "the commanded pose made a joint jump, as near a stretched arm", START
    ),
    "cartesian_motion_generator_joint_acceleration_discontinuity": Explanation(
        "the commanded pose made a joint's speed jump, as near a stretched arm", START
    ),
    "cartesian_position_motion_generator_invalid_frame": Explanation(
        "a commanded pose contained no valid rotation", OURS
    ),
    "force_controller_desired_force_tolerance_violation": Explanation("a force was not reached", FREE),
    "controller_torque_discontinuity": Explanation("commanded torques jumped", SLOWER),
    "start_elbow_sign_inconsistent": Explanation("the sign of the commanded elbow differs from the arm's", START),
    "communication_constraints_violation": Explanation("the robot missed 20 commands in a row, or too many", LATE),
    "power_limit_violation": Explanation("the arm used more power than allowed", SLOWER),
    "joint_p2p_insufficient_torque_for_planning": Explanation(
        "the arm is too weak for the planned motion with its load", "Set the load in Desk, or remove it"
    ),
    "tau_j_range_violation": Explanation("a joint's torque is out of its range", FREE),
    "instability_detected": Explanation("the arm began to oscillate", "Lower the stiffness and set the load in Desk"),
    "joint_move_in_wrong_direction": Explanation(
        "the arm is at a joint limit and was commanded to move beyond it", START
    ),
    "cartesian_spline_motion_generator_violation": Explanation("a spline of the hand exceeded its limits", SLOWER),
    "joint_via_motion_generator_planning_joint_limit_violation": Explanation(
        "a planned motion through via points leaves the joints' range", START
    ),
    "base_acceleration_initialization_timeout": Explanation("the base's acceleration sensor did not start", SUPPORT),
    "base_acceleration_invalid_reading": Explanation(
        "the base's acceleration sensor gives implausible values", SUPPORT
    ),
}
"""Cause and remedy for every name in libfranka's `Errors`."""


def explain_fault(kind: FaultKind, errors: Iterable[str] = ()) -> Explanation:
    """Returns cause and remedy of a fault; an error name that is not known is shown as it is.

    Args:
        kind: of the fault.
        errors: the robot's own names, if it gave any.
    """
    general = KINDS[kind]
    named = [(name, ERRORS.get(name)) for name in dict.fromkeys(errors)]
    if not named:
        return general
    causes = [f"{known.cause} ({name})" if known else name for name, known in named]
    remedies = dict.fromkeys(known.remedy for _, known in named if known)
    return Explanation(", ".join(causes), ". ".join(remedies) or general.remedy)


def add_mode_reason(fault: ArmFault, mode: Mode) -> ArmFault:
    """Returns the fault, with the reason that the robot's mode gives where it came without one."""
    if fault.kind is FaultKind.CONTROL and mode is Mode.GUIDING:
        return make_guiding_fault()
    return fault


def make_guiding_fault() -> ArmFault:
    """Returns the fault of an arm that a person guides by hand."""
    return ArmFault(GUIDED.cause, f"{GUIDED.remedy}.", True, FaultKind.CONTROL)


def make_locked_fault() -> ArmFault:
    """Returns the fault of a robot that takes no commands."""
    return ArmFault(LOCKED.cause, f"{LOCKED.remedy}.", True, FaultKind.CONTROL)


def make_fault(kind: FaultKind, errors: Iterable[str] = (), recoverable: bool = True) -> ArmFault:
    """Returns an `ArmFault` with an operator's message; arguments as in `explain_fault`."""
    errors = tuple(errors)
    cause, remedy = explain_fault(kind, errors)
    return ArmFault(cause, f"{remedy}.", recoverable, kind, errors)
