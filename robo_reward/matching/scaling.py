"""Sinkhorn's iteration: products of matrices while the numbers allow it, logarithms where they do not."""

from __future__ import annotations

import copy
import logging
import math
from typing import NamedTuple

import torch
from torch import Tensor

log = logging.getLogger(__name__)


class _Lane(NamedTuple):
    """Numbers in which kernels are kept.

    Attributes:
        dtype: theirs.
        spread: of cost / ε, up to which they can hold e^(-cost / ε).
        finest: the smallest tolerance that their rounding allows.
    """

    dtype: torch.dtype
    spread: float
    finest: float


LANES = (_Lane(torch.float32, 60.0, 1e-6), _Lane(torch.float64, 600.0, 0.0))
HURRY = 10
"""Problems that are not solved by then are slow, and gain from over-relaxation (Thibault et al. 2017) with ω = 1.5."""
CHECK = 5
"""Iterations between two looks at the error."""
SPARSE = 0.7
"""The share of unfinished problems below which the finished ones are dropped."""


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
    plan = torch.empty_like(cost)
    left = torch.arange(len(cost), device=cost.device)
    for lane in LANES:
        if tolerance < lane.finest or len(left) == 0:
            continue
        products = _Products(_rows(cost, left), _rows(a, left), _rows(b, left), epsilon, relax, lane)
        fits = products.spread <= lane.spread
        products.keep(fits)
        found, trusted = _iterate(products, tolerance, max_iterations)
        if len(found) == len(plan) and bool(trusted.all()):
            return found
        solved = left[fits][trusted]
        plan[solved] = found[trusted]
        left = torch.cat([left[~fits], left[fits][~trusted]]).sort().values
    if len(left):
        logarithms = _Logarithms(_rows(cost, left), _rows(a, left), _rows(b, left), epsilon, relax)
        plan[left], _ = _iterate(logarithms, tolerance, max_iterations)
    return plan


def _rows(tensor: Tensor, index: Tensor) -> Tensor:
    """The rows at a sorted index, without a copy where that is all of them."""
    return tensor if len(index) == len(tensor) else tensor[index]


class _Products:
    """P = u K v with K = e^(-gap / ε): two batched products of a vector and a matrix per iteration.

    Every row of the gap has a 0. Where the marginals are relaxed the offsets f₀ come back through `a`:
    u = a e^(-f₀ / (ρ + ε)) (K v)^(-ρ / (ρ + ε)).
    """

    def __init__(self, cost: Tensor, a: Tensor, b: Tensor, epsilon: float, relax: float, lane: _Lane) -> None:
        rows = _finite(cost.amin(2))  # f₀
        gap = torch.empty_like(cost, dtype=lane.dtype)
        torch.sub(cost, rows[..., None], out=gap)  # in the precision of the cost, then rounded
        largest = gap.amax((1, 2))
        self.masked = bool(torch.isinf(largest).any())
        if self.masked:
            largest = _finite(gap).amax((1, 2))
        self.spread = largest / epsilon  # (N,)
        self.kernel = gap.mul_(-1.0 / epsilon).exp_()  # (N, T, S)
        self.transposed = self.kernel.mT.contiguous()  # vᵀ Kᵀ is several times faster than K v
        self.power, self.tiny = _power(epsilon, relax), torch.finfo(lane.dtype).tiny
        if math.isfinite(relax):
            a = a * torch.exp(-rows / (relax + epsilon))
        self.a, self.b = a.to(lane.dtype)[:, None], b.to(lane.dtype)[:, None]  # (N, 1, T), (N, 1, S), as u and v

    def mass(self) -> Tensor:
        return self.b.sum((1, 2))

    def start(self) -> Tensor:
        return self.a

    def into_columns(self, u: Tensor) -> Tensor:
        return torch.bmm(u, self.kernel)

    def into_rows(self, v: Tensor) -> Tensor:
        return torch.bmm(v, self.transposed)

    def fit_rows(self, reached: Tensor) -> Tensor:
        return self._fit(self.a, reached)

    def fit_columns(self, reached: Tensor) -> Tensor:
        return self._fit(self.b, reached)

    def _fit(self, marginal: Tensor, reached: Tensor) -> Tensor:
        if self.masked:  # else everything reaches everything, and the sums are positive
            reached = reached.clamp_min(self.tiny)
        return marginal / reached if self.power == 1.0 else marginal * reached**-self.power

    def beyond(self, fitted: Tensor, old: Tensor) -> Tensor:
        """Half a step further than fitted."""
        return fitted * (fitted / old.clamp_min(self.tiny)).sqrt_()

    def moved(self, reached: Tensor, old: Tensor, new: Tensor) -> Tensor:
        return torch.linalg.vector_norm(reached * (new - old), dim=(1, 2))

    def plan(self, u: Tensor, v: Tensor) -> Tensor:
        """P in float64; the kernel is used up."""
        plan = torch.empty_like(self.kernel, dtype=torch.float64)
        return torch.mul(self.kernel.mul_(u.mT), v, out=plan)

    def trusted(self, u: Tensor, v: Tensor) -> Tensor:
        """(N,) whether no scaling that carries mass came close to the end of the numbers."""
        return _inside(u, self.a) & _inside(v, self.b)

    def keep(self, chosen: Tensor) -> None:
        if not bool(chosen.all()):
            for name in ("kernel", "transposed", "a", "b"):
                setattr(self, name, getattr(self, name)[chosen])


