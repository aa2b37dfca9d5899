"""Entropic optimal transport for many pairs of sequences at once, with an exact gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from robo_reward.errors import UsageError, WrongShape
from robo_reward.rewards.matching.sinkhorn_solver import solve_sinkhorn


def sinkhorn_plan(
    cost: Tensor,
    epsilon: float,
    rows: Tensor | None = None,
    columns: Tensor | None = None,
    mask: Tensor | None = None,
    relax: float = math.inf,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
) -> Tensor:
    """Returns the plan that moves mass most cheaply from the steps of one sequence to those of another.

    P = argmin over P >= 0 of <P, C> + ε KL(P ‖ a bᵀ), with P 1 = a and Pᵀ 1 = b (Cuturi 2013). With a finite `relax`
    = ρ the marginals become penalties, + ρ KL(P 1 ‖ a) + ρ KL(Pᵀ 1 ‖ b): unbalanced transport (Chizat et al. 2018).

    Each problem stops by itself, so its plan does not depend on the others. A tolerance of 1e-6 or more is met in
    float32 where the spread of cost / ε allows, a finer one in float64. The gradient with respect to `cost` is that of
    the converged plan, by implicit differentiation; a second derivative does not exist.

    Args:
        cost: C (..., T, S), finite.
        epsilon: ε > 0, in the unit of the cost; the smaller, the sharper and slower.
        rows: a (..., T), the mass of each row, uniform 1/T unless given; a row without mass takes no part.
        columns: b (..., S), the mass of each column, uniform 1/S unless given; a column without mass takes no part.
        mask: bool (..., T, S), where mass may go. Rows are filled as far as the mask lets them.
        relax: ρ > 0, in the unit of the cost.
        tolerance: largest norm of Pᵀ 1 - b, as a share of the total mass (POT's rule); rows are met up to rounding.
        max_iterations: after these the plan is returned as it is, with a warning in the log.

    Returns:
        P (..., T, S) in the type of `cost`, never NaN.

    Raises:
        WrongShape: no matrix, or marginals or a mask that do not fit it.
        UsageError: a cost that is not finite, or an ε or ρ that is not positive.
    """
    _check_arguments(cost, epsilon, relax)
    batch, (steps, width) = cost.shape[:-2], cost.shape[-2:]
    if cost.numel() == 0:
        return torch.zeros_like(cost)
    a = _prepare_marginal("rows", rows, batch, steps, cost)
    b = _prepare_marginal("columns", columns, batch, width, cost)
    if mask is not None:
        # An infinite cost forbids mass.
        cost = cost.masked_fill(~_broadcast_to_shape("mask", mask, cost.shape).bool(), math.inf)
    flat = cost.reshape(-1, steps, width).double()
    plan: Any = _SinkhornFunction.apply(flat, a, b, epsilon, relax, tolerance, max_iterations)
    return plan.reshape(cost.shape).to(cost.dtype)


def _check_arguments(cost: Tensor, epsilon: float, relax: float) -> None:
    """Raises unless the cost is a finite floating-point matrix and ε and ρ are positive."""
    if cost.ndim < 2:
        raise WrongShape("cost", tuple(cost.shape), "(..., T, S)")
    if not cost.is_floating_point() or (cost.numel() and not math.isfinite(_compute_range(cost))):
        raise UsageError("a cost of transport must be finite floating-point numbers; forbid pairs with a mask")
    for name, value in (("epsilon", epsilon), ("relax", relax)):
        if not value > 0:
            raise UsageError(f"{name} is {value}, expected a positive number")


def _compute_range(cost: Tensor) -> float:
    """Returns the largest less the smallest number: not finite if one of them is not."""
    low, high = torch.aminmax(cost.detach())
    return float(high - low)


def _prepare_marginal(name: str, given: Tensor | None, batch: torch.Size, length: int, cost: Tensor) -> Tensor:
    """Returns float64 masses (N, length), uniform if none are given."""
    if given is None:
        return torch.full((math.prod(batch), length), 1.0 / length, dtype=torch.float64, device=cost.device)
    mass = _broadcast_to_shape(name, given, (*batch, length)).reshape(-1, length).double()
    if not bool(((mass >= 0) & torch.isfinite(mass)).all() & (mass.sum(-1) > 0).all()):
        raise UsageError(f"{name} must be finite masses of at least 0, not all of them 0")
    return mass.detach()


def _broadcast_to_shape(name: str, array: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Returns an array broadcast to a shape; raises if it does not fit."""
    try:
        return array.broadcast_to(shape)
    except RuntimeError:
        raise WrongShape(name, tuple(array.shape), f"one that broadcasts to {shape}") from None


class _SinkhornFunction(torch.autograd.Function):
    """The solver with its implicit gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        cost: Tensor,
        a: Tensor,
        b: Tensor,
        epsilon: float,
        relax: float,
        tolerance: float,
        max_iterations: int,
    ) -> Tensor:
        plan = solve_sinkhorn(cost, a, b, epsilon, relax, tolerance, max_iterations)
        ctx.save_for_backward(plan)
        ctx.epsilon, ctx.relax = epsilon, relax
        return plan

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (plan,) = ctx.saved_tensors
        return compute_plan_gradient(plan, gradients[0], ctx.epsilon, ctx.relax), *[None] * 6


def compute_plan_gradient(plan: Tensor, upstream: Tensor, epsilon: float, relax: float) -> Tensor:
    """Returns the gradient dL/dC of a converged plan, given dL/dP.

    P = a b exp((f + g - C) / ε), and the potentials f, g follow C so that the marginals hold. With W = P ∘ dL/dP,
    r = P 1, c = Pᵀ 1 and s = 1 + ε / ρ:

        [s diag(r)   P        ] [α]   [W 1 ]
        [Pᵀ          s diag(c)] [β] = [Wᵀ 1],      dL/dC = (P ∘ (α ⊕ β) - W) / ε.

    Args:
        plan: P (N, T, S).
        upstream: dL/dP (N, T, S).
        epsilon: ε.
        relax: ρ.

    Returns:
        (N, T, S).
    """
    # Eliminate α: the Schur complement is a system (S, S) for β alone.
    weighted = plan * upstream
    price = 1.0 + epsilon / relax  # s, 1 for exact marginals
    r, c = plan.sum(-1), plan.sum(-2)
    inverse = torch.where(r > 0, 1.0 / (price * r), 0.0)  # (N, T); rows without mass drop out
    right = weighted.sum(-2) - _multiply_batched(plan.mT, inverse * weighted.sum(-1))
    system = torch.diag_embed(price * c) - plan.mT @ (inverse[..., None] * plan)
    if price == 1.0:
        # The system is singular along (1, -1), which leaves α ⊕ β unchanged: any solution is valid, c cᵀ selects one.
        # A plan that separates into blocks has one such direction per block: the ridge selects the smallest solution.
        system = system + c[..., :, None] * c[..., None, :] / c.sum(-1)[..., None, None].clamp_min(1e-300)
    system = system + torch.diag_embed(torch.where(c > 0, 1e-10 * c, 1.0))
    beta = torch.linalg.solve(system, right[..., None])[..., 0]
    # Back-substitution.
    alpha = inverse * (weighted.sum(-1) - _multiply_batched(plan, beta))
    return (plan * (alpha[..., :, None] + beta[..., None, :]) - weighted) / epsilon


def _multiply_batched(matrix: Tensor, vector: Tensor) -> Tensor:
    """Returns the matrix-vector products (N, ...) of a batch."""
    return (matrix @ vector[..., None])[..., 0]
