"""Compatibility of a policy with a robot: the same actions, the same observations, and the same joint ranges."""

from __future__ import annotations

from typing import Any

from robo_reward.envs.arm.model import ARMS, ArmModel
from robo_reward.envs.task import ActionSpec, ObservationSpec
from robo_reward.policies.policy import PolicyMismatch
from robo_reward.policies.rollout.history import list_seen_fields


def require_compatible(
    policy_action: ActionSpec,
    policy_observation: ObservationSpec,
    action: ActionSpec,
    observation: ObservationSpec,
    trained_on: str = "",
    arm: ArmModel | None = None,
    own_view: bool = False,
) -> tuple[str, ...]:
    """Checks that a policy's conventions are exactly the robot's.

    Args:
        policy_action: what the policy commands.
        policy_observation: what the policy observes.
        action: what the robot understands.
        observation: what the robot provides.
        trained_on: the policy's task, such as `panda/push`.
        arm: the robot's arm.
        own_view: whether the policy computes its observation by its own map, which may show fewer fields of the state
            or scale them otherwise: then only these fields are compared.

    Returns:
        Warnings, such as joints whose range on this arm is not that of the arm it was trained on.

    Raises:
        PolicyMismatch: listing every difference.
    """
    compare = _list_field_differences if own_view else _list_observation_differences
    different = {
        "commands": _list_differences("action", policy_action.to_json(), action.to_json()),
        "sees": compare(policy_observation, observation),
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


def _list_observation_differences(have: ObservationSpec, want: ObservationSpec) -> list[str]:
    return _list_differences("observation", have.to_json(), want.to_json())


def _list_field_differences(have: ObservationSpec, want: ObservationSpec) -> list[str]:
    """Returns a line of text for each field that the policy sees and that the robot lacks or defines otherwise."""
    lines = []
    for name in list_seen_fields(have):
        if name not in want.state:
            lines.append(f"observation.{name}, which the robot's state does not have ({', '.join(want.state.names)})")
            continue
        own, other = have.state[name], want.state[name]
        for key in ("shape", "unit", "frame"):
            lines += _list_differences(f"observation.{name}.{key}", getattr(own, key), getattr(other, key))
    return lines


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
