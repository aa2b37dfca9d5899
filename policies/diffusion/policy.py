"""A policy that draws chunks of actions from noise, and its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import ActionSpec, ObservationSpec, Task
from robo_reward.errors import UsageError, WrongShape
from robo_reward.files import convert_json, load_tensors, raise_as_bad_artifact, write_bytes, write_json
from robo_reward.policies.diffusion.model import DiffusionModel
from robo_reward.policies.diffusion.normaliser import MinMax
from robo_reward.policies.diffusion.settings import DiffusionSettings
from robo_reward.policies.policy import (
    FORMAT,
    REMEDY,
    MetaForm,
    load_policy_document,
    require_finite,
    require_same_conventions,
)
from robo_reward.policies.vision.observation import require_fitting_task
from robo_reward.policies.vision.picture_encoder import PictureEncoder, create_unloaded
from robo_reward.policies.vision.settings import VisionSettings

MAX_WEIGHTS = 2 << 30  # [bytes] of the weights
DECISIVE = ("objective", "network", "size", "history", "horizon", "execute", "train_steps", "sampling_steps")
"""Settings without which a stored policy is not the one that was trained; others have defaults."""
Observations = np.ndarray | Mapping[str, np.ndarray]


@dataclass
class DiffusionPolicy:
    """A policy that returns a chunk of H actions for each world, of which `execute` are meant to be executed.

    Args:
        model: the network with the averaged weights, and the normalisers.
        observation: the observation convention.
        action: the action convention.
        meta: its origin: task, algorithm, steps, seed.
        frames: cameras that it looks through, or None.
    """

    model: DiffusionModel
    observation: ObservationSpec
    action: ActionSpec
    meta: dict[str, Any]
    frames: FrameSpec | None = None
    generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0), repr=False)
    _previous: np.ndarray | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.model.eval().requires_grad_(False)

    @property
    def settings(self) -> DiffusionSettings:
        """The settings of the model."""
        return self.model.settings

    @property
    def history(self) -> int:
        """To, number of observations, newest last."""
        return self.settings.history

    @property
    def chunk(self) -> int:
        """H, number of actions that `act` returns."""
        return self.settings.chunk

    @property
    def execute(self) -> int:
        """Number of actions that are executed before the next query."""
        return self.settings.execute

    @property
    def warm_start(self) -> float:
        """Share of the sampling steps that a start from the last prediction replaces; 0: from noise alone."""
        return self.settings.warm_start

    @property
    def noise_shape(self) -> tuple[int, int]:
        """(Tp, A) of the initial noise of one chunk."""
        return self.model.noise_shape

    def reset(self, seed: int = 0) -> None:
        """Forgets the previous chunk and re-seeds the generator of the noise."""
        self._previous = None
        self.generator.manual_seed(seed)

    @torch.no_grad()
    def act(
        self, observations: Observations, noise: np.ndarray | None = None, previous: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns chunks (B, H, A) in [-1, 1], float32; row 0 is for the step of the newest observation.

        Args:
            observations: (B, O), which is taken for the whole history, or (B, To, O), oldest first; or a mapping with
                `state` and a camera's pictures (B, To, h, w, 3) uint8 under its name.
            noise: (B, Tp, A) to start from; None: drawn from the policy's own generator.
            previous: with `warm_start`, earlier predictions (B, Tp, A), moved to the present. None: from noise, except
                for one world without given noise, of which the policy remembers the last prediction until `reset`.

        Raises:
            WrongShape: observations, noise or an earlier chunk of another size.
            UsageError: an observation that is not finite, or pictures that are missing.
        """
        first = next(iter(observations.values())) if isinstance(observations, Mapping) else observations
        remembers = noise is None and len(first) == 1 and self.warm_start > 0
        found = self.predict(observations, noise, self._previous if previous is None and remembers else previous)
        self._previous = self.move_prediction(found) if remembers else None
        return found[:, self.history - 1 :]

    @torch.no_grad()
    def predict(
        self, observations: Observations, noise: np.ndarray | None = None, previous: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns predictions (B, Tp, A) float32; the chunk of `act` are their rows from To - 1 on.

        Args:
            observations: as those of `act`.
            noise: (B, Tp, A); None: drawn from the policy's own generator.
            previous: (B, Tp, A) of `move_prediction`; None: from noise alone. Not used without `warm_start`.
        """
        state, pictures = self._split_observations(observations)
        shape = (len(state), *self.noise_shape)
        start = None
        if previous is not None and self.warm_start:
            start = torch.as_tensor(np.asarray(previous, dtype=np.float32))
            if start.shape != shape:
                raise WrongShape("previous chunk", tuple(start.shape), f"(B, Tp, A) = {shape}")
        found = self.model.sample(self.model.encode(state, pictures), self._make_noise(noise, shape), previous=start)
        return found.cpu().numpy()

    def move_prediction(self, prediction: np.ndarray) -> np.ndarray:
        """Returns predictions (B, Tp, A) moved by the executed actions; the last row is repeated."""
        last = np.repeat(prediction[:, -1:], self.execute, axis=1)
        return np.concatenate([prediction[:, self.execute :], last], axis=1)

    def require_compatible(self, task: Task) -> DiffusionPolicy:
        """Returns the policy itself if the task has the conventions and cameras that it was trained for.

        Raises:
            PolicyMismatch: naming what differs.
        """
        if self.observation.to_json() != task.observation.to_json() or self.frames:
            require_fitting_task(self, task)  # a policy that chose state fields and cameras by name
        else:
            require_same_conventions(self, task)
        return self

    def with_meta(self, **more: Any) -> DiffusionPolicy:
        """Returns the same policy with more metadata."""
        return replace(self, meta={**self.meta, **more})

    def save(self, folder: Path) -> Path:
        """Writes `policy.json` and `policy.safetensors`, which hold settings, normalisers and averaged weights."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.model.state_dict().items()}
        write_bytes(folder / "policy.safetensors", save(tensors))
        value = {
            "format": FORMAT,
            "kind": "diffusion",
            "settings": self.settings.to_json(),
            "observation": self.observation.to_json(),
            "action": self.action.to_json(),
            "frames": self.frames.to_json() if self.frames else None,
            "vision": self.model.pictures.settings.to_json() if self.model.pictures is not None else None,
            "meta": self.meta,
        }
        write_json(folder / "policy.json", value)
        return folder

    def _split_observations(self, observations: Observations) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Returns the state history (B, To, O) and the pictures by camera, or None for no pictures."""
        pictures = None
        if isinstance(observations, Mapping):
            cameras = self.frames.cameras if self.frames else ()
            if missing := [name for name in (*self._list_states(), *cameras) if name not in observations]:
                raise UsageError(f"the policy also needs {', '.join(missing)}, given {', '.join(observations)}")
            pictures = {name: torch.as_tensor(np.asarray(observations[name])) for name in cameras} or None
            count = len(next(iter(pictures.values()))) if pictures else 0
            observations = observations.get("state", np.zeros((count, self.history, 0), np.float32))
        elif self.frames:
            raise UsageError(f"the policy looks through {', '.join(self.frames.cameras)}; give a mapping with pictures")
        state = np.asarray(observations, dtype=np.float32)
        if state.ndim == 2 and state.shape[1] == self.observation.dim:
            state = np.repeat(state[:, None], self.history, axis=1)
        if state.shape[1:] != (self.history, self.observation.dim):
            expected = f"(B, {self.observation.dim}) or (B, {self.history}, {self.observation.dim})"
            raise WrongShape("observation", state.shape, expected)
        require_finite(state)
        for camera, part in (pictures or {}).items():
            if len(part) != len(state):
                raise WrongShape(f"pictures of {camera!r}", tuple(part.shape), f"as many as states, {len(state)}")
        return torch.from_numpy(np.ascontiguousarray(state)), pictures

    def _list_states(self) -> tuple[str, ...]:
        """Returns the name of the state in a mapping of observations; none for a policy that only looks."""
        return ("state",) if self.observation.dim else ()

    def _make_noise(self, noise: np.ndarray | None, shape: tuple[int, ...]) -> Tensor:
        if noise is None:
            return torch.randn(shape, generator=self.generator)
        found = torch.as_tensor(np.asarray(noise, dtype=np.float32))
        if found.shape != shape:
            raise WrongShape("noise", tuple(found.shape), f"(B, Tp, A) = {shape}")
        return found


class DiffusionForm(msgspec.Struct):
    """The content of `policy.json`."""

    settings: dict[str, Any]
    observation: dict[str, Any]
    action: dict[str, Any]
    frames: dict[str, Any] | None
    meta: dict[str, Any]
    vision: dict[str, Any] | None = None


def load_diffusion(folder: Path) -> DiffusionPolicy:
    """Reads the folder of a `DiffusionPolicy`.

    Raises:
        UsageError: no policy there.
        BadArtifact: a damaged file, settings of another version, or weights and normalisers that do not fit them or
            are not finite.
    """
    path = folder / "policy.json"
    form = convert_json(load_policy_document(folder), DiffusionForm, path, REMEDY)
    convert_json(form.meta, MetaForm, path, REMEDY)
    with raise_as_bad_artifact(path, REMEDY):
        observation, action = ObservationSpec.from_json(form.observation), ActionSpec.from_json(form.action)
        if missing := [name for name in DECISIVE if name not in form.settings]:
            raise ValueError(f"its settings lack {', '.join(missing)}, which decide how it acts")
        settings = DiffusionSettings.from_json(form.settings)
        frames = FrameSpec.from_json(form.frames) if form.frames else None
        vision = VisionSettings.from_json(form.vision) if frames and form.vision else None
    path = folder / "policy.safetensors"
    tensors = {name: torch.from_numpy(array) for name, array in load_tensors(path, MAX_WEIGHTS, REMEDY).items()}
    with raise_as_bad_artifact(path, REMEDY):
        with torch.random.fork_rng(devices=[]):
            pictures = create_unloaded(frames, settings.history, vision or VisionSettings()) if frames else None
        model = _build_model(settings, tensors, observation.dim, action.dim, pictures)
    return DiffusionPolicy(model, observation, action, form.meta, frames)


def _build_model(
    settings: DiffusionSettings,
    tensors: Mapping[str, Tensor],
    observation: int,
    action: int,
    pictures: PictureEncoder | None,
) -> DiffusionModel:
    """Returns the model with the given weights.

    Raises:
        ValueError: the tensors are not those of this model.
        UsageError: bounds of a normaliser that are no bounds.
    """
    bounds = [MinMax(torch.zeros(size), torch.zeros(size)) for size in (observation, action)]
    with torch.random.fork_rng(devices=[]):
        model = DiffusionModel(settings, bounds[0], bounds[1], pictures)
    expected = model.state_dict()
    if tensors.keys() != expected.keys():
        odd = sorted(tensors.keys() ^ expected.keys())
        raise ValueError(f"{', '.join(odd[:4])}: missing, or not of a model with these settings")
    for name, tensor in tensors.items():
        wanted = expected[name]
        if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
            raise ValueError(
                f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}, expected {wanted.dtype} of "
                f"{tuple(wanted.shape)}"
            )
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} has values that are not finite: the training diverged or the file is damaged")
    model.load_state_dict(dict(tensors))
    model.observation.check()
    model.action.check()
    return model
