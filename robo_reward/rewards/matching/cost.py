"""Costs of matching two features: matrices of distances, batched and differentiable."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from robo_reward.errors import UnknownName, WrongShape

Cost = Callable[[Tensor, Tensor], Tensor]
"""Features (..., T, F) and (..., S, F) to C (..., T, S) >= 0."""


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """Returns C_ts = 1 - <x_t, y_s> / (|x_t| |y_s|), in [0, 2]; 1 where a feature is zero (RAPL, ROT, TemporalOT)."""
    _check_shapes(x, y)
    return (1.0 - normalize(x, dim=-1, eps=1e-12) @ normalize(y, dim=-1, eps=1e-12).mT).clamp(0.0, 2.0)


def squared_euclidean(x: Tensor, y: Tensor) -> Tensor:
    """Returns C_ts = |x_t - y_s|²."""
    _check_shapes(x, y)
    centre = y.mean(-2, keepdim=True)  # same distances, less cancellation in the difference of squares
    x, y = x - centre, y - centre
    # |x - y|² = |x|² + |y|² - 2 <x, y>
    squares = (x * x).sum(-1)[..., :, None] + (y * y).sum(-1)[..., None, :]
    return (squares - 2.0 * x @ y.mT).clamp_min(0.0)


def euclidean(x: Tensor, y: Tensor) -> Tensor:
    """Returns C_ts = |x_t - y_s|; its gradient is 0 where both are the same. Used by XIRL."""
    squares = squared_euclidean(x, y)
    # The inner `where` keeps the gradient of the root at 0 finite.
    apart = squares > 0.0
    return torch.where(apart, torch.where(apart, squares, 1.0).sqrt(), 0.0)


costs: dict[str, Cost] = {f.__name__: f for f in (cosine, euclidean, squared_euclidean)}


def get_cost_function(name: str) -> Cost:
    """Returns the function of that name in `costs`.

    Raises:
        UnknownName: no such cost.
    """
    if name not in costs:
        raise UnknownName("matching cost", name, costs)
    return costs[name]


def _check_shapes(x: Tensor, y: Tensor) -> None:
    """Raises if x is not (..., T, F), y is not (..., S, F), or F differs."""
    if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-1]:
        raise WrongShape("features", tuple(x.shape), f"(..., T, F) to go with {tuple(y.shape)}, (..., S, F)")
