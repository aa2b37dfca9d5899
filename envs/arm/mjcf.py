"""The arm on its table as MJCF, generated from its numeric table: primitives only, no mesh."""

from __future__ import annotations

from math import cos, sin

from robo_reward.envs.arm.appearance import APPEARANCES, part_xml
from robo_reward.envs.arm.model import ArmModel, Link
from robo_reward.envs.arm.tools import FINGER_ACTUATORS, OPENING_TENDON, tool_xml

SERVO_LAG = 0.1
"""Lag of the arm behind its servo targets [s]: the servos' damping is this times their stiffness."""


def scene_xml(arm: ArmModel, body: str, sensors: str, extra: str = "", timestep: float = 0.005) -> str:
    """Returns the MJCF of the whole scene: the arm on a table, light, cameras, and what the task adds.

    Args:
        arm: the arm's table.
        body: MJCF elements of the task inside `worldbody`.
        sensors: MJCF sensor elements, in the order of the task's state.
        extra: further top-level MJCF (`equality`, `contact`, `default`).
        timestep: of the physics [s].
    """
    return f"""
<mujoco model="{arm.name}">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{timestep}" integrator="implicitfast" cone="elliptic" impratio="10">
    <flag multiccd="disable"/>  <!-- on by default from mujoco 4: a puck between two fingers would glide on -->
  </option>
  <size memory="2M"/>
  <visual>
    <headlight ambient=".42 .42 .42" diffuse=".38 .38 .38" specular=".1 .1 .1"/>
    <global offwidth="1280" offheight="960" azimuth="140" elevation="-25"/>
    <quality shadowsize="4096"/>
    <map znear="0.02"/>
  </visual>
  <statistic center=".4 0 .2" extent="1"/>
  <asset>
    <texture name="sky" type="skybox" builtin="gradient" rgb1=".86 .89 .93" rgb2=".55 .62 .70" width="64" height="384"/>
    <texture name="wood" type="2d" builtin="flat" rgb1=".74 .69 .62" width="8" height="8"/>
    <material name="table" texture="wood" specular=".1" shininess=".1"/>
    <material name="goal" rgba=".20 .75 .35 .55"/>
  </asset>
  <default>
    <geom solref=".01 1" friction="1 .01 .0002"/>
    <default class="look"><geom contype="0" conaffinity="0" group="1" mass="0" type="capsule"/></default>
    <default class="object"><geom contype="1" conaffinity="7"/></default>
    <default class="gripper"><geom contype="2" conaffinity="4" mass="0"/></default>
    <default class="fixture"><geom contype="4" conaffinity="0"/></default>
    <default class="marker"><geom contype="0" conaffinity="0" group="1" material="goal"/></default>
  </default>
  <worldbody>
    <light pos=".3 -.8 1.8" dir=".1 .4 -1" diffuse=".5 .5 .5" specular=".2 .2 .2" castshadow="true"/>
    <geom name="table" class="fixture" type="box" size=".6 .7 .02" pos=".3 0 -.02" material="table"/>
    <geom class="look" type="plane" size="4 4 .1" pos="0 0 -.75" rgba=".62 .65 .69 1"/>
    <camera name="front" pos="1.25 -.55 .75" xyaxes=".50 .87 0 -.42 .24 .87" fovy="42"/>
    <camera name="side" pos=".5 -1.15 .45" xyaxes="1 0 0 0 .30 .95" fovy="42"/>
    <camera name="top" pos=".5 0 1.15" xyaxes="0 -1 0 1 0 0" fovy="45"/>
    {_arm_xml(arm)}
    {body}
  </worldbody>
  {OPENING_TENDON if arm.finger_count else ""}
  <actuator>{_actuators_xml(arm)}</actuator>
  <sensor>{sensors}</sensor>
  {extra}
</mujoco>"""


def _arm_xml(arm: ArmModel) -> str:
    """Returns the chain of links, each body in its Denavit-Hartenberg frame."""
    looks, opening, closing = APPEARANCES[arm.name], "", ""
    # Modified Denavit-Hartenberg row: fixed pose RotX(alpha) TransX(a) TransZ(d), then the joint turns about z.
    for i, ((a, d, alpha), link, look) in enumerate(zip(arm.dh, arm.links, looks.links, strict=True), start=1):
        position = f"{a} {-d * sin(alpha):.12g} {d * cos(alpha):.12g}"
        turn = f"{cos(alpha / 2):.17g} {sin(alpha / 2):.17g} 0 0"
        damping = 1.0 if i < 5 else 0.5  # [N m s/rad]
        opening += f"""
        <body name="link{i}" pos="{position}" quat="{turn}" gravcomp="1">
          {_inertial_xml(link)}
          <joint name="joint{i}" range="{arm.q_min[i - 1]} {arm.q_max[i - 1]}" damping="{damping}" armature="0.1"/>
          {"".join(map(part_xml, look))}"""
        closing += "</body>"
    base = "".join(map(part_xml, looks.base))
    inertial = '<inertial pos="0 0 .05" mass="2.9" diaginertia=".01 .01 .01"/>'
    return f"""<body name="base">{inertial}{base}{opening}{tool_xml(arm)}{closing}</body>"""


def _inertial_xml(link: Link) -> str:
    com, inertia = " ".join(map(str, link.com)), " ".join(map(str, link.inertia))
    if link.quat is None:
        return f'<inertial pos="{com}" mass="{link.mass}" fullinertia="{inertia}"/>'
    quat = " ".join(map(str, link.quat))
    return f'<inertial pos="{com}" mass="{link.mass}" quat="{quat}" diaginertia="{inertia}"/>'


def _actuators_xml(arm: ArmModel) -> str:
    # Position servos with torque limits: kp [N m/rad], kv [N m s/rad].
    joints = "".join(
        f'<position name="joint{i}" joint="joint{i}" kp="{kp}" kv="{kp * SERVO_LAG}" forcerange="{-tau} {tau}" '
        f'ctrlrange="{low} {high}"/>'
        for i, (kp, tau, low, high) in enumerate(zip(arm.stiffness, arm.tau_max, arm.q_min, arm.q_max, strict=True), 1)
    )
    return joints + (FINGER_ACTUATORS if arm.finger_count else "")
