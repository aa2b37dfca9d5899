"""Diffusion-DPO and flow-DPO: pairs of chunks, of which a person prefers one."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def compute_dpo_loss(winner: Tensor, loser: Tensor, beta: float, target: Tensor | None = None) -> Tensor:
    """Computes the loss -y log σ(β (r_w - r_l)) - (1 - y) log σ(-β (r_w - r_l)), averaged over the pairs.

    Diffusion-DPO (2311.12908) for y = 1; its factor of one half is part of β here. Flow-DPO is the same with the
    errors of the velocity. Alone it lets the likelihood of both sides fall as long as the loser's falls faster; FKPD
    (2409.05622) therefore adds the cloning loss, see `anchor` of `AlignmentSettings`.

    Args:
        winner: (P,) implicit rewards of the preferred sides, see `compute_implicit_reward`.
        loser: (P,) implicit rewards of the others, with the same noise and time.
        beta: β > 0, the strength of the preference against the reference.
        target: (P,) probability y that the first side is the better one: 1, or 1/2 for a tie; None: 1.
    """
    gap = beta * (winner - loser)
    if target is None:
        return -functional.logsigmoid(gap).mean()
    return functional.binary_cross_entropy_with_logits(gap, target)


def compute_preference_accuracy(winner: Tensor, loser: Tensor) -> float:
    """Returns the share of pairs whose preferred side has the larger implicit reward; equal ones count one half."""
    gap = winner - loser
    return float(((gap > 0).float() + 0.5 * (gap == 0).float()).mean())
