"""Sinkhorn's iteration: matrix products while the range of the numbers allows, logarithms otherwise."""

from __future__ import annotations

import copy
import logging
import math
from typing import NamedTuple

import torch
from torch import Tensor

log = logging.getLogger(__name__)


class _Precision(NamedTuple):
    """A floating-point type in which kernels are kept.

    Attributes:
        dtype: of the kernel.
        spread: largest range of cost / ε for which e^(-cost / ε) can be represented.
        finest: the smallest tolerance that the rounding allows.
    """

    dtype: torch.dtype
    spread: float
    finest: float


PRECISIONS = (_Precision(torch.float32, 60.0, 1e-6), _Precision(torch.float64, 600.0, 0.0))
OVER_RELAXATION_START = 10
"""Iteration from which over-relaxation with ω = 1.5 (Thibault et al. 2017) accelerates the problems still unsolved."""
CHECK_INTERVAL = 5
"""Iterations between two checks of the error."""
COMPACTION_SHARE = 0.7
"""Share of unfinished problems below which the finished ones are dropped from the batch."""


def solve_sinkhorn(
    cost: Tensor, a: Tensor, b: Tensor, epsilon: float, relax: float, tolerance: float, max_iterations: int
) -> Tensor:
    """Returns the plans of N problems; arguments as in `sinkhorn_plan`.

    Args:
        cost: (N, T, S) float64, infinite where no mass may go.
        a: (N, T).
        b: (N, S).

    Returns:
        (N, T, S).
    """
    plan = torch.empty_like(cost)
    left = torch.arange(len(cost), device=cost.device)
    # The fastest precision first; what exceeds its range goes on to the next, and at last to logarithms.
    for precision in PRECISIONS:
        if tolerance < precision.finest or len(left) == 0:
            continue
        products = _LinearDomain(
            _select_rows(cost, left), _select_rows(a, left), _select_rows(b, left), epsilon, relax, precision
        )
        # Otherwise e^(-cost / ε) would underflow.
        fits = products.spread <= precision.spread
        products.keep_problems(fits)
        found, trusted = _run_iterations(products, tolerance, max_iterations)
        if len(found) == len(plan) and bool(trusted.all()):
            return found
        solved = left[fits][trusted]
        plan[solved] = found[trusted]
        left = torch.cat([left[~fits], left[fits][~trusted]]).sort().values
    if len(left):
        logarithms = _LogDomain(_select_rows(cost, left), _select_rows(a, left), _select_rows(b, left), epsilon, relax)
        plan[left], _ = _run_iterations(logarithms, tolerance, max_iterations)
    return plan


def _select_rows(tensor: Tensor, index: Tensor) -> Tensor:
    """Returns the rows at a sorted index, without a copy where that is all of them."""
    return tensor if len(index) == len(tensor) else tensor[index]


