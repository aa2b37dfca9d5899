"""Plans against POT, the best assignment, closed forms, and what must not change them."""

import itertools
import math
from typing import Any

import numpy as np
import ot
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from robo_reward.errors import UsageError, WrongShape
from robo_reward.rewards.matching import sinkhorn_plan
from robo_reward.rewards.matching.sinkhorn_solver import PRECISIONS, _LinearDomain, _LogDomain, _run_iterations


def pot(*arguments: Any, **options: Any) -> np.ndarray:
    """POT's plan; its functions are annotated with the tuples that they return with `log=True`."""
    plan: Any = ot.sinkhorn(*arguments, **options)
    return plan


def uniform(n: int) -> np.ndarray:
    return np.full(n, 1.0 / n)


@pytest.fixture
def cost(rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.random((4, 3, 12, 17)))


@pytest.mark.parametrize(("epsilon", "method"), [(1.0, "sinkhorn"), (0.1, "sinkhorn"), (0.02, "sinkhorn_log")])
def test_plans_are_those_of_pot(cost: torch.Tensor, epsilon: float, method: str):
    plans = sinkhorn_plan(cost, epsilon, tolerance=1e-9, max_iterations=5000).numpy().reshape(-1, 12, 17)
    for plan, c in zip(plans, cost.reshape(-1, 12, 17).numpy(), strict=True):
        wanted = pot(uniform(12), uniform(17), c, epsilon, method=method, stopThr=1e-10, numItermax=20000)
        np.testing.assert_allclose(plan, wanted, atol=1e-8)


def test_marginals_are_those_of_pot(cost: torch.Tensor, rng: np.random.Generator):
    a, b = rng.dirichlet(np.ones(12)), rng.dirichlet(np.ones(17))
    plan = sinkhorn_plan(cost[0, 0], 0.2, torch.from_numpy(a), torch.from_numpy(b), tolerance=1e-10)
    np.testing.assert_allclose(plan, pot(a, b, cost[0, 0].numpy(), 0.2, stopThr=1e-12), atol=1e-9)


@pytest.mark.parametrize("relax", [0.05, 0.5, 20.0])
@pytest.mark.parametrize("epsilon", [1.0, 0.05])
def test_relaxed_plans_are_those_of_pot(cost: torch.Tensor, relax: float, epsilon: float):
    a, b, c = uniform(12), uniform(17), cost[0, 0].numpy() * 3.0
    wanted: Any = ot.unbalanced.sinkhorn_unbalanced(a, b, c, epsilon, relax, stopThr=1e-13, numItermax=100000)
    plan = sinkhorn_plan(torch.from_numpy(c), epsilon, relax=relax, tolerance=1e-11, max_iterations=20000)
    np.testing.assert_allclose(plan, wanted, atol=1e-8)


def test_small_epsilon_finds_the_best_assignment(rng: np.random.Generator):
    costs = rng.random((20, 5, 5))
    plans = sinkhorn_plan(torch.from_numpy(costs), 1e-3, max_iterations=20000).numpy()
    for cost, plan in zip(costs, plans, strict=True):
        totals = {p: cost[range(5), p].sum() for p in itertools.permutations(range(5))}
        best = min(totals, key=totals.__getitem__)
        assert (plan * cost).sum() == pytest.approx(totals[best] / 5, abs=2e-3)
        runner_up = sorted(totals.values())[1]
        if runner_up - totals[best] > 0.03:  # far enough apart for ε to tell
            np.testing.assert_array_equal(plan.argmax(1), best)


def test_two_by_two_in_closed_form():
    """P_00 = ½ σ((c_01 + c_10 - c_00 - c_11) / 2ε)."""
    cost = torch.tensor([[0.3, 0.9], [0.4, 0.1]], dtype=torch.float64)
    plan = sinkhorn_plan(cost, 0.25, tolerance=1e-14)
    share = 0.5 / (1.0 + math.exp(-(0.9 + 0.4 - 0.3 - 0.1) / 0.5))
    np.testing.assert_allclose(plan, [[share, 0.5 - share], [0.5 - share, share]], atol=1e-12)


def test_a_sum_of_row_and_column_costs_says_nothing(rng: np.random.Generator):
    cost = torch.from_numpy(rng.random((6, 1)) + rng.random((1, 9)))
    np.testing.assert_allclose(sinkhorn_plan(cost, 0.01), np.full((6, 9), 1 / 54), atol=1e-7)
    np.testing.assert_allclose(sinkhorn_plan(cost, 0.01, tolerance=1e-12), np.full((6, 9), 1 / 54), atol=1e-12)


