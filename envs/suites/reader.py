"""One environment of another package, and the numbers that its task knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np

from robo_reward.envs.model.drawing import read_drawn
from robo_reward.envs.model.names import GOAL, make_identifier, split_words
from robo_reward.envs.model.state import ModelState
from robo_reward.envs.state import MAX_AXIS, Field, StateSpec
from robo_reward.envs.suites.source import EnvironmentSource
from robo_reward.errors import RoboRewardError, UnknownName, UsageError, WrongShape

OBSERVATION, REWARD, SUCCESS = "environment_observation", "environment_reward", "environment_success"
"""Hidden fields of the state: what the environment's own step returned."""


class EnvironmentFailed(RoboRewardError):
    """The code of an environment raised an error, or its process ended."""


class EnvironmentReader:
    """Runs one environment and reads its state after each reset and step.

    The state is, in this order: what `ModelState` reads from the model, the source's `fields`, parts of a Dict
    observation other than `observation` (such as `desired_goal`), and hidden fields with the environment's own
    observation, reward and success. Poses of bodies are those that the environment's own code sees: `mj_step` computes
    them at its beginning, so they may be one physics step older than joint angles.

    Args:
        source: the environment.

    Attributes:
        env: the environment.
        spec: the state.
        state: of the last reset or step (D,).
        terminated: whether the environment ended the episode in the last step.
        truncated: whether it cut the episode off.
        info: of the last step.

    Raises:
        UsageError: it cannot be made, has no MuJoCo model, or spaces that cannot be used.
    """

    def __init__(self, source: EnvironmentSource) -> None:
        self.source, self.env = source, _make_environment(source)
        require_mujoco(source.id, self.env)
        self.action_low, self.action_high = _read_action_range(source.id, self.env.action_space)
        self._observed = _flatten_observation_space(source.id, self.env.observation_space)
        self._reader = ModelState(self.model) if source.reads_model else None
        self._parts = _list_goal_parts(self.env.observation_space) if not source.fields else {}
        self.spec = StateSpec([*self._describe_fields(), *self._describe_hidden_fields()])
        self.state = np.zeros(self.spec.dim)
        self.terminated = self.truncated = False
        self.info: Mapping[str, Any] = {}

    @property
    def model(self) -> mujoco.MjModel:
        """The environment's own model, as its code has left it."""
        return getattr(self.env.unwrapped, "model")  # noqa: B009 (gymnasium's base class does not declare it)

    @property
    def data(self) -> mujoco.MjData:
        """The environment's own simulation."""
        return getattr(self.env.unwrapped, "data")  # noqa: B009

    @property
    def control_dt(self) -> float:
        """Seconds between two actions [s]."""
        if self.source.control_dt is not None:
            return self.source.control_dt
        step = float(self.model.opt.timestep)
        return float(getattr(self.env.unwrapped, "dt", step * getattr(self.env.unwrapped, "frame_skip", 1)))

    def reset(self, seed: int) -> None:
        """Begins the episode that belongs to a seed.

        Raises:
            EnvironmentFailed: the environment's code raised an error, or returned numbers that cannot be used.
        """
        try:
            observation, _ = self.env.reset(seed=seed)
            self._read(observation, 0.0, False)
        except Exception as error:
            raise self._explain(error, "reset") from error
        self.terminated = self.truncated = False

    def step(self, action: np.ndarray) -> None:
        """Takes one step with an action in the environment's own units (A,).

        Raises:
            EnvironmentFailed: the environment's code raised an error, or returned numbers that cannot be used.
        """
        try:
            observation, reward, terminated, truncated, info = self.env.step(action.astype(self.env.action_space.dtype))
            success = bool(self.source.success(self.env, info)) if self.source.success else False
            self._read(observation, float(reward), success)
        except Exception as error:
            raise self._explain(error, "step") from error
        self.info = info
        self.terminated, self.truncated = bool(terminated), bool(truncated)

    def read_picture(self) -> np.ndarray:
        """Returns the part of a picture that `qpos` does not have: mocap poses, and arrays of the model."""
        mocap = (self.data.mocap_pos.ravel(), self.data.mocap_quat.ravel())
        return np.concatenate([*mocap, read_drawn(self.model)])

    def _read(self, observation: Any, reward: float, success: bool) -> None:
        parts: list[Any] = []
        if self._reader:
            self._reader.model = self.model  # a few environments compile another one at a reset
            parts.append(self._reader.read_state(self.data, refresh=False))  # `refresh` would change their next reward
        if self.source.measure:
            values = self.source.measure(self.env)
            for field in self.source.fields:
                if np.shape(values[field.name]) != field.shape:
                    raise WrongShape(
                        f"{field.name} of {self.source.id}", np.shape(values[field.name]), str(field.shape)
                    )
                parts.append(values[field.name])
        parts += [observation[key] for key in self._parts]
        parts += [gym.spaces.flatten(self.env.observation_space, observation), reward]
        parts += [float(success)] if self.source.success else []
        self.state = np.concatenate([np.ravel(part) for part in parts], dtype=np.float64)
        if len(self.state) != self.spec.dim:
            raise EnvironmentFailed(
                f"{self.source.id}: its state and observation have {len(self.state)} numbers, expected "
                f"{self.spec.dim} as its spaces say"
            )
        if not np.isfinite(self.state).all():
            fields = [name for name in self.spec.names if not np.isfinite(self.state[self.spec.slice(name)]).all()]
            raise EnvironmentFailed(
                f"{self.source.id}: {', '.join(fields)}: not finite. Its simulation has diverged, or its code divides "
                "by zero; a smaller time step or range of actions may help"
            )

    def _describe_fields(self) -> list[Field]:
        fields = [*(self._reader.spec if self._reader else ()), *self.source.fields]
        names = [field.name for field in fields]
        for name in self.source.roles:
            if name not in names:
                raise UnknownName(f"field of {self.source.id}", name, names)
        fields = [replace(f, role=self.source.roles.get(f.name, f.role)) for f in fields]
        return [*fields, *self._parts.values()]

    def _describe_hidden_fields(self) -> list[Field]:
        own = f"of {self.source.id}"
        hidden = [
            Field(OBSERVATION, (self._observed,), "1", f"the observation {own}", "hidden"),
            Field(REWARD, (), "1", f"the reward {own} in the last step", "hidden"),
        ]
        success = Field(SUCCESS, (), "1", f"1.0 where {own[3:]} reports success", "hidden", typical=(0, 1))
        return [*hidden, *([success] if self.source.success else [])]

    def _explain(self, error: Exception, doing: str) -> Exception:
        if isinstance(error, RoboRewardError):
            return error
        return EnvironmentFailed(f"{self.source.id}: its own code failed in `{doing}`: {type(error).__name__}: {error}")


