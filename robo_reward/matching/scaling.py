"""Sinkhorn's iteration: products of matrices while the numbers allow it, logarithms where they do not."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

SPREAD = 600.0
"""Above this spread of cost / ε, e^(-cost / ε) leaves float64."""
TINY, HUGE = 1e-280, 1e280
"""Scalings outside are not to be trusted."""
CHECK = 5
"""Iterations between two looks at the error."""


def solve(
    cost: Tensor, a: Tensor, b: Tensor, epsilon: float, relax: float, tolerance: float, max_iterations: int
) -> Tensor:
    """Plans of N problems; arguments as in `sinkhorn_plan`.

    Args:
        cost: (N, T, S) float64, infinite where no mass may go.
        a: (N, T).
        b: (N, S).

    Returns:
        (N, T, S).
    """
    products = _Products(cost, a, b, epsilon, relax)
    hard = products.spread > SPREAD
    if not bool(hard.any()):
        plan, hard = _iterate(products, tolerance, max_iterations)
    else:
        plan, easy = torch.empty_like(cost), ~hard
        products.keep(easy)
        plan[easy], hard[easy] = _iterate(products, tolerance, max_iterations)
    if bool(hard.any()):
        logarithms = _Logarithms(cost[hard], a[hard], b[hard], epsilon, relax)
        plan[hard], _ = _iterate(logarithms, tolerance, max_iterations)
    return plan


class _Products:
    """P = u K v with K = e^(-gap / ε): two batched products of a vector and a matrix per iteration.

    Every row and column of K has a 1, so no sum of it vanishes, and the offsets come back through `a` and `b` where
    the marginals are relaxed: u = a e^(-f₀ / (ρ + ε)) (K v)^(-ρ / (ρ + ε)).
    """

    def __init__(self, cost: Tensor, a: Tensor, b: Tensor, epsilon: float, relax: float) -> None:
        rows = _finite(cost.amin(2))  # f₀
        gap = cost - rows[..., None]
        columns = _finite(gap.amin(1))
        gap -= columns[:, None]
        largest = gap.amax((1, 2))
        if bool(torch.isinf(largest).any()):
            largest = _finite(gap).amax((1, 2))
        self.spread = largest / epsilon  # (N,)
        self.kernel = gap.mul_(-1.0 / epsilon).exp_()  # (N, T, S)
        self.transposed = self.kernel.mT.contiguous()  # vᵀ Kᵀ is several times faster than K v
        self.power = _power(epsilon, relax)
        self.a, self.b = a, b
        if math.isfinite(relax):
            self.a = a * torch.exp(-rows / (relax + epsilon))
            self.b = b * torch.exp(-columns / (relax + epsilon))

    def mass(self) -> Tensor:
        return self.b.sum(-1)

    def start(self) -> Tensor:
        return self.a

    def into_columns(self, u: Tensor) -> Tensor:
        return torch.bmm(u[:, None], self.kernel)[:, 0]

    def into_rows(self, v: Tensor) -> Tensor:
        return torch.bmm(v[:, None], self.transposed)[:, 0]

    def fit_rows(self, reached: Tensor) -> Tensor:
        return self._fit(self.a, reached)

    def fit_columns(self, reached: Tensor) -> Tensor:
        return self._fit(self.b, reached)

    def _fit(self, marginal: Tensor, reached: Tensor) -> Tensor:
        reached = reached.clamp_min(1e-300)
        return marginal / reached if self.power == 1.0 else marginal * reached**-self.power

    def moved(self, reached: Tensor, old: Tensor, new: Tensor) -> Tensor:
        return (reached * (new - old)).abs().sum(-1)

    def plan(self, u: Tensor, v: Tensor) -> Tensor:
        """P; the kernel is used up."""
        return self.kernel.mul_(u[..., None]).mul_(v[:, None])

    def wild(self, u: Tensor, v: Tensor) -> Tensor:
        """(N,) whether a scaling that carries mass came close to the end of the numbers."""
        return _outside(u, self.a) | _outside(v, self.b)

    def keep(self, chosen: Tensor) -> None:
        if not bool(chosen.all()):
            for name in ("kernel", "transposed", "a", "b"):
                setattr(self, name, getattr(self, name)[chosen])


class _Logarithms:
    """The same with logarithms of u, K and v: for any ε, an order of magnitude slower."""

    def __init__(self, cost: Tensor, a: Tensor, b: Tensor, epsilon: float, relax: float) -> None:
        self.kernel = cost * (-1.0 / epsilon)
        self.power = _power(epsilon, relax)
        self.a, self.b = a.log(), b.log()

    def mass(self) -> Tensor:
        return self.b.exp().sum(-1)

    def start(self) -> Tensor:
        return self.a

    def into_columns(self, u: Tensor) -> Tensor:
        return torch.logsumexp(u[..., None] + self.kernel, 1)

    def into_rows(self, v: Tensor) -> Tensor:
        return torch.logsumexp(v[:, None] + self.kernel, 2)

    def fit_rows(self, reached: Tensor) -> Tensor:
        return self.a - self.power * reached.masked_fill(torch.isinf(reached), 0.0)

    def fit_columns(self, reached: Tensor) -> Tensor:
        return self.b - self.power * reached.masked_fill(torch.isinf(reached), 0.0)

    def moved(self, reached: Tensor, old: Tensor, new: Tensor) -> Tensor:
        return (torch.exp(reached + new) - torch.exp(reached + old)).abs().sum(-1)

    def plan(self, u: Tensor, v: Tensor) -> Tensor:
        return self.kernel.add_(u[..., None]).add_(v[:, None]).exp_()

    def wild(self, u: Tensor, v: Tensor) -> Tensor:
        return torch.zeros(len(u), dtype=torch.bool, device=u.device)

    def keep(self, chosen: Tensor) -> None:
        if not bool(chosen.all()):
            self.kernel, self.a, self.b = self.kernel[chosen], self.a[chosen], self.b[chosen]


def _power(epsilon: float, relax: float) -> float:
    return relax / (relax + epsilon) if math.isfinite(relax) else 1.0


def _outside(scaling: Tensor, marginal: Tensor) -> Tensor:
    return ((marginal > 0) & ((scaling < TINY) | (scaling > HUGE))).any(-1)


def _finite(numbers: Tensor) -> Tensor:
    return numbers.masked_fill(torch.isinf(numbers), 0.0)


def _iterate(domain: _Products | _Logarithms, tolerance: float, max_iterations: int) -> tuple[Tensor, Tensor]:
    """Fits columns and rows in turn; a problem leaves when both fit at once, whatever the others do.

    Returns:
        Plans (N, T, S), and whether their scalings are not to be trusted (N,).
    """
    whole = copy.copy(domain)
    left = torch.arange(len(domain.a), device=domain.a.device)
    bound = tolerance * domain.mass()
    u, v = domain.start(), domain.b
    final_u, final_v = torch.empty_like(u), torch.empty_like(v)
    for iteration in range(1, max_iterations + 1):
        if len(left) == 0:
            break
        reached = domain.into_columns(u)
        fitted = domain.fit_columns(reached)
        if iteration % CHECK == 0:
            done = domain.moved(reached, v, fitted) <= bound
            if bool(done.any()):
                final_u[left[done]], final_v[left[done]] = u[done], v[done]
                left, bound, fitted = left[~done], bound[~done], fitted[~done]
                domain.keep(~done)
        v = fitted
        u = domain.fit_rows(domain.into_rows(v))
    else:
        final_u[left], final_v[left] = u, v
    return whole.plan(final_u, final_v), whole.wild(final_u, final_v)
