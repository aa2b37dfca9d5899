"""A trained policy as a folder of numbers: observation in, action out, no training code needed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import msgspec
import numpy as np
from safetensors.numpy import save

from robo_reward.envs.task import ActionSpec, ObservationSpec, Task
from robo_reward.errors import BadArtifact, UsageError, WrongShape
from robo_reward.files import (
    convert_json,
    find_folder,
    load_json,
    load_tensors,
    raise_as_bad_artifact,
    write_bytes,
    write_json,
)

if TYPE_CHECKING:
    from robo_reward.envs.rendering.frames import FrameSpec

FORMAT = 1
LOADERS = {
    "mlp": "robo_reward.policies.policy:load_mlp",
    "diffusion": "robo_reward.policies.diffusion.policy:load_diffusion",
    "cnn": "robo_reward.policies.vision.picture_policy:load_picture_policy",
    "lerobot": "robo_reward.policies.lerobot.policy:load_lerobot",
    "dsrl": "robo_reward.policies.dsrl.policy:load_dsrl",
    "best_of_n": "robo_reward.policies.alignment.best_of_n:load_best_of_n",
}
"""Kind of a policy in `policy.json` -> `module:function` that reads its folder, imported when it is needed."""
MAX_DOCUMENT = 8 << 20  # [bytes] of the JSON file
MAX_WEIGHTS = 256 << 20  # [bytes] of the weights
LARGEST = float(np.finfo(np.float32).max)
REMEDY = "Train or export the policy again, or restore the folder"
ACTIVATIONS = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0))),
}


class Policy(Protocol):
    """Maps observations to actions."""

    def act(self, observation: Any, /) -> np.ndarray:
        """Returns actions (N, A) in [-1, 1] for observations (N, O); chunks (N, H, A) where it decides on several."""
        ...


class StoredPolicy(Protocol):
    """A policy of any kind, which maps observations to actions, or to chunks of actions.

    Attributes:
        observation: the state part of the observation; its size may be 0 for a policy that only looks.
        action: the action convention.
        meta: its origin: task, algorithm, steps, seed.
        frames: the cameras that it looks through and the size of their pictures; None: it sees the state only.
        history: To, number of observations that it is given, newest last.
        chunk: H, number of actions that `act` returns for each observation; the first is for the newest observation.
        execute: number of actions that are executed before the next query, 1 to H.
    """

    @property
    def observation(self) -> ObservationSpec: ...

    @property
    def action(self) -> ActionSpec: ...

    @property
    def meta(self) -> dict[str, Any]: ...

    @property
    def frames(self) -> FrameSpec | None: ...

    @property
    def history(self) -> int: ...

    @property
    def chunk(self) -> int: ...

    @property
    def execute(self) -> int: ...

    def act(self, observation: Any, /) -> np.ndarray:
        """Returns actions in [-1, 1]: (N, A) of an `MLPPolicy` for (N, O), else chunks (N, H, A)."""
        ...

    def reset(self, seed: int = 0) -> None:
        """Forgets what the policy remembers of an episode and re-seeds its own random generator."""
        ...

    def require_compatible(self, task: Task) -> Any:
        """Returns the policy itself if it fits the task; raises PolicyMismatch otherwise."""
        ...

    def save(self, folder: Path) -> Path:
        """Writes `policy.json` and `policy.safetensors`."""
        ...

    def with_meta(self, **more: Any) -> Any:
        """Returns the same policy with more metadata."""
        ...


class PolicyMismatch(UsageError):
    """The policy was trained for another observation or action convention."""


@dataclass(frozen=True)
class MLPPolicy:
    """A multilayer perceptron with a deterministic action.

    Args:
        weights: (in, out) per layer, float32.
        biases: (out,) per layer, float32.
        activation: `tanh`, `relu` or `elu`, between layers.
        squash: whether a tanh follows the last layer; else the action is clipped to [-1, 1].
        observation: the observation convention.
        action: the action convention.
        meta: its origin: task, algorithm, steps, seed, reward fingerprint.
    """

    frames: ClassVar[FrameSpec | None] = None
    history: ClassVar[int] = 1
    chunk: ClassVar[int] = 1
    execute: ClassVar[int] = 1

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    activation: str
    squash: bool
    observation: ObservationSpec
    action: ActionSpec
    meta: dict[str, Any]

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Returns actions (N, A) in [-1, 1], finite, for observations (N, O), or one action (A,) for one (O,).

        A sum that overflows counts as the largest float32, one that is undefined (∞ - ∞) as 0.

        Raises:
            WrongShape: observations of another size.
            UsageError: an observation that is not finite.
        """
        observation = np.asarray(observation)
        if observation.shape == (self.observation.dim,):
            return self.act(observation[None])[0]
        if observation.ndim != 2 or observation.shape[1] != self.observation.dim:
            expected = f"({self.observation.dim},) or (N, {self.observation.dim})"
            raise WrongShape("observation", observation.shape, expected)
        require_finite(observation)
        return compute_actions(observation, self.weights, self.biases, self.activation, self.squash)

    def require_compatible(self, task: Task) -> MLPPolicy:
        """Returns the policy itself if the task has the observation and action convention that it was trained for.

        Raises:
            PolicyMismatch: naming what differs.
        """
        require_same_conventions(self, task)
        return self

    def reset(self, seed: int = 0) -> None:
        """Does nothing: a perceptron remembers nothing and draws nothing."""

    def save(self, folder: Path) -> Path:
        """Writes `policy.json` and `policy.safetensors`."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"weight{i}": np.ascontiguousarray(w) for i, w in enumerate(self.weights)}
        tensors |= {f"bias{i}": np.ascontiguousarray(b) for i, b in enumerate(self.biases)}
        write_bytes(folder / "policy.safetensors", save(tensors))
        value = {
            "format": FORMAT,
            "kind": "mlp",
            "activation": self.activation,
            "squash": self.squash,
            "observation": self.observation.to_json(),
            "action": self.action.to_json(),
            "meta": self.meta,
        }
        write_json(folder / "policy.json", value)
        return folder

    def with_meta(self, **more: Any) -> MLPPolicy:
        """Returns the same policy with more metadata."""
        return replace(self, meta={**self.meta, **more})


class PolicyForm(msgspec.Struct):
    """The content of `policy.json`."""

    activation: Literal["tanh", "relu", "elu"]
    squash: bool
    observation: dict[str, Any]
    action: dict[str, Any]
    meta: dict[str, Any]


class MetaForm(msgspec.Struct):
    """The part of a policy's `meta` that is used when it is loaded."""

    task: str = ""
    options: dict[str, Any] = {}