def require_mujoco(id: str, env: gym.Env) -> None:
    """Raises an error if an environment has no MuJoCo model and data.

    Raises:
        UsageError: it has not.
    """
    model, data = (getattr(env.unwrapped, name, None) for name in ("model", "data"))
    if not isinstance(model, mujoco.MjModel) or not isinstance(data, mujoco.MjData):
        raise UsageError(
            f"{id} has no MuJoCo simulation inside: expected `env.unwrapped.model` and `env.unwrapped.data`, as "
            f"gymnasium's MujocoEnv has them; {type(env.unwrapped).__name__} has {_describe_type(model)} and "
            f"{_describe_type(data)}"
        )


def _describe_type(value: Any) -> str:
    return "none" if value is None else type(value).__name__


def _make_environment(source: EnvironmentSource) -> gym.Env:
    try:
        return source.make()
    except RoboRewardError:
        raise
    except Exception as error:
        installed = ", ".join(f"{name} {_find_version(name)}" for name in ("gymnasium", "mujoco", "numpy"))
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        remedy = f". If a package named {missing!r} provides it: pip install {missing}" if missing else ""
        raise UsageError(
            f"{source.id} cannot be made: {type(error).__name__}: {error}. Installed: {installed}{remedy}"
        ) from error


def _find_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


def _read_action_range(id: str, space: gym.Space) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1 or not space.shape[0]:
        raise UsageError(
            f"{id} has the action space {space}, expected a Box of one axis: policies here choose numbers in [-1, 1]. "
            "Wrap it in an environment with such actions and register that"
        )
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    if not (np.isfinite(low) & np.isfinite(high) & (low < high)).all():
        raise UsageError(
            f"{id} has actions from {low} to {high}, expected finite ranges: wrap it in "
            "gymnasium.wrappers.RescaleAction or give its actuators a ctrlrange"
        )
    return low, high


def _flatten_observation_space(id: str, space: gym.Space) -> int:
    """Returns the size O of the flattened observation."""
    try:
        flat = gym.spaces.flatten_space(space)
    except NotImplementedError:
        flat = space
    if not isinstance(flat, gym.spaces.Box) or not 1 <= flat.shape[0] <= MAX_AXIS:
        raise UsageError(
            f"{id} has the observation space {space}, expected a Box or a Dict of Boxes with 1 to {MAX_AXIS} numbers "
            "in all: choose a version of it that observes the state, not pictures"
        )
    return flat.shape[0]


def _list_goal_parts(space: gym.Space) -> Mapping[str, Field]:
    """Returns fields for the parts of a Dict observation other than `observation`, such as `desired_goal`."""
    if not isinstance(space, gym.spaces.Dict):
        return {}
    found = {}
    for key, part in space.spaces.items():
        if key != "observation" and isinstance(part, gym.spaces.Box) and len(part.shape) <= 1:
            name = make_identifier(key, "observed")
            role = "goal" if split_words(name) & GOAL and "achieved" not in name else "other"
            found[key] = Field(name, part.shape, "1", f"{key!r} of the environment's observation", role)
    return found
