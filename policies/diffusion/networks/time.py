"""The embedding of a diffusion or flow time."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

FLOW_SCALE = 100.0
"""Flow times in [0, 1] are multiplied by this, so that they cover the range of diffusion steps."""


class TimeEmbedding(nn.Module):
    """Sines and cosines of the time at geometrically spaced frequencies (Vaswani et al. 2017), then a small network.

    Args:
        width: size of the embedding, even.
        scale: multiplies the time first.
    """

    frequencies: Tensor

    def __init__(self, width: int, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        half = width // 2
        frequencies = torch.exp(torch.arange(half) * (-math.log(10_000) / max(half - 1, 1)))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.project = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, time: Tensor) -> Tensor:
        """Returns (B, width) for times (B,)."""
        angles = (self.scale * time.to(self.frequencies))[:, None] * self.frequencies
        return self.project(torch.cat((angles.sin(), angles.cos()), -1))
