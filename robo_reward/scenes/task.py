"""A task from a scene file: a model that other people wrote, a goal sentence, and rules."""

from __future__ import annotations

import fnmatch
import logging
from pathlib import Path

import mujoco
import numpy as np

from robo_reward.envs.batch import BatchSim
from robo_reward.envs.model.names import make_identifier
from robo_reward.envs.state import State, StateSpec
from robo_reward.envs.task import Observable, ObservationSpec, Start, Task, Variant
from robo_reward.errors import UnknownName, UsageError
from robo_reward.scenes.actuators import ActuatorController
from robo_reward.scenes.end_effector import KINDS, ActionSettings, SiteDelta
from robo_reward.scenes.model_file import (
    ModelFileError,
    compile_model,
    compute_digest,
    find_model_files,
    is_urdf,
    load_model_spec,
)
from robo_reward.scenes.randomisation import SceneRanges
from robo_reward.scenes.rules import require_same_goal, set_rule
from robo_reward.scenes.sensors import add_state_sensors
from robo_reward.scenes.servos import AddedActuators, add_actuators
from robo_reward.scenes.settings import SceneSettings, load_scene_settings
from robo_reward.scenes.starts import SCALAR_JOINTS, StartDistribution
from robo_reward.scenes.urdf_robots.reader import UrdfError, free_base, read_urdf_joints

log = logging.getLogger(__name__)
OVERVIEW = "overview"
"""Name of the camera that is added to a model without cameras."""
_STATISTICS_WORLDS, _STATISTICS_STEPS = 32, 40
_EXTENT_POSES = 32  # looked at to place the overview camera
"""Worlds and control steps with random actions from which the observation's normalisation is computed."""
SMALLEST_SCALE = {"m": 0.1, "rad": 0.2, "m/s": 0.5, "rad/s": 1.0, "N": 5.0}
"""Smallest scale of an observed field by unit: random actions may not reach an object that a policy will move."""


class SceneTask(Task):
    """A task from a scene file or a bare model file.

    The model gets sensors for every named part (`add_state_sensors`), so that it runs in `BatchSim` at full speed.
    The observation is every field but constant goals, normalised by statistics of a short random rollout; they are
    part of the observation and are stored with each policy.

    Args:
        file: path of the scene file (YAML) or of the model (MJCF, URDF).
        goal: the goal sentence, instead of the file's.
        success: the condition of success, instead of the file's.
        failure: the condition of failure, instead of the file's.
        digest: of the files when the run began; a warning is logged if they have changed.
        draft: whether goal and success rule may be missing: to look at the fields first. Success is then never true.
        settings: instead of those of the file, which is then a model.

    Attributes:
        files: files that a process must be able to read to build the task again.

    Raises:
        UsageError: no goal or no success rule, or values that do not fit the model; names the remedy.
        ModelFileError: the model cannot be used.
        ConditionError: a rule is not a condition on the state.
    """

    def __init__(
        self,
        file: str | Path,
        *,
        goal: str = "",
        success: str = "",
        failure: str = "",
        digest: str = "",
        draft: bool = False,
        settings: SceneSettings | None = None,
    ) -> None:
        path = Path(file).expanduser().absolute()
        path = path.resolve() if path.is_symlink() else path
        settings = settings or load_scene_settings(path)
        model_path = (path.parent / settings.model).absolute()
        self.id = f"scene/{make_identifier(path.stem, 'scene')}"
        spec = _load_robot(model_path, settings)
        self.files = (path, *find_model_files(model_path))
        found = compute_digest(self.files)
        if digest and digest != found:
            log.warning("%s or a file of its model has changed since it was first used in this run", path)
        if not spec.lights:  # the default headlight leaves such a model almost black
            spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [0.4] * 3, [0.6] * 3
        if not any(camera.name for camera in spec.cameras):
            _add_overview_camera(spec, model_path)
        state = settings.state
        self.model, self.spec = add_state_sensors(spec, model_path, state.include, state.exclude, state.fields)
        self.substeps = _count_substeps(self.model, settings.rate, model_path)
        self.horizon = settings.horizon
        self._starts = StartDistribution(self.model, settings.start)
        self.controller: ActuatorController | SiteDelta = _make_controller(
            self.model, settings.action, self._starts.pose, 1.0 / self.control_dt
        )
        self._ranges = SceneRanges(self.model, settings.ranges) if settings.ranges else None
        self.cameras = _choose_cameras(self.model, settings)
        self.goal, self.success_rule = goal or settings.goal, success or settings.success
        if not draft:
            require_goal(self, path.name)
            if goal and settings.goal and not success:
                require_same_goal(path.name, goal, settings.goal)
        # Before the rules are set, so that they do not change what a policy observes.
        self.observation = ObservationSpec(self.spec, [Observable(self.spec.names[0])])
        self.observation = _measure_observation(self, settings.observation)
        self.expert_reward = set_rule(self, "success", self.success_rule).source if self.success_rule else ""
        if failure or settings.failure:
            set_rule(self, "failure", failure or settings.failure)
        self.ends_on_success = settings.ends_on_success
        self.training_steps = settings.steps
        given = {"goal": goal, "success": success, "failure": failure}
        self.options = {"file": str(path), "digest": found, **{name: text for name, text in given.items() if text}}

    def sample(self, rng: np.random.Generator, n: int) -> Start:
        start = self._starts.sample(rng, n)
        if not self.model.na:
            return start
        act = np.repeat(self._starts.act[None], n, axis=0)
        held = self.controller.start(start.qpos)
        for actuator, address in self.controller.filtered_servos:
            act[:, address] = held[:, actuator]
        return start._replace(act=act)

    def variants(self, rng: np.random.Generator, n: int) -> list[Variant]:
        """Returns the physics of n worlds: all the same, or drawn from the ranges of the scene file."""
        return [self._ranges.sample(rng) for _ in range(n)] if self._ranges else [Variant(self.model)] * n

    def redraw_variant(self, variant: Variant, rng: np.random.Generator) -> Variant:
        if self._ranges is None:
            return variant
        return self._ranges.sample(rng, None if variant.model is self.model else variant.model)

    def success(self, state: State) -> np.ndarray:
        return np.zeros(state.batch_shape, bool)  # replaced by the rule


