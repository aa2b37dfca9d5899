"""Push: slide a puck over the table to a goal."""

from __future__ import annotations

import numpy as np

from robo_reward.envs.arm.base import CENTRE, GOAL_SENSOR, ArmTask, goal_field, object_fields, object_sensors
from robo_reward.envs.state import Field, State
from robo_reward.envs.task import Observable

# The cylinder collides with the fingers, the box inside it with the table: box on box gives four stable contacts.
# The sides have low friction: against fingers with friction 2 the puck would stick off centre.
PUCK = """
<body name="puck">
  <freejoint/>
  <inertial pos="0 0 0" mass=".4" diaginertia="2.1e-4 2.1e-4 3.2e-4"/>
  <geom name="puck" class="object" type="cylinder" size=".04 .02" contype="0" conaffinity="2"
    priority="1" friction=".3 .01 .0002" rgba=".16 .36 .80 1"/>
  <geom name="puck_sole" class="object" type="box" size=".028 .028 .0195" pos="0 0 -.0005" contype="0" conaffinity="4"
    rgba=".16 .36 .80 1"/>
</body>
<body name="goal" mocap="true">
  <geom class="marker" type="cylinder" size=".04 .001" pos="0 0 -.0195"/>
</body>"""

CRADLE = np.array([-0.037, 0.0, -0.006])
"""Position of the hand relative to the puck while the puck touches both fingers [m]."""

EXPERT_REWARD = '''\
def compute_reward(state, action, previous):
    """Get both fingers against the puck's near side, bring the puck closer to the goal, be precise at the end."""
    behind = state.puck_position - state.hand_position
    aside = np.sqrt((behind[:, 0] - 0.037) ** 2 + behind[:, 1] ** 2 + (behind[:, 2] - 0.006) ** 2)
    touch = 0.3 * (1.0 - np.tanh(10.0 * aside))
    gap = np.linalg.norm((state.goal_position - state.puck_position)[:, :2], axis=-1)
    near = 2.0 * (1.0 - np.tanh(8.0 * gap))
    precise = np.exp(-((gap / 0.03) ** 2))
    effort = -0.01 * np.sum(action**2, axis=-1)
    return touch + near + precise + effort, {"touch": touch, "near": near, "precise": precise, "effort": effort}
'''


class Push(ArmTask):
    """The puck within 3 cm of a goal ahead of it at the end."""

    name = "push"
    goal = "Push the blue puck to the green goal on the table."
    success_rule = "the puck's centre is within 3 cm of the goal, measured along the table"
    expert_reward = EXPERT_REWARD
    training_steps = 300_000
    horizon = 60
    gripper = False
    opening = 0.06  # two finger tips touch the puck, so that it can be steered
    low = (0.30, -0.30, 0.012)
    high = (0.72, 0.30, 0.06)
    start_low = (0.36, -0.05, 0.02)
    start_high = (0.40, 0.05, 0.05)
    things = (
        Field(
            "puck_position",
            (3,),
            "m",
            "centre of the blue puck, a flat cylinder of 0.04 m radius and height; 0.02 m high on the table; it starts "
            "ahead of the hand (larger x), 0.46 to 0.52 m from the robot; the fingers stay 0.06 m apart, and the puck "
            "rests against both when its centre is 0.037 m ahead (+x) of the hand",
            "object",
            typical=(-0.3, 0.7),
        ),
        *object_fields("puck", "the blue puck")[1:],
        goal_field(
            "target position of the puck's centre, 0.02 m high; 0.08 to 0.18 m from the puck's start, "
            "within 45 degrees of straight ahead (+x)"
        ),
    )
    bodies = PUCK
    thing_sensors = object_sensors("puck") + GOAL_SENSOR
    views = (
        Observable("puck_position", 0.2, centre=CENTRE),
        Observable("puck_position", 0.1, minus="hand_position"),
        Observable("goal_position", 0.1, minus="puck_position"),
        Observable("puck_velocity", 0.5),
    )

    def place(self, rng: np.random.Generator, qpos: np.ndarray, mocap: np.ndarray) -> None:
        n = len(qpos)
        qpos[:, :3] = rng.uniform((0.46, -0.08, 0.02), (0.52, 0.08, 0.02), (n, 3))
        qpos[:, 3] = 1.0
        angle, distance = rng.uniform(-np.pi / 4, np.pi / 4, n), rng.uniform(0.08, 0.18, n)
        mocap[:, :3] = qpos[:, :3]
        mocap[:, 0] += distance * np.cos(angle)
        mocap[:, 1] += distance * np.sin(angle)

    def success(self, state: State) -> np.ndarray:
        return np.linalg.norm((state.puck_position - state.goal_position)[..., :2], axis=-1) < 0.03

    def expert(self, state: State) -> np.ndarray:
        """Returns the action: behind the puck, against it with both fingers, then straight to the goal."""
        cradle = state.puck_position + CRADLE
        offset = cradle - state.hand_position
        lost = np.abs(offset[..., 1]) > 0.015  # not both fingers would touch: retract first, then sideways
        back = np.where(lost, -0.03, 0.0)
        behind = cradle + np.stack([back, *np.zeros((2, *back.shape))], axis=-1)
        against = ~lost & (offset[..., 0] < 0.006)
        gap = (state.goal_position - state.puck_position) * (1.0, 1.5, 0.0)  # the puck lags sideways, hence 1.5
        far = np.linalg.norm(gap, axis=-1, keepdims=True)
        slide = gap * np.minimum(0.4, self.action_scale / np.maximum(far, 1e-9))  # slow down: the puck slides on
        target = np.where(against[..., None], state.hand_position + slide, behind)
        target[..., 2] = state.puck_position[..., 2] + CRADLE[2]
        return self.compute_action_toward(state, target)
