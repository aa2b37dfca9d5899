"""Chunks of episodes as tensors, and how batches of them are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from robo_reward.data.episode import Episode
from robo_reward.policies.diffusion.model import DiffusionModel
from robo_reward.policies.diffusion.policy import DiffusionPolicy
from robo_reward.policies.diffusion.windows import cut_windows


class Chunks(NamedTuple):
    """B chunks with the observations that they belong to.

    Attributes:
        state: (B, To, O).
        action: (B, Tp, A) as executed.
        mask: (B, Tp), which rows were recorded.
    """

    state: Tensor
    action: Tensor
    mask: Tensor

    def select(self, rows: np.ndarray) -> Chunks:
        """Returns the chunks of the given numbers (n,)."""
        index = torch.from_numpy(np.ascontiguousarray(rows))
        return Chunks(self.state[index], self.action[index], self.mask[index])

    def __add__(self, other: object) -> Chunks:
        """Returns the chunks of both, one after the other."""
        if not isinstance(other, Chunks):
            return NotImplemented
        return Chunks(*(torch.cat(pair) for pair in zip(self, other, strict=True)))


class Draw(NamedTuple):
    """Noise (B, Tp, A) and time (B,), the same for a policy and its reference and for both sides of a pair."""

    noise: Tensor
    time: Tensor

    def repeat(self, times: int) -> Draw:
        """Returns the same noise and times for several sets of chunks, one after the other."""
        return Draw(self.noise.repeat(times, 1, 1), self.time.repeat(times))


class EpisodeChunks:
    """All chunks of N episodes, sorted by episode.

    Args:
        policy: how observations and chunks are cut.
        episodes: N.

    Attributes:
        chunks: of all episodes.
        episode: (M,) number of the episode of each chunk.
        step: (M,) step of its newest observation.
        first: (N,) number of the first chunk of each episode.
        count: (N,) number of chunks of each episode.
    """

    def __init__(self, policy: DiffusionPolicy, episodes: Sequence[Episode]) -> None:
        found = cut_windows(episodes, policy.observation, policy.history, policy.settings.horizon, policy.execute)
        self.chunks = Chunks(*(torch.from_numpy(a) for a in (found.observation, found.action, found.mask)))
        self.episode, self.step = found.episode, found.step
        self.first = np.searchsorted(found.episode, np.arange(len(episodes)))
        self.count = np.bincount(found.episode, minlength=len(episodes))

    def __len__(self) -> int:
        return len(self.episode)

    def list_chunks(self, episode: int) -> np.ndarray:
        """Returns the numbers of the chunks of an episode."""
        return self.first[episode] + np.arange(int(self.count[episode]))

    def pick(self, episodes: np.ndarray, phase: np.ndarray) -> np.ndarray:
        """Returns the numbers of the chunks at a phase in [0, 1) of the given episodes, both of one shape."""
        return self.first[episodes] + np.floor(phase * self.count[episodes]).astype(int)


def draw_noise(model: DiffusionModel, count: int, seed: Sequence[int]) -> Draw:
    """Returns noise and times for `count` chunks, from a seed alone."""
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1))
    noise = torch.randn((count, *model.noise_shape), generator=generator)
    return Draw(noise, model.objective.sample_time(count, generator))


def compute_chunk_errors(model: DiffusionModel, chunks: Chunks, draw: Draw) -> Tensor:
    """Returns the squared error (B, Tp) of each row of chunks under the given noise and times."""
    return model.compute_errors(chunks.action, model.encode(chunks.state), draw.noise, draw.time)
