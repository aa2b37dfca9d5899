"""The rod of D3IL's obstacle task as MJCF, and its action convention: the change of its desired position."""

from __future__ import annotations

import numpy as np

from robo_reward.envs.task import ActionSpec

STEP = 0.015
"""Change of the desired position for an action of 1.0 [m]."""

RADIUS = 0.01
"""Radius of the rod's tip [m], as in D3IL."""

# The desired position is a body of its own, so that it is part of the measured state. Its drive is so strong that the
# spring to the rod does not move it; the rod follows it with a lag of 0.1 s, critically damped.
ROD = f"""
    <body name="target" gravcomp="1">
      <joint name="target_x" type="slide" axis="1 0 0"/>
      <joint name="target_y" type="slide" axis="0 1 0"/>
      <inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>
      <geom class="look" type="cylinder" size=".012 .001" pos="0 0 .003" rgba=".15 .35 .75 .6"/>
    </body>
    <body name="rod" gravcomp="1">
      <joint name="rod_x" type="slide" axis="1 0 0" damping="40"/>
      <joint name="rod_y" type="slide" axis="0 1 0" damping="40"/>
      <inertial pos="0 0 .1" mass="1" diaginertia="1 1 1"/>
      <geom name="rod" type="capsule" fromto="0 0 .02 0 0 .20" size="{RADIUS}" contype="2" conaffinity="1"
        rgba=".20 .22 .26 1"/>
    </body>"""

TENDONS = "".join(
    f"""
    <fixed name="pull_{axis}" stiffness="400" springlength="0">
      <joint joint="rod_{axis}" coef="1"/><joint joint="target_{axis}" coef="-1"/>
    </fixed>"""
    for axis in "xy"
)

DRIVES = "".join(f'<velocity name="target_{axis}" joint="target_{axis}" kv="20000"/>' for axis in "xy")


class RodController:
    """Moves the desired position of the rod by the action, at a constant speed within the control step.

    Args:
        dt: control period [s].
    """

    def __init__(self, dt: float) -> None:
        self.dt = dt
        self.spec = ActionSpec("rod_delta", ("dx", "dy"), (STEP, STEP), ("m", "m"), round(1 / dt, 6))

    def start(self, qpos: np.ndarray) -> np.ndarray:
        """Returns the targets (n, 2) at rest."""
        return np.zeros((len(qpos), 2))

    def advance(self, ctrl: np.ndarray, qpos: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Returns the speeds (n, 2) of the desired position [m/s]."""
        return action * (STEP / self.dt)
