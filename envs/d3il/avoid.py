"""Avoid: move a rod past six obstacles to a line; after the task "Avoiding" of D3IL (Jia et al., ICLR 2024).

Re-made from the paper and the published description of its scene: the six obstacles and their radii, the rod's radius,
the start, the finish line, a control step of 35 ms, four observed numbers (desired and measured position in the plane),
two of action (change of the desired position), the end of an episode by a collision or beyond the line, and its 24
solutions, one for each choice of the 2, 3 and 4 gaps in the three rows.

What differs: the Panda is left out and two slides move the rod. An action of 1.0 is 1.5 cm, where D3IL bounds no
action. An episode has at most 100 steps. The start is random within 1 cm, so that episodes differ. The demonstrations
are scripted, those of D3IL are by people.
"""

from __future__ import annotations

from itertools import pairwise, product

import mujoco
import numpy as np

from robo_reward.envs.d3il.rod import DRIVES, RADIUS, ROD, STEP, TENDONS, RodController
from robo_reward.envs.state import Field, State, StateSpec
from robo_reward.envs.task import Observable, ObservationSpec, Start, Task
from robo_reward.errors import UnknownName

START = (0.525, -0.28)
"""Where the rod starts [m]; x points away from the missing arm, y along the table."""

FINISH = 0.35
"""y of the finish line [m]."""

ROWS: tuple[tuple[float, tuple[float, ...], float], ...] = (
    (-0.10, (0.5,), 0.030),
    (0.08, (0.425, 0.575), 0.025),
    (0.26, (0.35, 0.5, 0.65), 0.025),
)
"""The three rows: y, the x of their obstacles, and the radius of these [m]."""

OBSTACLES = np.array([(x, y, radius) for y, row, radius in ROWS for x in row])
"""x, y and radius of each obstacle, (6, 3) [m]."""

GAPS = tuple((row[0] - 0.06, *((a + b) / 2 for a, b in pairwise(row)), row[-1] + 0.06) for _, row, _ in ROWS)
"""x at which the scripted expert passes each gap of each row [m]."""

TOUCH = 0.001
"""A gap between rod and obstacle below this counts as a collision [m]."""


def scene_xml() -> str:
    """Returns the MJCF of the scene."""
    obstacles = "".join(f'<geom class="obstacle" size="{radius} .06" pos="{x} {y} .06"/>' for x, y, radius in OBSTACLES)
    return f"""
<mujoco model="d3il_avoid">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="0.005" integrator="implicitfast"><flag multiccd="disable"/></option>
  <size memory="1M"/>
  <visual>
    <headlight ambient=".42 .42 .42" diffuse=".38 .38 .38" specular=".1 .1 .1"/>
    <global offwidth="1280" offheight="960"/>
  </visual>
  <statistic center=".5 0 0" extent="1"/>
  <default>
    <default class="look"><geom contype="0" conaffinity="0" group="1" mass="0"/></default>
    <default class="obstacle"><geom type="cylinder" contype="1" conaffinity="2" rgba=".85 .20 .16 1"/></default>
  </default>
  <worldbody>
    <light pos=".3 -.8 1.8" dir=".1 .4 -1" diffuse=".5 .5 .5" specular=".2 .2 .2"/>
    <geom class="look" type="box" size=".45 .55 .02" pos=".5 .03 -.02" rgba=".74 .69 .62 1"/>
    <geom class="look" type="plane" size="4 4 .1" pos="0 0 -.75" rgba=".62 .65 .69 1"/>
    <geom class="look" type="box" size=".35 .005 .001" pos=".5 {FINISH} .001" rgba=".20 .75 .35 1"/>
    <camera name="front" pos="1.30 .03 .95" xyaxes="0 1 0 -.76 0 .65" fovy="36"/>
    <camera name="top" pos=".5 .03 1.25" xyaxes="0 1 0 -1 0 0" fovy="45"/>
    {obstacles}
    {ROD}
  </worldbody>
  <tendon>{TENDONS}</tendon>
  <actuator>{DRIVES}</actuator>
  <sensor>
    <jointpos name="target_position_x" joint="target_x"/><jointpos name="target_position_y" joint="target_y"/>
    <jointpos name="rod_position_x" joint="rod_x"/><jointpos name="rod_position_y" joint="rod_y"/>
  </sensor>
</mujoco>"""


EXPERT_REWARD = '''\
def near(position, x, y, radius):
    """How far the rod has come into the 2.5 cm around an obstacle [m]."""
    away = np.sqrt((position[:, 0] - x) ** 2 + (position[:, 1] - y) ** 2)
    return np.maximum(radius + 0.035 - away, 0.0)


def compute_reward(state, action, previous):
    """Go on along y, and keep off the six obstacles; nothing is said of the gaps."""
    rod = state.rod_position
    forward = 20.0 * np.clip(rod[:, 1] - previous.rod_position[:, 1], -0.03, 0.03)
    there = 2.0 * np.where(rod[:, 1] > 0.35, 1.0, 0.0)
    first = near(rod, 0.5, -0.10, 0.030)
    second = near(rod, 0.425, 0.08, 0.025) + near(rod, 0.575, 0.08, 0.025)
    third = near(rod, 0.35, 0.26, 0.025) + near(rod, 0.5, 0.26, 0.025) + near(rod, 0.65, 0.26, 0.025)
    trespass = -20.0 * (first + second + third)
    total = forward + there + trespass
    return total, {"forward": forward, "there": there, "trespass": trespass}
'''