@settings(max_examples=40)
@example(seed=5329, shape=(2, 1, 2), epsilon=1e-6, scale=1e-3, masked=True)  # both left over, in another order
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    epsilon=st.sampled_from([1e-6, 1e-3, 0.05, 1.0, 100.0]),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    masked=st.booleans(),
)
def test_plans_are_finite_and_rows_are_full(
    seed: int, shape: tuple[int, int, int], epsilon: float, scale: float, masked: bool
):
    rng = np.random.default_rng(seed)
    cost = torch.from_numpy(scale * rng.normal(size=shape))
    mask = torch.from_numpy(rng.random(shape) < 0.4) if masked else None
    plan = sinkhorn_plan(cost, epsilon, mask=mask, max_iterations=50)
    assert torch.isfinite(plan).all() and (plan >= 0).all()
    if mask is None:
        rounding = 1e-6 + 1e-14 * scale / epsilon  # of float32, and of cost / ε
        np.testing.assert_allclose(plan.sum(-1), np.full(shape[:2], 1 / shape[1]), rtol=rounding)
    else:
        assert (plan[~mask] == 0).all()


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), factor=st.floats(1e-3, 1e3), shift=st.floats(-5, 5))
def test_scaling_cost_and_epsilon_together_changes_nothing(seed: int, factor: float, shift: float):
    cost = torch.from_numpy(np.random.default_rng(seed).random((2, 7, 8)))
    for tolerance, atol in ((1e-6, 1e-6), (1e-10, 1e-10)):
        plan = sinkhorn_plan(cost, 0.1, tolerance=tolerance)
        other = sinkhorn_plan(cost * factor + shift, 0.1 * factor, tolerance=tolerance)
        np.testing.assert_allclose(other, plan, atol=atol)


def test_company_and_order_in_the_batch_do_not_matter(rng: np.random.Generator):
    """Among them problems for each kind of numbers, that need many or few iterations."""
    spread = np.array([1e-3, 0.1, 1.0, 3.0, 20.0, 500.0])[:, None, None]
    cost = torch.from_numpy(rng.random((6, 10, 11)) * spread)
    together = sinkhorn_plan(cost, 0.02)
    order = torch.tensor([3, 5, 0, 4, 1, 2])
    np.testing.assert_allclose(sinkhorn_plan(cost[order], 0.02), together[order], atol=1e-12)
    for alone, wanted in zip(cost, together, strict=True):
        np.testing.assert_allclose(sinkhorn_plan(alone, 0.02), wanted, atol=1e-12)
    folded = sinkhorn_plan(cost.reshape(2, 3, 10, 11), 0.02)
    np.testing.assert_allclose(folded.reshape(6, 10, 11), together, atol=1e-12)


def test_transposing_transposes(rng: np.random.Generator):
    cost = torch.from_numpy(rng.random((6, 9)))
    plan = sinkhorn_plan(cost, 0.1, tolerance=1e-12)
    np.testing.assert_allclose(sinkhorn_plan(cost.mT, 0.1, tolerance=1e-12), plan.mT, atol=1e-10)


@pytest.mark.parametrize("relax", [math.inf, 0.3])
def test_products_and_logarithms_agree(rng: np.random.Generator, relax: float):
    cost = torch.from_numpy(rng.random((3, 8, 6)))
    a, b = torch.from_numpy(rng.dirichlet(np.ones(8), 3)), torch.from_numpy(rng.dirichlet(np.ones(6), 3))
    logarithms, _ = _run_iterations(_LogDomain(cost, a, b, 0.03, relax), 1e-10, 5000)
    for lane, atol in zip(PRECISIONS, (1e-6, 1e-9), strict=True):
        products, trusted = _run_iterations(_LinearDomain(cost, a, b, 0.03, relax, lane), max(lane.finest, 1e-10), 5000)
        np.testing.assert_allclose(products, logarithms, atol=atol)
        assert trusted.all()


def test_rows_without_mass_take_no_part(rng: np.random.Generator):
    """So clips of several lengths fit in one batch."""
    cost = torch.from_numpy(rng.random((9, 7)))
    rows = torch.tensor([0.2] * 5 + [0.0] * 4)
    plan = sinkhorn_plan(cost, 0.1, rows=rows)
    assert (plan[5:] == 0).all()
    np.testing.assert_allclose(plan[:5], sinkhorn_plan(cost[:5], 0.1), atol=1e-7)


def test_a_mask_is_an_infinite_cost(rng: np.random.Generator):
    cost, mask = rng.random((10, 10)), rng.random((10, 10)) < 0.5
    mask |= np.eye(10, dtype=bool)  # so that a plan exists
    plan = sinkhorn_plan(torch.from_numpy(cost), 0.1, mask=torch.from_numpy(mask), max_iterations=20000)
    wanted = pot(uniform(10), uniform(10), np.where(mask, cost, 1e3), 0.1, method="sinkhorn_log", numItermax=20000)
    np.testing.assert_allclose(plan, wanted, atol=1e-6)


