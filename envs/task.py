"""A task: a goal sentence, a MuJoCo scene, a named state, a success test, cameras and an action convention."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import msgspec
import mujoco
import numpy as np

from robo_reward.configs.values import SCENE_SUFFIXES
from robo_reward.envs.state import MAX_DIM, State, StateSpec
from robo_reward.errors import UnknownName, UsageError, WrongShape
from robo_reward.files import convert_json
from robo_reward.registry import Registry

if TYPE_CHECKING:
    from robo_reward.envs.worlds import Worlds
    from robo_reward.rewards.contract import StepReward


@dataclass(frozen=True)
class ActionSpec:
    """The meaning of each component of an action; all lie in [-1, 1].

    Args:
        kind: the convention, `ee_delta` or `joint_delta`, or `native` for suites.
        names: one name per component, such as `dx`.
        scale: the value of 1.0, per component, in `units`.
        units: `m`, `rad` or `1`, per component.
        rate_hz: how often an action is chosen [Hz].
    """

    kind: str
    names: tuple[str, ...]
    scale: tuple[float, ...]
    units: tuple[str, ...]
    rate_hz: float

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.scale) == len(self.units):
            raise UsageError(f"action {self.kind!r}: names, scale and units differ in length")

    @property
    def dim(self) -> int:
        """A, the number of components."""
        return len(self.names)

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON value from which `from_json` rebuilds the same spec."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ActionSpec:
        """Rebuilds a spec from the value of `to_json`.

        Raises:
            BadArtifact: the value is of another form.
            UsageError: no components, or a scale or a rate that is not positive and finite.
        """
        found = convert_json(value, ActionSpec, "action")
        if not found.names or not all(0 < number < math.inf for number in (*found.scale, found.rate_hz)):
            raise UsageError(
                f"action {found.kind!r} has scale {found.scale} at {found.rate_hz} Hz, expected positive numbers"
            )
        return found


@dataclass(frozen=True)
class Observable:
    """A block of the observation: `(field - minus) / scale`, or `(field - centre) / scale`.

    Args:
        field: the state field.
        scale: divides, so that usual values lie in [-1, 1]; in the field's unit, one for all components or one each.
        minus: another field of the same shape to subtract (a relative position), or none.
        centre: numbers to subtract instead.
    """

    field: str
    scale: float | tuple[float, ...] = 1.0
    minus: str = ""
    centre: tuple[float, ...] = ()


class ObservationForm(msgspec.Struct):
    """An `ObservationSpec` as JSON."""

    state: list[dict[str, Any]]
    parts: list[Observable]


class ObservationSpec:
    """The observation of a policy: an affine map of the state, `obs = state @ matrix + offset`.

    Args:
        state: the state it reads.
        parts: its blocks in order.

    Attributes:
        matrix: (D, O).
        offset: (O,).
    """

    bound = 50.0

    def __init__(self, state: StateSpec, parts: Iterable[Observable]) -> None:
        self.state, self.parts = state, tuple(parts)
        self.dim = sum(state[p.field].size for p in self.parts)
        if self.dim > MAX_DIM:
            raise UsageError(f"the observation has {self.dim} numbers, at most {MAX_DIM} are supported")
        self.matrix = np.zeros((state.dim, self.dim))
        self.offset = np.zeros(self.dim)
        column = 0
        for part in self.parts:
            size = state[part.field].size
            block = slice(column, column + size)
            # (field - minus) / scale as rows of the matrix, -centre / scale as the offset
            self.matrix[state.slice(part.field), block] += np.eye(size) / np.asarray(part.scale)
            if part.minus:
                self.matrix[state.slice(part.minus), block] -= np.eye(size) / np.asarray(part.scale)
            if part.centre:
                self.offset[block] = -np.asarray(part.centre) / np.asarray(part.scale)
            column += size

    def __call__(self, state: State) -> np.ndarray:
        """Returns the observation `(..., O)` float32 of states `(..., D)`, clipped to ±`bound`."""
        flat = state.array @ self.matrix + self.offset
        return np.clip(flat, -self.bound, self.bound).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON value from which `from_json` rebuilds the same map."""
        return {"state": self.state.to_json(), "parts": [asdict(p) for p in self.parts]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ObservationSpec:
        """Rebuilds a map from the value of `to_json`.

        Raises:
            BadArtifact: the value is of another form.
            UsageError: blocks that do not fit the state.
        """
        form = convert_json(value, ObservationForm, "observation")
        state = StateSpec.from_json(form.state)
        for part in form.parts:
            scales = np.atleast_1d(part.scale)
            if not scales.all() or not np.isfinite((*scales, *part.centre)).all():
                raise UsageError(f"observation of {part.field!r} has scale {part.scale} and centre {part.centre}")
            if part.minus and state[part.minus].size != state[part.field].size:
                raise UsageError(f"observation of {part.field!r} less {part.minus!r}: their sizes differ")
            if len(scales) not in (1, state[part.field].size):
                raise UsageError(f"observation of {part.field!r} has a scale of {len(scales)} numbers")
            if part.centre and len(part.centre) != state[part.field].size:
                raise UsageError(f"observation of {part.field!r} has a centre of {len(part.centre)} numbers")
        return cls(state, form.parts)


class Start(NamedTuple):
    """Initial conditions of n worlds.

    Attributes:
        qpos: (n, nq).
        mocap: (n, 7 * nmocap): all mocap positions [m], then all mocap quaternions, as MuJoCo orders its state.
        act: (n, na): actuator activations; None: zeros.
        qvel: (n, nv): generalised velocities; None: zeros.
    """

    qpos: np.ndarray
    mocap: np.ndarray
    act: np.ndarray | None = None
    qvel: np.ndarray | None = None


class Variant(NamedTuple):
    """The physics of one world, where worlds differ (domain randomisation).

    Attributes:
        model: of the scene, of the same sizes as the task's.
        delay: from a command to its effect [s].
    """

    model: mujoco.MjModel
    delay: float = 0.0


class TrainingDefaults(NamedTuple):
    """The usual training of a task.

    Attributes:
        steps: the budget [environment steps].
        ppo_params: settings of PPO that differ from its defaults.
    """

    steps: int
    ppo_params: dict[str, Any]


class Controller(Protocol):
    """Turns actions into actuator targets for many worlds at once; the targets are its only memory."""

    spec: ActionSpec

    def start(self, qpos: np.ndarray) -> np.ndarray:
        """Returns the targets (n, nu) that hold the configuration `qpos` (n, nq)."""
        ...

    def advance(self, ctrl: np.ndarray, qpos: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Returns the next targets (n, nu) from the last ones, `qpos` (n, nq) and actions (n, A) in [-1, 1]."""
        ...


class TimedRule(Protocol):
    """A condition on the course of an episode, evaluated after each control step for many worlds at once.

    Attributes:
        memory_size: numbers that it remembers of each world.
    """

    memory_size: int

    def start(self, state: State) -> np.ndarray:
        """Returns the memory (n, memory_size) at the start states of n episodes."""
        ...

    def advance(self, state: State, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns whether the rule holds after a step (n,) bool, and the next memory (n, memory_size)."""
        ...


class Task(ABC):
    """A goal in one MuJoCo scene, with a named state, a success test, cameras and an action convention.

    A subclass sets the attributes and implements `sample`, `success` and, if there is one, `expert`. Every field
    of `spec` is a MuJoCo sensor of the model, in the order of the model's sensors, so that `sensordata` *is* the
    state.

    Attributes:
        id: `panda/lift`.
        goal: the goal sentence in natural language.
        success_rule: the success test as a sentence, with units.
        spec: the state.
        observation: what policies see of it.
        model: the compiled scene.
        controller: the action convention.
        horizon: control steps per episode.
        substeps: physics steps per control step.
        cameras: names of the scene's cameras, the first is the default.
        expert_reward: source of the human baseline, a reward program (`robo_reward.language.language`).
        training_steps: usual training budget [environment steps]; or one for each first argument of a built-in class
            (a robot, a stick).
        ppo_params: settings of PPO that suit the task better than its defaults.
        max_worlds: the largest number of worlds that is worth stepping together.
        options: JSON from which `make_task(id, **options)` builds the same task; those at their defaults are left
            out.
        failure_rule: the condition that ends an episode as failed, as a sentence; empty if there is none.
        ends_on_success: whether an episode ends when the goal is fulfilled.
        files: files that a process must be able to read to build the task.
        timed_rules: rules over time, by `success` and `failure`; they replace the methods of these names.
        modes: names of the different ways to succeed, the one that people prefer first; empty if there is one way.
    """

    id: str
    goal: str
    success_rule: str
    spec: StateSpec
    observation: ObservationSpec
    model: mujoco.MjModel
    controller: Controller
    horizon: int
    substeps: int
    cameras: tuple[str, ...]
    expert_reward: str
    training_steps: int | Mapping[str, int] = 200_000
    ppo_params: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    max_worlds: int = 1_000_000
    options: Mapping[str, Any] = MappingProxyType({})
    failure_rule: str = ""
    ends_on_success: bool = False
    files: tuple[Path, ...] = ()
    timed_rules: Mapping[str, TimedRule] = MappingProxyType({})
    modes: tuple[str, ...] = ()

    @property
    def action(self) -> ActionSpec:
        """The action convention."""
        return self.controller.spec

    @property
    def control_dt(self) -> float:
        """Seconds between two actions [s]."""
        return float(self.model.opt.timestep) * self.substeps

    @abstractmethod
    def sample(self, rng: np.random.Generator, n: int) -> Start:
        """Draws n initial conditions."""

    def variants(self, rng: np.random.Generator, n: int) -> list[Variant]:
        """Returns the physics of n worlds: all the same, unless a task draws them."""
        return [Variant(self.model)] * n

    def redraw_variant(self, variant: Variant, rng: np.random.Generator) -> Variant:
        """Returns the physics of a world's next episode; a task may write it into the model of the last one."""
        return self.variants(rng, 1)[0]

    @abstractmethod
    def success(self, state: State) -> np.ndarray:
        """Returns whether each state fulfils the goal, (...,) bool, from the state alone, never from a reward."""

    def failure(self, state: State) -> np.ndarray | None:
        """Returns whether each state ends the episode as failed, (...,) bool; None for a task that never does."""
        return None

    @property
    def ends_early(self) -> bool:
        """True if an episode may end before its horizon."""
        return self.ends_on_success or self.failure(State(self.spec, np.zeros((1, self.spec.dim)))) is not None

    def make_worlds(
        self, n: int, seed: int | None = 0, reward: StepReward | None = None, threads: int | None = None
    ) -> Worlds:
        """Returns N worlds of this task that are stepped together; the arguments are those of `BatchSim`."""
        from robo_reward.envs.batch import BatchSim

        return BatchSim(self, n, seed, reward, threads)

    def expert(self, state: State) -> np.ndarray:
        """Returns a scripted action (..., A) for each state.

        Raises:
            UsageError: the task has no scripted expert.
        """
        raise UsageError(f"task {self.id!r} has no scripted expert")

    def expert_of_mode(self, state: State, mode: str) -> np.ndarray:
        """Returns a scripted action (..., A) for each state, of the expert that solves the task in one way.

        Args:
            state: (..., D).
            mode: one of `modes`.

        Raises:
            UsageError: the task has one way only.
            UnknownName: no such mode.
        """
        raise UsageError(f"task {self.id!r} has no modes, so no expert of the mode {mode!r}. Use its `expert`")

    def mode_of(self, states: State | np.ndarray) -> int:
        """Returns the mode that the states (T, D) of an episode show, as an index into `modes`, or -1 for none.

        It is for measuring only: no reward and no policy sees it.
        """
        return -1

    def check(self) -> None:
        """Checks that the model's sensors are the fields of the state.

        Raises:
            WrongShape: they differ in number.
            UsageError: a sensor's name or size differs from its field.
        """
        model = self.model
        if model.nsensordata != self.spec.dim:
            raise WrongShape(f"sensordata of {self.id}", (model.nsensordata,), f"({self.spec.dim},)")
        at = 0
        for index in range(model.nsensor):
            sensor = model.sensor(index)
            field = next(f for f in self.spec if self.spec.slice(f.name).start <= at < self.spec.slice(f.name).stop)
            if sensor.name != field.name and sensor.name.rpartition("_")[0] != field.name:
                raise UsageError(f"{self.id}: sensor {index} is {sensor.name!r}, expected field {field.name!r}")
            at += int(sensor.dim[0])


RULE_OPTIONS = ("goal", "success", "failure")
"""Options of every task: the goal sentence and conditions on the state."""
tasks: Registry[Task] = Registry("task", "robo_reward.tasks")


def make_task(id: str, /, **options: Any) -> Task:
    """Builds a task by its id, such as `panda/lift`, or from a scene file, such as `my_scene.yaml` or `arm.xml`.

    Args:
        id: one of `task_names()`, the path of a scene (YAML) or model file (MJCF, URDF), or an environment of another
            package, such as `gymnasium/Hopper-v5`.
        options: passed to the task, e.g. `control="joint_delta"`, `assets="menagerie"`. Every task takes `goal` (a
            sentence), `success` and `failure` (conditions on its state, see `robo_reward.scenes.rules`).

    Raises:
        UnknownName: no such task; the message lists the closest.
        UsageError: its factory returns no complete task, a scene file that cannot be used, or a rule that is not a
            condition on the state.
    """
    from robo_reward.envs import catalogue  # registers the built-in tasks
    from robo_reward.envs.suites.catalogue import is_environment

    if is_environment(id):
        from robo_reward.scenes.environments import make_environment_task

        return make_environment_task(id, options)
    if _is_scene(id):
        from robo_reward.scenes.task import SceneTask

        known = ("file", "digest", "draft", *RULE_OPTIONS)
        for option in options:
            if option not in known:
                raise UnknownName("option of a scene file", option, RULE_OPTIONS)
        return SceneTask(**{"file": id, **options})

    catalogue.register_builtin_tasks()
    known = list_task_options(id) if id in task_names() else ()
    rules = {name: options.pop(name) for name in RULE_OPTIONS if name in options and name not in known}
    if id in catalogue.list_builtin_tasks():
        for option in options:
            if option not in known:
                raise UnknownName(f"option of {id}", option, (*known, *RULE_OPTIONS))
    try:
        task = tasks.create(id, **options)
    except (TypeError, AttributeError, ValueError, LookupError) as error:
        if not options:
            raise
        remedy = f"`robo-reward tasks name={id}` lists its options"
        raise UsageError(f"{id} cannot be made with the options {options}: {error}. {remedy}") from error
    if not isinstance(task, Task):
        raise UsageError(f"task {id!r} is created by a function that returns {type(task).__name__}, expected a Task")
    missing = [name for name in Task.__annotations__ if name != "id" and not hasattr(task, name)]
    if missing:
        raise UsageError(f"task {id!r} has no {', '.join(missing)}. Set what its class {type(task).__name__} lacks")
    if options and not task.options:
        task.options = options
    task.id = id
    if any(rules.values()):
        from robo_reward.scenes.rules import apply_rules

        apply_rules(task, **rules)
    return task


def _is_scene(id: str) -> bool:
    return id.startswith("scene/") or Path(id).suffix.lower() in SCENE_SUFFIXES


def list_task_options(id: str) -> tuple[str, ...]:
    """Returns the names of a task's options, which are the parameters of its class or factory.

    Raises:
        UnknownName: no such task.
        BrokenPlugin: a task of another package that cannot be imported.
    """
    from robo_reward.envs.suites.catalogue import is_environment, list_environment_options

    if is_environment(id):
        return list_environment_options(id)
    factory, argument = _load_factory(id)
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # a factory written in C may have no signature
        return ()
    names = [name for name, parameter in parameters.items() if parameter.kind in kinds]
    return tuple(names[1:] if argument else names)


def find_training_defaults(id: str) -> TrainingDefaults:
    """Returns the usual training of a task, as its class says; the task is not built.

    Raises:
        UnknownName: no such task.
        BrokenPlugin: a task of another package that cannot be imported.
    """
    from robo_reward.envs.suites.catalogue import describe_environment, is_environment

    if is_environment(id):
        from robo_reward.envs.suites.environment import EnvironmentTask

        return TrainingDefaults(describe_environment(id).training_steps, dict(EnvironmentTask.ppo_params))
    factory, argument = _load_factory(id)
    steps: Any = getattr(factory, "training_steps", Task.training_steps)
    if isinstance(steps, Mapping):
        steps = steps.get(argument, Task.training_steps)
    return TrainingDefaults(steps, dict(getattr(factory, "ppo_params", Task.ppo_params)))


def _load_factory(id: str) -> tuple[Any, str]:
    """Returns the class or factory of a task, and the first argument that the id stands for, if it is built in."""
    from robo_reward.envs import catalogue

    if id in catalogue.list_builtin_tasks():
        entry, argument = catalogue.list_builtin_tasks()[id]
        return catalogue.load_task_class(entry), argument
    return tasks.load(id), ""


def task_names() -> tuple[str, ...]:
    """Returns the ids of all tasks, built in and from plug-ins."""
    from robo_reward.envs import catalogue

    catalogue.register_builtin_tasks()
    return tasks.list_names()
