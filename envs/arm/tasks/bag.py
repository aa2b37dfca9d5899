"""Bag: lift a bag of chips, at its sealed edge or squeezed in the middle; after RAPL's hardware study (2412.04835)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from robo_reward.envs.arm.base import CENTRE, object_fields, object_sensors, sample_free_bodies
from robo_reward.envs.arm.grips import CLOSE_CAMERA, GripTask
from robo_reward.envs.state import Field, State
from robo_reward.envs.task import Observable

HALF = 0.024
"""Half the height of the bag's full part, and half its width is 2 mm more [m]."""

SEAL = 0.094
"""Distance of the sealed edge from the middle of the full part, along -y [m]."""

SEAL_WIDTH = 0.014
"""Thickness of the sealed edge [m]."""

RED, SILVER = ".80 .16 .14 1", ".80 .81 .84 1"

# The full part collides as a box, whose flat sides give stable contacts, and is drawn as an ellipsoid.
BAG = f"""
<body name="bag">
  <freejoint/>
  <geom class="object" type="box" size=".045 .026 {HALF}" mass=".045" group="3"/>
  <geom class="look" type="ellipsoid" size=".056 .034 .028" pos="0 0 0" rgba="{RED}"/>
  <geom class="look" type="ellipsoid" size=".024 .018 .004" pos="0 0 .026" rgba=".97 .80 .20 1"/>
  <geom class="object" type="box" size=".040 .032 .003" pos="0 -.058 -.019" mass=".006" rgba="{RED}"/>
  <geom class="object" type="box" size=".040 {SEAL_WIDTH / 2} .026" pos="0 {-SEAL} .004" mass=".006" rgba="{SILVER}"/>
  <geom class="look" type="box" size=".0401 {SEAL_WIDTH / 2 + 0.0002} .003" pos="0 {-SEAL} .018" rgba="{RED}"/>
  <site name="edge" pos="0 {-SEAL} .010" size=".003" rgba="0 0 0 0"/>
  <site name="middle" pos="0 0 0" size=".003" rgba="0 0 0 0"/>
</body>"""

EXPERT_REWARD = '''\
def compute_reward(state, action, previous):
    """Come close to the edge or to the middle, whichever is nearer, close the fingers there, raise the bag.

    The height is that of the full part's lowest point, so that a bag that is only tilted counts for nothing.
    """
    to_edge = np.linalg.norm(state.edge_position - state.hand_position, axis=-1)
    to_middle = np.linalg.norm(state.middle_position - state.hand_position, axis=-1)
    distance = np.minimum(to_edge, to_middle)
    reach = 1.0 - np.tanh(8.0 * distance)
    near = distance < 0.02
    closed = np.clip((0.08 - state.gripper_opening) / 0.028, 0.0, 1.0)
    grasp = 0.5 * np.where(near, closed, 0.0)
    ready = 0.2 * np.where(near, 0.0, 1.0 - closed)
    w, x = state.bag_rotation[:, 0], state.bag_rotation[:, 1]
    y, z = state.bag_rotation[:, 2], state.bag_rotation[:, 3]
    half = 0.09 * np.abs(x * z - w * y) + 0.052 * np.abs(y * z + w * x) + 0.024 * np.abs(1.0 - 2.0 * (x**2 + y**2))
    height = np.clip((state.bag_position[:, 2] - half) / 0.10, 0.0, 1.0)
    lift = 3.0 * np.where(distance < 0.04, height, 0.0)
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = reach + ready + grasp + lift + effort
    return total, {"reach": reach, "ready": ready, "grasp": grasp, "lift": lift, "effort": effort}
'''


class Bag(GripTask):
    """The middle of the bag's full part at least 8 cm higher than at rest at the end, wherever the hand holds it.

    The two grips are 9 cm apart. Half-way between them an open hand comes down on the full part and on the edge, so
    that the mean of the actions of both modes fails.
    """

    name = "bag"
    goal = "Pick up the red bag of chips and lift it 8 cm above the table."
    success_rule = "the middle of the bag's full part, at rest 2.4 cm high, is above 10.4 cm"
    modes = ("edge", "middle")
    expert_reward = EXPERT_REWARD
    training_steps = 300_000
    horizon = 70
    thing = "bag"
    rest_height = HALF
    widths: ClassVar[tuple[float, ...]] = (SEAL_WIDTH, 0.052)
    things = (
        *object_fields(
            "bag",
            "the full part of the red bag of chips, 9 cm long along x, 5 cm wide along y; 0.024 m high on the table",
        ),
        Field(
            "edge_position",
            (3,),
            "m",
            "where the hand grips the bag's sealed edge, which stands up on the bag's side of smallest y",
            "object",
            typical=(-0.3, 0.7),
        ),
        Field(
            "middle_position",
            (3,),
            "m",
            "where the hand squeezes the bag in the middle of its full part",
            "object",
            typical=(-0.3, 0.7),
        ),
    )
    bodies = BAG + CLOSE_CAMERA
    thing_sensors = (
        object_sensors("bag")
        + '<framepos name="edge_position" objtype="site" objname="edge"/>'
        + '<framepos name="middle_position" objtype="site" objname="middle"/>'
    )
    views = (
        Observable("bag_position", 0.2, centre=CENTRE),
        Observable("edge_position", 0.1, minus="hand_position"),
        Observable("middle_position", 0.1, minus="hand_position"),
        Observable("bag_velocity", 0.5),
    )

    def place(self, rng: np.random.Generator, qpos: np.ndarray, mocap: np.ndarray) -> None:
        qpos[:] = sample_free_bodies(rng, len(qpos), (0.44, -0.05, HALF), (0.54, 0.13, HALF), turn=0.15)

    def success(self, state: State) -> np.ndarray:
        return state.bag_position[..., 2] > HALF + 0.08
