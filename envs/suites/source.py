"""The description of an environment by its suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from robo_reward.envs.state import Field

Success = Callable[[gym.Env, Mapping[str, Any]], bool]
"""Whether the goal is fulfilled, from an environment and the `info` of its last step."""


@dataclass(frozen=True)
class EnvironmentSource:
    """The making of an environment, and the facts that its model does not show.

    It is sent to other processes: every function is one of a module, or a `functools.partial` of one.

    Args:
        id: of the task, such as `metaworld/drawer-open-v3`.
        make: makes the environment. `env.unwrapped` has MuJoCo's `model` and `data`; the action space is a Box, the
            observation space a Box or a Dict of them. A time limit of its own may stay.
        goal: the goal as a sentence; empty if there is no natural one, so that the user gives it.
        success: from the environment and the `info` of its step; or None, and `success_rule`, or the user's, is a
            condition on the state.
        success_rule: what success is, as a sentence; without `success` a condition as in `success=`, or empty.
        fields: named quantities that the model's bodies, joints and sites do not show, such as a goal.
        measure: returns the values of `fields` by name, after a reset and after each step.
        reads_model: whether the state also has what `ModelState` reads from the model; False where `fields` is all.
        roles: role of a model's field where the derived one is wrong, such as `{"stick_position": "object"}`.
        horizon: control steps per episode; None: the environment's own time limit.
        control_dt: seconds between two actions [s]; None: `env.unwrapped.dt`.
        terminates: whether the environment may end an episode before its horizon.
        end_is_failure: whether an episode that the environment ends has failed, so that it is no success.
        cameras: of the model, the first is the default; empty: all that have a name.
        action_names: of the components of an action; empty: the actuators' where there are as many.
        training_steps: usual training budget [environment steps].
    """

    id: str
    make: Callable[[], gym.Env]
    goal: str = ""
    success: Success | None = None
    success_rule: str = ""
    fields: tuple[Field, ...] = ()
    measure: Callable[[gym.Env], Mapping[str, np.ndarray]] | None = None
    reads_model: bool = True
    roles: Mapping[str, str] = field(default_factory=dict)
    horizon: int | None = None
    control_dt: float | None = None
    terminates: bool = True
    end_is_failure: bool = False
    cameras: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()
    training_steps: int = 200_000


def read_info_success(env: gym.Env, info: Mapping[str, Any]) -> bool:
    """Returns `is_success`, or else `success`, of an environment's info; False if it has neither."""
    return bool(np.asarray(info.get("is_success", info.get("success", False))).any())
