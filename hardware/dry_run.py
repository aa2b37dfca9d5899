"""Reading only: what the arm reports, what the policy would do, what would be sent; nothing moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from robo_reward.errors import RoboRewardError
from robo_reward.hardware.latency import summary
from robo_reward.hardware.live import Rig
from robo_reward.hardware.robot import ArmState

STEPS = 25


def dry_run(rig: Rig, tell: Callable[[str], None], steps: int = STEPS) -> dict[str, Any]:
    """Goes through control steps without ever streaming.

    Args:
        rig: with a connected arm.
        tell: shows a line.
        steps: how many.

    Returns:
        JSON: `state`, `problem` (why the arm could not start, or ""), `steps` with each action and the command that
        would have followed, and `latency_ms`.
    """
    arm = rig.arm.state()
    tell(
        f"{rig.arm.name}: mode {arm.mode.value}, hand at {np.round(arm.hand_position, 3)} m, "
        f"width {arm.gripper_width:.3f} m"
    )
    problem, taken, reads, answers = "", [], [], []
    for step in range(steps):
        begun = time.monotonic()
        arm = rig.arm.state()
        reads.append(time.monotonic() - begun)
        try:
            rig.filter.start(arm)
        except RoboRewardError as error:
            problem = str(error)
            break
        action, seconds = _decided(rig, arm, step)
        if action is None:
            problem = "the policy did not answer within 5 s"
            break
        answers.append(seconds)
        decision = rig.filter.decide(action, arm, rig.duration(step))
        command = decision.target.joints
        taken.append(
            {
                "action": np.round(action, 4).tolist(),
                "verdict": decision.verdict.value,
                "clips": [clip._asdict() for clip in decision.clips],
                "joints": None if command is None else np.round(command, 5).tolist(),
                "gripper": round(float(decision.target.gripper), 4),
            }
        )
        time.sleep(max(0.0, rig.duration(step) - (time.monotonic() - begun)))
    tell(f"{len(taken)} steps decided, none sent" + (f"; the arm could not start: {problem}" if problem else ""))
    return {
        "state": _numbers(arm),
        "problem": problem,
        "steps": taken,
        "latency_ms": {"read_state": summary(reads), "answer": summary(answers)},
    }


def _decided(rig: Rig, arm: ArmState, step: int) -> tuple[np.ndarray | None, float]:
    """The policy's action for what is seen now, and how long it took [s]."""
    if rig.policy is None:
        return np.zeros(rig.task.action.dim), 0.0
    begun = time.monotonic()
    rig.policy.ask(step, rig.observer.observation(rig.observer.state(arm)))
    reply = rig.policy.reply(5.0)
    return (None, 0.0) if reply is None else (reply.actions[0], time.monotonic() - begun)


def _numbers(arm: ArmState) -> dict[str, Any]:
    vectors = ("q", "dq", "tau_ext", "wrench", "hand_position", "hand_quat")
    found: dict[str, Any] = {name: np.round(getattr(arm, name), 5).tolist() for name in vectors}
    return {**found, "gripper_width": arm.gripper_width, "mode": arm.mode.value, "errors": list(arm.errors)}
