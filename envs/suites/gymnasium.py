"""gymnasium's MuJoCo environments, and every other registered one with a MuJoCo model inside."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import error

from robo_reward.envs.suites.reader import EnvironmentReader
from robo_reward.envs.suites.source import EnvironmentSource, read_info_success
from robo_reward.errors import UnknownName, UsageError


class Description(NamedTuple):
    """Goal, success and budget of one of gymnasium's own environments.

    Attributes:
        goal: as a sentence.
        success: a condition on the state, at the last step of an episode.
        terminates: whether an episode may end before its horizon.
        steps: usual training budget [environment steps].
    """

    goal: str
    success: str
    terminates: bool = False
    steps: int = 500_000


KNOWN = {
    "Hopper": Description("Hop forward without falling.", "torso_velocity[0] > 1.0", True),
    "Walker2d": Description("Walk forward without falling.", "torso_velocity[0] > 1.0", True),
    "HalfCheetah": Description("Run forward as fast as possible.", "torso_velocity[0] > 2.0"),
    "Ant": Description("Walk forward without falling.", "torso_velocity[0] > 0.5", True),
    "Humanoid": Description("Walk forward without falling.", "torso_velocity[0] > 0.5", True, 1_000_000),
    "HumanoidStandup": Description("Stand up.", "torso_position[2] > 1.0", False, 1_000_000),
    "Swimmer": Description("Swim forward.", "torso_velocity[0] > 0.1"),
    "InvertedPendulum": Description("Balance the pole upright.", "abs(hinge_angle) < 0.1", True, 60_000),
    "InvertedDoublePendulum": Description(
        "Balance the two poles upright.", "abs(hinge_angle) < 0.1 and abs(hinge2_angle) < 0.1", True, 100_000
    ),
    "Reacher": Description(
        "Bring the fingertip to the target.", "norm(fingertip_position - target_position) < 0.02", False, 200_000
    ),
    "Pusher": Description("Push the object to the goal.", "norm(object_position - goal_position) < 0.1"),
}
"""gymnasium's own environments by name without version."""


def list_names() -> list[str]:
    """Returns the ids of gymnasium's newest MuJoCo environments."""
    return sorted(id for id, spec in gym.registry.items() if id == f"{spec.name}-v5" and spec.name in KNOWN)


def describe(name: str, kwargs: Mapping[str, Any] | None = None) -> EnvironmentSource:
    """Returns the environment of a registered id.

    Args:
        name: such as `Hopper-v5`, or `my_package:Mine-v0`, for which `my_package` is imported first.
        kwargs: of `gymnasium.make`.

    Raises:
        UnknownName: no such id; names the closest ones.
        UsageError: a package that cannot be imported, arguments that are no mapping, or an environment that cannot be
            used.
    """
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise UsageError(f"task.options.kwargs={kwargs!r}: expected a mapping, such as {{frame_skip: 2}}")
    spec = _find_spec(name)
    make = partial(make_registered, name, dict(kwargs or {}))
    known = KNOWN.get(spec.name) if spec.namespace is None and spec.entry_point is not None else None
    known = known if known and str(spec.entry_point).startswith("gymnasium.envs.mujoco") else None
    if known:
        changed = {} if not kwargs else {"terminates": True}
        settings = {"goal": known.goal, "success_rule": known.success, "terminates": known.terminates, **changed}
        return EnvironmentSource(f"gymnasium/{name}", make, training_steps=known.steps, end_is_failure=True, **settings)
    source = EnvironmentSource(f"gymnasium/{name}", make)
    if not _tells_success(source):
        return source
    return replace(source, success=read_info_success, success_rule="the environment reports success")


def make_registered(name: str, kwargs: Mapping[str, Any]) -> gym.Env:
    """Returns the environment of a registered id, without gymnasium's checks of the first steps."""
    return gym.make(name, disable_env_checker=True, **kwargs)


def _find_spec(name: str) -> Any:
    module, _, id = name.rpartition(":")
    if module:
        try:
            importlib.import_module(module)
        except ImportError as problem:
            raise UsageError(
                f"gymnasium/{name}: the package {module!r} cannot be imported: {problem}. Install it, or add its "
                "folder to PYTHONPATH"
            ) from problem
    try:
        return gym.spec(id)
    except (error.UnregisteredEnv, error.DeprecatedEnv) as problem:
        registered = [known for known in gym.registry if not known.startswith("robo_reward/")]
        remedy = "An environment of your own package: task=gymnasium/my_package:Mine-v0"
        raise UnknownName("gymnasium environment", id, registered, remedy) from problem
    except error.Error as problem:
        raise UsageError(f"gymnasium/{name}: {problem}") from problem


def _tells_success(source: EnvironmentSource) -> bool:
    """Returns whether the info of an environment's first step says something about success."""
    reader = EnvironmentReader(source)
    reader.reset(0)
    reader.step(np.clip(0.0, reader.action_low, reader.action_high))
    return not {"is_success", "success"}.isdisjoint(reader.info)