class _LinearDomain:
    """P = u K v with K = e^(-gap / ε): two batched products of a vector and a matrix per iteration.

    Every row of the gap has a 0. Where the marginals are relaxed the offsets f₀ come back through `a`:
    u = a e^(-f₀ / (ρ + ε)) (K v)^(-ρ / (ρ + ε)).
    """

    def __init__(self, cost: Tensor, a: Tensor, b: Tensor, epsilon: float, relax: float, precision: _Precision) -> None:
        rows = _zero_infinities(cost.amin(2))  # f₀, the smallest cost of each row
        gap = torch.empty_like(cost, dtype=precision.dtype)
        torch.sub(cost, rows[..., None], out=gap)  # subtract in the precision of the cost, then round
        largest = gap.amax((1, 2))
        self.masked = bool(torch.isinf(largest).any())
        if self.masked:
            largest = _zero_infinities(gap).amax((1, 2))
        self.spread = largest / epsilon  # (N,)
        self.kernel = gap.mul_(-1.0 / epsilon).exp_()  # (N, T, S)
        self.transposed = self.kernel.mT.contiguous()  # vᵀ Kᵀ is several times faster than K v
        self.power, self.tiny = _compute_exponent(epsilon, relax), torch.finfo(precision.dtype).tiny
        if math.isfinite(relax):
            a = a * torch.exp(-rows / (relax + epsilon))
        self.a, self.b = (
            a.to(precision.dtype)[:, None],
            b.to(precision.dtype)[:, None],
        )  # (N, 1, T), (N, 1, S), as u and v

    def compute_mass(self) -> Tensor:
        """Returns the total mass (N,) of the columns."""
        return self.b.sum((1, 2))

    def get_initial_scaling(self) -> Tensor:
        """Returns the first row scaling u (N, 1, T)."""
        return self.a

    def into_columns(self, u: Tensor) -> Tensor:
        """Returns the column sums Kᵀ u (N, 1, S) before scaling by v."""
        return torch.bmm(u, self.kernel)

    def into_rows(self, v: Tensor) -> Tensor:
        """Returns the row sums K v (N, 1, T) before scaling by u."""
        return torch.bmm(v, self.transposed)

    def fit_rows(self, reached: Tensor) -> Tensor:
        """Returns the row scaling u that meets the row marginals."""
        return self._fit_marginal(self.a, reached)

    def fit_columns(self, reached: Tensor) -> Tensor:
        """Returns the column scaling v that meets the column marginals."""
        return self._fit_marginal(self.b, reached)

    def _fit_marginal(self, marginal: Tensor, reached: Tensor) -> Tensor:
        """Returns the scaling that meets a marginal."""
        if self.masked:  # without a mask all sums are positive
            reached = reached.clamp_min(self.tiny)
        return marginal / reached if self.power == 1.0 else marginal * reached**-self.power

    def over_relax(self, fitted: Tensor, old: Tensor) -> Tensor:
        """Returns the fitted scaling, moved half a step further from the old one."""
        # ω = 1.5 in the log domain.
        return fitted * (fitted / old.clamp_min(self.tiny)).sqrt_()

    def compute_error(self, reached: Tensor, old: Tensor, new: Tensor) -> Tensor:
        """Returns the norm (N,) of the error of the column marginals."""
        return torch.linalg.vector_norm(reached * (new - old), dim=(1, 2))

    def compute_plan(self, u: Tensor, v: Tensor) -> Tensor:
        """Returns P in float64; overwrites the kernel."""
        plan = torch.empty_like(self.kernel, dtype=torch.float64)
        return torch.mul(self.kernel.mul_(u.mT), v, out=plan)

    def is_reliable(self, u: Tensor, v: Tensor) -> Tensor:
        """Returns whether the scalings of a problem that carry mass stayed in range, for each problem (N,)."""
        return _is_in_range(u, self.a) & _is_in_range(v, self.b)

    def keep_problems(self, chosen: Tensor) -> None:
        """Drops the problems that are not chosen (N,)."""
        if not bool(chosen.all()):
            for name in ("kernel", "transposed", "a", "b"):
                setattr(self, name, getattr(self, name)[chosen])


class _LogDomain:
    """The same with logarithms of u, K and v: for any ε, an order of magnitude slower."""

    def __init__(self, cost: Tensor, a: Tensor, b: Tensor, epsilon: float, relax: float) -> None:
        self.kernel = cost * (-1.0 / epsilon)
        self.power = _compute_exponent(epsilon, relax)
        self.a, self.b = a.log()[:, None], b.log()[:, None]

    def compute_mass(self) -> Tensor:
        return self.b.exp().sum((1, 2))

    def get_initial_scaling(self) -> Tensor:
        return self.a

    def into_columns(self, u: Tensor) -> Tensor:
        return torch.logsumexp(u.mT + self.kernel, 1, keepdim=True)

    def into_rows(self, v: Tensor) -> Tensor:
        return torch.logsumexp(v + self.kernel, 2, keepdim=True).mT

    def fit_rows(self, reached: Tensor) -> Tensor:
        # An infinite sum means a row without allowed cells: its kernel is 0 whatever the scaling.
        return self.a - self.power * reached.masked_fill(torch.isinf(reached), 0.0)

    def fit_columns(self, reached: Tensor) -> Tensor:
        return self.b - self.power * reached.masked_fill(torch.isinf(reached), 0.0)

    def over_relax(self, fitted: Tensor, old: Tensor) -> Tensor:
        return torch.where(torch.isinf(fitted), fitted, 1.5 * fitted - 0.5 * old)

    def compute_error(self, reached: Tensor, old: Tensor, new: Tensor) -> Tensor:
        return torch.linalg.vector_norm(torch.exp(reached + new) - torch.exp(reached + old), dim=(1, 2))

    def compute_plan(self, u: Tensor, v: Tensor) -> Tensor:
        return self.kernel.add_(u.mT).add_(v).exp_()

    def is_reliable(self, u: Tensor, v: Tensor) -> Tensor:
        return torch.ones(len(u), dtype=torch.bool, device=u.device)

    def keep_problems(self, chosen: Tensor) -> None:
        if not bool(chosen.all()):
            self.kernel, self.a, self.b = self.kernel[chosen], self.a[chosen], self.b[chosen]


