"""A trained policy as a folder of numbers: observation in, action out, no training code needed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors.numpy import load_file, save_file

from robo_reward.envs.task import ActionSpec, ObservationSpec, Task
from robo_reward.errors import RoboRewardError, UsageError, WrongShape

FORMAT = 1
ACTIVATIONS = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0))),
}


class Policy(Protocol):
    """Anything that acts."""

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Actions (N, A) in [-1, 1] for observations (N, O)."""
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
        observation: what it sees.
        action: what it commands.
        meta: where it comes from: task, algorithm, steps, seed, reward fingerprint.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    activation: str
    squash: bool
    observation: ObservationSpec
    action: ActionSpec
    meta: dict[str, Any]

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Actions (N, A) in [-1, 1] for observations (N, O), or one action (A,) for one observation (O,).

        Raises:
            WrongShape: observations of another size.
        """
        observation = np.asarray(observation)
        if observation.shape == (self.observation.dim,):
            return self.act(observation[None])[0]
        if observation.ndim != 2 or observation.shape[1] != self.observation.dim:
            raise WrongShape(
                "observation", observation.shape, f"({self.observation.dim},) or (N, {self.observation.dim})"
            )
        x = observation.astype(np.float32)
        between = ACTIVATIONS[self.activation]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = between(x @ weight + bias)
        x = x @ self.weights[-1] + self.biases[-1]
        return np.tanh(x) if self.squash else np.clip(x, -1.0, 1.0)

    def require(self, task: Task) -> MLPPolicy:
        """Refuses a task whose observation or action convention differs from the policy's.

        Raises:
            PolicyMismatch: naming what differs.
        """
        if self.action != task.action:
            raise PolicyMismatch(f"the policy commands {self.action}, but {task.id} expects {task.action}")
        if self.observation.to_json() != task.observation.to_json():
            raise PolicyMismatch(
                f"the policy, trained on {self.meta.get('task')!r}, sees {self.observation.dim} numbers of "
                f"{self.observation.state!r}; {task.id} shows {task.observation.dim} of {task.spec!r}"
            )
        return self

    def save(self, folder: Path) -> Path:
        """Writes `policy.json` and `policy.safetensors`."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"weight{i}": np.ascontiguousarray(w) for i, w in enumerate(self.weights)}
        tensors |= {f"bias{i}": np.ascontiguousarray(b) for i, b in enumerate(self.biases)}
        partial = folder / f"policy.safetensors.{os.getpid()}.part"
        save_file(tensors, partial)
        partial.replace(folder / "policy.safetensors")
        value = {
            "format": FORMAT,
            "kind": "mlp",
            "activation": self.activation,
            "squash": self.squash,
            "observation": self.observation.to_json(),
            "action": self.action.to_json(),
            "meta": self.meta,
        }
        partial = folder / f"policy.json.{os.getpid()}.part"
        partial.write_text(json.dumps(value, indent=1))
        partial.replace(folder / "policy.json")
        return folder

    def with_meta(self, **more: Any) -> MLPPolicy:
        """The same policy with more said about it."""
        return replace(self, meta={**self.meta, **more})


def load_policy(folder: str | Path) -> MLPPolicy:
    """Reads a policy folder; nothing in it is executed or unpickled.

    Raises:
        UsageError: no policy there.
        RoboRewardError: a format this version does not know.
    """
    folder = Path(folder)
    path = folder / "policy.json"
    if not path.is_file():
        raise UsageError(f"no policy at {folder} (expected a folder with policy.json and policy.safetensors)")
    value = json.loads(path.read_text())
    if value.get("format") != FORMAT or value.get("kind") != "mlp":
        raise RoboRewardError(f"{path} has format {value.get('format')} {value.get('kind')!r}, expected {FORMAT} 'mlp'")
    tensors = load_file(folder / "policy.safetensors")
    depth = len(tensors) // 2
    return MLPPolicy(
        tuple(tensors[f"weight{i}"] for i in range(depth)),
        tuple(tensors[f"bias{i}"] for i in range(depth)),
        value["activation"],
        value["squash"],
        ObservationSpec.from_json(value["observation"]),
        ActionSpec.from_json(value["action"]),
        value["meta"],
    )
