"""Best-of-N: draws N chunks and executes the one with the largest value, learnt from the same pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from robo_reward.envs.task import Task
from robo_reward.files import convert_json, load_tensors, raise_as_bad_artifact, write_bytes, write_json
from robo_reward.policies.alignment.chunks import Chunks
from robo_reward.policies.alignment.settings import MAX_CANDIDATES
from robo_reward.policies.diffusion.policy import DiffusionPolicy, load_diffusion
from robo_reward.policies.policy import FORMAT, REMEDY, MetaForm, load_policy_document

MAX_WEIGHTS = 256 << 20  # [bytes]
HIDDEN = 256


class ChunkValue(nn.Module):
    """Values chunks under an observation: the mean of several perceptrons, each larger for what people prefer.

    Args:
        condition: C, size of the encoded observation.
        shape: (Tp, A) of a chunk.
        members: number of perceptrons.
    """

    def __init__(self, condition: int, shape: tuple[int, int], members: int = 3) -> None:
        super().__init__()
        width = condition + shape[0] * shape[1]
        self.members = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, 1)
            )
            for _ in range(members)
        )

    def forward(self, condition: Tensor, chunk: Tensor) -> Tensor:
        """Returns the value (members, B) of normalised chunks (B, Tp, A) under conditions (B, C)."""
        x = torch.cat([condition, chunk.flatten(1)], dim=1)
        return torch.stack([member(x).squeeze(-1) for member in self.members])


def create_value(condition: int, shape: tuple[int, int], seed: int) -> ChunkValue:
    """Returns a value with random weights that depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ChunkValue(condition, shape)


def compute_values(value: ChunkValue, policy: DiffusionPolicy, chunks: Chunks) -> Tensor:
    """Returns the value (members, B) of recorded chunks."""
    model = policy.model
    return value(model.encode(chunks.state), model.action.normalise(chunks.action))


@dataclass
class BestOfNPolicy:
    """Draws `candidates` chunks of a diffusion or flow policy for each observation and returns the best.

    Args:
        base: draws the chunks.
        value: compares them.
        candidates: N; 1 is the base policy itself.
        meta: its origin.
    """

    base: DiffusionPolicy
    value: ChunkValue
    candidates: int
    meta: dict[str, Any]

    def __post_init__(self) -> None:
        self.value.eval().requires_grad_(False)
        self.observation, self.action, self.frames = self.base.observation, self.base.action, self.base.frames
        self.history, self.chunk, self.execute = self.base.history, self.base.chunk, self.base.execute
        self.noise_shape = self.base.noise_shape

    def reset(self, seed: int = 0) -> None:
        """Re-seeds the generator of the noise."""
        self.base.reset(seed)

    @torch.no_grad()
    def act(self, observations: np.ndarray | Mapping[str, np.ndarray], noise: np.ndarray | None = None) -> np.ndarray:
        """Returns chunks (B, H, A) in [-1, 1], float32, as the base policy does.

        Args:
            observations: as `DiffusionPolicy.act` takes them.
            noise: (B, Tp, A) of the first candidate, which also seeds the others; None: from the policy's generator.
        """
        state = observations["state"] if isinstance(observations, Mapping) else np.asarray(observations, np.float32)
        if state.ndim == 2:
            state = np.repeat(state[:, None], self.history, axis=1)
        n, count = self.candidates, len(state)
        chunks = self.base.act(state.repeat(n, axis=0), self._draw_candidates(noise, count))  # (B n, H, A)
        condition = self.base.model.encode(torch.from_numpy(np.ascontiguousarray(state, dtype=np.float32)))
        full = self._pad_chunks(chunks)
        value = self.value(condition.repeat_interleave(n, 0), self.base.model.action.normalise(full)).mean(0)
        best = value.reshape(count, n).argmax(1).numpy()
        return chunks.reshape(count, n, *chunks.shape[1:])[np.arange(count), best]

    def require_compatible(self, task: Task) -> BestOfNPolicy:
        """Returns the policy itself if the task fits its base policy."""
        self.base.require_compatible(task)
        return self

    def with_meta(self, **more: Any) -> BestOfNPolicy:
        """Returns the same policy with more metadata."""
        return replace(self, meta={**self.meta, **more})

    def save(self, folder: Path) -> Path:
        """Writes the base policy into `base`, the value into `value.safetensors`, and `policy.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.base.save(folder / "base")
        tensors = {name: tensor.detach().contiguous() for name, tensor in self.value.state_dict().items()}
        write_bytes(folder / "value.safetensors", save(tensors))
        value = {
            "format": FORMAT,
            "kind": "best_of_n",
            "candidates": self.candidates,
            "members": len(self.value.members),
            "meta": self.meta,
        }
        write_json(folder / "policy.json", value)
        return folder

    def _draw_candidates(self, noise: np.ndarray | None, count: int) -> np.ndarray:
        """Returns the noise of all candidates (B n, Tp, A); the given noise is that of the first of each."""
        shape = self.noise_shape
        if noise is None:
            return torch.randn((count * self.candidates, *shape), generator=self.base.generator).numpy()
        rows = [np.asarray(noise, np.float32)[:, None]]
        if self.candidates > 1:
            seeds = np.ascontiguousarray(noise, np.float32).reshape(count, -1)[:, :4].view(np.uint32)
            more = [
                np.random.default_rng(seed).standard_normal((self.candidates - 1, *shape), np.float32)
                for seed in seeds.astype(np.int64)
            ]
            rows.append(np.stack(more))
        return np.concatenate(rows, axis=1).reshape(-1, *shape)

    def _pad_chunks(self, chunks: np.ndarray) -> Tensor:
        """Returns chunks (B, Tp, A): what lies before the newest observation repeats the first row."""
        before = self.noise_shape[0] - chunks.shape[1]
        found = torch.from_numpy(chunks)
        return torch.cat([found[:, :1].expand(-1, before, -1), found], dim=1)


class BestOfNForm(msgspec.Struct):
    """The content of `policy.json`."""

    candidates: int
    members: int
    meta: dict[str, Any]


def load_best_of_n(folder: Path) -> BestOfNPolicy:
    """Reads the folder of a `BestOfNPolicy`.

    Raises:
        UsageError: no policy there.
        BadArtifact: a damaged file, or a value that does not fit the base policy.
    """
    path = folder / "policy.json"
    form = convert_json(load_policy_document(folder), BestOfNForm, path, REMEDY)
    convert_json(form.meta, MetaForm, path, REMEDY)
    base = load_diffusion(folder / "base")
    weights = folder / "value.safetensors"
    tensors = {name: torch.from_numpy(array) for name, array in load_tensors(weights, MAX_WEIGHTS, REMEDY).items()}
    with raise_as_bad_artifact(path, REMEDY):
        if not 1 <= form.candidates <= MAX_CANDIDATES or not 1 <= form.members <= 16:
            raise ValueError(f"it has {form.candidates} candidates and {form.members} members")
    with raise_as_bad_artifact(weights, REMEDY):
        value = ChunkValue(base.model.condition_dim, base.noise_shape, form.members)
        value.load_state_dict(tensors)
        if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
            raise ValueError("it has values that are not finite")
    return BestOfNPolicy(base, value, form.candidates, form.meta)