class _Logarithms:
    """The same with logarithms of u, K and v: for any ε, an order of magnitude slower."""

    def __init__(self, cost: Tensor, a: Tensor, b: Tensor, epsilon: float, relax: float) -> None:
        self.kernel = cost * (-1.0 / epsilon)
        self.power = _power(epsilon, relax)
        self.a, self.b = a.log()[:, None], b.log()[:, None]

    def mass(self) -> Tensor:
        return self.b.exp().sum((1, 2))

    def start(self) -> Tensor:
        return self.a

    def into_columns(self, u: Tensor) -> Tensor:
        return torch.logsumexp(u.mT + self.kernel, 1, keepdim=True)

    def into_rows(self, v: Tensor) -> Tensor:
        return torch.logsumexp(v + self.kernel, 2, keepdim=True).mT

    def fit_rows(self, reached: Tensor) -> Tensor:
        return self.a - self.power * reached.masked_fill(torch.isinf(reached), 0.0)

    def fit_columns(self, reached: Tensor) -> Tensor:
        return self.b - self.power * reached.masked_fill(torch.isinf(reached), 0.0)

    def beyond(self, fitted: Tensor, old: Tensor) -> Tensor:
        return torch.where(torch.isinf(fitted), fitted, 1.5 * fitted - 0.5 * old)

    def moved(self, reached: Tensor, old: Tensor, new: Tensor) -> Tensor:
        return torch.linalg.vector_norm(torch.exp(reached + new) - torch.exp(reached + old), dim=(1, 2))

    def plan(self, u: Tensor, v: Tensor) -> Tensor:
        return self.kernel.add_(u.mT).add_(v).exp_()

    def trusted(self, u: Tensor, v: Tensor) -> Tensor:
        return torch.ones(len(u), dtype=torch.bool, device=u.device)

    def keep(self, chosen: Tensor) -> None:
        if not bool(chosen.all()):
            self.kernel, self.a, self.b = self.kernel[chosen], self.a[chosen], self.b[chosen]


def _power(epsilon: float, relax: float) -> float:
    return relax / (relax + epsilon) if math.isfinite(relax) else 1.0


def _inside(scaling: Tensor, marginal: Tensor) -> Tensor:
    tiny = torch.finfo(scaling.dtype).tiny * 1e4
    return ((marginal == 0) | ((scaling > tiny) & (scaling < 1.0 / tiny))).all(-1)[:, 0]


def _finite(numbers: Tensor) -> Tensor:
    return numbers.masked_fill(torch.isinf(numbers), 0.0)


def _iterate(domain: _Products | _Logarithms, tolerance: float, max_iterations: int) -> tuple[Tensor, Tensor]:
    """Fits columns and rows in turn; a problem leaves when both fit at once, whatever the others do.

    Returns:
        Plans (N, T, S), and whether their scalings can be trusted (N,).
    """
    whole = copy.copy(domain)
    index = torch.arange(len(domain.a), device=domain.a.device)  # of the problems that are still in `domain`
    pending = torch.ones_like(index, dtype=torch.bool)  # of them
    bound = tolerance * domain.mass()
    u, v = domain.start(), domain.b
    final_u, final_v = torch.empty_like(u), torch.empty_like(v)
    for iteration in range(1, max_iterations + 1):
        reached = domain.into_columns(u)
        fitted = domain.fit_columns(reached)
        if iteration % CHECK == 0:
            done = pending & (domain.moved(reached, v, fitted) <= bound)
            if bool(done.any()):
                final_u[index[done]], final_v[index[done]] = u[done], v[done]
                pending &= ~done
                count = int(pending.sum())
                if count == 0:
                    break
                if count < SPARSE * len(pending):  # drop the others: until now it was cheaper to carry them along
                    domain.keep(pending)
                    u, v, fitted = u[pending], v[pending], fitted[pending]
                    index, bound, pending = index[pending], bound[pending], pending[pending]
        # The rows are met when the next iteration looks at the columns.
        hurry = HURRY <= iteration < max_iterations // 2 and (iteration + 1) % CHECK != 0
        v = domain.beyond(fitted, v) if hurry else fitted
        fitted = domain.fit_rows(domain.into_rows(v))
        u = domain.beyond(fitted, u) if hurry else fitted
    else:
        if bool(pending.any()):
            log.warning(
                "%d of %d transport plans have not converged after %d iterations: their columns miss their mass by "
                "more than the tolerance %g. A larger epsilon, or a larger max_iterations, makes them exact",
                *(int(pending.sum()), len(whole.a), max_iterations, tolerance),
            )
        final_u[index[pending]], final_v[index[pending]] = u[pending], v[pending]
    return whole.plan(final_u, final_v), whole.trusted(final_u, final_v)
