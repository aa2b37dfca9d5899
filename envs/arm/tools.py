"""MJCF of the tool at the arm's flange: Franka's hand, or a board to push with."""

from __future__ import annotations

from math import cos, sin

from robo_reward.envs.arm.appearance import BLACK, GREY, WHITE
from robo_reward.envs.arm.model import ArmModel

BOARD = (0.006, 0.10, 0.030)
"""Half sizes of the pusher's board [m]: thickness, width, height. As wide as Franka's hand, 20 cm."""

OPENING_TENDON = """<tendon>
    <fixed name="opening"><joint joint="finger1" coef="1"/><joint joint="finger2" coef="1"/></fixed>
  </tendon>"""

FINGER_ACTUATORS = "".join(
    f'<position name="finger{n}" joint="finger{n}" kp="1000" kv="30" forcerange="-35 35" ctrlrange="0 .04"/>'
    for n in (1, 2)
)


def tool_xml(arm: ArmModel) -> str:
    """Returns the body of the arm's tool, a child of its last link."""
    return hand_xml(arm) if arm.tool == "hand" else pusher_xml(arm)


def hand_xml(arm: ArmModel) -> str:
    """Returns the Franka hand: two fingers that slide along y, the TCP between their tips, a wrist camera."""
    finger = """
      <body name="finger{n}" pos="0 0 .0584" quat="{turn}" gravcomp="1">
        <inertial pos="0 .01 .03" mass=".1" diaginertia="2e-5 2e-5 1e-5"/>
        <joint name="finger{n}" type="slide" axis="0 1 0" range="0 .04" damping="10" armature=".1"/>
        <geom class="gripper" name="pad{n}" type="box" size=".010 .006 .014" pos="0 .006 .0400"
          friction="2 .02 .0005" solref=".01 1" rgba=".25 .26 .28 1"/>
        <geom class="gripper" type="box" size=".009 .008 .014" pos="0 .012 .014" rgba=".55 .57 .60 1"/>
      </body>"""
    return f"""
    <body name="hand" {_pose_attributes(arm)} gravcomp="1">
      <inertial pos="-.01 0 .03" mass=".73" diaginertia=".001 .0025 .0017"/>
      <geom class="gripper" type="box" size=".018 .102 .026" pos="0 0 .030" rgba="{WHITE}"/>
      <geom class="look" type="cylinder" fromto="0 0 -.002 0 0 .012" size=".040" rgba="{BLACK}"/>
      <geom class="look" type="box" size=".014 .09 .006" pos="0 0 .055" rgba="{BLACK}"/>
      <site name="tcp" pos="0 0 {arm.tcp}" size=".004" rgba="0 0 0 0"/>
      <camera name="wrist" pos=".075 0 .02" xyaxes="0 1 0 .96 0 .28" fovy="75"/>
      {finger.format(n=1, turn="1 0 0 0")}{finger.format(n=2, turn="0 0 0 1")}
    </body>"""


def pusher_xml(arm: ArmModel) -> str:
    """Returns a rigid, low-friction board across the flange; its centre is the TCP.

    It is the same on every arm. It replaces the gripper, which is too narrow to push several objects at once.
    """
    size = " ".join(map(str, BOARD))
    top = arm.tcp - BOARD[2]
    return f"""
    <body name="pusher" {_pose_attributes(arm)} gravcomp="1">
      <inertial pos="0 0 .1" mass=".6" diaginertia=".003 .002 .002"/>
      <geom class="look" type="cylinder" fromto="0 0 -.002 0 0 .014" size=".038" rgba="{BLACK}"/>
      <geom class="look" type="cylinder" fromto="0 0 .01 0 0 {top:g}" size=".014" rgba="{GREY}"/>
      <geom class="gripper" name="board" type="box" size="{size}" pos="0 0 {arm.tcp}" friction=".3 .01 .0002"
        priority="1" rgba="{BLACK}"/>
      <site name="tcp" pos="0 0 {arm.tcp}" size=".004" rgba="0 0 0 0"/>
      <camera name="wrist" pos=".075 0 .02" xyaxes="0 1 0 .96 0 .28" fovy="75"/>
    </body>"""


def _pose_attributes(arm: ArmModel) -> str:
    """Returns the tool's pose on the last link, as attributes."""
    return f'pos="0 0 {arm.flange}" quat="{cos(arm.hand_yaw / 2)} 0 0 {sin(arm.hand_yaw / 2)}"'
