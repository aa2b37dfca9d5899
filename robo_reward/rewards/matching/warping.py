"""Dynamic time warping: both clips are traversed from start to end, and either may wait for the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robo_reward.rewards.matching.rule import Rule, require_positive

FAR = 1e30
"""Cost outside the matrix; finite, because infinity minus itself has no gradient."""


@dataclass(frozen=True)
class DTW(Rule):
    """r_t = -mean of C_ts over the s that the cheapest monotone path visits at step t (Sakoe & Chiba 1978).

    The path goes from (0, 0) to (T-1, S-1) by steps (1, 1), (1, 0), (0, 1), and minimises the sum of C over it. The
    mean over s turns the path into a reward, as in ORCA. The gradient goes through C, not through the path.
    """

    name: ClassVar[str] = "dtw"

    def __call__(self, cost: Tensor) -> Tensor:
        path = find_dtw_path(cost)
        return -(path * cost).sum(-1) / path.sum(-1)


@dataclass(frozen=True)
class SoftDTW(Rule):
    """DTW over all paths, each with probability ∝ e^(-its cost / γ) (Cuturi & Blondel 2017).

    r_t = -Σ_s E_ts C_ts / Σ_s E_ts with E_ts the probability that the path visits (t, s), which is also the gradient of
    the soft-DTW distance. γ -> 0 is `DTW`. Differentiable throughout.

    Args:
        gamma: γ, in the unit of the cost.
    """

    name: ClassVar[str] = "soft_dtw"
    gamma: float = 0.1

    def __post_init__(self) -> None:
        require_positive(self, "gamma")

    def __call__(self, cost: Tensor) -> Tensor:
        visits = compute_expected_visits(cost, self.gamma)
        return -(visits * cost).sum(-1) / visits.sum(-1)


def compute_path_costs(cost: Tensor, smallest: Callable[[Tensor], Tensor]) -> Tensor:
    """Returns the cost D (..., T, S) of the best path from (0, 0) to each cell, one anti-diagonal after the other.

    D_ts = C_ts + smallest(D_{t-1,s-1}, D_{t-1,s}, D_{t,s-1}).

    Args:
        cost: C (..., T, S).
        smallest: (3, ..., T) to (..., T).
    """
    steps, width = cost.shape[-2:]
    # Shear the matrix so that row d holds anti-diagonal d: its cells do not depend on each other.
    t = torch.arange(steps, device=cost.device)
    s = (
        torch.arange(steps + width - 1, device=cost.device)[:, None] - t
    )  # (T + S - 1, T): column of row t on diagonal d
    inside = (s >= 0) & (s < width)
    skewed = torch.where(inside, cost[..., t, s.clamp(0, width - 1)], FAR)  # (..., T + S - 1, T)
    outside = torch.full_like(skewed[..., 0, :1], FAR)

    def shift_down(diagonal: Tensor) -> Tensor:
        return torch.cat([outside, diagonal[..., :-1]], dim=-1)

    before, last = torch.full_like(skewed[..., 0, :], FAR), skewed[..., 0, :]
    diagonals = [last]
    for d in range(1, steps + width - 1):
        # Predecessors: (t-1, s-1) on diagonal d - 2; (t-1, s) and (t, s-1) on diagonal d - 1.
        before, last = last, skewed[..., d, :] + smallest(torch.stack([shift_down(before), shift_down(last), last]))
        diagonals.append(last)
    # Undo the shear: cell (t, s) lies on diagonal t + s.
    column = torch.arange(width, device=cost.device)
    return torch.stack(diagonals, dim=-2)[..., t[:, None] + column, t[:, None]]


@torch.no_grad()
def find_dtw_path(cost: Tensor) -> Tensor:
    """Returns the cells of the cheapest path, 0 or 1 in (..., T, S); a tie goes to the diagonal."""
    steps, width = cost.shape[-2:]
    best = compute_path_costs(cost, lambda three: three.amin(0)).reshape(-1, steps, width)
    # A border of infinity before row 0 and column 0 keeps the path inside.
    padded = torch.full((len(best), steps + 1, width + 1), torch.inf, dtype=best.dtype, device=best.device)
    padded[:, 1:, 1:] = best
    n = torch.arange(len(best), device=best.device)
    t, s = torch.full_like(n, steps - 1), torch.full_like(n, width - 1)
    path = torch.zeros_like(best)
    path[n, t, s] = 1.0
    # Trace all paths back from (T-1, S-1); a path that has arrived at (0, 0) stays there.
    for _ in range(steps + width - 2):
        straight, up, left = padded[n, t, s], padded[n, t, s + 1], padded[n, t + 1, s]  # indices shifted by the border
        arrived = (t == 0) & (s == 0)
        go_straight = (straight <= up) & (straight <= left)
        t = t - ((go_straight | (up <= left)) & ~arrived).long()
        s = s - ((go_straight | (left < up)) & ~arrived).long()
        path[n, t, s] = 1.0
    return path.reshape(cost.shape)


def compute_expected_visits(cost: Tensor, gamma: float) -> Tensor:
    """Returns E (..., T, S), the probability that a path visits each cell.

    Paths have probability ∝ e^(-cost / γ).
    """

    def soft_minimum(three: Tensor) -> Tensor:
        return -gamma * torch.logsumexp(-three / gamma, 0)

    wide = cost.double()
    # Costs from the start to each cell and from it to the end; both include the cell itself.
    to = compute_path_costs(wide, soft_minimum)
    onward = compute_path_costs(wide.flip(-1, -2), soft_minimum).flip(-1, -2)
    return torch.exp((to[..., -1:, -1:] + wide - to - onward) / gamma).to(cost.dtype)
