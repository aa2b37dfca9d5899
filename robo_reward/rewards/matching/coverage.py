"""Ordered coverage: the confidence that every frame of the demonstration was reached, in its order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robo_reward.errors import UsageError, WrongShape
from robo_reward.rewards.matching.rule import Rule, require_positive


def orca_reward(cost: Tensor, tau: float = 1.0) -> Tensor:
    """Returns the coverage of the whole demonstration at each step (ORCA, Huey et al., ICML 2025, 2502.05397).

    With p = e^(-C / τ), cov_tj = max(cov_{t-1,j}, cov_{t,j-1} p_tj) where cov_{t,-1} = 1 and cov_{-1,j} = 0; in the
    last column cov_tJ = cov_{t,J-1} p_tJ, so the end must hold now. r_t = cov_tJ.

    Computed with logarithms in float64: log cov_t = cummax(log cov_{t-1} + D_t, 0) - D_t with D_t the running sum of
    C_t / τ, one vector operation per step instead of S. Differentiable.

    Args:
        cost: C (..., T, S), at least 0.
        tau: τ, in the unit of the cost; about S times the cost of a good match keeps the numbers of a long
            demonstration from vanishing.

    Returns:
        (..., T) in (0, 1], in the type of `cost`.

    Raises:
        WrongShape: no matrix.
        UsageError: a τ that is not positive.
    """
    if cost.ndim < 2 or 0 in cost.shape[-2:]:
        raise WrongShape("cost", tuple(cost.shape), "(..., T, S) with at least one step and one frame")
    if not tau > 0:
        raise UsageError(f"tau is {tau}, expected a positive number")
    scaled = cost.double() / tau
    *before, last = scaled.split([scaled.shape[-1] - 1, 1], dim=-1)
    if before[0].shape[-1] == 0:
        return torch.exp(-last[..., 0]).to(cost.dtype)
    running = before[0].cumsum(-1)  # D, (..., T, S - 1)
    start = torch.zeros_like(running[..., 0, :1])  # log cov_{t,-1} = 0, and D = 0 there
    covered = torch.full_like(running[..., 0, :], -torch.inf)  # log cov_{-1,j}
    rewards = []
    for t in range(running.shape[-2]):
        # log cov_t + D_t = cummax(log cov_{t-1} + D_t), with the start as first entry.
        so_far = torch.cat([start, covered + running[..., t, :]], dim=-1).cummax(-1).values[..., 1:]
        covered = so_far - running[..., t, :]
        # The last frame must match now, so there is no maximum over time.
        rewards.append(covered[..., -1] - last[..., t, 0])
    return torch.exp(torch.stack(rewards, dim=-1)).to(cost.dtype)


@dataclass(frozen=True)
class ORCA(Rule):
    """`orca_reward`: the only rule here that asks for all of the demonstration, in order, at any speed.

    Args:
        tau: τ, in the unit of the cost.
    """

    name: ClassVar[str] = "orca"
    looks_back: ClassVar[bool] = True
    tau: float = 1.0

    def __post_init__(self) -> None:
        require_positive(self, "tau")

    def __call__(self, cost: Tensor) -> Tensor:
        return orca_reward(cost, self.tau)
