"""Fork: put a fork into a bowl, held at its handle or at its tines; after RAPL's hardware study (2412.04835)."""

from __future__ import annotations

from math import cos, pi, sin, tan
from typing import ClassVar

import numpy as np

from robo_reward.envs.arm.base import CENTRE, object_fields, object_sensors, sample_free_bodies
from robo_reward.envs.arm.grips import CLOSE_CAMERA, GripTask
from robo_reward.envs.state import Field, State
from robo_reward.envs.task import Observable

REST = 0.023
"""Height of the fork's middle while it lies on its rest [m]."""

GRIP = 0.048
"""Distance of both grips from the fork's middle [m]."""

HANDLE_WIDTH, HEAD_WIDTH = 0.016, 0.026
"""Widths of the handle and of the tines [m]."""

BOWL, BOWL_HEIGHT = 0.095, 0.045
"""Distance of the bowl's walls from its axis, and their height [m]."""

STEEL, BLACK, WOOD, WHITE = ".72 .74 .78 1", ".15 .15 .17 1", ".45 .30 .18 1", ".95 .95 .92 1"

# The four tines are drawn; they collide as one box with the fork's head.
FORK = f"""
<body name="fork">
  <freejoint/>
  <geom class="object" type="box" size=".032 {HANDLE_WIDTH / 2} .006" pos=".040 0 .001" mass=".018" rgba="{BLACK}"/>
  <geom class="object" type="box" size=".018 .004 .005" pos="-.006 0 0" mass=".008" rgba="{STEEL}"/>
  <geom class="object" type="box" size=".026 {HEAD_WIDTH / 2} .005" pos="-.048 0 0" mass=".017" group="3"/>
  <geom class="look" type="box" size=".008 {HEAD_WIDTH / 2} .004" pos="-.030 0 0" rgba="{STEEL}"/>
  {
    "".join(
        f'<geom class="look" type="box" size=".019 .0020 .004" pos="-.055 {y} 0" rgba="{STEEL}"/>'
        for y in (-0.011, -0.0037, 0.0037, 0.011)
    )
}
  <site name="handle" pos="{GRIP} 0 0" size=".003" rgba="0 0 0 0"/>
  <site name="tines" pos="{-GRIP} 0 0" size=".003" rgba="0 0 0 0"/>
</body>"""

# The cheeks are as wide as an open hand: between the two grips it comes down on them.
FORK_REST = f"""
<body name="rest" mocap="true">
  <geom class="fixture" type="box" size=".030 .014 .009" pos="0 0 .009" rgba="{WOOD}"/>
  <geom class="fixture" type="box" size=".012 .021 .028" pos="0 .035 .028" rgba="{WOOD}"/>
  <geom class="fixture" type="box" size=".012 .021 .028" pos="0 -.035 .028" rgba="{WOOD}"/>
</body>"""


def bowl_xml() -> str:
    """Returns the bowl: eight walls; its bottom is the table, drawn white."""
    half = BOWL_HEIGHT / 2
    walls = "".join(
        f'<geom class="fixture" type="box" size=".004 {(BOWL + 0.004) * tan(pi / 8):.4f} {half}" '
        f'pos="{BOWL * cos(k * pi / 4):.5f} {BOWL * sin(k * pi / 4):.5f} {half}" euler="0 0 {k * pi / 4:.5f}" '
        f'rgba="{WHITE}"/>'
        for k in range(8)
    )
    bottom = f'<geom class="look" type="cylinder" size="{BOWL} .001" pos="0 0 .001" rgba="{WHITE}"/>'
    return f'<body name="bowl" mocap="true">{walls}{bottom}</body>'


EXPERT_REWARD = '''\
def compute_reward(state, action, previous):
    """Grip the fork at either end, raise it, bring it down a cone into the bowl, then open the fingers."""
    to_handle = np.linalg.norm(state.handle_position - state.hand_position, axis=-1)
    to_tines = np.linalg.norm(state.tines_position - state.hand_position, axis=-1)
    distance = np.minimum(to_handle, to_tines)
    gap = state.fork_position - state.bowl_position
    aside = np.linalg.norm(gap[:, :2], axis=-1)
    inside = (aside < 0.05) & (gap[:, 2] < 0.05)
    reach = 1.0 - np.tanh(8.0 * distance)
    closed = np.clip((0.08 - state.gripper_opening) / 0.05, 0.0, 1.0)
    grasp = 0.5 * np.where(distance < 0.02, closed, 0.0)
    height = np.clip((state.fork_position[:, 2] - 0.023) / 0.05, 0.0, 1.0)
    cone = 0.04 + np.minimum(0.6 * aside, 0.06)
    off = np.sqrt(aside**2 + (gap[:, 2] - cone) ** 2)
    close = 3.0 * (1.0 - np.tanh(4.0 * off)) + 2.0 * np.exp(-((off / 0.04) ** 2))
    carry = np.where(distance < 0.04, height, 0.0) * (1.0 + close)
    command = np.clip(0.5 * (1.0 + action[:, -1]), 0.0, 1.0)
    opened = np.clip((state.gripper_opening - 0.03) / 0.03, 0.0, 1.0)
    held = np.where(inside, 0.0, reach + grasp + carry)
    released = np.where(inside, 8.0 + 2.0 * command + 6.0 * opened, 0.0)
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = held + released + effort
    return total, {"held": held, "released": released, "effort": effort}
'''


