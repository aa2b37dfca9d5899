"""Safety filter between a policy and an arm: whatever the action, the commands keep every limit."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from robo_reward.envs.arm.control import FINGER_MAX
from robo_reward.envs.arm.kinematics import (
    Configuration,
    compute_forward_kinematics,
    compute_orientation_error,
    solve_damped_step,
)
from robo_reward.envs.arm.model import ArmModel
from robo_reward.envs.task import Controller
from robo_reward.errors import UsageError
from robo_reward.hardware.arm import ArmState, Mode, Target
from robo_reward.hardware.safety.limits import INSET, MotionLimits, Workspace, policy_limits
from robo_reward.hardware.safety.trajectory.checker import compute_tilt
from robo_reward.hardware.safety.trajectory.planner import TrajectoryPlanner
from robo_reward.hardware.safety.trajectory.space import HandCoordinates, JointCoordinates

SLACK = 0.03
"""Largest distance of the start pose outside the workspace [m] and outside the joint margins [rad]."""


class Verdict(Enum):
    """Reaction to an action."""

    FOLLOW = "follow"
    HOLD = "hold"
    STOP = "stop"


class ActionClip(NamedTuple):
    """One part of an action that was changed to keep a limit.

    Attributes:
        rule: such as `joint_speed`.
        asked: what the action would have needed, as a share of what is allowed, or as text.
        done: what is done instead.
    """

    rule: str
    asked: str
    done: str


@dataclass(frozen=True)
class Decision:
    """Reaction of the safety filter to one action.

    Args:
        verdict: follow it, hold, or stop the arm; `SafetyFilter.next_command` returns the commands that do so.
        clips: everything that was changed, in the order of the rules.
        cause: why it holds or stops.
    """

    verdict: Verdict
    clips: tuple[ActionClip, ...] = ()
    cause: str = ""


@dataclass(frozen=True)
class SafetySettings:
    """User settings of the safety filter.

    Args:
        rate: of the stream [Hz].
        bad_actions: how many unusable actions in a row stop the arm; fewer hold it.
        tracking: largest difference between a measured and a commanded joint angle [rad]; more stops the arm.
        lead: targets stay within what the speed limits allow in this time from the last command [s].
        still: joint speed at which an arm counts as at rest [rad/s].
    """

    rate: float = 200.0
    bad_actions: int = 3
    tracking: float = 0.3
    lead: float = 0.25
    still: float = 0.05

    def __post_init__(self) -> None:
        if not 50.0 <= self.rate <= 1000.0:
            raise UsageError(f"rate of the stream is {self.rate} Hz, expected 50 to 1000")
        if self.bad_actions < 1 or not self.tracking > 0:
            raise UsageError(
                f"bad_actions={self.bad_actions} tracking={self.tracking}: expected at least 1, and above 0 rad"
            )


class SafetyFilter:
    """Turns actions into commands that keep position, speed, acceleration and workspace limits.

    An action goes through the task's own controller, as in simulation, on top of the last target; what comes out
    is shortened to the speed limits, brought back into the workspace and the joint margins, and planned to
    standstill (`TrajectoryPlanner`). A plan that would break any limit is tried with half and a quarter of the
    step; if none passes, the arm ends at its last target. Measurements decide whether to go on and limit the
    controller's lead; commands never start from them, except in `start`.

    Args:
        arm: whose kinematics hold.
        controller: the task's action convention.
        limits: what commands keep, e.g. `policy_limits(arm)`.
        workspace: where the hand stays.
        settings: rates and thresholds.

    Attributes:
        stopped: why the filter stopped for good, until `start`; empty while it works.
    """

    def __init__(
        self,
        arm: ArmModel,
        controller: Controller,
        limits: MotionLimits,
        workspace: Workspace,
        settings: SafetySettings | None = None,
    ) -> None:
        self.arm, self.controller, self.limits, self.workspace = arm, controller, limits, workspace
        self.settings = settings or SafetySettings()
        coordinates = HandCoordinates(arm) if controller.spec.kind.startswith("ee_") else JointCoordinates()
        self.planner = TrajectoryPlanner(arm, limits, workspace, self.settings.rate, coordinates)
        self.stopped = "the safety filter was not started"
        self._target, self._fingers = Configuration(arm, np.array(arm.home)), np.full(arm.finger_count, FINGER_MAX)
        self._bad = 0

    @classmethod
    def from_task(
        cls, task: Any, limits: MotionLimits | None = None, cone: float = 0.5, settings: SafetySettings | None = None
    ) -> SafetyFilter:
        """Returns the filter of an arm's task: its controller, its box, and a share of the official limits.

        Args:
            task: a task of an arm (`envs.arm.base.ArmTask`).
            limits: other limits than `policy_limits(task.arm)`.
            cone: largest tilt of the hand [rad].
            settings: rates and thresholds.
        """
        workspace = Workspace.from_box(task.low, task.high, cone)
        return cls(task.arm, task.controller, limits or policy_limits(task.arm), workspace, settings)

    def start(self, state: ArmState) -> None:
        """Sets the targets to the measured pose; the only moment at which a measurement becomes a command.

        Raises:
            UsageError: the arm moves, or its pose is one that may not be commanded; the message says what is
                allowed.
        """
        if not state.is_finite():
            raise UsageError("the measured state holds numbers that are not finite; check the connection to the robot")
        if np.abs(state.dq).max() > self.settings.still:
            raise UsageError(f"the arm still moves at {np.abs(state.dq).max():.3f} rad/s; wait until it is at rest")
        q = np.array(state.q, float)
        here = Configuration(self.arm, q)
        position, tilt = here.position, float(compute_tilt(here.pose)[0])
        # Widen the limits to a start pose slightly outside them, by at most `SLACK`; `_restore_limits` undoes it.
        room = self.limits.widen_to(np.clip(q, self.limits.q_min - SLACK, self.limits.q_max + SLACK))
        problem = room.describe_violation(q)
        excess = float(self.workspace.distance_outside(position))
        if not problem and excess > SLACK:
            problem = f"the hand at {position.round(3)} m, {excess * 100:.1f} cm outside the workspace"
        elif not problem and tilt > self.workspace.cone + SLACK:
            problem = f"the hand tilted by {tilt:.2f} rad, at most {self.workspace.cone:.2f} is allowed"
        if problem:
            raise UsageError(f"the arm cannot start with {problem}. Move it to a start pose of the task first")
        self.planner.checker.limits = room
        self.planner.checker.workspace = self.workspace.widen_to(position, tilt)
        self.planner.start_at_rest(q)
        self._target = here
        self._fingers = np.full(self.arm.finger_count, np.clip(state.gripper_width / 2, 0.0, FINGER_MAX))
        self._bad, self.stopped = 0, ""

    def filter_action(self, action: np.ndarray, state: ArmState, dt: float = 0.0) -> Decision:
        """Returns the reaction to a policy's action; never raises, whatever the action is.

        Args:
            action: (A,), each component in [-1, 1]; anything else is clipped or refused.
            state: the latest measurement.
            dt: how long this control step lasts [s]; the controller's own period if not given.
        """
        # An invalid or missing duration falls back to the controller's own period.
        dt = dt if 0.0 < dt <= 1.0 else 1.0 / self.controller.spec.rate_hz
        cause = self.stopped or self._find_stop_cause(state)
        if cause:
            return self._decide_stop(cause)
        values, problem = self._parse_action(action)
        if problem:
            self._bad += 1
            if self._bad >= self.settings.bad_actions:
                return self._decide_stop(f"{self._bad} unusable actions in a row, the last because {problem}")
            return self._decide_hold(problem)
        self._bad = 0
        self._restore_limits()
        clips: list[ActionClip] = []
        # Actions are defined on [-1, 1]; rounding up to 1e-6 is not reported.
        over = np.abs(values).max() - 1.0
        if over > 1e-6:
            clips.append(ActionClip("action", f"{over + 1.0:.3g}", "clipped to [-1, 1]"))
        wanted, fingers = self._advance_controller(np.clip(values, -1.0, 1.0), state)
        if not (np.isfinite(wanted).all() and np.isfinite(fingers).all()):
            return self._decide_hold("the task's controller returned values that are not finite")
        target = self._limit_step(Configuration(self.arm, wanted), dt, clips)
        self._plan_step(target, dt, clips)
        self._fingers = fingers
        return Decision(Verdict.FOLLOW, tuple(clips))

    def hold(self) -> None:
        """Comes to rest as fast as the limits allow; later targets continue from there."""
        self.planner.plan_stop()
        self._target = self.planner.rest_position

    def next_command(self) -> Target:
        """Returns the next command, to be sent once every 1 / rate seconds."""
        opening = float(self._fingers.sum()) if len(self._fingers) else -1.0
        return Target(self.planner.advance_command(), opening)

    def count_commands(self, dt: float) -> int:
        """Returns the number of commands in a control step of `dt` [s], at least 1."""
        return max(1, round(dt * self.settings.rate))

    def _find_stop_cause(self, state: ArmState) -> str:
        """Returns why the arm must stop whatever the action is; empty if it need not."""
        if state.mode not in (Mode.MOVING, Mode.IDLE):
            return f"the robot is in mode {state.mode.value}"
        if not state.is_finite():
            return "the measured state holds numbers that are not finite"
        error = np.abs(state.q - self.planner.last_command.q)
        worst = int(error.argmax())
        if error[worst] > self.settings.tracking:
            distance = f"joint {worst + 1} is {error[worst]:.2f} rad away from its command"
            return f"{distance}: an external force holds or moves the arm"
        return ""

    def _parse_action(self, action: Any) -> tuple[np.ndarray, str]:
        """Returns the action as an array, and the problem with it; empty if there is none."""
        dim = self.controller.spec.dim
        try:
            values = np.asarray(action, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            return np.zeros(dim), "the action is not an array of numbers"
        if values.shape != (dim,):
            return values, f"the action has shape {values.shape}, expected ({dim},)"
        if not np.isfinite(values).all():
            names = [n for n, value in zip(self.controller.spec.names, values, strict=True) if not np.isfinite(value)]
            return values, f"the action is not finite in {', '.join(names)}"
        return values, ""

    def _advance_controller(self, action: np.ndarray, state: ArmState) -> tuple[np.ndarray, np.ndarray]:
        """Returns the joints and fingers that the controller requests next, from the last target."""
        n, fingers = self.arm.joint_count, self.arm.finger_count
        measured = np.concatenate([state.q, np.full(fingers, state.gripper_width / 2)])
        # The controller continues from the last target, not from the measurement.
        last = np.concatenate([self._target.q, self._fingers])
        wanted = self.controller.advance(last[None], measured[None], action[None])[0]
        return wanted[:n], np.clip(wanted[n : n + fingers], 0.0, FINGER_MAX)

    def _limit_step(self, wanted: Configuration, dt: float, clips: list[ActionClip]) -> Configuration:
        """Returns the requested joints after limiting the speed and projecting into margins and workspace."""
        limits, last = self.planner.checker.limits, self.planner.last_command
        # 1. Speed: scale the step so that the strictest speed limit is kept.
        asked = self._compute_limit_usage(self._target, wanted, dt)
        rule = max(asked, key=lambda name: asked[name])
        if asked[rule] > 1.0:
            clips.append(ActionClip(rule, f"{asked[rule]:.2f} of the limit", f"step times {1 / asked[rule]:.2f}"))
            wanted = self._interpolate(self._target, wanted, 1 / asked[rule])
        # 2. Lead: keep the target within what `lead` seconds at full speed can reach from the last command.
        lead = max(self._compute_limit_usage(last, wanted, self.settings.lead).values())
        if lead > 1.0:
            clips.append(ActionClip("lead", f"{lead:.2f} of the limit", "the target waits for the command"))
            wanted = self._interpolate(last, wanted, 1 / lead)
        # 3. Position: clip to the joint margins, then project into the workspace.
        within = np.clip(wanted.q, limits.q_min, limits.q_max)
        clipped = np.abs(within - wanted.q)
        inside = self._project_into_workspace(Configuration(self.arm, within) if clipped.any() else wanted, clips)
        if clipped.any() and not any(clip.rule == "workspace" for clip in clips):
            worst = int(clipped.argmax())
            text = f"joint {worst + 1} at {wanted.q[worst]:.3f} rad"
            clips.append(ActionClip("joint_position", text, f"{within[worst]:.3f} rad"))
        return inside

    def _interpolate(self, begin: Configuration, end: Configuration, share: float) -> Configuration:
        """Returns the configuration at a share of the way, on a straight line in joint space."""
        return Configuration(self.arm, begin.q + share * (end.q - begin.q))

    def _compute_limit_usage(self, begin: Configuration, end: Configuration, dt: float) -> dict[str, float]:
        """Returns the share of each speed limit that a step from `begin` to `end` in dt [s] uses."""
        limits, step = self.planner.checker.limits, end.q - begin.q
        low, high = limits.speed_bounds(begin.q)
        turn = compute_orientation_error(begin.pose, end.pose.x, end.pose.y, end.pose.z)
        joints = np.where(step > 0, step / np.maximum(high, 1e-3), step / np.minimum(low, -1e-3))
        return {
            "joint_speed": float(joints.max()) / dt,
            "hand_speed": float(np.linalg.norm(end.position - begin.position)) / limits.translation[0] / dt,
            "turn_speed": float(np.linalg.norm(turn)) / limits.rotation[0] / dt,
        }

    def _project_into_workspace(self, joints: Configuration, clips: list[ActionClip]) -> Configuration:
        """Returns joints whose hand is in workspace and cone, by inverse kinematics where it was not."""
        space, limits = self.planner.checker.workspace, self.planner.checker.limits
        # Half of `INSET` inside the walls, since the path between two targets is slightly curved.
        place = np.clip(joints.position, space.low + INSET / 2, space.high - INSET / 2)
        tilt = float(compute_tilt(joints.pose)[0])
        if np.array_equal(place, joints.position) and tilt <= space.cone:
            return joints
        what = f"hand at {joints.position.round(3)} m, tilted by {tilt:.2f} rad"
        clips.append(ActionClip("workspace", what, f"{place.round(3)} m, {min(tilt, space.cone):.2f} rad"))
        # Tilt slightly less than the cone allows, because the damped steps do not converge exactly.
        upright = _tilt_approach(joints.pose.z[:, 0], min(tilt, 0.98 * space.cone))
        for _ in range(4):
            # Damped least squares for position and approach direction, at most 0.1 rad per joint and iteration.
            turn = np.cross(joints.pose.z[:, 0], upright)
            error = np.concatenate([place - joints.position, turn])[None]
            step = np.clip(solve_damped_step(joints.jacobian[None], error, np.zeros((1, 7)))[0], -0.1, 0.1)
            joints = Configuration(self.arm, np.clip(joints.q + step, limits.q_min, limits.q_max))
        return joints

    def _plan_step(self, wanted: Configuration, dt: float, clips: list[ActionClip]) -> None:
        """Plans to the requested joints, or to as large a part of the step as every limit allows."""
        breach = None
        # Shorten the step until a plan passes all limits.
        for share in (1.0, 0.5, 0.25):
            goal = wanted if share == 1.0 else self._interpolate(self._target, wanted, share)
            found = self.planner.plan_to_target(goal, self._target, dt)
            if found is None:
                self._target = goal
                break
            breach = breach or found
        if breach is not None:
            taken = "the plan is kept" if found is not None else f"step times {share}"
            clips.append(ActionClip(breach.rule, f"{breach.ratio:.2f} of the limit", taken))
            if found is not None:
                # No plan passed: continue from where the old plan comes to rest.
                self._target = self.planner.rest_position

    def _restore_limits(self) -> None:
        """Restores the configured limits after a start outside them, as soon as all commands are inside."""
        envelope = self.planner.checker
        if envelope.limits is self.limits and envelope.workspace is self.workspace:
            return
        # Restore only when the last command and the whole plan lie inside the configured limits.
        path = np.concatenate([self.planner.last_command.q[None], self.planner.plan])
        pose = compute_forward_kinematics(self.arm, path)
        if not any(self.limits.describe_violation(q) for q in path):
            envelope.limits = self.limits
        if (self.workspace.distance_outside(pose.position.T) <= 0).all() and (
            compute_tilt(pose) <= self.workspace.cone
        ).all():
            envelope.workspace = self.workspace

    def _decide_hold(self, cause: str) -> Decision:
        self.hold()
        return Decision(Verdict.HOLD, cause=cause)

    def _decide_stop(self, cause: str) -> Decision:
        if not self.stopped:
            self.hold()
        self.stopped = cause
        return Decision(Verdict.STOP, cause=cause)


def _tilt_approach(z: np.ndarray, tilt: float) -> np.ndarray:
    """Returns the approach direction (3,) with the azimuth of `z`, tilted by `tilt` [rad] from straight down."""
    flat = np.array((z[0], z[1], 0.0))
    length = np.linalg.norm(flat)
    side = flat / length if length > 1e-9 else np.zeros(3)
    return np.sin(tilt) * side + np.cos(tilt) * np.array((0.0, 0.0, -1.0))
