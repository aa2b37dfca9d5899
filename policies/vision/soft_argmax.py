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


class KeypointNetwork(nn.Sequential):
    """A network of feature maps, the keypoints in them, and a linear layer.

    Args:
        body: from pictures (B, 3, size, size) to maps (B, K, h, w).
        size: side of the pictures [pixels].
        stride: distance between two pixels of the maps [pixels of the pictures].
        keypoints: K.
        features: F.
    """

    def __init__(self, body: nn.Module, size: int, stride: int, keypoints: int, features: int) -> None:
        height, width = measure_map(body, size)
        super().__init__(body, SpatialSoftArgmax(height, width), nn.Linear(2 * keypoints, features))
        self.pixel = 2 / (stride * max(1, width - 1))
        """A pixel of the pictures in the units of the keypoints."""

    def forward(self, pictures: torch.Tensor, shift: torch.Tensor | None = None) -> torch.Tensor:
        """Returns features (B, F) of normalised pictures (B, 3, h, w).

        Args:
            pictures: crops of larger pictures.
            shift: (B, 2) from the centre of the larger picture to that of the crop, to the right and down [pixels].
                With it a keypoint keeps its numbers wherever the crop was cut: a camera that does not move tells where
                an object is, and the crop would be noise on that. None: no shift.
        """
        body, argmax, linear = self
        points = argmax(body(pictures))
        if shift is not None:
            points = points + self.pixel * shift.repeat_interleave(points.shape[1] // 2, dim=1)
        return linear(points)


def measure_map(body: nn.Module, size: int) -> tuple[int, int]:
    """Returns height and width of the maps that a network makes of pictures (B, 3, size, size)."""
    with torch.no_grad():
        shape = body(torch.zeros(1, 3, size, size)).shape
    return int(shape[2]), int(shape[3])
