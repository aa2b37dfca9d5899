"""KTO: answers about single episodes, good or bad, without pairs."""

from __future__ import annotations

import torch
from torch import Tensor


def compute_kto_loss(
    reward: Tensor, is_good: Tensor, beta: float, good_weight: float = 1.0, bad_weight: float = 1.0
) -> Tensor:
    """Computes the loss of KTO (Ethayarajh et al., 2402.01306), averaged over the chunks.

    With the implicit reward r and the reference point z = max(0, mean of β r), which gets no gradient:
    λ_D (1 - σ(β r - z)) for good chunks and λ_U (1 - σ(z - β r)) for bad ones. 2602.09583 uses it for robots.

    Args:
        reward: (B,) implicit rewards, see `compute_implicit_reward`.
        is_good: (B,) bool, whether the person likes the episode of the chunk.
        beta: β > 0.
        good_weight: λ_D.
        bad_weight: λ_U.
    """
    value = beta * reward
    point = value.detach().mean().clamp(min=0.0)
    good = good_weight * (1 - torch.sigmoid(value - point))
    bad = bad_weight * (1 - torch.sigmoid(point - value))
    return torch.where(is_good, good, bad).mean()
