"""A residual perceptron on the flattened chunk, the network that trains in minutes on one core."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robo_reward.policies.diffusion.networks.time import TimeEmbedding


class FilmBlock(nn.Module):
    """`x + SiLU(γ ⊙ W norm(x) + δ)`, where γ and δ depend on time and condition (FiLM, Perez et al. 2018)."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)
        self.film = nn.Linear(context, 2 * width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Returns (B, width)."""
        scale, shift = self.film(context).chunk(2, -1)
        return x + nn.functional.silu((1 + scale) * self.linear(self.norm(x)) + shift)


class ResidualMLP(nn.Module):
    """A perceptron of residual FiLM blocks.

    Args:
        horizon: Tp.
        actions: A.
        condition: C.
        width: of the hidden layers.
        blocks: how many.
        time_width: of the time's embedding.
        time_scale: multiplies the time before its embedding.
    """

    def __init__(
        self,
        horizon: int,
        actions: int,
        condition: int,
        width: int = 512,
        blocks: int = 3,
        time_width: int = 32,
        time_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.time = TimeEmbedding(time_width, time_scale)
        self.condition = nn.Sequential(nn.Linear(condition, 2 * time_width), nn.SiLU())
        self.first = nn.Linear(horizon * actions + condition, width)
        self.blocks = nn.ModuleList(FilmBlock(width, 3 * time_width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, horizon * actions)

    def forward(self, sample: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """Returns (B, Tp, A) for a chunk (B, Tp, A), times (B,) and a condition (B, C)."""
        context = torch.cat((self.time(time), self.condition(condition)), -1)
        x = self.first(torch.cat((sample.flatten(1), condition), -1))
        for block in self.blocks:
            x = block(x, context)
        return self.last(self.norm(x)).view_as(sample)
