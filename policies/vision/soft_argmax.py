"""Spatial soft-argmax: from feature maps to the positions of keypoints."""

from __future__ import annotations

import torch
from torch import nn


class SpatialSoftArgmax(nn.Module):
    """Computes the expected pixel position of each feature map under the softmax over its pixels.

        p = softmax(m / τ),   x = Σ p(u, v) x_u,   y = Σ p(u, v) y_v

    with x_u and y_v from -1 (left, top) to 1 (right, bottom) at the centres of the outermost pixels
    (Levine et al., "End-to-end training of deep visuomotor policies", 2016). The temperature τ is learnt.

    Args:
        height: of the maps [pixels].
        width: of the maps [pixels].
    """

    x: torch.Tensor
    y: torch.Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))
        for name, size in (("x", width), ("y", height)):
            axis = torch.linspace(-1.0, 1.0, size) if size > 1 else torch.zeros(1)
            self.register_buffer(name, axis, persistent=False)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Returns positions (B, 2 K), all x before all y, of maps (B, K, h, w)."""
        weight = (maps.flatten(2) / self.temperature).softmax(-1).unflatten(2, maps.shape[2:])  # (B, K, h, w)
        x = weight.sum(2) @ self.x  # (B, K)
        y = weight.sum(3) @ self.y
        return torch.cat([x, y], dim=1)
