"""A small state and programs on it, shared by the tests of the reward language."""

from __future__ import annotations

from robo_reward.envs.state import Field, StateSpec

SPEC = StateSpec(
    [
        Field("hand_position", (3,), "m", "the hand", "hand", typical=(0.0, 0.6)),
        Field("hand_rotation", (4,), "quaternion", "its orientation", "hand"),
        Field("cube_position", (3,), "m", "the cube", "object", typical=(0.0, 0.6)),
        Field("cube_rotation", (4,), "quaternion", "its orientation", "object"),
        Field("opening", (), "m", "of the fingers", "gripper", typical=(0.0, 0.08)),
        Field("joints", (7,), "rad", "angles", "joint", typical=(-2.0, 2.0)),
    ]
)
ACTION_DIM = 4

FIVE_TERMS = '''\
def distance(a, b):
    """Metres between two points."""
    return np.linalg.norm(a - b, axis=-1)


def compute_reward(state, action, previous):
    """Approach, close, lift, align, be gentle."""
    # the hand comes near
    gap = distance(state.hand_position, state.cube_position)
    reach = 1.0 - np.tanh(5.0 * gap)
    progress = 10.0 * (distance(previous.hand_position, previous.cube_position) - gap)
    lift = tolerance(state.cube_position[:, 2], lower=0.2, upper=0.4, margin=0.2)
    align = np.where(gap < 0.1, np.cos(quat_angle(state.hand_rotation, state.cube_rotation)), 0.0)
    effort = 0.0
    for i in range(4):
        effort -= 0.01 * action[:, i] ** 2
    total = reach + progress + 2.0 * lift + align + effort
    return total, {"reach": reach, "progress": progress, "lift": lift, "align": align, "effort": effort}
'''


def entry(*lines: str, returns: str = '0.0, {"a": state.opening}') -> str:
    """A program whose only function has these lines."""
    body = "".join(f"    {line}\n" for line in lines)
    return f"def compute_reward(state, action, previous):\n{body}    return {returns}\n"


def value(expression: str) -> str:
    """A program whose term `a` is one expression."""
    return entry(f"a = {expression}", returns='a, {"a": a}')
