"""Compatibility of a policy with a robot: the same actions, the same observations, and the same joint ranges."""

from __future__ import annotations

from typing import Any

from robo_reward.envs.arm.model import ARMS, ArmModel
from robo_reward.envs.task import ActionSpec, ObservationSpec
from robo_reward.policies.policy import PolicyMismatch


def require_compatible(
    policy_action: ActionSpec,
    policy_observation: ObservationSpec,
    action: ActionSpec,
    observation: ObservationSpec,
    trained_on: str = "",
    arm: ArmModel | None = None,
) -> tuple[str, ...]:
    """Checks that a policy's conventions are exactly the robot's.

    Args:
        policy_action: what the policy commands.
        policy_observation: what the policy observes.
        action: what the robot understands.
        observation: what the robot provides.
        trained_on: the policy's task, such as `panda/push`.
        arm: the robot's arm.

    Returns:
        Warnings, such as joints whose range on this arm is not that of the arm it was trained on.

    Raises:
        PolicyMismatch: listing every difference.
    """
    different = {
        "commands": _list_differences("action", policy_action.to_json(), action.to_json()),
        "sees": _list_differences("observation", policy_observation.to_json(), observation.to_json()),
    }
    if any(different.values()):
        shown = "; ".join(
            f"it {verb} other quantities: {_join_lines(lines)}" for verb, lines in different.items() if lines
        )
        raise PolicyMismatch(
            f"the policy, trained on {trained_on or 'an unknown task'!r}, does not fit this robot: {shown}. "
            "Train it on the robot's task and control, or choose the robot and task it was trained for"
        )
    before = ARMS.get(trained_on.partition("/")[0])
    if arm is None or before is None or before.name == arm.name or before.joint_count != arm.joint_count:
        return ()
    return tuple(
        f"joint {i} turns from {a:.2f} to {b:.2f} rad on {arm.name}, but from {c:.2f} to {d:.2f} on {before.name}, "
        "where the policy was trained; the safety filter keeps the former"
        for i, (a, b, c, d) in enumerate(zip(arm.q_min, arm.q_max, before.q_min, before.q_max, strict=True), start=1)
        if max(abs(a - c), abs(b - d)) > 0.1
    )


def _list_differences(path: str, have: Any, want: Any) -> list[str]:
    """Returns a line of text for each difference between two JSON values."""
    if isinstance(have, dict) and isinstance(want, dict):
        keys = dict.fromkeys((*have, *want))
        return [line for key in keys for line in _list_differences(f"{path}.{key}", have.get(key), want.get(key))]
    if isinstance(have, list | tuple) and isinstance(want, list | tuple) and len(have) == len(want):
        pairs = enumerate(zip(have, want, strict=True))
        return [line for i, (a, b) in pairs for line in _list_differences(f"{path}[{i}]", a, b)]
    if isinstance(have, list | tuple) and isinstance(want, list | tuple):
        return [f"{path} has {len(have)} entries {_format_names(have)}, the robot's {len(want)} {_format_names(want)}"]
    return [] if have == want else [f"{path} is {have!r}, the robot's {want!r}"]


def _join_lines(lines: list[str], most: int = 8) -> str:
    return "; ".join(lines[:most]) + (f"; and {len(lines) - most} more" if len(lines) > most else "")


def _format_names(values: Any) -> str:
    names = [str(v.get("name", v.get("field"))) if isinstance(v, dict) else str(v) for v in values]
    return f"({', '.join(names)})"
