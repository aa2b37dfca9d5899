"""Dry run of a deployment: reads the arm, queries the policy and computes the commands; nothing moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from robo_reward.errors import RoboRewardError
from robo_reward.hardware.arm import ArmState
from robo_reward.hardware.deployment.control_loop import ControlContext
from robo_reward.hardware.deployment.latency import summarize_durations
from robo_reward.hardware.policy.observation import PolicyObservation

STEPS = 25


def dry_run(rig: ControlContext, print_line: Callable[[str], None], steps: int = STEPS) -> dict[str, Any]:
    """Runs control steps without streaming any command.

    Args:
        rig: with a connected arm.
        print_line: shows a line.
        steps: number of steps.

    Returns:
        JSON: `state`, `problem` (why the arm could not start, or ""), `steps` with each action and the command
        that would have followed, and `latency_ms`.
    """
    arm = rig.arm.state()
    print_line(
        f"{rig.arm.name}: mode {arm.mode.value}, hand at {np.round(arm.hand_position, 3)} m, "
        f"width {arm.gripper_width:.3f} m"
    )
    problem, taken, reads, answers = "", [], [], []
    observation = PolicyObservation(rig.policy, rig.observer, rig.views)
    for step in range(steps):
        begun = time.monotonic()
        arm = rig.arm.state()
        reads.append(time.monotonic() - begun)
        try:
            rig.filter.start(arm)
        except RoboRewardError as error:
            problem = str(error)
            break
        action, seconds = _query_policy(rig, observation, arm, step)
        if action is None:
            problem = "the policy did not answer within 5 s"
            break
        answers.append(seconds)
        dt = rig.compute_step_duration(step)
        decision = rig.filter.filter_action(action, arm, dt)
        # The last command of the step; the filter starts again from the measured state in the next one.
        command = [rig.filter.next_command() for _ in range(rig.filter.count_commands(dt))][-1]
        taken.append(
            {
                "action": np.round(action, 4).tolist(),
                "verdict": decision.verdict.value,
                "clips": [clip._asdict() for clip in decision.clips],
                "joints": np.round(command.joints, 5).tolist(),
                "gripper": round(float(command.gripper), 4),
            }
        )
        time.sleep(max(0.0, dt - (time.monotonic() - begun)))
    print_line(f"{len(taken)} steps decided, none sent" + (f"; the arm could not start: {problem}" if problem else ""))
    return {
        "state": _state_to_json(arm),
        "problem": problem,
        "steps": taken,
        "latency_ms": {"read_state": summarize_durations(reads), "answer": summarize_durations(answers)},
    }


def _query_policy(
    rig: ControlContext, observation: PolicyObservation, arm: ArmState, step: int
) -> tuple[np.ndarray | None, float]:
    """Returns the policy's action for the present observation and the time it took [s].

    A policy of chunks is asked in every step as well, and its first action is returned. The action is None when the
    policy did not answer.
    """
    if rig.policy is None:
        return np.zeros(rig.task.action.dim), 0.0
    begun = time.monotonic()
    frame = rig.frames.read().image if rig.frames is not None else None
    observation.add(rig.observer.estimate_state(arm), frame)
    rig.policy.send_observation(step, observation.build())
    reply = rig.policy.receive_reply(5.0)
    return (None, 0.0) if reply is None else (reply.actions[0], time.monotonic() - begun)


def _state_to_json(arm: ArmState) -> dict[str, Any]:
    vectors = ("q", "dq", "tau_ext", "wrench", "hand_position", "hand_quat")
    found: dict[str, Any] = {name: np.round(getattr(arm, name), 5).tolist() for name in vectors}
    return {**found, "gripper_width": arm.gripper_width, "mode": arm.mode.value, "errors": list(arm.errors)}
