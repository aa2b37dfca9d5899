"""A transformer over the chunk's steps that attends to the time and the condition, as in Diffusion Policy."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robo_reward.policies.diffusion.networks.time import TimeEmbedding


class ChunkTransformer(nn.Module):
    """A decoder whose tokens are the chunk's steps; memory is one token for the time and one per observation.

    A step attends to itself and to the steps before it.

    Args:
        horizon: Tp.
        actions: A.
        condition: C, a multiple of `history`.
        history: To.
        width: of the tokens.
        layers: how many.
        heads: of the attention.
        dropout: of the attention, in training.
        time_scale: multiplies the time before its embedding.
    """

    def __init__(
        self,
        horizon: int,
        actions: int,
        condition: int,
        history: int = 1,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        dropout: float = 0.0,
        time_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.history = history
        self.time = TimeEmbedding(width, time_scale)
        self.condition = nn.Linear(condition // history, width)
        self.first = nn.Linear(actions, width)
        self.places = nn.Parameter(0.02 * torch.randn(1, horizon, width))
        self.memory_places = nn.Parameter(0.02 * torch.randn(1, 1 + history, width))
        layer = nn.TransformerDecoderLayer(
            width, heads, 4 * width, dropout, nn.functional.silu, batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerDecoder(layer, layers)
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, actions)
        mask = torch.ones(horizon, horizon, dtype=torch.bool).triu(1)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, sample: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """Returns (B, Tp, A) for a chunk (B, Tp, A), times (B,) and a condition (B, C)."""
        seen = self.condition(condition.view(len(condition), self.history, -1))  # (B, To, width)
        memory = torch.cat((self.time(time)[:, None], seen), 1) + self.memory_places
        x = self.decoder(self.first(sample) + self.places, memory, tgt_mask=self.mask)
        return self.last(self.norm(x))
