"""An environment of another package as a task: its own code steps it, its own reward is the expert baseline."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import mujoco
import numpy as np

from robo_reward.envs.model.drawing import count_drawn
from robo_reward.envs.model.names import make_identifier
from robo_reward.envs.rendering.render import OVERVIEW
from robo_reward.envs.state import State
from robo_reward.envs.suites.reader import OBSERVATION, REWARD, SUCCESS, EnvironmentReader
from robo_reward.envs.suites.source import EnvironmentSource
from robo_reward.envs.task import ActionSpec, Observable, ObservationSpec, Start, Task
from robo_reward.errors import UnknownName

if TYPE_CHECKING:
    from robo_reward.envs.suites.worlds import EnvironmentWorlds
    from robo_reward.rewards.contract import StepReward

OWN_REWARD = f'''def compute_reward(state, action, previous):
    """Returns the reward of the environment's own code."""
    own = state.{REWARD}
    return own, {{"own": own}}
'''
_EPISODES, _STEPS = 4, 50
"""Episodes and steps with random actions from which the observation's normalisation is computed."""
SMALLEST_SCALE = 0.1
DEFAULT_HORIZON = 1000


class RangeController:
    """Maps actions in [-1, 1] to the action space of an environment.

    Args:
        low: smallest action of the environment (A,).
        high: largest action (A,).
        names: of the components.
        rate_hz: how often an action is chosen [Hz].
    """

    def __init__(self, low: np.ndarray, high: np.ndarray, names: tuple[str, ...], rate_hz: float) -> None:
        self._middle, self._half = (low + high) / 2, (high - low) / 2
        scale = tuple(float(half) for half in self._half)
        self.spec = ActionSpec("native", names, scale, ("1",) * len(names), round(rate_hz, 6))

    def convert(self, action: np.ndarray) -> np.ndarray:
        """Returns actions (n, A) in the environment's units."""
        return self._middle + self._half * action

    def start(self, qpos: np.ndarray) -> np.ndarray:
        """Returns actions (n, A) in the middle of their range."""
        return np.repeat(self._middle[None], len(qpos), axis=0)

    def advance(self, ctrl: np.ndarray, qpos: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Returns actions (n, A) in the environment's units."""
        return self.convert(action)


class EnvironmentTask(Task):
    """A task whose worlds are environments of another package.

    Policies observe what the environment itself returns (a Dict flattened in the order of its keys), each component
    normalised by statistics of a few random episodes, which are stored with each policy. Programs and rules read the
    fields that `EnvironmentReader` describes; the hidden ones among them are the environment's own observation,
    reward and success, which no written program may read.

    Args:
        source: the environment.
        horizon: control steps per episode, instead of the source's.

    Attributes:
        source: the environment.
        picture_size: numbers M that a camera needs besides `qpos`.
        spare_readers: environments that are not in use, so that the next worlds need not make theirs.

    Raises:
        UsageError: the environment cannot be made or used.
    """

    max_worlds = 16
    ppo_params: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"worlds": 16, "n_steps": 64, "batch_size": 128, "gamma": 0.99, "gae_lambda": 0.95}
    )
    expert_reward = OWN_REWARD

    def __init__(self, source: EnvironmentSource, horizon: int | None = None) -> None:
        self.source, self.id, self.goal, self.success_rule = source, source.id, source.goal, source.success_rule
        reader = EnvironmentReader(source)
        self.spare_readers = [reader]
        reader.reset(0)
        self.spec, self.model = reader.spec, copy.copy(reader.model)
        self.horizon = horizon or source.horizon or _find_time_limit(reader)
        self.substeps = max(1, round(reader.control_dt / self.model.opt.timestep))
        names = source.action_names or _name_actions(self.model, len(reader.action_low))
        self.controller: RangeController = RangeController(
            reader.action_low, reader.action_high, names, 1 / reader.control_dt
        )
        self.cameras = _choose_cameras(self.model, source.cameras)
        modules = {type(reader.env.unwrapped).__module__, source.id.partition("/")[2].rpartition(":")[0]} - {""}
        self.files = tuple(path for module in sorted(modules) for path in find_package_files(module))
        self.picture_size = 7 * self.model.nmocap + count_drawn(self.model)
        self.training_steps = source.training_steps
        self.failure_rule = "the environment's own end of an episode" if source.terminates else ""
        samples = _sample_observations(reader, self.controller)
        scale = np.where(np.ptp(samples, axis=0) > 0, np.maximum(2 * samples.std(axis=0), SMALLEST_SCALE), 1.0)
        part = Observable(OBSERVATION, _round(scale), centre=_round(samples.mean(axis=0)))
        self.observation = ObservationSpec(self.spec, [part])

    @property
    def control_dt(self) -> float:
        """Seconds between two actions [s]."""
        return 1 / self.action.rate_hz

    @property
    def ends_early(self) -> bool:
        """True if an episode may end before its horizon."""
        return self.source.terminates or super().ends_early

    def make_worlds(
        self, n: int, seed: int | None = 0, reward: StepReward | None = None, threads: int | None = None
    ) -> EnvironmentWorlds:
        """Returns N environments that are stepped by their own code; see `EnvironmentWorlds`."""
        from robo_reward.envs.suites.worlds import EnvironmentWorlds

        return EnvironmentWorlds(self, n, seed, reward, threads)

    def sample(self, rng: np.random.Generator, n: int) -> Start:
        """Draws n initial conditions by resetting the environment."""
        reader = self.spare_readers[-1] if self.spare_readers else EnvironmentReader(self.source)
        rows: list[tuple[np.ndarray, ...]] = []
        for seed in rng.integers(2**31, size=n).tolist():
            reader.reset(seed)
            data = reader.data
            mocap = np.concatenate([data.mocap_pos.ravel(), data.mocap_quat.ravel()])
            rows.append((data.qpos.copy(), mocap, data.act.copy(), data.qvel.copy()))
        return Start(*(np.stack(column) for column in zip(*rows, strict=True)))

    def success(self, state: State) -> np.ndarray:
        """Returns whether the environment reported success (...,) bool."""
        return state[SUCCESS] > 0.5 if SUCCESS in state.spec else np.zeros(state.batch_shape, bool)


def find_package_files(module: str) -> list[Path]:
    """Returns the folder of a module's package, or its file; empty for what is installed into the interpreter."""
    name = module.partition(".")[0]
    spec = None if name == "__main__" else importlib.util.find_spec(name)
    places = [] if spec is None else spec.submodule_search_locations or [spec.origin or ""]
    return [Path(place) for place in places if place and not {"site-packages", "dist-packages"} & {*Path(place).parts}]


def _find_time_limit(reader: EnvironmentReader) -> int:
    spec = reader.env.spec
    return spec.max_episode_steps if spec is not None and spec.max_episode_steps else DEFAULT_HORIZON


def _name_actions(model: mujoco.MjModel, count: int) -> tuple[str, ...]:
    if model.nu != count:
        return tuple(f"action_{index}" for index in range(count))
    names = [make_identifier(model.actuator(i).name, f"actuator_{i}") for i in range(count)]
    joints = [model.joint(int(j)).name if j >= 0 else "" for j in model.actuator_trnid[:, 0]] if model.njnt else names
    found = [
        name if model.actuator(i).name or not joints[i] else make_identifier(joints[i], name)
        for i, name in enumerate(names)
    ]
    return tuple(found if len(set(found)) == count else names)


def _choose_cameras(model: mujoco.MjModel, wanted: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(model.camera(i).name for i in range(model.ncam) if model.camera(i).name)
    for name in wanted:
        if name not in names:
            raise UnknownName("camera", name, names)
    return wanted or names or (OVERVIEW,)


def _sample_observations(reader: EnvironmentReader, controller: RangeController) -> np.ndarray:
    """Returns observations (K, O) of a few episodes with random actions, always the same."""
    rng, samples, where = np.random.default_rng(0), [], reader.spec.slice(OBSERVATION)
    for seed in range(_EPISODES):
        reader.reset(seed)
        samples.append(reader.state[where])
        action = np.zeros(controller.spec.dim)
        for _ in range(_STEPS):
            action = 0.8 * action + 0.2 * rng.uniform(-1.5, 1.5, controller.spec.dim)
            reader.step(controller.convert(np.clip(action, -1, 1)))
            samples.append(reader.state[where])
            if reader.terminated or reader.truncated:
                break
    return np.stack(samples)


def _round(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)
