"""Diffusion-DRO: episodes that people like against the policy's own samples, without pairs."""

from __future__ import annotations

from torch import Tensor

MARGIN = 0.001
"""Margin of the published code."""


def compute_dro_loss(liked: Tensor, own: Tensor, margin: float = MARGIN) -> Tensor:
    """Computes the hinge loss max(0, r_own - r_liked + margin), averaged over the chunks.

    Diffusion-DRO (NeurIPS 2025): the policy must denoise chunks that people like better than its own samples, each
    compared with the frozen reference. Where that holds by the margin, the gradient is zero.

    Args:
        liked: (B,) implicit rewards of liked chunks.
        own: (B,) implicit rewards of chunks that the policy has sampled, with the same noise and time.
        margin: in units of the squared error.
    """
    return (own - liked + margin).clamp(min=0.0).mean()
