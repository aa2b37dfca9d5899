"""Gymnasium-Robotics: Fetch, the Shadow hand, Adroit, Franka's kitchen and mazes, stepped by their own code.

The state of the Fetch tasks is their documented observation with names, in metres and seconds. The other tasks show
the bodies, joints and sites of their models, and the goals that the models do not show.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import gymnasium as gym
import mujoco
import numpy as np

from robo_reward.envs.state import Field
from robo_reward.envs.suites.packages import import_suite
from robo_reward.envs.suites.source import EnvironmentSource, Success, read_info_success
from robo_reward.errors import UnknownName

PREFIX = "robotics/"
WIDEST = 0.1  # [m], opening of Fetch's gripper


class FetchScene(NamedTuple):
    """One of the Fetch tasks.

    Attributes:
        goal: as a sentence.
        object: name of its object; empty if there is none.
        can_grasp: whether an action moves the fingers.
    """

    goal: str
    object: str = ""
    can_grasp: bool = False


FETCH = {
    "FetchReach": FetchScene("Move the fingertips to the goal."),
    "FetchPush": FetchScene("Push the block over the table to the goal.", "block"),
    "FetchSlide": FetchScene("Hit the puck so that it slides over the table to the goal.", "puck"),
    "FetchPickAndPlace": FetchScene("Pick up the block and carry it to the goal.", "block", can_grasp=True),
}
"""Fetch tasks by the beginning of their id."""
OTHERS = {
    "HandReach": "Bring each fingertip of the hand to its goal.",
    "HandManipulateBlock": "Turn the block in the hand to the rotation of the goal.",
    "HandManipulateEgg": "Turn the egg in the hand to the rotation of the goal.",
    "HandManipulatePen": "Turn the pen in the hand to the rotation of the goal.",
    "AdroitHandDoor": "Undo the latch and open the door.",
    "AdroitHandHammer": "Grasp the hammer and drive the nail into the board.",
    "AdroitHandPen": "Turn the pen in the hand to the rotation of the target.",
    "AdroitHandRelocate": "Pick up the ball and carry it to the target.",
    "FrankaKitchen": "Open the microwave, move the kettle, switch on the burners and the light, and open the cabinets.",
    "AntMaze": "Walk through the maze to the target.",
    "PointMaze": "Move the ball through the maze to the target.",
}
"""Goals of the other tasks by the beginning of their id."""


def list_names() -> list[str]:
    """Returns the ids of the tasks, such as `FetchPush-v4`: the newest version of each."""
    import_suite("gymnasium_robotics", "gymnasium-robotics", "robotics")
    newest: dict[str, int] = {}
    for id, spec in gym.registry.items():
        name, _, number = id.rpartition("-v")
        if name.startswith((*FETCH, *OTHERS)) and "MujocoPy" not in str(spec.entry_point):
            newest[name] = max(newest.get(name, 0), int(number))
    return sorted(f"{name}-v{number}" for name, number in newest.items())


def describe(name: str) -> EnvironmentSource:
    """Returns how to make one environment, its goal, success and state.

    Raises:
        UnknownName: no environment of that id, or not its newest version.
        MissingExtra: gymnasium-robotics is not installed.
        VersionClash: gymnasium-robotics and MuJoCo do not fit.
    """
    names = list_names()
    if name not in names:
        raise UnknownName("environment of gymnasium-robotics", name, names)
    family = max((start for start in (*FETCH, *OTHERS) if name.startswith(start)), key=len)
    common: dict[str, Any] = {"id": PREFIX + name, "make": partial(make_environment, name)}
    common["terminates"] = family == "FrankaKitchen"  # it ends when all is done
    if family in FETCH:
        scene = FETCH[family]
        thing = scene.object or "fingertips"
        verb = "are" if thing == "fingertips" else "is"
        return EnvironmentSource(
            **common,
            goal=scene.goal,
            success=read_info_success,
            success_rule=f"the {thing} {verb} within 5 cm of the goal",
            fields=_list_fetch_fields(scene),
            measure=partial(measure_fetch, family),
            reads_model=False,
            cameras=("external_camera_0", "head_camera_rgb", "gripper_camera_rgb"),
            action_names=("dx", "dy", "dz", "gripper"),
        )
    success: Success = complete_kitchen if family == "FrankaKitchen" else read_info_success
    fields, measure, roles = _list_goal_fields(family)
    return EnvironmentSource(
        **common,
        goal=OTHERS[family],
        success=success,
        success_rule="every one of the kitchen's tasks is complete"
        if family == "FrankaKitchen"
        else "the environment says so in the info of its step",
        fields=fields,
        measure=measure,
        roles=roles,
    )


def make_environment(name: str) -> gym.Env:
    """Returns an environment as it is registered, with its time limit."""
    import_suite("gymnasium_robotics", "gymnasium-robotics", "robotics")
    env = gym.make(name, disable_env_checker=True)
    if name.startswith("FrankaKitchen"):
        spaces: Any = env.observation_space
        env = gym.wrappers.TransformObservation(env, _get_robot_observation, spaces["observation"])
    return env


def complete_kitchen(env: gym.Env, info: Mapping[str, Any]) -> bool:
    """Returns whether every task of Franka's kitchen is complete."""
    return not info.get("tasks_to_complete", [""])


