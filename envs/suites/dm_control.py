"""The DeepMind Control Suite, stepped by its own code.

The suite has rewards in [0, 1] and no success. Where a task of it defines a tolerance, such as a target's radius or a
standing height, success is that its quantities lie within; where it defines none, the user gives a condition.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np

from robo_reward.envs.state import Field
from robo_reward.envs.suites.control_goals import GOALS, TOLERANCES
from robo_reward.envs.suites.packages import import_suite
from robo_reward.envs.suites.source import EnvironmentSource
from robo_reward.errors import UnknownName

PREFIX = "dm_control/"
DEFAULT_HORIZON = 1000
"""Control steps of an episode where the suite sets no time limit, as in most of its tasks."""
_KNOWN = ("position", "velocity", "joint_angles", "joint_velocites", "joint_velocities", "actuator_state", "touch")
"""Observations that only repeat joints and sensors of the model."""


class ControlEnvironment(gym.Env):
    """A task of the suite with the interface of gymnasium.

    An episode that the suite ends with discount 0 is terminated, one that reaches the time limit is truncated.

    Args:
        domain: of the suite, such as `finger`.
        task: of the domain, such as `spin`.
    """

    def __init__(self, domain: str, task: str) -> None:
        suite = import_control_suite()
        # The seed fixes what some domains draw for their model; `reset` seeds the episodes.
        self.suite_env: Any = suite.load(domain, task, task_kwargs={"random": 0})
        spec = self.suite_env.action_spec()
        bounded = np.abs(spec.minimum) < 1e6  # motors without a range have ±1e10
        low, high = np.where(bounded, spec.minimum, -1.0), np.where(bounded, spec.maximum, 1.0)
        self.action_space = gym.spaces.Box(low.astype(np.float64), high.astype(np.float64), dtype=np.float64)
        size = _flatten(self.suite_env.reset().observation).size
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (size,), np.float64)

    @property
    def physics(self) -> Any:
        """The suite's simulation."""
        return self.suite_env.physics

    @property
    def task(self) -> Any:
        """The suite's task."""
        return self.suite_env.task

    @property
    def model(self) -> Any:
        """MuJoCo's model."""
        return self.physics.model.ptr

    @property
    def data(self) -> Any:
        """MuJoCo's data."""
        return self.physics.data.ptr

    @property
    def dt(self) -> float:
        """Seconds between two actions [s]."""
        return float(self.suite_env.control_timestep())

    @property
    def horizon(self) -> int:
        """Control steps of an episode."""
        limit = self.suite_env._step_limit
        return int(np.ceil(limit)) if np.isfinite(limit) else DEFAULT_HORIZON

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.task._random = np.random.RandomState(seed % 2**32)
        observation = self.suite_env.reset().observation
        self._solve_contacts()
        return _flatten(observation), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        found = self.suite_env.step(np.asarray(action, np.float64))
        terminated = bool(found.last() and found.discount == 0.0)
        self._solve_contacts()
        return _flatten(found.observation), float(found.reward), terminated, bool(found.last()) and not terminated, {}

    def close(self) -> None:
        self.suite_env.close()

    def _solve_contacts(self) -> None:
        """Computes the contact forces of the present positions; the suite finds the contacts only.

        The warm start of the solver is kept, so that the trajectory does not change.
        """
        warm = self.data.qacc_warmstart.copy()
        mujoco.mj_forward(self.model, self.data)
        self.data.qacc_warmstart[:] = warm


def list_names() -> list[str]:
    """Returns the names of the tasks, such as `finger-spin`."""
    return sorted(f"{domain}-{task}" for domain, task in import_control_suite().ALL_TASKS)


def import_control_suite() -> Any:
    """Returns the module `dm_control.suite`, without a window system.

    Raises:
        MissingExtra: dm_control is not installed.
        VersionClash: dm_control and MuJoCo do not fit.
    """
    setting = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = "disable"  # pictures are drawn by robo-reward; without this the import opens a display
    try:
        suite: Any = import_suite("dm_control.suite", "dm-control", "dm_control")
    finally:
        if setting is None:
            del os.environ["MUJOCO_GL"]
        else:
            os.environ["MUJOCO_GL"] = setting
    suite.quadruped.Physics.contexts = None  # one of its tasks would draw terrain that nobody looks at
    if not hasattr(np, "in1d"):  # dropped in numpy 2.4; older versions of the suite use it in one place
        suite.quadruped.Physics._get_sensor_names = _get_sensor_names
    return suite


def describe(name: str) -> EnvironmentSource:
    """Returns how to make one task, its goal, success and state.

    Raises:
        UnknownName: no task of that name.
        MissingExtra: dm_control is not installed.
        VersionClash: dm_control and MuJoCo do not fit.
    """
    names = list_names()
    if name not in names:
        raise UnknownName("task of the control suite", name, names)
    domain, _, task = name.partition("-")
    env = make_environment(domain, task)
    rule = TOLERANCES.get(name)
    model = env.model
    source = EnvironmentSource(
        id=PREFIX + name,
        make=partial(make_environment, domain, task),
        goal=GOALS.get(name, ""),
        success=None if rule is None else partial(is_within_tolerance, name),
        success_rule="" if rule is None else rule.text,
        fields=_list_observed_fields(env),
        measure=measure_environment,
        horizon=env.horizon,
        control_dt=env.dt,
        terminates=domain == "lqr",
        action_names=tuple(model.actuator(i).name or f"motor_{i}" for i in range(model.nu)),
    )
    env.close()
    return source


def make_environment(domain: str, task: str) -> ControlEnvironment:
    """Returns a task of the suite with the interface of gymnasium."""
    return ControlEnvironment(domain, task)


def is_within_tolerance(name: str, env: gym.Env, info: Mapping[str, Any]) -> bool:
    """Returns whether the quantities of a task lie within the tolerances that the suite defines for it."""
    inner: Any = env.unwrapped
    return bool(TOLERANCES[name].holds(inner.physics, inner.task))


def measure_environment(env: gym.Env) -> Mapping[str, np.ndarray]:
    """Returns the suite's own observations as fields, but those that repeat joints and sensors."""
    inner: Any = env.unwrapped
    observed = inner.task.get_observation(inner.physics)
    return {f"observed_{key}": np.asarray(value, float) for key, value in observed.items() if key not in _KNOWN}


def _list_observed_fields(env: ControlEnvironment) -> tuple[Field, ...]:
    return tuple(
        Field(name, np.shape(value), "1", f"the suite's observation {name.removeprefix('observed_')!r}")
        for name, value in measure_environment(env).items()
    )


def _flatten(observation: Mapping[str, Any]) -> np.ndarray:
    return np.concatenate([np.ravel(value).astype(np.float64) for value in observation.values()])


def _get_sensor_names(physics: Any, *sensor_types: int) -> list[str]:
    found = np.flatnonzero(np.isin(physics.model.sensor_type, sensor_types))
    return [physics.model.id2name(int(sensor), "sensor") for sensor in found]