def list_modes() -> tuple[str, ...]:
    """Returns the 24 modes, those with the shortest way first; "2-1-4" are the gaps, counted from smallest x."""

    def length(gaps: tuple[int, ...]) -> float:
        x = [START[0], *(GAPS[row][gap] for row, gap in enumerate(gaps))]
        return float(np.abs(np.diff(x)).sum())

    every = sorted(product(*(range(len(row)) for row in GAPS)), key=lambda gaps: (round(length(gaps), 6), gaps))
    return tuple("-".join(str(gap + 1) for gap in gaps) for gaps in every)


class AvoidObstacles(Task):
    """The rod beyond the finish line, without having touched an obstacle, in one of 24 ways."""

    id = "d3il/avoid"
    goal = "Move the rod past the red obstacles to the green line without touching them."
    success_rule = "the rod is beyond y = 0.35 m and was never within 1 mm of an obstacle"
    failure_rule = "the rod is within 1 mm of an obstacle"
    ends_on_success = True
    modes = list_modes()
    expert_reward = EXPERT_REWARD
    training_steps = 200_000
    horizon = 100
    substeps = 7
    cameras = ("front", "top")

    def __init__(self) -> None:
        self.spec = StateSpec(
            [
                Field(
                    "target_position",
                    (2,),
                    "m",
                    "desired position (x, y) of the rod, which the action moves",
                    "hand",
                    typical=(-0.3, 0.8),
                ),
                Field(
                    "rod_position",
                    (2,),
                    "m",
                    "position (x, y) of the rod, 0.01 m in radius; it starts at y = -0.28, the line is at y = 0.35",
                    "object",
                    typical=(-0.3, 0.8),
                ),
            ]
        )
        self.model = mujoco.MjModel.from_xml_string(scene_xml())
        centre = (0.5, 0.0)
        views = [Observable(name, 0.3, centre=centre) for name in self.spec.names]
        self.observation = ObservationSpec(self.spec, views)
        self.controller = RodController(self.control_dt)
        self.check()

    def sample(self, rng: np.random.Generator, n: int) -> Start:
        """Starts the rod within 1 cm of the published start, at its desired position."""
        place = START + rng.uniform(-0.01, 0.01, (n, 2))
        return Start(np.concatenate([place, place], axis=1), np.zeros((n, 0)))

    def compute_clearance(self, state: State) -> np.ndarray:
        """Computes the gap between the rod and the nearest obstacle, (...,) [m]."""
        offset = state.rod_position[..., None, :] - OBSTACLES[:, :2]  # (..., 6, 2)
        return (np.linalg.norm(offset, axis=-1) - OBSTACLES[:, 2]).min(axis=-1) - RADIUS

    def success(self, state: State) -> np.ndarray:
        return state.rod_position[..., 1] > FINISH

    def failure(self, state: State) -> np.ndarray:
        return self.compute_clearance(state) < TOUCH

    def expert(self, state: State) -> np.ndarray:
        """Returns the action of the first mode, the one with the shortest way."""
        return self.expert_of_mode(state, self.modes[0])

    def expert_of_mode(self, state: State, mode: str) -> np.ndarray:
        """Returns the action (..., 2) that passes the gaps of a mode, first aside, then ahead.

        Args:
            state: (..., D).
            mode: one of `modes`.

        Raises:
            UnknownName: no such mode.
        """
        if mode not in self.modes:
            raise UnknownName("mode", mode, self.modes)
        target = state.target_position
        row = np.searchsorted([y for y, _, _ in ROWS], state.rod_position[..., 1] - 0.02)  # the next row, or 3
        gaps = [GAPS[k][int(gap) - 1] for k, gap in enumerate(mode.split("-"))]
        x = np.array([*gaps, gaps[-1]])[row]
        line = np.array([*(y for y, _, _ in ROWS), np.inf])[row]
        aside = x - target[..., 0]
        # Not yet at the gap: go on at most to 6 cm before the row, which the rod's lag does not turn into a collision.
        ahead = np.where(np.abs(aside) > 0.015, np.clip((line - 0.06 - target[..., 1]) / STEP, 0.0, 1.0), 1.0)
        return np.stack([np.clip(aside / STEP, -1.0, 1.0), ahead], axis=-1)

    def mode_of(self, states: State | np.ndarray) -> int:
        """Returns the mode of an episode's states (T, D): through which gap the rod passed each row; -1 if not all."""
        rod = (states if isinstance(states, State) else State(self.spec, states)).rod_position
        gaps = []
        for y, row, _ in ROWS:
            beyond = rod[:, 1] > y
            if not beyond.any():
                return -1
            gaps.append(int(np.searchsorted(row, rod[beyond.argmax(), 0])) + 1)
        return self.modes.index("-".join(map(str, gaps)))