def measure_fetch(family: str, env: gym.Env) -> Mapping[str, np.ndarray]:
    """Returns the values of the fields of a Fetch task, from its documented observation."""
    inner: Any = env.unwrapped
    observed = inner._get_obs()["observation"]
    dt, scene = inner.dt, FETCH[family]
    # Layout: hand 0:3; with an object its position 3:6, relative 6:9, fingers 9:11, Euler angles 11:14, linear velocity
    # relative to the hand 14:17, angular 17:20; at the end velocity of hand and fingers. Velocities are times dt.
    hand_velocity = observed[-5:-2] / dt
    values = {
        "fingertips_position": observed[:3],
        "fingertips_velocity": hand_velocity,
        "goal_position": inner.goal,
    }
    if scene.can_grasp:
        values["gripper_opening"] = observed[9:11].sum()
    if scene.object:
        rotation = np.empty(4)
        mujoco.mju_mat2Quat(rotation, inner.data.site("object0").xmat)
        values |= {
            f"{scene.object}_position": observed[3:6],
            f"{scene.object}_rotation": rotation,
            f"{scene.object}_velocity": observed[14:17] / dt + hand_velocity,
            f"{scene.object}_spin": observed[17:20] / dt,
        }
    return values


def measure_goal(family: str, env: gym.Env) -> Mapping[str, np.ndarray]:
    """Returns the goal of a task of the Shadow hand, which its model shows only in pictures."""
    inner: Any = env.unwrapped
    if family == "HandReach":
        return {"goal_positions": inner.goal.reshape(5, 3)}
    return {"goal_position": inner.goal[:3], "goal_rotation": inner.goal[3:]}


def _list_fetch_fields(scene: FetchScene) -> tuple[Field, ...]:
    fields = [
        Field("fingertips_position", (3,), "m", "the point between the tips of the fingers", "hand"),
        Field("fingertips_velocity", (3,), "m/s", "linear velocity of the point between the fingers", "hand"),
    ]
    if scene.can_grasp:
        what = "distance between the fingers: 0 closed, 0.1 open"
        fields.append(Field("gripper_opening", (), "m", what, "gripper", typical=(0.0, WIDEST)))
    if name := scene.object:
        fields += [
            Field(f"{name}_position", (3,), "m", f"centre of the {name} on the table", "object"),
            Field(f"{name}_rotation", (4,), "quaternion", f"orientation of the {name}", "object"),
            Field(f"{name}_velocity", (3,), "m/s", f"linear velocity of the {name}", "object"),
            Field(f"{name}_spin", (3,), "rad/s", f"angular velocity of the {name}", "object", typical=(-10, 10)),
        ]
    return (*fields, Field("goal_position", (3,), "m", "the goal, drawn anew in each episode", "goal"))


def _list_goal_fields(family: str) -> tuple[tuple[Field, ...], Any, dict[str, str]]:
    """Returns the fields of a goal that the model does not show, their reader, and roles of misleading fields."""
    if family == "HandReach":
        goals = Field("goal_positions", (5, 3), "m", "goals of the fingertips: first to little finger, thumb", "goal")
        return (goals,), partial(measure_goal, family), {f"target{i}_position": "other" for i in range(5)}
    if family.startswith("HandManipulate"):
        goal = (
            Field("goal_position", (3,), "m", "position that the object should have", "goal"),
            Field("goal_rotation", (4,), "quaternion", "rotation that the object should have", "goal"),
        )
        # The model's target is moved there only when a picture is drawn.
        stale = {f"target_{quantity}": "other" for quantity in ("position", "rotation", "velocity", "spin")}
        return goal, partial(measure_goal, family), stale
    return (), None, {}


def _get_robot_observation(observation: Mapping[str, Any]) -> Any:
    return observation["observation"]
