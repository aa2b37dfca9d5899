"""The cloning anchor: keeps an aligned policy near to behaviour that is known to work."""

from __future__ import annotations

from torch import Tensor

from robo_reward.policies.alignment.losses.implicit_reward import average_rows


def compute_cloning_loss(errors: Tensor, mask: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
    """Computes the weighted mean error of chunks: the loss of cloning, and the forward-KL term of FKPD (2409.05622).

    Args:
        errors: (B, T) squared error of each row.
        mask: (B, T), 1 for rows that count.
        weight: (B,) weight of each chunk with mean 1; None: all 1.
    """
    error = average_rows(errors, mask)
    return error.mean() if weight is None else (weight * error).mean()
