"""The form of a program of the corpus, and the states that its programs read."""

from __future__ import annotations

from dataclasses import dataclass

from robo_reward.envs.state import Field, StateSpec

_LIFT = (
    Field("hand_position", (3,), "m", role="hand", typical=(0.0, 0.6)),
    Field("hand_velocity", (3,), "m/s", role="hand", typical=(-0.5, 0.5)),
    Field("gripper_opening", (), "m", role="gripper", typical=(0.0, 0.08)),
    Field("joint_position", (7,), "rad", role="joint", typical=(-2.0, 2.0)),
    Field("cube_position", (3,), "m", role="object", typical=(0.0, 0.6)),
    Field("cube_rotation", (4,), "quaternion", role="object"),
    Field("cube_velocity", (3,), "m/s", role="object", typical=(-0.5, 0.5)),
)
_PUSH = (
    *_LIFT[:4],
    Field("puck_position", (3,), "m", role="object", typical=(0.0, 0.6)),
    Field("puck_rotation", (4,), "quaternion", role="object"),
    Field("puck_velocity", (3,), "m/s", role="object", typical=(-0.5, 0.5)),
    Field("goal_position", (3,), "m", role="goal", typical=(0.0, 0.6)),
)
_WALK = (
    Field("torso_position", (3,), "m", role="body", typical=(0.0, 1.2)),
    Field("torso_rotation", (4,), "quaternion", role="body"),
    Field("torso_velocity", (3,), "m/s", role="body", typical=(-2.0, 2.0)),
    Field("torso_spin", (3,), "rad/s", role="body", typical=(-3.0, 3.0)),
    Field("up_direction", (3,), "1", role="body"),
    Field("joint_position", (12,), "rad", role="joint", typical=(-1.0, 1.0)),
    Field("joint_velocity", (12,), "rad/s", role="joint", typical=(-8.0, 8.0)),
    Field("foot_contact", (4,), "N", role="contact", typical=(-1.0, 3.0)),
    Field("command", (3,), "m/s", role="goal"),
)
_CABINET = (
    Field("hand_position", (3,), "m", role="hand", typical=(0.0, 0.6)),
    Field("hand_axes", (3, 3), "1", role="hand"),
    Field("finger_points", (4, 3), "m", role="gripper", typical=(0.0, 0.6)),
    Field("handle_points", (6, 3), "m", role="part", typical=(0.0, 0.6)),
    Field("handle_position", (3,), "m", role="part", typical=(0.0, 0.6)),
    Field("drawer_opening", (), "m", role="part", typical=(0.0, 0.4)),
    Field("drawer_velocity", (), "m/s", role="part", typical=(-0.2, 0.2)),
)

SPECS = {name: StateSpec(fields) for name, fields in zip(["lift", "push", "walk", "cabinet"], (_LIFT, _PUSH, _WALK, _CABINET), strict=True)}  # fmt: skip
ACTION_DIMS = {"lift": 4, "push": 3, "walk": 12, "cabinet": 7}


@dataclass(frozen=True)
class PublishedProgram:
    """A reward program in the style in which papers and repositories publish them.

    Args:
        name: of the program in the corpus.
        state: key of `SPECS`.
        source: the text.
        arrays: `world` if the original is called with one state, `batch` if with a batch of states.
        library: `numpy` or `torch`, the kind of array that the original receives.
        refused: empty, or a pattern that a remedy must contain: the program belongs outside the language.
    """

    name: str
    state: str
    source: str
    arrays: str = "world"
    library: str = "numpy"
    refused: str = ""