def _compute_exponent(epsilon: float, relax: float) -> float:
    """Returns the exponent ρ / (ρ + ε) of a relaxed marginal, 1 for an exact one."""
    return relax / (relax + epsilon) if math.isfinite(relax) else 1.0


def _is_in_range(scaling: Tensor, marginal: Tensor) -> Tensor:
    """Returns whether all scalings that carry mass are far from underflow and overflow, (N,)."""
    tiny = torch.finfo(scaling.dtype).tiny * 1e4
    return ((marginal == 0) | ((scaling > tiny) & (scaling < 1.0 / tiny))).all(-1)[:, 0]


def _zero_infinities(numbers: Tensor) -> Tensor:
    """Returns the numbers with infinities replaced by 0."""
    return numbers.masked_fill(torch.isinf(numbers), 0.0)


def _run_iterations(domain: _LinearDomain | _LogDomain, tolerance: float, max_iterations: int) -> tuple[Tensor, Tensor]:
    """Fits columns and rows in turn; each problem stops as soon as both fit at once, independent of the others.

    Returns:
        Plans (N, T, S), and whether their scalings can be trusted (N,).
    """
    whole = copy.copy(domain)
    index = torch.arange(len(domain.a), device=domain.a.device)  # problem number of each entry of `domain`
    pending = torch.ones_like(index, dtype=torch.bool)  # not converged yet
    bound = tolerance * domain.compute_mass()
    u, v = domain.get_initial_scaling(), domain.b
    final_u, final_v = torch.empty_like(u), torch.empty_like(v)
    for iteration in range(1, max_iterations + 1):
        reached = domain.into_columns(u)
        fitted = domain.fit_columns(reached)
        if iteration % CHECK_INTERVAL == 0:
            done = pending & (domain.compute_error(reached, v, fitted) <= bound)
            if bool(done.any()):
                final_u[index[done]], final_v[index[done]] = u[done], v[done]
                pending &= ~done
                count = int(pending.sum())
                if count == 0:
                    break
                if count < COMPACTION_SHARE * len(
                    pending
                ):  # drop the converged ones: from here on, copying is cheaper than carrying them
                    domain.keep_problems(pending)
                    u, v, fitted = u[pending], v[pending], fitted[pending]
                    index, bound, pending = index[pending], bound[pending], pending[pending]
        # No over-relaxation right before a check: the rows then fit exactly, and the check reads only the columns.
        accelerates = OVER_RELAXATION_START <= iteration < max_iterations // 2 and (iteration + 1) % CHECK_INTERVAL != 0
        v = domain.over_relax(fitted, v) if accelerates else fitted
        fitted = domain.fit_rows(domain.into_rows(v))
        u = domain.over_relax(fitted, u) if accelerates else fitted
    else:
        if bool(pending.any()):
            log.warning(
                "%d of %d transport plans have not converged after %d iterations: their columns miss their mass by "
                "more than the tolerance %g. A larger epsilon, or a larger max_iterations, makes them exact",
                *(int(pending.sum()), len(whole.a), max_iterations, tolerance),
            )
        final_u[index[pending]], final_v[index[pending]] = u[pending], v[pending]
    return whole.compute_plan(final_u, final_v), whole.is_reliable(final_u, final_v)
