"""Objectives of a network, and the sampling of chunks from noise: DDPM, flow matching and plain regression.

All chunks here are normalised to [-1, 1], (B, Tp, A). A network is called as `network(sample, time, condition)`.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from robo_reward.errors import UsageError
from robo_reward.policies.diffusion.settings import DiffusionSettings

MAX_BETA = 0.999


class Network(Protocol):
    """Predicts something of the chunk's shape."""

    def __call__(self, sample: Tensor, time: Tensor, condition: Tensor, /) -> Tensor:
        """Returns (B, Tp, A) for a noisy chunk (B, Tp, A), its time (B,) and the condition (B, C)."""
        ...


class ChunkObjective(Protocol):
    """An objective: how chunks are made noisy, what is predicted, and how chunks are drawn."""

    def sample_time(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws n training times (n,)."""
        ...

    def add_noise(self, actions: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """Returns chunks (B, Tp, A) mixed with noise of the same shape, at times (B,)."""
        ...

    def compute_errors(
        self, network: Network, actions: Tensor, condition: Tensor, noise: Tensor, time: Tensor
    ) -> Tensor:
        """Returns the squared error of each action (B, Tp), the mean over its A components.

        Cloning and every alignment method use it, with the same noise and time for a network and its reference.
        """
        ...

    def sample(
        self,
        network: Network,
        condition: Tensor,
        noise: Tensor,
        steps: int,
        start: Tensor | None = None,
        skip: float = 0.0,
    ) -> Tensor:
        """Returns chunks (B, Tp, A) drawn from noise (B, Tp, A) by `steps` network evaluations.

        With `start`, an earlier chunk (B, Tp, A), the share `skip` of the steps is left out: sampling begins with
        `start` at the noise level that is then reached.
        """
        ...  # fmt: skip


class DDPM:
    """Denoising diffusion (Ho et al. 2020) with DDIM sampling (Song et al. 2021, eq. 12, η=0).

    `a_t = √ᾱ_t a + √(1-ᾱ_t) ε`, with the cosine schedule of Nichol & Dhariwal (2021, eq. 17). The network predicts ε
    (eq. 14 of Ho et al.), or the clean chunk a, from which ε follows. The estimate of the clean chunk is clipped to
    [-1, 1] in every step.

    Args:
        train_steps: K, the number of noise levels.
        predicts_sample: whether the network predicts a.

    Attributes:
        alphas: (K,) ᾱ_t.
    """

    def __init__(self, train_steps: int = 100, predicts_sample: bool = False) -> None:
        self.train_steps, self.predicts_sample = train_steps, predicts_sample
        levels = [math.cos((i / train_steps + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(train_steps + 1)]
        betas = [min(1 - levels[i + 1] / levels[i], MAX_BETA) for i in range(train_steps)]
        self.alphas = torch.cumprod(1 - torch.tensor(betas, dtype=torch.float32), 0)  # (K,)

    def sample_time(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.randint(self.train_steps, (n,), generator=generator)

    def add_noise(self, actions: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        alpha = self.alphas.to(actions)[time][:, None, None]  # (B, 1, 1)
        return alpha.sqrt() * actions + (1 - alpha).sqrt() * noise

    def compute_errors(
        self, network: Network, actions: Tensor, condition: Tensor, noise: Tensor, time: Tensor
    ) -> Tensor:
        predicted = network(self.add_noise(actions, noise, time), time, condition)
        return (predicted - (actions if self.predicts_sample else noise)).square().mean(-1)

    def list_sampling_times(self, steps: int) -> list[int]:
        """Returns the noise levels that sampling visits, falling, the last level of training first.

        Raises:
            UsageError: more steps than levels.
        """
        if not 1 <= steps <= self.train_steps:
            raise UsageError(
                f"sampling_steps={steps}: expected a whole number from 1 to the {self.train_steps} training steps"
            )
        return [round(self.train_steps * (steps - i) / steps) - 1 for i in range(steps)]

    def sample(
        self, network: Network, condition: Tensor, noise: Tensor, steps: int, start: Tensor | None = None,
        skip: float = 0.0,
    ) -> Tensor:  # fmt: skip
        times = self.list_sampling_times(steps)
        alphas = self.alphas.to(noise)
        times = times[_count_skipped(steps, start, skip) :]
        sample = noise
        if start is not None and len(times) < steps:
            sample = self.add_noise(start, noise, torch.full((len(noise),), times[0]))
        for t, after in zip(times, [*times[1:], -1], strict=True):
            now, then = alphas[t], alphas[after] if after >= 0 else torch.ones_like(alphas[0])
            predicted = network(sample, torch.full((len(noise),), t, device=noise.device), condition)
            if self.predicts_sample:
                clean, added = predicted, (sample - now.sqrt() * predicted) / (1 - now).sqrt()
            else:
                clean, added = (sample - (1 - now).sqrt() * predicted) / now.sqrt(), predicted
            sample = then.sqrt() * clean.clamp(-1, 1) + (1 - then).sqrt() * added
        return sample


class Flow:
    """Flow matching along straight lines (Lipman et al. 2023; Liu et al. 2023), sampled with Euler steps.

    `a_t = (1 - t) ε + t a` with t uniform in [0, 1]; the network predicts the velocity `a - ε`, or the clean chunk a,
    clipped to [-1, 1], from which the velocity `(a - a_t) / (1 - t)` follows.

    Args:
        predicts_sample: whether the network predicts a.
    """

    def __init__(self, predicts_sample: bool = False) -> None:
        self.predicts_sample = predicts_sample

    def sample_time(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.rand(n, generator=generator)

    def add_noise(self, actions: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        share = time[:, None, None]
        return (1 - share) * noise + share * actions

    def compute_errors(
        self, network: Network, actions: Tensor, condition: Tensor, noise: Tensor, time: Tensor
    ) -> Tensor:
        predicted = network(self.add_noise(actions, noise, time), time, condition)
        return (predicted - (actions if self.predicts_sample else actions - noise)).square().mean(-1)

    def sample(
        self, network: Network, condition: Tensor, noise: Tensor, steps: int, start: Tensor | None = None,
        skip: float = 0.0,
    ) -> Tensor:  # fmt: skip
        first = _count_skipped(steps, start, skip)
        sample = noise
        if start is not None and first:
            sample = self.add_noise(start, noise, torch.full((len(noise),), first / steps).to(noise))
        for i in range(first, steps):
            time = torch.full((len(noise),), i / steps, device=noise.device)
            predicted = network(sample, time, condition)
            # The rest of the way to the chunk takes steps - i more steps.
            sample = sample + (
                (predicted.clamp(-1, 1) - sample) / (steps - i) if self.predicts_sample else predicted / steps
            )
        return sample


class Regression:
    """Plain regression of the chunk: one network evaluation, no noise. The baseline that averages several modes."""

    def sample_time(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.zeros(n)

    def add_noise(self, actions: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        return torch.zeros_like(actions)

    def compute_errors(
        self, network: Network, actions: Tensor, condition: Tensor, noise: Tensor, time: Tensor
    ) -> Tensor:
        predicted = network(torch.zeros_like(actions), torch.zeros_like(time), condition)
        return (predicted - actions).square().mean(-1)

    def sample(
        self, network: Network, condition: Tensor, noise: Tensor, steps: int, start: Tensor | None = None,
        skip: float = 0.0,
    ) -> Tensor:  # fmt: skip
        return network(torch.zeros_like(noise), torch.zeros(len(noise), device=noise.device), condition)


def make_objective(settings: DiffusionSettings) -> ChunkObjective:
    """Returns the objective that the settings name."""
    if settings.objective == "regression":
        return Regression()
    predicts_sample = settings.prediction_type == "sample"
    return Flow(predicts_sample) if settings.objective == "flow" else DDPM(settings.train_steps, predicts_sample)


def _count_skipped(steps: int, start: Tensor | None, skip: float) -> int:
    """Returns how many of the first steps are left out; at least one step remains."""
    return 0 if start is None else min(steps - 1, round(skip * steps))
