"""Rules of optimal transport: each step pays the cost of moving its mass to the demonstration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robo_reward.errors import UsageError
from robo_reward.rewards.matching.rule import Rule, require_positive
from robo_reward.rewards.matching.sinkhorn import sinkhorn_plan


@dataclass(frozen=True)
class OT(Rule):
    """Entropic optimal transport, r_t = -T Σ_s P_ts C_ts with P = `sinkhorn_plan(C, ε)` and uniform marginals.

    The mean over t is -<P, C>, RAPL's score of a clip (2310.07932; there each step has 1/T of ours, and ε = 1).
    Blind to order: a clip and its reverse get the same sum. T = S and ε -> 0: the best assignment of steps to frames.

    Args:
        epsilon: ε, in the unit of the cost. For costs in [0, 2], 1 spreads over everything and 0.01 nearly assigns.
        through_plan: let the gradient also go through P, not only through C.
        tolerance: of the plan.
        max_iterations: of the plan.
    """

    name: ClassVar[str] = "ot"
    epsilon: float = 0.05
    through_plan: bool = True
    tolerance: float = 1e-6
    max_iterations: int = 1000

    def __post_init__(self) -> None:
        require_positive(self, "epsilon")

    def __call__(self, cost: Tensor) -> Tensor:
        return -cost.shape[-2] * (self.compute_plan(cost) * cost).sum(-1)

    def compute_plan(self, cost: Tensor) -> Tensor:
        """Returns the plan P (..., T, S)."""
        # Without `through_plan` the gradient goes only through the explicit C of the reward.
        cost = cost if self.through_plan else cost.detach()
        return sinkhorn_plan(cost, self.epsilon, tolerance=self.tolerance, max_iterations=self.max_iterations)


@dataclass(frozen=True)
class UnbalancedOT(Rule):
    """Transport that may leave mass where it is, r_t = -T (Σ_s P_ts C_ts + ρ (p_t log(T p_t) - p_t + 1/T)), p = P 1.

    P is the plan with relaxed marginals. A step that resembles nothing in the demonstration pays at most about ρ, and
    need not be matched with frames that others fit better; the demonstration need not be covered.

    Args:
        epsilon: ε, in the unit of the cost.
        rho: ρ, the price of unmatched mass, in the unit of the cost.
        tolerance: of the plan.
        max_iterations: of the plan.
    """

    name: ClassVar[str] = "unbalanced_ot"
    epsilon: float = 0.05
    rho: float = 0.5
    tolerance: float = 1e-6
    max_iterations: int = 1000

    def __post_init__(self) -> None:
        require_positive(self, "epsilon", "rho")
        if not math.isfinite(self.rho):
            raise UsageError("rho must be finite; the matching rule 'ot' has no price")

    def __call__(self, cost: Tensor) -> Tensor:
        plan = sinkhorn_plan(
            cost, self.epsilon, relax=self.rho, tolerance=self.tolerance, max_iterations=self.max_iterations
        )
        share = plan.sum(-1) * cost.shape[-2]  # T p_t
        # T (p_t log(T p_t) - p_t + 1/T); the clamp keeps the gradient at 0 finite.
        left = torch.xlogy(share, share.clamp_min(1e-30)) - share + 1.0
        return -cost.shape[-2] * (plan * cost).sum(-1) - self.rho * left


@dataclass(frozen=True)
class TemporalOT(Rule):
    """Transport between similar times, r_t = -T Σ_s P_ts C'_ts (Fu et al., NeurIPS 2024).

    C'_ts = mean over i < k_c of C_{t+i, s+i} (beyond the end, the last), and P may be positive only where
    |(t + ½) S / T - (s + ½)| <= k_m: the published mask |t - s| <= k_m where T = S, else stretched with the clip and
    at least as wide as uniform marginals need. The published reward is ours / T.

    Args:
        epsilon: ε, in the unit of the cost.
        context: k_c, the steps that are compared together.
        mask: k_m, how far from its time a step may be matched [demonstration frames].
        tolerance: of the plan.
        max_iterations: of the plan; the published code always takes 100.
    """

    name: ClassVar[str] = "temporal_ot"
    epsilon: float = 0.01
    context: int = 3
    mask: int = 10
    tolerance: float = 1e-6
    max_iterations: int = 1000

    def __post_init__(self) -> None:
        require_positive(self, "epsilon", "context")
        if self.mask < 0:
            raise UsageError(f"mask of the matching rule 'temporal_ot' is {self.mask}, expected 0 or more")

    def __call__(self, cost: Tensor) -> Tensor:
        cost = compute_context_cost(cost, self.context)
        band = build_diagonal_band(cost.shape[-2], cost.shape[-1], self.mask).to(cost.device)
        plan = sinkhorn_plan(
            cost, self.epsilon, mask=band, tolerance=self.tolerance, max_iterations=self.max_iterations
        )
        return -cost.shape[-2] * (plan * cost).sum(-1)


def compute_context_cost(cost: Tensor, context: int) -> Tensor:
    """Returns the mean cost (..., T, S) of `context` steps from here on, both sequences advancing together."""
    steps, width = cost.shape[-2:]
    t, s = torch.arange(steps, device=cost.device), torch.arange(width, device=cost.device)
    # Copy i holds C_{t+i, s+i}, clamped at the last step and frame.
    shifted = [cost[..., (t + i).clamp_max(steps - 1)[:, None], (s + i).clamp_max(width - 1)] for i in range(context)]
    return torch.stack(shifted).mean(0)


def build_diagonal_band(steps: int, width: int, mask: int) -> Tensor:
    """Returns a stretched diagonal of half-width `mask`, bool (T, S); wide enough for uniform marginals."""
    # One step spans S / T frames, which the band must cover for uniform marginals to be feasible.
    reach = mask if steps == width else max(mask, 0.5 + width / (2 * steps))
    t, s = torch.arange(steps).double() + 0.5, torch.arange(width).double() + 0.5
    return (t[:, None] * (width / steps) - s).abs() <= reach + 1e-9  # tolerance for rounding at the edge