def _load_robot(path: Path, settings: SceneSettings) -> mujoco.MjSpec:
    """Returns the editable model of a scene, with the base and the actuators that the scene file asks for."""
    spec = load_model_spec(path)
    try:
        if settings.base == "free":
            free_base(spec)
    except UrdfError as error:
        raise ModelFileError(path, error.problem, error.remedy) from error
    added = settings.actuators or (AddedActuators() if is_urdf(path) else None)
    if added is not None:
        add_actuators(spec, added, read_urdf_joints(path) if is_urdf(path) else {})
    return spec


def _make_controller(
    model: mujoco.MjModel, settings: ActionSettings, home: np.ndarray, rate_hz: float
) -> ActuatorController | SiteDelta:
    """Returns the action convention that a scene file names."""
    if settings.kind not in KINDS:
        raise UnknownName("action.kind", settings.kind, KINDS)
    return (
        SiteDelta(model, settings, home, rate_hz) if settings.kind == "ee_delta" else ActuatorController(model, rate_hz)
    )


def require_goal(task: Task, name: str) -> None:
    """Raises an error if goal or success rule are missing; it names fields, for an example of a rule."""
    if not task.goal:
        raise UsageError(
            f"{name} has no goal: give goal='Throw the ball into the basket.', or, in a scene file, a line `goal:`"
        )
    if not task.success_rule:
        example, names = make_example_rule(task.spec), [f.name for f in task.spec if f.role != "hidden"]
        raise UsageError(
            f"{name} has no success rule, so that nothing says whether the goal {task.goal!r} is reached: give "
            f"success={example!r}, or, in a scene file, a line `success:`. Fields: {', '.join(names[:60])}"
            + (" ..." if len(names) > 60 else "")
        )


def describe_rule_example(spec: StateSpec) -> str:
    """Returns an example of a success rule made of a state's fields, and the list of these."""
    more = " ..." if len(spec.names) > 60 else ""
    return f"success={make_example_rule(spec)!r}. Fields: {', '.join(spec.names[:60])}{more}"


def make_example_rule(spec: StateSpec) -> str:
    """Returns a rule on fields of a state, to show how one is written."""
    places = [f for f in spec if f.quantity == "position" and f.shape == (3,)]
    objects = [f.name for role in ("object", "hand") for f in places if f.role == role]
    goals = [f.name for f in places if f.role == "goal"]
    if objects and goals:
        return f"norm({objects[0]} - {goals[0]}) < 0.05"
    if objects or places:
        return f"{(objects or [places[0].name])[0]}[2] > 0.3"
    return f"abs({spec.names[0]}) < 0.1"


