"""A policy that looks, as a folder of numbers: pictures and chosen state fields in, action out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec
import numpy as np
import torch
from safetensors.numpy import save

from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import ActionSpec, ObservationSpec, Task
from robo_reward.errors import UsageError, WrongShape
from robo_reward.files import convert_json, load_tensors, raise_as_bad_artifact, write_bytes, write_json
from robo_reward.policies.policy import (
    FORMAT,
    MAX_WEIGHTS,
    REMEDY,
    MetaForm,
    compute_actions,
    load_policy_document,
    parse_layers,
    require_finite,
)
from robo_reward.policies.vision.observation import require_fitting_task
from robo_reward.policies.vision.picture_encoder import PictureEncoder, create_unloaded
from robo_reward.policies.vision.settings import VisionSettings
from robo_reward.vision.encoder import Encoder, build_encoder

EYES, HEAD = "eyes/", "head/"
"""Prefixes of the tensors of the encoder and of the perceptron behind it."""


class Eyes:
    """A network that was trained with the policy, or a frozen encoder; one of the two.

    Args:
        frames: cameras and size of the pictures.
        network: in evaluation mode; its history is 1.
        encoder: applied to each camera on its own.

    Attributes:
        dim: F, numbers that it makes of the pictures.
    """

    def __init__(
        self, frames: FrameSpec, network: PictureEncoder | None = None, encoder: Encoder | None = None
    ) -> None:
        self.frames, self.network, self.encoder = frames, network, encoder
        if network is not None:
            self.dim = network.eval().requires_grad_(False).dim
        elif encoder is not None:
            self.dim = encoder.dim * len(frames.cameras)

    def encode(self, pictures: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns features (B, F) float32 of pictures (B, 1, h, w, 3) uint8 of each camera."""
        if self.network is not None:
            given = {camera: torch.from_numpy(np.ascontiguousarray(pictures[camera])) for camera in self.frames.cameras}
            with torch.inference_mode():
                return self.network(given).numpy()
        assert self.encoder is not None
        return np.concatenate([self.encoder.encode(pictures[c][:, 0]) for c in self.frames.cameras], axis=1)

    def describe(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Returns JSON and tensors from which `load_eyes` rebuilds it."""
        if self.network is not None:
            tensors = {name: tensor.numpy() for name, tensor in self.network.state_dict().items()}
            return {"kind": "network", "settings": self.network.settings.to_json()}, tensors
        assert self.encoder is not None
        learnt = self.encoder.weights()
        tensors = {f"{digest}/{name}": array for digest, part in learnt.items() for name, array in part.items()}
        return {"kind": "frozen", "spec": self.encoder.spec()}, tensors


@dataclass(frozen=True, eq=False)
class PicturePolicy:
    """A perceptron on features of pictures and chosen state fields, with a deterministic action.

    Args:
        weights: (in, out) per layer, float32; the features come before the state.
        biases: (out,) per layer, float32.
        activation: between layers.
        squash: whether a tanh follows the last layer; else the action is clipped to [-1, 1].
        observation: the state part; its size is 0 for a policy that only looks.
        action: the action convention.
        meta: its origin: task, algorithm, steps, seed.
        eyes: what makes features of pictures; None: the policy sees chosen state fields alone.
    """

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
    eyes: Eyes | None

    @property
    def frames(self) -> FrameSpec | None:
        """The cameras that it looks through and the size of their pictures."""
        return self.eyes.frames if self.eyes else None

    def act(self, observations: np.ndarray | Mapping[str, np.ndarray], noise: Any = None) -> np.ndarray:
        """Returns actions (B, 1, A) in [-1, 1], finite.

        Args:
            observations: the state (B, O) or (B, 1, O), or a mapping of `state` and each camera's pictures
                (B, 1, h, w, 3) uint8.
            noise: not used.

        Raises:
            UsageError: pictures of a camera are missing, or the state is not finite.
            WrongShape: a state or pictures of another size.
        """
        given = observations if isinstance(observations, Mapping) else {"state": observations}
        pictures = self._check_pictures(given)
        count = len(next(iter(pictures.values()))) if pictures else None
        inputs = [self._check_state(given.get("state"), count)]
        if self.eyes is not None:
            inputs.insert(0, self.eyes.encode(pictures))
        flat = np.concatenate(inputs, axis=1)
        return compute_actions(flat, self.weights, self.biases, self.activation, self.squash)[:, None]

    def reset(self, seed: int = 0) -> None:
        """Does nothing: the policy remembers nothing and draws nothing."""

    def require_compatible(self, task: Task) -> PicturePolicy:
        """Returns the policy itself if the task has its fields, cameras and action convention.

        Raises:
            PolicyMismatch: naming what differs.
        """
        require_fitting_task(self, task)
        return self

    def save(self, folder: Path) -> Path:
        """Writes `policy.json` and `policy.safetensors`."""
        folder.mkdir(parents=True, exist_ok=True)
        described, learnt = self.eyes.describe() if self.eyes else (None, {})
        tensors = {f"{HEAD}weight{i}": np.ascontiguousarray(w) for i, w in enumerate(self.weights)}
        tensors |= {f"{HEAD}bias{i}": np.ascontiguousarray(b) for i, b in enumerate(self.biases)}
        tensors |= {f"{EYES}{name}": np.ascontiguousarray(array) for name, array in learnt.items()}
        write_bytes(folder / "policy.safetensors", save(tensors))
        value = {
            "format": FORMAT,
            "kind": "cnn",
            "activation": self.activation,
            "squash": self.squash,
            "observation": self.observation.to_json(),
            "action": self.action.to_json(),
            "frames": self.frames.to_json() if self.frames else None,
            "eyes": described,
            "meta": self.meta,
        }
        write_json(folder / "policy.json", value)
        return folder

    def with_meta(self, **more: Any) -> PicturePolicy:
        """Returns the same policy with more metadata."""
        return replace(self, meta={**self.meta, **more})

    def _check_pictures(self, given: Mapping[str, Any]) -> dict[str, np.ndarray]:
        if self.frames is None:
            return {}
        shape, found = (1, self.frames.size, self.frames.size, 3), {}
        for camera in self.frames.cameras:
            if camera not in given:
                cameras = ", ".join(self.frames.cameras)
                raise UsageError(f"the policy looks through {cameras}, but no pictures of {camera!r} are given")
            part = np.asarray(given[camera])
            if part.dtype != np.uint8 or part.shape[1:] != shape:
                expected = f"(B, {', '.join(map(str, shape))}) uint8"
                raise WrongShape(f"pictures of {camera!r} ({part.dtype})", part.shape, expected)
            found[camera] = part
        return found

    def _check_state(self, given: Any, count: int | None) -> np.ndarray:
        dim = self.observation.dim
        state = np.zeros((count or 0, 0)) if given is None and dim == 0 else np.asarray(given, float)
        state = state[:, 0] if state.ndim == 3 and state.shape[1] == 1 else state
        if state.ndim != 2 or state.shape[1] != dim or len(state) != (count or len(state)):
            raise WrongShape("observation", state.shape, f"(B, {dim}) or (B, 1, {dim}), as many as pictures")
        require_finite(state)
        return state


class PicturePolicyForm(msgspec.Struct):
    """The content of `policy.json`."""

    activation: Literal["tanh", "relu", "elu"]
    squash: bool
    observation: dict[str, Any]
    action: dict[str, Any]
    frames: dict[str, Any] | None
    eyes: dict[str, Any] | None
    meta: dict[str, Any]


def load_picture_policy(folder: Path) -> PicturePolicy:
    """Reads a policy of the kind `cnn`; nothing in its folder is executed or unpickled.

    Raises:
        BadArtifact: a damaged file, or weights that do not fit the observation and the action, or are not finite.
    """
    path = folder / "policy.json"
    form = convert_json(load_policy_document(folder), PicturePolicyForm, path, REMEDY)
    convert_json(form.meta, MetaForm, path, REMEDY)
    with raise_as_bad_artifact(path, REMEDY):
        observation, action = ObservationSpec.from_json(form.observation), ActionSpec.from_json(form.action)
        frames = FrameSpec.from_json(form.frames) if form.frames else None
    path = folder / "policy.safetensors"
    tensors = load_tensors(path, MAX_WEIGHTS, REMEDY)
    with raise_as_bad_artifact(path, REMEDY):
        eyes = _load_eyes(frames, form.eyes, _select(EYES, tensors)) if frames and form.eyes else None
        inputs = observation.dim + (eyes.dim if eyes else 0)
        weights, biases = parse_layers(_select(HEAD, tensors), inputs, action.dim)
    return PicturePolicy(weights, biases, form.activation, form.squash, observation, action, form.meta, eyes)


def _load_eyes(frames: FrameSpec, described: dict[str, Any], tensors: dict[str, np.ndarray]) -> Eyes:
    """Rebuilds the result of `Eyes.describe`.

    Raises:
        ValueError, RuntimeError: tensors that do not fit or are not finite.
    """
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ValueError(f"{name} has values that are not finite: the training diverged or the file is damaged")
    if described["kind"] == "network":
        own = {name: torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()}
        network = create_unloaded(frames, 1, VisionSettings.from_json(described["settings"]))
        network.load_state_dict(own)
        return Eyes(frames, network)
    if described["kind"] != "frozen":
        raise ValueError(f"it looks by {described['kind']!r:.40}, expected 'network' or 'frozen'")
    learnt: dict[str, dict[str, np.ndarray]] = {}
    for name, tensor in tensors.items():
        digest, _, own = name.partition("/")
        learnt.setdefault(digest, {})[own] = tensor
    return Eyes(frames, encoder=build_encoder(described["spec"], learnt))


def _select(prefix: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
