"""The arm and its table as MJCF, written from the table of numbers: primitives only, no mesh."""

from __future__ import annotations

from math import cos, sin

from robo_reward.envs.panda.arm import Arm, Link

STIFFNESS = (4500, 4500, 3500, 3500, 2000, 2000, 2000)  # position servo gains [N m/rad]
WHITE, GREY, BLACK = "0.93 0.93 0.95 1", "0.55 0.57 0.60 1", "0.16 0.17 0.19 1"

# What each link looks like in its own Denavit-Hartenberg frame: capsules (radius, from, to, colour) [m].
LOOKS: tuple[tuple[tuple[float, tuple[float, float, float], tuple[float, float, float], str], ...], ...] = (
    ((0.070, (0, 0, -0.19), (0, 0, -0.03), WHITE), (0.062, (0, -0.075, 0), (0, 0.075, 0), WHITE)),
    ((0.060, (0, 0, -0.06), (0, 0, 0.06), WHITE), (0.058, (0, -0.04, 0), (0, -0.19, 0), WHITE)),
    ((0.060, (0, 0, -0.13), (0, 0, -0.05), WHITE), (0.056, (0.0825, -0.07, 0), (0.0825, 0.07, 0), WHITE)),
    ((0.056, (0, 0, -0.055), (0, 0, 0.055), WHITE), (0.054, (-0.06, 0.04, 0), (-0.0825, 0.12, 0), WHITE)),
    ((0.056, (0, 0, -0.27), (0, 0, -0.20), WHITE), (0.034, (0, 0.07, -0.21), (0, 0.05, -0.03), WHITE)),
    ((0.050, (0, 0, -0.06), (0, 0, 0.03), WHITE), (0.046, (0.045, 0, 0), (0.088, 0, 0), WHITE)),
    ((0.042, (0, 0, -0.03), (0, 0, 0.07), WHITE), (0.030, (0.05, 0, 0.07), (0, 0, 0.07), GREY)),
)


def scene_xml(arm: Arm, body: str, sensors: str, extra: str = "", timestep: float = 0.005) -> str:
    """A whole scene: the arm on a table, light, cameras, and what the task adds.

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
  <tendon><fixed name="opening"><joint joint="finger1" coef="1"/><joint joint="finger2" coef="1"/></fixed></tendon>
  <actuator>{_actuators(arm)}</actuator>
  <sensor>{sensors}</sensor>
  {extra}
</mujoco>"""


def _arm_xml(arm: Arm) -> str:
    """The chain of links, each body in its Denavit-Hartenberg frame."""
    opening, closing = "", ""
    for i, ((a, d, alpha), link, look) in enumerate(zip(arm.dh, arm.links, LOOKS, strict=True), start=1):
        position = f"{a} {-d * sin(alpha):.12g} {d * cos(alpha):.12g}"
        turn = f"{cos(alpha / 2):.17g} {sin(alpha / 2):.17g} 0 0"
        damping = 1.0 if i < 5 else 0.5
        opening += f"""
        <body name="link{i}" pos="{position}" quat="{turn}" gravcomp="1">
          {_inertial(link)}
          <joint name="joint{i}" range="{arm.q_min[i - 1]} {arm.q_max[i - 1]}" damping="{damping}" armature="0.1"/>
          {"".join(_capsule(*part) for part in look)}"""
        closing += "</body>"
    base = _capsule(0.075, (-0.03, 0, 0.04), (-0.03, 0, 0.14), WHITE) + _capsule(
        0.055, (-0.10, 0, 0.05), (0.02, 0, 0.05), BLACK
    )
    inertial = '<inertial pos="0 0 .05" mass="2.9" diaginertia=".01 .01 .01"/>'
    return f"""<body name="base">{inertial}{base}{opening}{_hand_xml(arm)}{closing}</body>"""


def _hand_xml(arm: Arm) -> str:
    """The Franka hand: two fingers that slide along y, the TCP between their tips, a camera at the wrist."""
    finger = """
      <body name="finger{n}" pos="0 0 .0584" quat="{turn}" gravcomp="1">
        <inertial pos="0 .01 .03" mass=".1" diaginertia="2e-5 2e-5 1e-5"/>
        <joint name="finger{n}" type="slide" axis="0 1 0" range="0 .04" damping="10" armature=".1"/>
        <geom class="gripper" name="pad{n}" type="box" size=".010 .006 .014" pos="0 .006 .0400"
          friction="2 .02 .0005" solref=".01 1" rgba=".25 .26 .28 1"/>
        <geom class="gripper" type="box" size=".009 .008 .014" pos="0 .012 .014" rgba=".55 .57 .60 1"/>
      </body>"""
    return f"""
    <body name="hand" pos="0 0 {arm.flange}" quat="{cos(arm.hand_yaw / 2)} 0 0 {sin(arm.hand_yaw / 2)}" gravcomp="1">
      <inertial pos="-.01 0 .03" mass=".73" diaginertia=".001 .0025 .0017"/>
      <geom class="gripper" type="box" size=".018 .102 .026" pos="0 0 .030" rgba="{WHITE}"/>
      <geom class="look" type="cylinder" fromto="0 0 -.002 0 0 .012" size=".040" rgba="{BLACK}"/>
      <geom class="look" type="box" size=".014 .09 .006" pos="0 0 .055" rgba="{BLACK}"/>
      <site name="tcp" pos="0 0 {arm.tcp}" size=".004" rgba="0 0 0 0"/>
      <camera name="wrist" pos=".075 0 .02" xyaxes="0 1 0 .96 0 .28" fovy="75"/>
      {finger.format(n=1, turn="1 0 0 0")}{finger.format(n=2, turn="0 0 0 1")}
    </body>"""


def _capsule(radius: float, start: tuple[float, ...], end: tuple[float, ...], colour: str) -> str:
    ends = " ".join(f"{value:g}" for value in (*start, *end))
    return f'<geom class="look" size="{radius}" fromto="{ends}" rgba="{colour}"/>'


def _inertial(link: Link) -> str:
    com = " ".join(map(str, link.com))
    if link.quat is None:
        return f'<inertial pos="{com}" mass="{link.mass}" fullinertia="{" ".join(map(str, link.inertia))}"/>'
    quat = " ".join(map(str, link.quat))
    inertia = " ".join(map(str, link.inertia))
    return f'<inertial pos="{com}" mass="{link.mass}" quat="{quat}" diaginertia="{inertia}"/>'


def _actuators(arm: Arm) -> str:
    joints = "".join(
        f'<position name="joint{i}" joint="joint{i}" kp="{kp}" kv="{kp / 10}" forcerange="{-tau} {tau}" '
        f'ctrlrange="{low} {high}"/>'
        for i, (kp, tau, low, high) in enumerate(zip(STIFFNESS, arm.tau_max, arm.q_min, arm.q_max, strict=True), 1)
    )
    fingers = "".join(
        f'<position name="finger{n}" joint="finger{n}" kp="1000" kv="30" forcerange="-35 35" ctrlrange="0 .04"/>'
        for n in (1, 2)
    )
    return joints + fingers