def require_finite(observation: np.ndarray) -> None:
    """Raises UsageError for an observation (..., O) with a value that is not finite; the message names its column."""
    finite = np.isfinite(observation).all(axis=tuple(range(observation.ndim - 1)))  # (O,), O may be 0
    if not finite.all():
        column = int(np.argmin(finite))
        raise UsageError(f"observation is not finite in column {column}; check the sensor that measured it")


def require_same_conventions(policy: Any, task: Task) -> None:
    """Checks that a task has the observation and action convention that a policy was trained for.

    Raises:
        PolicyMismatch: naming what differs.
    """
    if policy.action != task.action:
        raise PolicyMismatch(f"the policy commands {policy.action}, but {task.id} expects {task.action}")
    if policy.observation.to_json() != task.observation.to_json():
        raise PolicyMismatch(
            f"the policy, trained on {policy.meta.get('task')!r}, sees {policy.observation.dim} numbers of "
            f"{policy.observation.state!r}; {task.id} shows {task.observation.dim} of {task.spec!r}"
        )


def load_policy(folder: str | Path) -> Any:
    """Reads a policy of any kind, a `StoredPolicy`; nothing in its folder is executed or unpickled.

    Args:
        folder: a policy folder, or a run folder that has one.

    Raises:
        UsageError: no policy there.
        BadArtifact: another format or kind, a damaged file, or weights that do not fit or are not finite.
    """
    folder = find_policy_folder(Path(folder))
    value = load_policy_document(folder)
    kind = value.get("kind")
    if value.get("format") != FORMAT or not isinstance(kind, str) or kind not in LOADERS:
        found = f"it is of kind {kind!r:.40} and format {value.get('format')!r:.40}, expected kind {', '.join(LOADERS)}"
        found += f" and format {FORMAT}"
        remedy = "Use a version of robo-reward that knows this format, or train again"
        raise BadArtifact(folder / "policy.json", found, remedy)
    module, _, function = LOADERS[kind].partition(":")
    return getattr(importlib.import_module(module), function)(folder)


