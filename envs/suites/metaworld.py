"""Meta-World: 50 tasks of a Sawyer arm above a table, stepped by their own code.

The state is the benchmark's documented observation with names: hand, opening of the gripper, position of one or two
objects and their motion, and the goal. Lengths are in metres, rotations are (w, x, y, z); the benchmark itself mixes
two orders of quaternions.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np

from robo_reward.envs.state import Field
from robo_reward.envs.suites.metaworld_scenes import SCENES, ObservedObject
from robo_reward.envs.suites.packages import import_suite
from robo_reward.envs.suites.source import EnvironmentSource, read_info_success
from robo_reward.errors import UnknownName

PREFIX = "metaworld/"
HORIZON = 500  # [control steps], `max_path_length` of every environment
CONTROL_DT = 0.0125  # [s], 5 physics steps
WIDEST = 0.1  # [m], the gripper's opening that the benchmark counts as 1
_ROBOT = (
    Field(
        "fingertips_position", (3,), "m", "the point between the tips of the fingers, where an object is held", "hand"
    ),
    Field("hand_position", (3,), "m", "the robot's hand, 4.5 cm above the tips of its fingers", "body"),
    Field("hand_velocity", (3,), "m/s", "linear velocity of the robot's hand", "body", typical=(-1.0, 1.0)),
    Field(
        "gripper_opening", (), "m", "distance between the fingers: 0 closed, 0.1 open", "gripper", typical=(0.0, WIDEST)
    ),
)
_GOAL = Field("goal_position", (3,), "m", "the goal, drawn anew in each episode", "goal")


class MetaWorldEpisodes(gym.Wrapper):
    """One environment whose objects and goals are drawn from the seed of `reset`, in the way of the benchmark.

    The first observation after a reset is computed again: the environment itself returns positions from before it
    moved the object, so that its first observation shows the object of the last episode.
    """

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        env: Any = self.unwrapped
        if seed is not None:
            env.seed(seed)
        _, info = self.env.reset(options=options)
        # Kinematics alone: `mj_forward` would change the solver's warm start, and with it the trajectory.
        mujoco.mj_kinematics(env.model, env.data)
        current = env._get_curr_obs_combined_no_goal()
        env._prev_obs = current
        env._last_stable_obs = np.hstack([current, current, env._get_pos_goal()])
        return env._last_stable_obs.copy(), info


def list_names() -> list[str]:
    """Returns the names of the 50 environments, such as `drawer-open-v3`."""
    return sorted(import_suite("metaworld.env_dict", "metaworld", "metaworld").ENV_CLS_MAP)


def describe(name: str) -> EnvironmentSource:
    """Returns how to make one environment, its goal, success and state.

    Raises:
        UnknownName: no environment of that name.
        MissingExtra: Meta-World is not installed.
        VersionClash: Meta-World and MuJoCo do not fit.
    """
    names = list_names()
    if name not in names or name not in SCENES:
        raise UnknownName("Meta-World environment", name, names)
    scene = SCENES[name]
    objects = tuple(field for item in scene.objects for field in _list_object_fields(item))
    return EnvironmentSource(
        id=PREFIX + name,
        make=partial(make_environment, name),
        goal=scene.goal,
        success=read_info_success,
        success_rule=scene.success,
        fields=(*_ROBOT, *objects, _GOAL),
        measure=partial(measure_environment, name),
        reads_model=False,
        horizon=HORIZON,
        control_dt=CONTROL_DT,
        terminates=False,
        cameras=("corner2", "corner3", "corner4", "topview", "behindGripper", "gripperPOV"),
        action_names=("dx", "dy", "dz", "gripper"),
        training_steps=500_000,
    )


def make_environment(name: str) -> gym.Env:
    """Returns an environment whose goal is observable and whose episodes differ."""
    classes = import_suite("metaworld.env_dict", "metaworld", "metaworld").ENV_CLS_MAP
    env = classes[name]()
    env._partially_observable = False
    env._freeze_rand_vec, env.seeded_rand_vec = False, True  # a new object and goal in each reset, from `env.seed`
    del env.sawyer_observation_space  # cached; with an observable goal it has other bounds
    env._set_task_called = True
    env.reset()
    return MetaWorldEpisodes(env)


def measure_environment(name: str, env: gym.Env) -> Mapping[str, np.ndarray]:
    """Returns the values of the fields of `describe(name)`, after a reset or a step."""
    inner: Any = env.unwrapped
    observed = inner._last_stable_obs
    now, before = observed[:18], observed[18:36]
    speed = (now - before) / CONTROL_DT if inner.curr_path_length else np.zeros(18)
    values = {
        "fingertips_position": inner.tcp_center,
        "hand_position": now[:3],
        "hand_velocity": speed[:3],
        "gripper_opening": np.asarray(now[3] * WIDEST),
        "goal_position": observed[36:39],
    }
    for index, item in enumerate(SCENES[name].objects):
        at = 4 + 7 * index
        values[f"{item.name}_position"] = now[at : at + 3]
        values[f"{item.name}_velocity"] = speed[at : at + 3]
        if item.quaternion:
            order = [3, 0, 1, 2] if item.quaternion == "xyzw" else [0, 1, 2, 3]
            values[f"{item.name}_rotation"] = now[at + 3 : at + 7][order]
    return values


def _list_object_fields(item: ObservedObject) -> list[Field]:
    fields = [
        Field(f"{item.name}_position", (3,), "m", item.description, item.role),
        Field(f"{item.name}_velocity", (3,), "m/s", f"linear velocity of the {item.noun}", item.role),
    ]
    if item.quaternion:
        fields.append(Field(f"{item.name}_rotation", (4,), "quaternion", f"orientation of the {item.noun}", item.role))
    return fields