def _count_substeps(model: mujoco.MjModel, rate: float, path: Path) -> int:
    """Returns the number of physics steps in a control step.

    Raises:
        ModelFileError: the physics step is longer than the control step.
    """
    step = float(model.opt.timestep)
    if step * rate > 1.5:
        raise ModelFileError(
            path,
            f"its time step of {step:g} s is longer than a control step at {rate:g} Hz",
            f'set <option timestep="..."/> to at most {1 / rate:g} s, or a lower rate',
        )
    return max(1, round(1.0 / (rate * step)))


def _choose_cameras(model: mujoco.MjModel, settings: SceneSettings) -> tuple[str, ...]:
    names = [model.camera(i).name for i in range(model.ncam) if model.camera(i).name]
    for name in settings.cameras:
        if name not in names:
            raise UnknownName("camera", name, names)
    return tuple(settings.cameras or names)


def _add_overview_camera(spec: mujoco.MjSpec, path: Path) -> None:
    """Adds a camera that sees the whole model, wherever its limited joints move it, from the front and above."""
    model = compile_model(spec, path)
    low, high = _measure_extent(model)
    centre, radius = (low + high) / 2, max(float(np.linalg.norm(high - low)) / 2, 0.3)
    distance = radius / np.sin(np.deg2rad(model.vis.global_.fovy) / 2)
    forward = np.array([-0.8, 0.35, -0.5]) / np.linalg.norm([-0.8, 0.35, -0.5])
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, np.stack([right, np.cross(right, forward), -forward], axis=1).ravel())
    spec.worldbody.add_camera(name=OVERVIEW, pos=centre - distance * forward, quat=quat)


def _measure_extent(model: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray]:
    """Returns the corners of a box around all bodies, in the model's pose and in random ones of its limited joints."""
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    joints = np.flatnonzero(np.isin(model.jnt_type, SCALAR_JOINTS) & (model.jnt_limited > 0))
    shapes = model.body_weldid[model.geom_bodyid] > 0  # not those of fixed bodies, such as a large floor
    radius = model.geom_rbound[shapes, None]
    points = [np.zeros((0, 3))]
    for pose in range(_EXTENT_POSES):
        if pose > 0:
            data.qpos[model.jnt_qposadr[joints]] = rng.uniform(*model.jnt_range[joints].T)
        mujoco.mj_forward(model, data)
        points += [data.xpos[1:].copy(), data.geom_xpos[shapes] - radius, data.geom_xpos[shapes] + radius]
    corners = np.concatenate(points) if model.nbody > 1 else np.zeros((1, 3))
    return corners.min(axis=0), corners.max(axis=0)


def _measure_observation(task: SceneTask, patterns: list[str]) -> ObservationSpec:
    """Returns the observation: the chosen fields, normalised by statistics of random actions.

    Raises:
        UnknownName: a pattern that matches no field.
        UsageError: nothing varies.
    """
    for pattern in patterns:
        if not fnmatch.filter(task.spec.names, pattern):
            raise UnknownName("pattern of observed fields", pattern, task.spec.names)
    samples = _sample_states(task)
    parts = []
    for field in task.spec:
        if patterns and not any(fnmatch.fnmatch(field.name, pattern) for pattern in patterns):
            continue
        values = samples[:, task.spec.slice(field.name)]
        spread = float(values.std(axis=0).max())
        if spread < 1e-9 and not patterns and field.role in ("goal", "other"):
            continue
        if field.unit == "quaternion":
            parts.append(Observable(field.name))
        else:
            centre = tuple(float(v) for v in values.mean(axis=0).round(6))
            parts.append(
                Observable(field.name, round(max(2 * spread, SMALLEST_SCALE.get(field.unit, 0.1)), 6), centre=centre)
            )
    if not parts:
        raise UsageError(f"{task.id}: no field of the state changes under random actions; does an actuator reach it?")
    return ObservationSpec(task.spec, parts)


def _sample_states(task: SceneTask) -> np.ndarray:
    """Returns states (K, D) of worlds with random actions, always the same."""
    horizon, task.horizon = task.horizon, _STATISTICS_STEPS + 1
    rng, sim = np.random.default_rng(0), BatchSim(task, _STATISTICS_WORLDS, seed=0, threads=1)
    states, dim = [sim.state.array.copy()], task.action.dim
    action = np.zeros((sim.n, dim))
    for _ in range(_STATISTICS_STEPS):
        action = 0.8 * action + 0.2 * rng.uniform(-1.5, 1.5, (sim.n, dim))
        states.append(sim.step(np.clip(action, -1, 1)).transitions.state.array.copy())
    sim.close()
    task.horizon = horizon
    found = np.concatenate(states)
    return found[np.isfinite(found).all(axis=1)]
