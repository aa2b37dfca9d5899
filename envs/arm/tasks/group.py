"""Group: push two cubes together into a strip, a MuJoCo version of RAPL's "Franka Group"."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from robo_reward.envs.arm.base import CENTRE, ArmTask, object_fields, object_sensors, sample_free_bodies
from robo_reward.envs.arm.tools import BOARD
from robo_reward.envs.state import Field, State
from robo_reward.envs.task import Observable

HALF = 0.025
"""Half a cube's edge length [m]."""

GOAL_X = 0.60
"""x of the goal plane [m], the centre line of the strip.

In RAPL's code the robot is at x = 1 and pushes towards -x to the plane x = 0.4. Here it is at x = 0 and pushes towards
+x, so x_here = 1 - x_rapl and x_rapl - 0.4 = GOAL_X - x_here: all distances to the plane are the same.
"""

STRIP = 0.08
"""Half the strip's width, and the largest distance of a cube's centre from the plane that counts as success [m]."""

LOW = 0.035
"""Height of the board's centre while it pushes: its lower edge is then 5 mm above the table [m]."""

CUBE = """
<body name="{name}">
  <freejoint/>
  <geom class="object" type="box" size=".025 .025 .025" mass=".4" rgba="{colour}"/>
</body>"""

SCENE = f"""
<body name="strip" pos="{GOAL_X} 0 0">
  <geom class="look" type="box" size="{STRIP} .22 .0006" mass=".1" rgba=".45 .80 .52 1"/>
  <geom class="look" type="box" size=".004 .22 .0009" mass=".1" rgba=".10 .50 .25 1"/>
</body>
<camera name="third" pos=".83 0 .37" xyaxes="0 1 0 -.80 0 .60" fovy="57"/>"""

EXPERT_REWARD = '''\
def compute_reward(state, action, previous):
    """Get the board behind both cubes, bring the farther one to the strip's middle line, keep them together."""
    x_blue, x_yellow = state.blue_position[:, 0], state.yellow_position[:, 0]
    y_blue, y_yellow = state.blue_position[:, 1], state.yellow_position[:, 1]
    back = np.minimum(x_blue, x_yellow) - 0.031 - state.hand_position[:, 0]
    aside = 0.5 * (y_blue + y_yellow) - state.hand_position[:, 1]
    above = state.hand_position[:, 2] - 0.035
    behind = 0.5 * (1.0 - np.tanh(8.0 * np.sqrt(back**2 + aside**2 + above**2)))
    line = state.strip_position[:, 0]
    worst = np.maximum(np.abs(x_blue - line), np.abs(x_yellow - line))
    near = 2.0 * (1.0 - np.tanh(6.0 * worst))
    precise = np.exp(-((worst / 0.06) ** 2))
    apart = -1.0 * np.linalg.norm(state.blue_position - state.yellow_position, axis=-1)
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = behind + near + precise + apart + effort
    return total, {"behind": behind, "near": near, "precise": precise, "apart": apart, "effort": effort}
'''

TRUTH_REWARD = '''\
def compute_reward(state, action, previous):
    """RAPL's ground truth for its group task: -3 max|x - goal| - 3 |p1 - p2| - 0.5 d_left - 0.5 d_right
    - 0.01 |a|^2 - 0.5 [lifted] - 5 [arm touches].

    The two "fingers" are points of the board 4 cm to either side of its middle, where an open Franka hand has them;
    their distances are to the first (blue) cube. The arm's links touch nothing in this scene, so that term is zero.
    Source: the code of 2310.07932; distances in m.
    """
    line = state.strip_position[:, 0]
    worst = np.maximum(np.abs(state.blue_position[:, 0] - line), np.abs(state.yellow_position[:, 0] - line))
    goal = -3.0 * worst
    group = -3.0 * np.linalg.norm(state.blue_position - state.yellow_position, axis=-1)
    offset = state.blue_position - state.hand_position
    left = np.sqrt(offset[:, 0] ** 2 + (offset[:, 1] - 0.04) ** 2 + offset[:, 2] ** 2)
    right = np.sqrt(offset[:, 0] ** 2 + (offset[:, 1] + 0.04) ** 2 + offset[:, 2] ** 2)
    fingers = -0.5 * left - 0.5 * right
    effort = -0.01 * np.sum(action**2, axis=-1)
    lifted = -0.5 * np.where(state.blue_position[:, 2] > 0.03, 1.0, 0.0)
    total = goal + group + fingers + effort + lifted
    return total, {"goal": goal, "group": group, "fingers": fingers, "effort": effort, "lifted": lifted}
'''


