"""Drawer: hook a finger behind a handle and pull."""

from __future__ import annotations

import numpy as np

from robo_reward.envs.arm.base import CENTRE, ArmTask
from robo_reward.envs.state import Field, State
from robo_reward.envs.task import Observable

# Origin of the cabinet's frame: on the table, below the handle of the closed drawer. The front is 5 cm behind the bar.
# The bar has low friction, so that a finger that lands on top of it slides off.
CABINET = """
<body name="cabinet" mocap="true">
  <geom class="fixture" type="box" size=".10 .15 .010" pos=".165 0 .015" rgba=".80 .76 .70 1"/>
  <geom class="fixture" type="box" size=".10 .15 .006" pos=".165 0 .154" rgba=".80 .76 .70 1"/>
  <geom class="fixture" type="box" size=".10 .008 .065" pos=".165 .142 .085" rgba=".76 .72 .66 1"/>
  <geom class="fixture" type="box" size=".10 .008 .065" pos=".165 -.142 .085" rgba=".76 .72 .66 1"/>
  <geom class="fixture" type="box" size=".006 .149 .0735" pos=".265 0 .0735" rgba=".76 .72 .66 1"/>
  <body name="drawer">
    <inertial pos=".12 0 .08" mass="1" diaginertia=".01 .01 .01"/>
    <joint name="drawer" type="slide" axis="-1 0 0" range="0 .16" damping="6" frictionloss="2" armature=".1"/>
    <geom class="fixture" type="box" size=".008 .130 .055" pos=".058 0 .086" rgba=".30 .50 .68 1"/>
    <geom class="look" type="box" size=".085 .125 .004" pos=".150 0 .040" rgba=".62 .58 .52 1"/>
    <geom class="look" type="box" size=".085 .004 .030" pos=".150 .125 .070" rgba=".62 .58 .52 1"/>
    <geom class="look" type="box" size=".085 .004 .030" pos=".150 -.125 .070" rgba=".62 .58 .52 1"/>
    <geom class="fixture" type="capsule" size=".007" fromto="0 -.06 .12 0 .06 .12" priority="1" friction=".2 .01 .0002"
      rgba=".20 .21 .23 1"/>
    <geom class="fixture" type="capsule" size=".006" fromto="0 -.06 .12 .05 -.06 .12" rgba=".20 .21 .23 1"/>
    <geom class="fixture" type="capsule" size=".006" fromto="0 .06 .12 .05 .06 .12" rgba=".20 .21 .23 1"/>
    <site name="handle" pos="0 0 .12" size=".004" rgba="0 0 0 0"/>
  </body>
</body>"""

HOOK = np.array([0.026, 0.0, -0.015])
"""Position of the hand relative to the handle when the finger tips are behind the bar [m]."""

EXPERT_REWARD = '''\
def compute_reward(state, action, previous):
    """Over the gap behind the handle, never low beside it, down into it, and pull; the opening counts most."""
    offset = state.hand_position - state.handle_position
    aside = np.sqrt((offset[:, 0] - 0.021) ** 2 + (0.5 * offset[:, 1]) ** 2)
    over = 1.0 - np.tanh(8.0 * aside)
    low = -2.0 * np.clip((0.06 - offset[:, 2]) / 0.05, 0.0, 1.0) * np.clip((aside - 0.012) / 0.01, 0.0, 1.0)
    down = np.exp(-((aside / 0.02) ** 2)) * (1.0 - np.tanh(8.0 * np.abs(offset[:, 2] + 0.016)))
    begun = 1.0 * np.clip(state.drawer_opening / 0.02, 0.0, 1.0)
    opened = 5.0 * np.clip(state.drawer_opening / 0.14, 0.0, 1.0)
    pull = 4.0 * np.clip(state.drawer_velocity / 0.2, -1.0, 1.0)
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = over + low + down + begun + opened + pull + effort
    return total, {
        "over": over,
        "low": low,
        "down": down,
        "begun": begun,
        "opened": opened,
        "pull": pull,
        "effort": effort,
    }
'''


class Drawer(ArmTask):
    """The drawer pulled open by at least 10 cm at the end."""

    name = "drawer"
    goal = "Pull the drawer open."
    success_rule = "the drawer is open by at least 10 cm (of 16 cm)"
    expert_reward = EXPERT_REWARD
    training_steps = 200_000
    horizon = 60
    gripper = False
    opening = 0.0  # closed fingers serve as a hook
    low = (0.30, -0.30, 0.05)
    high = (0.72, 0.30, 0.35)
    start_low = (0.42, -0.08, 0.20)
    start_high = (0.52, 0.08, 0.26)
    things = (
        Field(
            "handle_position",
            (3,),
            "m",
            "middle of the drawer's handle, a bar of 7 mm radius along y from -0.06 to +0.06 m, 0.12 m high, 0.05 m in "
            "front (-x) of the drawer's face: the fingers stay closed, and their tips fit behind the bar from above, "
            "best with the hand 0.024 m further away (+x) than the bar and 0.015 m lower; when the "
            "drawer opens it moves toward the robot (-x)",
            "part",
            typical=(-0.2, 0.65),
        ),
        Field(
            "drawer_opening",
            (),
            "m",
            "how far the drawer is pulled out: 0 closed to 0.16 open",
            "part",
            typical=(0, 0.16),
        ),
        Field(
            "drawer_velocity", (), "m/s", "speed of the drawer, positive while it opens", "part", typical=(-0.5, 0.5)
        ),
    )
    bodies = CABINET
    thing_sensors = """
    <framepos name="handle_position" objtype="site" objname="handle"/>
    <jointpos name="drawer_opening" joint="drawer"/>
    <jointvel name="drawer_velocity" joint="drawer"/>"""
    views = (
        Observable("handle_position", 0.2, centre=CENTRE),
        Observable("handle_position", 0.1, minus="hand_position"),
        Observable("drawer_opening", 0.1),
        Observable("drawer_velocity", 0.5),
    )

    def place(self, rng: np.random.Generator, qpos: np.ndarray, mocap: np.ndarray) -> None:
        mocap[:, :3] = rng.uniform((0.54, -0.10, 0.0), (0.60, 0.10, 0.0), (len(mocap), 3))

    def success(self, state: State) -> np.ndarray:
        return state.drawer_opening >= 0.10

    def expert(self, state: State) -> np.ndarray:
        """Returns the action that hooks the bar from behind and pulls; it rises first if in front of the bar."""
        hook = state.handle_position + HOOK
        offset = hook - state.hand_position
        over = (np.abs(offset[..., 0]) < 0.012) & (np.abs(offset[..., 1]) < 0.03)
        high = offset[..., 2] < -0.03
        rise = np.where(over, 0.0, 0.06)
        target = hook + np.stack([*np.zeros((2, *rise.shape)), rise], axis=-1)
        target[..., :2] = np.where((over | high)[..., None], target[..., :2], state.hand_position[..., :2])
        behind = (np.abs(offset[..., 2]) < 0.012) & (offset[..., 0] > -0.015) & (offset[..., 0] < 0.02)
        pulled = np.maximum(0.14 - state.drawer_opening, 0.0)
        pull = state.hand_position - np.stack([pulled, *np.zeros((2, *pulled.shape))], axis=-1)
        return self.compute_action_toward(
            state, np.where((behind & (np.abs(offset[..., 1]) < 0.05))[..., None], pull, target)
        )