def test_a_row_that_may_go_nowhere_stays_empty():
    mask = torch.ones(3, 3, dtype=torch.bool)
    mask[1] = False
    plan = sinkhorn_plan(torch.rand(3, 3), 0.1, mask=mask)
    assert torch.isfinite(plan).all() and (plan[1] == 0).all()


@pytest.mark.parametrize("epsilon", [0.05, 1.0])
@pytest.mark.parametrize("relax", [math.inf, 0.4])
def test_gradient_by_finite_differences(rng: np.random.Generator, epsilon: float, relax: float):
    cost = torch.from_numpy(rng.random((2, 4, 5))).requires_grad_()

    def plan(c: torch.Tensor) -> torch.Tensor:
        return sinkhorn_plan(c, epsilon, relax=relax, tolerance=1e-13, max_iterations=10000)

    assert torch.autograd.gradcheck(plan, (cost,), eps=1e-6, atol=1e-5)


def test_gradient_with_a_mask_and_marginals(rng: np.random.Generator):
    cost = torch.from_numpy(rng.random((4, 5))).requires_grad_()
    mask = torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 1, 1, 1, 1], [0, 0, 0, 1, 1]], dtype=torch.bool)
    rows = torch.tensor([0.1, 0.3, 0.0, 0.6], dtype=torch.float64)
    columns = torch.tensor([0.2, 0.1, 0.1, 0.4, 0.2], dtype=torch.float64)

    def plan(c: torch.Tensor) -> torch.Tensor:
        return sinkhorn_plan(c, 0.2, rows, columns, mask, tolerance=1e-13, max_iterations=10000)

    assert torch.autograd.gradcheck(plan, (cost,), eps=1e-6, atol=1e-5)


def test_gradient_of_a_hard_assignment_is_finite():
    cost = (1.0 - torch.eye(6, dtype=torch.float64)).requires_grad_()
    (sinkhorn_plan(cost, 1e-4) * cost).sum().backward()
    assert cost.grad is not None
    np.testing.assert_allclose(cost.grad, np.eye(6) / 6, atol=1e-6)


def test_the_cost_of_transport_has_the_plan_as_its_gradient(rng: np.random.Generator):
    """d/dC of min <P, C> + ε KL is P (Danskin), so d<P, C>/dC at a large ε is close to P too."""
    cost = torch.from_numpy(rng.random((5, 6))).requires_grad_()
    plan = sinkhorn_plan(cost, 0.3, tolerance=1e-12)
    value = (plan * cost).sum() + 0.3 * (plan * torch.log(plan * 30)).sum()
    (gradient,) = torch.autograd.grad(value, cost)
    np.testing.assert_allclose(gradient, plan.detach(), atol=1e-9)


def test_types_and_empty_batches():
    cost = torch.rand(3, 4, 5)
    plan = sinkhorn_plan(cost, 0.1)
    assert plan.dtype == torch.float32
    np.testing.assert_allclose(plan, sinkhorn_plan(cost.double(), 0.1), atol=1e-8)
    assert sinkhorn_plan(torch.rand(0, 4, 5), 0.1).shape == (0, 4, 5)


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (UsageError, {"epsilon": 0.0}),
        (UsageError, {"epsilon": math.nan}),
        (UsageError, {"relax": -1.0}),
        (UsageError, {"cost": torch.tensor([[1.0, math.nan]])}),
        (UsageError, {"cost": torch.tensor([[1.0, math.inf]])}),
        (UsageError, {"cost": torch.ones(2, 2, dtype=torch.long)}),
        (UsageError, {"rows": torch.tensor([1.5, -0.5])}),
        (UsageError, {"columns": torch.zeros(2)}),
        (WrongShape, {"cost": torch.ones(3)}),
        (WrongShape, {"rows": torch.ones(3)}),
        (WrongShape, {"mask": torch.ones(3, 2)}),
    ],
)
def test_bad_input(error: type[Exception], arguments: dict):
    with pytest.raises(error):
        sinkhorn_plan(**{"cost": torch.rand(2, 2), "epsilon": 0.1, **arguments})


def test_plans_that_have_not_converged_are_told(caplog: pytest.LogCaptureFixture) -> None:
    cost = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sinkhorn_plan(cost, 0.003, max_iterations=20)
    assert "3 of 3 transport plans have not converged after 20 iterations" in caplog.text
    caplog.clear()
    plan = sinkhorn_plan(cost, 0.1)
    assert caplog.text == "" and torch.allclose(
        plan.sum(-2), torch.full((3, 12), 1 / 12, dtype=torch.float64), atol=1e-6
    )
