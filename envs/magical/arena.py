"""The arena as MJCF: a square with walls, a stick that drives, squares that can be pushed, coloured zones.

Sizes after X-MAGICAL (Zakka et al., "XIRL", CoRL 2021; the code of its environments): half the arena 1.1, robot radius
0.2, sticks 1.5, 3 and 8 radii long and half a radius thick, squares of the same area as a disc of radius 0.12. One of
its units is 1 m here. X-MAGICAL slows the squares by joints of limited force; here viscous joint damping is equally
isotropic and stops them as quickly.
"""

from __future__ import annotations

from math import pi, sqrt

ARENA = 1.1
"""Half the arena's side [m]."""

STICKS = {"short": 0.15, "medium": 0.30, "long": 0.80}
"""Half the length of each stick [m]."""

THICK = 0.05
"""Half the thickness of a stick [m]."""

BLOCK = sqrt(pi) * 0.12 / 2
"""Half the side of a pushable square, 0.106 [m]."""

GOAL_Y = 0.76
"""y of the lower edge of the goal zone, which extends to the wall [m]."""

_HEIGHT = 0.1

STICK_COLOUR, PINK, BLUE, YELLOW = ".46 .47 .53 1", ".90 .30 .50 1", ".25 .55 .72 1", ".96 .72 .18 1"


def scene_xml(half_length: float, bodies: str, sensors: str, timestep: float) -> str:
    """Returns the MJCF of the whole scene.

    Args:
        half_length: of the stick [m].
        bodies: MJCF elements of the task inside `worldbody`.
        sensors: MJCF sensor elements, in the order of the task's state.
        timestep: of the physics [s].
    """
    walls = "".join(
        f'<geom type="box" class="wall" pos="{x} {y} 0" size="{sx} {sy} {_HEIGHT}"/>'
        for x, y, sx, sy in (
            (-ARENA - 0.1, 0, 0.1, ARENA + 0.2),
            (ARENA + 0.1, 0, 0.1, ARENA + 0.2),
            (0, -ARENA - 0.1, ARENA + 0.2, 0.1),
            (0, ARENA + 0.1, ARENA + 0.2, 0.1),
        )
    )
    eyes = "".join(
        f'<geom class="paint" type="cylinder" pos="{x} {y} {z}" size="{r} .002" rgba="{colour}"/>'
        for x in (-0.06, 0.06)
        for y, z, r, colour in ((0, _HEIGHT, 0.035, "1 1 1 1"), (0.012, _HEIGHT + 0.003, 0.02, ".1 .1 .1 1"))
    )
    return f"""
<mujoco model="magical">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{timestep}" integrator="implicitfast" gravity="0 0 0"><flag multiccd="disable"/></option>
  <size memory="1M"/>
  <visual>
    <headlight ambient="1 1 1" diffuse="0 0 0" specular="0 0 0"/>
    <global offwidth="1280" offheight="960"/>
    <map znear="25" zfar="35"/>
  </visual>
  <statistic center="0 0 0" extent="2"/>
  <default>
    <geom friction=".5 .01 .0002" solref=".0125 1"/>
    <default class="wall"><geom contype="1" conaffinity="0" rgba=".62 .63 .68 1"/></default>
    <default class="block"><geom type="box" size="{BLOCK:g} {BLOCK:g} {_HEIGHT}" contype="1" conaffinity="3"/></default>
    <default class="paint"><geom contype="0" conaffinity="0" group="1" mass="0"/></default>
  </default>
  <worldbody>
    <geom class="paint" type="plane" size="1.3 1.3 .1" pos="0 0 -.4" rgba=".93 .93 .95 1"/>
    {walls}
    <camera name="top" pos="0 0 60" xyaxes="1 0 0 0 1 0" fovy="2.14"/>
    {_zone_xml("goal", 0, (GOAL_Y + ARENA) / 2, ARENA, (ARENA - GOAL_Y) / 2, ".97 .76 .83 1")}
    <body name="robot">
      {_planar_joints_xml("robot", 0.02, 0.02)}
      <inertial pos="0 0 0" mass="1" diaginertia=".03 .03 .03"/>
      <geom type="box" size="{half_length} {THICK} {_HEIGHT}" contype="2" conaffinity="1" rgba="{STICK_COLOUR}"/>
      {eyes}
    </body>
    {bodies}
  </worldbody>
  <actuator>
    <velocity name="vx" joint="robot_x" kv="40" forcerange="-8 8"/>
    <velocity name="vy" joint="robot_y" kv="40" forcerange="-8 8"/>
    <velocity name="turn" joint="robot_turn" kv="2" forcerange="-2 2"/>
  </actuator>
  <sensor>{sensors}</sensor>
</mujoco>"""


def block_xml(name: str, colour: str) -> str:
    """Returns a square that can be pushed; its body is at the origin, so that its joints are its pose."""
    return f"""
    <body name="{name}">
      {_planar_joints_xml(name, 1.5, 0.02)}
      <inertial pos="0 0 0" mass=".05" diaginertia="4e-4 4e-4 4e-4"/>
      <geom class="block" rgba="{colour}"/>
    </body>"""


def disc_xml(name: str, radius: float, colour: str) -> str:
    """Returns a disc painted on the ground, which each episode may place elsewhere."""
    return f"""
    <body name="{name}" mocap="true">
      <geom class="paint" type="cylinder" size="{radius} .001" pos="0 0 -.2" rgba="{colour}"/>
    </body>"""


def _planar_joints_xml(name: str, damping: float, turn_damping: float) -> str:
    """Returns the joints of a planar body: two slides and a hinge."""
    return f"""
      <joint name="{name}_x" type="slide" axis="1 0 0" damping="{damping}"/>
      <joint name="{name}_y" type="slide" axis="0 1 0" damping="{damping}"/>
      <joint name="{name}_turn" type="hinge" axis="0 0 1" damping="{turn_damping}"/>"""


def _zone_xml(name: str, x: float, y: float, half_width: float, half_height: float, colour: str) -> str:
    return f"""
    <body name="{name}" pos="{x} {y:g} 0">
      <geom class="paint" type="box" size="{half_width} {half_height:g} .001" pos="0 0 -.3" rgba="{colour}"/>
    </body>"""
