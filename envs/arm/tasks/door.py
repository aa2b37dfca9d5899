"""Door: press a lever down, which draws the bolt, and push the leaf open."""

from __future__ import annotations

import numpy as np

from robo_reward.envs.arm.base import CENTRE, ArmTask
from robo_reward.envs.state import Field, State
from robo_reward.envs.task import Observable

# The frame stands across the table; the door leaf turns about its left post (+y), away from the robot. Bolt and lever
# are one rigid body: with the lever level, the strike blocks the bolt; pressing the lever lifts the bolt over it.
# The lever is a blade close to the leaf, so that a finger on it also touches the leaf. The leaf is low enough that
# a hand above its upper edge can press the lever all the way.
DOOR = """
<body name="frame" mocap="true">
  <geom class="fixture" type="box" size=".015 .015 .1075" pos="0 .190 .1075" rgba=".50 .42 .34 1"/>
  <geom class="fixture" type="box" size=".015 .015 .1075" pos="0 -.210 .1075" rgba=".50 .42 .34 1"/>
  <geom class="look" type="box" size=".010 .19 .003" pos="0 -.01 .003" rgba=".50 .42 .34 1"/>
  <geom name="strike" class="fixture" type="box" size=".010 .012 .0290" pos=".017 -.188 .1945" rgba=".75 .70 .35 1"/>
  <body name="leaf" pos="0 .17 0">
    <inertial pos="0 -.17 .12" mass="1" diaginertia=".01 .01 .01"/>
    <joint name="door" type="hinge" axis="0 0 1" range="0 1.2" damping=".3" armature=".01"/>
    <geom class="fixture" type="box" size=".008 .168 .104" pos="0 -.17 .110" rgba=".80 .86 .88 .6"/>
    <body name="lever" pos="-.008 -.30 .20">
      <inertial pos="-.02 .04 0" mass=".1" diaginertia="1e-4 1e-4 1e-4"/>
      <joint name="lever" type="hinge" axis="-1 0 0" range="0 .9" damping=".02" armature=".004"
        stiffness=".6" springref="-.4" solreflimit=".01 1" solimplimit=".99 .999 .001"/>
      <geom class="look" type="cylinder" size=".014" fromto="0 0 0 -.018 0 0" rgba=".30 .31 .33 1"/>
      <geom class="fixture" type="box" size=".020 .058 .007" pos="-.036 .052 0" priority="1" friction=".3 .01 .0002"
        rgba=".20 .21 .23 1"/>
      <geom name="bolt" class="look" type="box" size=".006 .036 .006" pos=".008 -.034 0" rgba=".75 .70 .35 1"/>
      <site name="handle" pos="-.036 .085 .007" size=".004" rgba="0 0 0 0"/>
    </body>
  </body>
</body>"""
LATCH = '<contact><pair geom1="bolt" geom2="strike" friction=".1 .1 .005 .0001 .0001" solref=".01 1"/></contact>'

EXPERT_REWARD = '''\
def compute_reward(state, action, previous):
    """Over the handle's end, press it down, push; the opening counts most, and every bit of progress."""
    offset = state.hand_position - state.handle_position
    aside = np.linalg.norm(offset[:, :2], axis=-1)
    closed = state.door_angle < 0.1
    over = np.where(closed, 1.0 - np.tanh(8.0 * aside), 1.0)
    low = np.exp(-((aside / 0.04) ** 2)) * (1.0 - np.tanh(8.0 * np.abs(offset[:, 2] - 0.009)))
    down = np.where(closed, low, 1.0)
    press = 2.0 * np.where(closed, np.clip(state.handle_angle / 0.7, 0.0, 1.0), 1.0)
    opened = np.clip(state.door_angle / 0.1, 0.0, 1.0) + 5.0 * np.clip(state.door_angle / 0.6, 0.0, 1.0)
    push = 30.0 * np.clip(state.door_angle - previous.door_angle, -0.1, 0.1)
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = over + down + press + opened + push + effort
    return total, {"over": over, "down": down, "press": press, "opened": opened, "push": push, "effort": effort}
'''


class Door(ArmTask):
    """The door open by at least 30 degrees at the end."""

    name = "door"
    goal = "Turn the handle and push the door open."
    success_rule = "the door is open by at least 30 degrees (door_angle of 0.52 rad or more)"
    expert_reward = EXPERT_REWARD
    training_steps = 250_000
    horizon = 70
    gripper = False
    opening = 0.0
    start_low = (0.38, -0.10, 0.26)
    start_high = (0.46, 0.06, 0.32)
    low = (0.30, -0.30, 0.08)
    high = (0.75, 0.30, 0.40)
    things = (
        Field(
            "handle_position",
            (3,),
            "m",
            "where to press the handle, on top of its free end, 0.207 m high at rest; the handle is a lever in front "
            "(-x) of the leaf that reaches from its axis 0.085 m to the left (+y); the finger tips touch it when the "
            "hand is 0.009 m above; it goes down while it is pressed",
            "part",
            typical=(-0.3, 0.75),
        ),
        Field(
            "handle_angle",
            (),
            "rad",
            "how far the handle is pressed down: 0 at rest to 0.9; a spring brings it back; "
            "the bolt is free above 0.55 (about 30 degrees)",
            "part",
            typical=(0, 0.9),
        ),
        Field(
            "door_angle",
            (),
            "rad",
            "how far the door is open: 0 closed to 1.2; it opens away from the robot (+x), about a hinge on its left "
            "(+y), and only if the handle is pressed down meanwhile",
            "part",
            typical=(0, 1.2),
        ),
    )
    bodies = DOOR
    extra = LATCH
    thing_sensors = """
    <framepos name="handle_position" objtype="site" objname="handle"/>
    <jointpos name="handle_angle" joint="lever"/>
    <jointpos name="door_angle" joint="door"/>"""
    views = (
        Observable("handle_position", 0.2, centre=CENTRE),
        Observable("handle_position", 0.1, minus="hand_position"),
        Observable("handle_angle", 0.5),
        Observable("door_angle", 0.5),
    )

    def place(self, rng: np.random.Generator, qpos: np.ndarray, mocap: np.ndarray) -> None:
        mocap[:, :3] = rng.uniform((0.50, -0.06, 0.0), (0.56, 0.10, 0.0), (len(mocap), 3))

    def success(self, state: State) -> np.ndarray:
        return state.door_angle >= 0.52

    def expert(self, state: State) -> np.ndarray:
        """Returns the action: go over the handle's end, press it down, push once the bolt is free."""
        offset = state.handle_position - state.hand_position
        aside = np.linalg.norm(offset[..., :2], axis=-1)
        free = (state.handle_angle > 0.6) | (state.door_angle > 0.05)
        over = aside < 0.02
        rise = np.where(over, -0.06, 0.05)
        target = state.handle_position + np.stack([*np.zeros((2, *rise.shape)), rise], axis=-1)
        low = ~over & (offset[..., 2] > -0.02)
        target[..., :2] = np.where(low[..., None], state.hand_position[..., :2], target[..., :2])
        push = state.hand_position + np.where((state.door_angle < 0.75)[..., None], (0.02, 0.0, -0.006), 0.0)
        return self.compute_action_toward(state, np.where(free[..., None], push, target))
