"""Cup: lift a cup, by its handle or by its rim; after the first task of RAPL's hardware study (2412.04835)."""

from __future__ import annotations

from math import cos, pi, sin, tan
from typing import ClassVar

import numpy as np

from robo_reward.envs.arm.base import CENTRE, object_fields, object_sensors, sample_free_bodies
from robo_reward.envs.arm.grips import CLOSE_CAMERA, GripTask
from robo_reward.envs.state import Field, State
from robo_reward.envs.task import Observable

HALF = 0.035
"""Half the cup's height [m]."""

RADIUS = 0.036
"""Distance of the middle of each of the eight walls from the cup's axis [m]."""

WALL = 0.010
"""Thickness of the walls [m]."""

BAR = 0.014
"""Thickness of the handle's outer bar [m]."""

COLOUR = ".16 .42 .70 1"


def cup_xml() -> str:
    """Returns the cup: eight walls and a bottom, the handle at +x; two sites mark where it can be gripped.

    The bottom that touches the table is a box: box on box gives four stable contacts.
    """
    half_width = (RADIUS + WALL / 2) * tan(pi / 8)
    walls = "".join(
        f'<geom class="object" type="box" size="{WALL / 2} {half_width:.4f} .033" '
        f'pos="{RADIUS * cos(k * pi / 4):.5f} {RADIUS * sin(k * pi / 4):.5f} .002" euler="0 0 {k * pi / 4:.5f}" '
        f'mass=".009" rgba="{COLOUR}"/>'
        for k in range(8)
    )
    return f"""
<body name="cup">
  <freejoint/>
  {walls}
  <geom class="object" type="box" size=".028 .028 .004" pos="0 0 -.031" mass=".024" rgba="{COLOUR}"/>
  <geom class="look" type="cylinder" size=".038 .003" pos="0 0 -.031" rgba="{COLOUR}"/>
  <geom class="look" type="cylinder" size=".033 .001" pos="0 0 -.026" rgba=".93 .93 .90 1"/>
  <geom class="object" type="box" size=".007 {BAR / 2} .022" pos=".071 0 .003" mass=".008" rgba="{COLOUR}"/>
  <geom class="object" type="box" size=".013 .006 .005" pos=".052 0 .018" mass=".004" rgba="{COLOUR}"/>
  <geom class="object" type="box" size=".013 .006 .005" pos=".052 0 -.012" mass=".004" rgba="{COLOUR}"/>
  <site name="handle" pos=".068 0 0" size=".003" rgba="0 0 0 0"/>
  <site name="rim" pos="0 {-RADIUS} .023" size=".003" rgba="0 0 0 0"/>
</body>"""


EXPERT_REWARD = '''\
def compute_reward(state, action, previous):
    """Come close to the handle or to the rim, whichever is nearer, close the fingers there, raise the cup.

    The height is that of the cup's lowest point, so that a cup that is only tilted counts for nothing.
    """
    to_handle = np.linalg.norm(state.handle_position - state.hand_position, axis=-1)
    to_rim = np.linalg.norm(state.rim_position - state.hand_position, axis=-1)
    distance = np.minimum(to_handle, to_rim)
    reach = 1.0 - np.tanh(8.0 * distance)
    near = distance < 0.018
    closed = np.clip((0.08 - state.gripper_opening) / 0.066, 0.0, 1.0)
    grasp = 0.5 * np.where(near, closed, 0.0)
    ready = 0.2 * np.where(near, 0.0, 1.0 - closed)
    upright = np.abs(1.0 - 2.0 * (state.cup_rotation[:, 1] ** 2 + state.cup_rotation[:, 2] ** 2))
    half = 0.035 * upright + 0.04 * np.sqrt(np.maximum(1.0 - upright**2, 0.0))
    height = np.clip((state.cup_position[:, 2] - half) / 0.10, 0.0, 1.0)
    lift = 3.0 * np.where(distance < 0.04, height, 0.0)
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = reach + ready + grasp + lift + effort
    return total, {"reach": reach, "ready": ready, "grasp": grasp, "lift": lift, "effort": effort}
'''


class Cup(GripTask):
    """The cup's bottom at least 8 cm above the table at the end, wherever the hand holds it.

    The two grips are 8 cm apart. Half-way between them an open hand comes down on the rim, so that the mean of the
    actions of both modes fails.
    """

    name = "cup"
    goal = "Pick up the blue cup and lift it 8 cm above the table."
    success_rule = "the cup's bottom is at least 8 cm above the table (its centre, at rest 3.5 cm high, above 11.5 cm)"
    modes = ("handle", "rim")
    expert_reward = EXPERT_REWARD
    training_steps = 300_000
    horizon = 70
    thing = "cup"
    rest_height = HALF
    widths: ClassVar[tuple[float, ...]] = (BAR, WALL)
    things = (
        *object_fields("cup", "the blue cup, 7 cm high and 8 cm wide; 0.035 m high when it stands on the table"),
        Field(
            "handle_position",
            (3,),
            "m",
            "where the hand grips the cup's handle, which points to +x, away from the robot",
            "object",
            typical=(-0.3, 0.8),
        ),
        Field(
            "rim_position",
            (3,),
            "m",
            "where the hand grips the cup's rim at its side of smallest y, one finger inside the cup",
            "object",
            typical=(-0.3, 0.7),
        ),
    )
    bodies = cup_xml() + CLOSE_CAMERA
    thing_sensors = (
        object_sensors("cup")
        + '<framepos name="handle_position" objtype="site" objname="handle"/>'
        + '<framepos name="rim_position" objtype="site" objname="rim"/>'
    )
    views = (
        Observable("cup_position", 0.2, centre=CENTRE),
        Observable("handle_position", 0.1, minus="hand_position"),
        Observable("rim_position", 0.1, minus="hand_position"),
        Observable("cup_velocity", 0.5),
    )

    def place(self, rng: np.random.Generator, qpos: np.ndarray, mocap: np.ndarray) -> None:
        qpos[:] = sample_free_bodies(rng, len(qpos), (0.42, -0.08, HALF), (0.52, 0.12, HALF), turn=0.15)

    def success(self, state: State) -> np.ndarray:
        return state.cup_position[..., 2] > HALF + 0.08
