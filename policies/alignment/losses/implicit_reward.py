"""The implicit reward of a diffusion policy: how much better than a frozen reference it denoises a chunk."""

from __future__ import annotations

from torch import Tensor


def average_rows(errors: Tensor, mask: Tensor | None = None) -> Tensor:
    """Returns the mean error (B,) of the rows of chunks.

    Args:
        errors: (B, T) squared error of each row.
        mask: (B, T), 1 for rows that belong to the episode and 0 for padding; None: all count.
    """
    if mask is None:
        return errors.mean(dim=-1)
    weight = mask.to(errors.dtype)
    return (errors * weight).sum(dim=-1) / weight.sum(dim=-1).clamp(min=1.0)


def compute_implicit_reward(errors: Tensor, reference: Tensor, mask: Tensor | None = None) -> Tensor:
    """Computes the implicit reward r = -(‖ε - ε_θ‖² - ‖ε - ε_ref‖²) of chunks, (B,).

    Both errors belong to the same noise ε and the same time t (Diffusion-DPO, 2311.12908). With the flow objective
    the errors are those of the velocity. A positive r says that the policy has made the chunk more likely.

    Args:
        errors: (B, T) of the policy.
        reference: (B, T) of the frozen reference.
        mask: (B, T), 1 for rows that count.
    """
    return average_rows(reference - errors, mask)