class Group(ArmTask):
    """Both cubes in the strip at the end.

    The arm carries a board of 20 cm (`tools.pusher_xml`), so that it can push both cubes at once.
    """

    name = "group"
    goal = "Push the blue cube and the yellow cube together into the green strip on the table."
    success_rule = (
        "both cubes' centres are within 8 cm of the strip's middle line, measured along x (away from the robot)"
    )
    expert_reward = EXPERT_REWARD
    truth_reward = TRUTH_REWARD
    training_steps = 300_000
    horizon = 45
    tool = "pusher"
    gripper = False
    cameras = ("third", "front", "side", "top", "wrist")
    low = (0.30, -0.25, LOW)
    high = (0.72, 0.25, 0.14)
    start_low = (0.32, -0.06, LOW)
    start_high = (0.36, 0.06, 0.10)
    wanted: ClassVar[tuple[str, ...]] = ("blue", "yellow")
    things: ClassVar[tuple[Field, ...]] = (
        *object_fields("blue", "the blue cube, 5 cm wide; 0.025 m high on the table"),
        *object_fields("yellow", "the yellow cube, 5 cm wide; 0.025 m high on the table"),
        Field(
            "strip_position",
            (3,),
            "m",
            "middle of the green strip that crosses the table along y, 0.16 m wide along x; the board that pushes is "
            "0.2 m wide along y and points to +x",
            "goal",
            typical=(-0.3, 0.7),
        ),
    )
    bodies = (
        CUBE.format(name="blue", colour=".10 .28 .85 1") + CUBE.format(name="yellow", colour=".98 .80 .08 1") + SCENE
    )
    thing_sensors = (
        object_sensors("blue")
        + object_sensors("yellow")
        + '<framepos name="strip_position" objtype="xbody" objname="strip"/>'
    )
    views = (
        Observable("blue_position", 0.1, centre=CENTRE),
        Observable("yellow_position", 0.1, centre=CENTRE),
        Observable("blue_position", 0.1, minus="hand_position"),
        Observable("yellow_position", 0.1, minus="hand_position"),
        Observable("blue_velocity", 0.5),
        Observable("yellow_velocity", 0.5),
    )

    def place(self, rng: np.random.Generator, qpos: np.ndarray, mocap: np.ndarray) -> None:
        n = len(qpos)
        middle = rng.uniform((0.42, -0.06), (0.47, 0.06), (n, 2))
        apart = rng.uniform((-0.02, 0.034), (0.02, 0.055), (n, 2))
        apart *= np.where(rng.random(n) < 0.5, 1.0, -1.0)[:, None]  # which cube is on the left
        for block, side in ((qpos[:, :7], 1.0), (qpos[:, 7:14], -1.0)):
            block[:] = sample_free_bodies(rng, n, (0.0, 0.0, HALF), (0.0, 0.0, HALF), turn=0.4)
            block[:, :2] = middle + side * apart

    def compute_goal_distances(self, state: State) -> np.ndarray:
        """Computes the distance of each wanted cube's centre from the goal plane, (..., 2) [m]."""
        ahead = np.stack([state[f"{name}_position"][..., 0] for name in self.wanted], axis=-1)
        return np.abs(ahead - state.strip_position[..., :1])

    def success(self, state: State) -> np.ndarray:
        """Returns whether max_i |x_i - x_goal| <= 0.08 [m], (...,) bool.

        RAPL's code omits the absolute value, so cubes that were pushed too far count as success there.
        """
        return self.compute_goal_distances(state).max(axis=-1) <= STRIP

    def true_preference(self, state: State) -> np.ndarray:
        """Computes the criterion of the simulated annotator, -max_i |x_i - x_goal| (...,) [m].

        RAPL's code correlates rewards with its history (sign turned), not with the shaped reward `truth_reward`.
        """
        return -self.compute_goal_distances(state).max(axis=-1)

    def plan_push(self, state: State, line: np.ndarray) -> np.ndarray:
        """Plans the board's next position (..., 3) [m] that brings the wanted cubes to x = `line` (...,) [m]."""
        return compute_push_target(state, self.wanted, line)

    def expert(self, state: State) -> np.ndarray:
        """Returns the action that goes behind both cubes, down, then straight ahead to the middle of the strip."""
        return self.compute_action_toward(state, self.plan_push(state, state.strip_position[..., 0]))


def compute_push_target(
    state: State, names: tuple[str, ...], line: np.ndarray, side: np.ndarray | float = 0.0
) -> np.ndarray:
    """Computes the board's next position (..., 3) [m] to push cubes' near faces to half a cube before a line.

    Args:
        state: now.
        names: of the cubes.
        line: x that their centres are to reach, (...,) [m].
        side: how far the board aims beside their middle, along y [m].
    """
    cubes = np.stack([state[f"{name}_position"] for name in names], axis=-2)
    hand, wide = state.hand_position, cubes[..., 1]
    middle = (wide.min(axis=-1) + wide.max(axis=-1)) / 2 + side
    # x of the board with 2 cm clearance behind the nearer cube [m]
    near = cubes[..., 0].min(axis=-1) - HALF - BOARD[0] - 0.02
    aside = np.abs(hand[..., 1] - middle)
    behind, low = hand[..., 0] < near + 0.01, hand[..., 2] < LOW + 0.01
    pushing = low & (aside < np.where(behind, 0.012, 0.03))
    x = np.where(pushing, line - HALF - BOARD[0], near)
    z = np.where(pushing | behind, LOW, 0.11)  # a board in front of the cubes returns above them
    return np.stack([x, middle, z], axis=-1)