def load_policy_document(folder: Path) -> dict[str, Any]:
    """Returns the content of `policy.json`.

    Raises:
        UsageError: no policy there.
        BadArtifact: a file that is no JSON object.
    """
    value = load_json(folder / "policy.json", dict[str, Any], MAX_DOCUMENT, REMEDY)
    if value is None:
        is_lerobot = (folder / "config.json").is_file() and (folder / "model.safetensors").is_file()
        remedy = ". A LeRobot policy is made one by `robo-reward import-policy`" if is_lerobot else ""
        raise UsageError(f"no policy at {folder} (expected a folder with policy.json and policy.safetensors){remedy}")
    return value


def load_mlp(folder: Path) -> MLPPolicy:
    """Reads the folder of an `MLPPolicy`.

    Raises:
        UsageError: no policy there.
        BadArtifact: a damaged file, or weights that do not fit the observation and the action, or are not finite.
    """
    path = folder / "policy.json"
    form = convert_json(load_policy_document(folder), PolicyForm, path, REMEDY)
    convert_json(form.meta, MetaForm, path, REMEDY)
    with raise_as_bad_artifact(path, REMEDY):
        observation, action = ObservationSpec.from_json(form.observation), ActionSpec.from_json(form.action)
    path = folder / "policy.safetensors"
    tensors = load_tensors(path, MAX_WEIGHTS, REMEDY)
    with raise_as_bad_artifact(path, REMEDY):
        weights, biases = parse_layers(tensors, observation.dim, action.dim)
    return MLPPolicy(weights, biases, form.activation, form.squash, observation, action, form.meta)


def find_policy_folder(path: Path) -> Path:
    """Returns a policy folder: the path itself, or the one inside a run folder."""
    return find_folder(path, "policy", "policy.json")


def compute_actions(
    inputs: np.ndarray,
    weights: tuple[np.ndarray, ...],
    biases: tuple[np.ndarray, ...],
    activation: str,
    squash: bool,
) -> np.ndarray:
    """Returns the output (N, A) in [-1, 1] of a perceptron for inputs (N, I), finite; its parts are as in `MLPPolicy`.

    A sum that overflows counts as the largest float32, one that is undefined (∞ - ∞) as 0.
    """
    x = np.clip(inputs, -LARGEST, LARGEST).astype(np.float32)
    between = ACTIVATIONS[activation]
    # Overflow is possible; every layer replaces values that are not finite.
    with np.errstate(over="ignore", invalid="ignore"):
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            x = between(_replace_nonfinite(x @ weight + bias))
        x = _replace_nonfinite(x @ weights[-1] + biases[-1])
    return np.tanh(x) if squash else np.clip(x, -1.0, 1.0)


def parse_layers(
    tensors: Mapping[str, np.ndarray], inputs: int, outputs: int
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Returns weights and biases of all layers, from the first to the last.

    Raises:
        ValueError: they are not the layers of a perceptron from `inputs` to `outputs` numbers.
    """
    depth = max(1, len(tensors) // 2)
    names = {f"{kind}{i}" for kind in ("weight", "bias") for i in range(depth)}
    if tensors.keys() != names:
        raise ValueError(
            f"it holds {', '.join(sorted(tensors)[:8]) or 'nothing'}, expected {', '.join(sorted(names)[:8])}"
        )
    for name, tensor in tensors.items():
        if tensor.dtype != np.float32 or tensor.ndim != (2 if name.startswith("weight") else 1):
            raise ValueError(f"{name} is {tensor.dtype} of shape {tensor.shape}, expected float32 (in, out) or (out,)")
        if not np.isfinite(tensor).all():
            raise ValueError(f"{name} has values that are not finite: the training diverged or the file is damaged")
    weights, biases = ([tensors[f"{kind}{i}"] for i in range(depth)] for kind in ("weight", "bias"))
    widths = [inputs, *(len(b) for b in biases)]
    for i, (weight, shape) in enumerate(zip(weights, pairwise(widths), strict=True)):
        if weight.shape != shape:
            raise ValueError(f"weight{i} has shape {weight.shape}, expected {shape}")
    if widths[-1] != outputs:
        raise ValueError(f"the last layer gives {widths[-1]} numbers, the action has {outputs}")
    return tuple(weights), tuple(biases)


def _replace_nonfinite(x: np.ndarray) -> np.ndarray:
    return np.nan_to_num(x, copy=False, nan=0.0, posinf=LARGEST, neginf=-LARGEST)
