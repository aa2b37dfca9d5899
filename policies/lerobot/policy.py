"""A LeRobot policy as one of ours, which returns chunks of actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import ActionSpec, ObservationSpec, Task
from robo_reward.errors import BadArtifact, RoboRewardError, UsageError, WrongShape
from robo_reward.files import convert_json, load_json, raise_as_bad_artifact, write_json
from robo_reward.policies.lerobot.checkpoint import Checkpoint
from robo_reward.policies.lerobot.child import ENVIRONMENT, PICTURES, STATE
from robo_reward.policies.lerobot.mapping import InputMapping, require_same_task
from robo_reward.policies.lerobot.process import START_TIMEOUT, LeRobotFailed, LeRobotProcess, find_python
from robo_reward.policies.policy import FORMAT, MAX_DOCUMENT, MetaForm, require_finite

LARGEST_ACTION = 1.01  # of the training data; a little above 1 for rounding
REMEDY = "Import the LeRobot policy again"
Observations = np.ndarray | Mapping[str, np.ndarray]


@dataclass(frozen=True)
class LeRobotSettings:
    """The place of a LeRobot policy, and how it runs.

    Args:
        checkpoint: the folder that `save_pretrained` wrote.
        python: the interpreter that has lerobot.
        device: `cpu`, `cuda`, ...; empty: the one of the checkpoint if it is here.
        sampling_steps: DDIM steps of a diffusion policy; 0: the sampler of the checkpoint.
    """

    checkpoint: str
    python: str
    device: str = ""
    sampling_steps: int = 0


class LoadedPolicyForm(msgspec.Struct):
    """The answer of the process that loaded a policy."""

    type: str
    version: str
    history: int
    chunk: int
    execute: int
    action: int
    horizon: int
    limits: list[list[float]]


@dataclass(eq=False)
class LeRobotPolicy:
    """A policy that LeRobot runs in a process of its own, with the chunk contract of our policies.

    Its actions before LeRobot's normalisation are ours, in [-1, 1], as `robo-reward export to=lerobot` writes them;
    the inputs are state fields in their units and pictures.

    Args:
        settings: where it is and how it runs.
        checkpoint: its description.
        mapping: what its inputs are in the task.
        observation: the state fields that it sees, unscaled: those of `observation.state`, then those of
            `observation.environment_state`.
        action: the action convention.
        meta: its origin: task, options, algorithm.
        process: that runs it.
    """

    settings: LeRobotSettings
    checkpoint: Checkpoint
    mapping: InputMapping
    observation: ObservationSpec
    action: ActionSpec
    meta: dict[str, Any]
    process: LeRobotProcess = field(repr=False)
    _rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0), repr=False)

    @property
    def frames(self) -> FrameSpec | None:
        """The cameras that it looks through and the size of their pictures, or None."""
        return self.mapping.make_frames(self.checkpoint)

    @property
    def history(self) -> int:
        """To, number of observations, newest last."""
        return self.checkpoint.history

    @property
    def chunk(self) -> int:
        """H, number of actions that `act` returns."""
        return self.checkpoint.chunk

    @property
    def execute(self) -> int:
        """Number of actions that are executed before the next query."""
        return self.checkpoint.execute

    @property
    def noise_shape(self) -> tuple[int, int] | None:
        """(Tp, A) of the initial noise of a diffusion policy; None of ACT, which draws none."""
        return (self.checkpoint.horizon, self.action.dim) if self.checkpoint.kind == "diffusion" else None

    def reset(self, seed: int = 0) -> None:
        """Seeds what the sampler draws; the policy remembers nothing of an episode."""
        self._rng = np.random.default_rng(seed)

    def act(self, observations: Observations, noise: np.ndarray | None = None) -> np.ndarray:
        """Returns chunks (B, H, A) in [-1, 1], float32; row 0 is for the step of the newest observation.

        Args:
            observations: (B, O), which is taken for the whole history, or (B, To, O), oldest first; or a mapping with
                `state` and a camera's pictures (B, To, h, w, 3) uint8 under its name.
            noise: (B, Tp, A) that a diffusion policy starts from; None: drawn from the policy's own generator.

        Raises:
            WrongShape: observations or noise of another size.
            UsageError: an observation that is not finite, or pictures that are missing.
            LeRobotFailed: the process failed, ended, or returned something else than finite actions.
        """
        arrays = self._make_inputs(observations)
        count = len(next(iter(arrays.values())))
        if (shape := self.noise_shape) is not None:
            given = self._rng.standard_normal((count, *shape), np.float32) if noise is None else np.asarray(noise)
            if given.shape != (count, *shape):
                raise WrongShape("noise", given.shape, f"(B, Tp, A) = {(count, *shape)}")
            arrays["noise"] = given.astype(np.float32)
        seed = int(self._rng.integers(2**31))
        _, found = self.process.ask({"kind": "act", "seed": seed}, arrays)
        actions = found.get("actions", np.zeros(0))
        expected = (count, self.chunk, self.action.dim)
        if actions.shape != expected or not np.isfinite(actions).all():
            problem = f"it returned actions of shape {actions.shape}, expected finite numbers of shape {expected}"
            raise LeRobotFailed(self.process.python, problem)
        return np.clip(actions, -1.0, 1.0).astype(np.float32)

    def require_compatible(self, task: Task) -> LeRobotPolicy:
        """Returns the policy itself if the task has the actions, state fields and cameras that it was imported for.

        Raises:
            PolicyMismatch: naming what differs.
        """
        require_same_task(self.action, self.observation, self.mapping, task)
        return self

    def with_meta(self, **more: Any) -> LeRobotPolicy:
        """Returns the same policy, in the same process, with more metadata."""
        return replace(self, meta={**self.meta, **more})

    def save(self, folder: Path) -> Path:
        """Writes `policy.json`, which names the checkpoint and the Python; the weights stay where they are."""
        folder.mkdir(parents=True, exist_ok=True)
        value = {
            "format": FORMAT,
            "kind": "lerobot",
            "settings": asdict(self.settings),
            "mapping": self.mapping.to_json(),
            "observation": self.observation.to_json(),
            "action": self.action.to_json(),
            "meta": self.meta,
        }
        write_json(folder / "policy.json", value)
        return folder

    def close(self) -> None:
        """Ends the process."""
        self.process.close()

    def _make_inputs(self, observations: Observations) -> dict[str, np.ndarray]:
        """Returns the arrays (B, To, ...) that the process is given, under LeRobot's names.

        Raises:
            WrongShape: observations of another size.
            UsageError: a value that is not finite, or an input that is missing.
        """
        cameras = self.mapping.cameras
        given = observations if isinstance(observations, Mapping) else {"state": observations}
        wanted = [*(["state"] if self.observation.dim else []), *cameras.values()]
        if missing := [name for name in wanted if name not in given]:
            raise UsageError(f"the policy also needs {', '.join(missing)}, given {', '.join(given)}")
        arrays: dict[str, np.ndarray] = {}
        if self.observation.dim:
            state = self._repeat_history(np.asarray(given["state"], np.float32), (self.observation.dim,), "observation")
            require_finite(state)
            parts = {STATE: state[..., : self.checkpoint.state], ENVIRONMENT: state[..., self.checkpoint.state :]}
            arrays |= {name: part for name, part in parts.items() if part.shape[-1]}
        for name, camera in cameras.items():
            shape = (*self.checkpoint.pictures[name], 3)
            pictures = self._repeat_history(np.asarray(given[camera]), shape, f"pictures of {camera!r}")
            if pictures.dtype != np.uint8:
                raise UsageError(f"pictures of {camera!r} are {pictures.dtype}, expected uint8")
            arrays[PICTURES + name] = pictures
        if len({len(array) for array in arrays.values()}) != 1:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
            raise UsageError(f"inputs of different lengths: {shapes}")
        return arrays

    def _repeat_history(self, values: np.ndarray, shape: tuple[int, ...], what: str) -> np.ndarray:
        """Returns values (B, To, *shape) of values of this shape or (B, *shape)."""
        if values.shape[1:] == shape:
            values = np.repeat(values[:, None], self.history, axis=1)
        if values.shape[1:] != (self.history, *shape):
            raise WrongShape(what, values.shape, f"(B, *{shape}) or (B, {self.history}, *{shape})")
        return values


def open_lerobot_policy(
    settings: LeRobotSettings,
    task: Task,
    state: tuple[str, ...] = (),
    environment: tuple[str, ...] = (),
    cameras: Mapping[str, str] | None = None,
    rate_hz: float = 0.0,
) -> LeRobotPolicy:
    """Returns a LeRobot checkpoint as a policy for a task; its process is running.

    Args:
        settings: where it is and how it runs.
        task: the task whose state, cameras and actions it was trained on.
        state: state fields of `observation.state`; empty: those that its data set names, or all if their size fits.
        environment: state fields of `observation.environment_state`.
        cameras: NAME of `observation.images.NAME` -> camera of the task; None: the cameras of these names.
        rate_hz: how often it acts [Hz]; 0: as its data set says, or else the task's.

    Raises:
        UsageError: no checkpoint or no interpreter there, or inputs, actions or a rate that do not fit the task.
        BadArtifact: a checkpoint that cannot be used.
        LeRobotFailed: LeRobot cannot load it.
    """
    checkpoint = Checkpoint.read(Path(settings.checkpoint))
    mapping = InputMapping.fit(checkpoint, task, state, environment, cameras, rate_hz)
    meta = {
        "task": task.id,
        "options": dict(task.options),
        "algorithm": f"lerobot {checkpoint.kind}",
        "checkpoint": settings.checkpoint,
    }
    return _start_policy(settings, checkpoint, mapping, mapping.make_observation(task.spec), task.action, meta)


class LeRobotForm(msgspec.Struct):
    """The content of `policy.json`."""

    settings: dict[str, Any]
    mapping: dict[str, Any]
    observation: dict[str, Any]
    action: dict[str, Any]
    meta: dict[str, Any]


def load_lerobot(folder: Path) -> LeRobotPolicy:
    """Reads the folder of a `LeRobotPolicy` and starts its process.

    Raises:
        UsageError: no policy there, or no longer the checkpoint or the interpreter that it names.
        BadArtifact: a damaged file, or a checkpoint that has changed.
        LeRobotFailed: LeRobot cannot load it.
    """
    path = folder / "policy.json"
    form = load_json(path, LeRobotForm, MAX_DOCUMENT, REMEDY)
    if form is None:
        raise UsageError(f"no policy at {folder} (expected a folder with policy.json)")
    convert_json(form.meta, MetaForm, path, REMEDY)
    settings = convert_json(form.settings, LeRobotSettings, path, REMEDY)
    with raise_as_bad_artifact(path, REMEDY):
        observation, action = ObservationSpec.from_json(form.observation), ActionSpec.from_json(form.action)
        mapping = InputMapping.from_json(form.mapping)
    checkpoint = Checkpoint.read(Path(settings.checkpoint))
    sizes = checkpoint.state + checkpoint.environment, checkpoint.action, sorted(checkpoint.pictures)
    if sizes != (observation.dim, action.dim, sorted(mapping.cameras)):
        raise BadArtifact(path, f"the checkpoint at {checkpoint.folder} has other inputs or actions now", REMEDY)
    return _start_policy(settings, checkpoint, mapping, observation, action, form.meta)


def _start_policy(
    settings: LeRobotSettings,
    checkpoint: Checkpoint,
    mapping: InputMapping,
    observation: ObservationSpec,
    action: ActionSpec,
    meta: dict[str, Any],
) -> LeRobotPolicy:
    """Returns the policy after LeRobot has loaded it in a new process."""
    if settings.sampling_steps and checkpoint.kind != "diffusion":
        raise UsageError(f"sampling_steps={settings.sampling_steps}: an {checkpoint.kind} policy does not sample")
    process = LeRobotProcess(find_python(settings.python))
    try:
        head, _ = process.ask(
            {
                "kind": "load",
                "folder": str(checkpoint.folder.absolute()),
                "device": settings.device,
                "sampling_steps": settings.sampling_steps,
            },
            timeout=START_TIMEOUT,
        )
        said = convert_json(head, LoadedPolicyForm, str(process.python), "Give another python=")
        _check_ready(said, checkpoint)
    except RoboRewardError:
        process.close()
        raise
    return LeRobotPolicy(settings, checkpoint, mapping, observation, action, {**meta, "lerobot": said.version}, process)


def _check_ready(said: LoadedPolicyForm, checkpoint: Checkpoint) -> None:
    """Checks that LeRobot loaded what the checkpoint describes, with actions in [-1, 1].

    Raises:
        BadArtifact: something else.
    """
    names = ("history", "chunk", "execute", "action", "horizon")
    loaded = (said.type, *(getattr(said, name) for name in names))
    described = (checkpoint.kind, *(getattr(checkpoint, name) for name in names))
    if loaded != described:
        raise BadArtifact(checkpoint.folder, f"lerobot {said.version} loads it as {loaded}, expected {described}")
    largest = max((abs(value) for row in said.limits for value in row), default=0.0)
    if not largest <= LARGEST_ACTION:
        raise BadArtifact(
            checkpoint.folder,
            f"its training actions reach {largest:g}, but actions here lie in [-1, 1], as `robo-reward export "
            "to=lerobot` writes them",
            "Train it on actions divided by the task's scale (`robo-reward task TASK` shows it)",
        )