class Fork(GripTask):
    """The fork in the bowl and the hand off it at the end, wherever the hand held it.

    The two grips are 9.6 cm apart. Half-way between them an open hand comes down on the cheeks of the fork's rest, so
    that the mean of the actions of both modes fails.
    """

    name = "fork"
    goal = "Put the fork into the white bowl."
    success_rule = (
        "the fork's middle is within 5 cm of the bowl's axis and below 5 cm, and the gripper is open by more than 5 cm"
    )
    modes = ("handle", "tines")
    expert_reward = EXPERT_REWARD
    training_steps = 800_000
    ppo_params: ClassVar = {"ent_coef": 0.002}
    horizon = 120
    thing = "fork"
    rest_height = REST
    widths: ClassVar[tuple[float, ...]] = (HANDLE_WIDTH, HEAD_WIDTH)
    things = (
        *object_fields(
            "fork", "the fork, 15 cm long along x; 0.023 m high on its rest, whose cheeks are 0.056 m high beside it"
        ),
        Field(
            "handle_position",
            (3,),
            "m",
            "where the hand grips the fork's handle, which points to +x, away from the robot",
            "object",
            typical=(-0.3, 0.7),
        ),
        Field(
            "tines_position",
            (3,),
            "m",
            "where the hand grips the fork's tines, which point to the robot",
            "object",
            typical=(-0.3, 0.7),
        ),
        Field(
            "bowl_position",
            (3,),
            "m",
            "middle of the white bowl's bottom, on the table; its wall is 0.095 m from there and 0.045 m high",
            "goal",
            typical=(-0.3, 0.7),
        ),
    )
    bodies = FORK + FORK_REST + bowl_xml() + CLOSE_CAMERA
    thing_sensors = (
        object_sensors("fork")
        + '<framepos name="handle_position" objtype="site" objname="handle"/>'
        + '<framepos name="tines_position" objtype="site" objname="tines"/>'
        + '<framepos name="bowl_position" objtype="xbody" objname="bowl"/>'
    )
    views = (
        Observable("fork_position", 0.2, centre=CENTRE),
        Observable("handle_position", 0.1, minus="hand_position"),
        Observable("tines_position", 0.1, minus="hand_position"),
        Observable("bowl_position", 0.1, minus="fork_position"),
        Observable("fork_velocity", 0.5),
    )

    def place(self, rng: np.random.Generator, qpos: np.ndarray, mocap: np.ndarray) -> None:
        n = len(qpos)
        qpos[:] = sample_free_bodies(rng, n, (0.45, -0.12, REST), (0.55, -0.02, REST), turn=0.08)
        # mocap: positions of the rest and of the bowl, then their quaternions
        mocap[:, :2] = qpos[:, :2]
        mocap[:, 6:10] = qpos[:, 3:7]
        mocap[:, 3:5] = rng.uniform((0.46, 0.14), (0.54, 0.18), (n, 2))

    def success(self, state: State) -> np.ndarray:
        gap = state.fork_position - state.bowl_position
        inside = (np.linalg.norm(gap[..., :2], axis=-1) < 0.05) & (gap[..., 2] < 0.05)
        return inside & (state.gripper_opening > 0.05)

    def plan_displacement(self, state: State) -> np.ndarray:
        """Plans the fork's next displacement: up out of the rest, over the bowl, then down into it."""
        gap = state.bowl_position - state.fork_position
        aside = np.linalg.norm(gap[..., :2], axis=-1)
        over, high = aside < 0.015, gap[..., 2] < -0.07
        up = gap[..., 2] + np.where(over, 0.035, 0.10)
        way = np.where((high | over)[..., None], gap[..., :2], 0.0)
        return np.concatenate([way, up[..., None]], axis=-1)

    def expert_of_mode(self, state: State, mode: str) -> np.ndarray:
        """Returns the action: grip as `mode` says, carry the fork into the bowl, let go, rise."""
        carry = super().expert_of_mode(state, mode)
        gap = state.fork_position - state.bowl_position
        placed = (np.linalg.norm(gap[..., :2], axis=-1) < 0.04) & (gap[..., 2] < 0.042)
        rise = np.where(state.gripper_opening > 0.055, 0.02, 0.0)
        leave = np.stack([*np.zeros((2, *rise.shape)), rise], axis=-1)
        return np.where(placed[..., None], self.compute_action_toward(state, state.hand_position + leave, 1.0), carry)
