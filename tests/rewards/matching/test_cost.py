"""Costs against loops over pairs."""

import numpy as np
import pytest
import torch

from robo_reward.errors import UnknownName, WrongShape
from robo_reward.rewards.matching import cosine, costs, euclidean, get_cost_function, squared_euclidean

PAIRS = {
    "cosine": lambda a, b: 1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)),
    "euclidean": lambda a, b: np.linalg.norm(a - b),
    "squared_euclidean": lambda a, b: np.sum((a - b) ** 2),
}


@pytest.mark.parametrize("name", sorted(costs))
def test_every_pair(name: str, rng: np.random.Generator):
    x, y = rng.normal(size=(2, 3, 5, 7)) + 10.0, rng.normal(size=(3, 4, 7)) + 10.0
    got = get_cost_function(name)(torch.from_numpy(x), torch.from_numpy(y))
    assert got.shape == (2, 3, 5, 4)
    for i in np.ndindex(2, 3, 5, 4):
        assert float(got[i]) == pytest.approx(PAIRS[name](x[i[:3]], y[i[1], i[3]]), abs=1e-10)


@pytest.mark.parametrize("name", sorted(costs))
def test_gradient_by_finite_differences(name: str, rng: np.random.Generator):
    x, y = (torch.from_numpy(rng.normal(size=(n, 3))).requires_grad_() for n in (4, 5))
    assert torch.autograd.gradcheck(get_cost_function(name), (x, y))


def test_the_same_feature_costs_nothing_and_has_a_gradient(rng: np.random.Generator):
    x = torch.from_numpy(rng.normal(size=(4, 3))).requires_grad_()
    for cost in (cosine, euclidean, squared_euclidean):
        matrix = cost(x, x.detach())
        np.testing.assert_allclose(matrix.diagonal().detach(), 0.0, atol=1e-7)
        (gradient,) = torch.autograd.grad(matrix.sum(), x)
        assert torch.isfinite(gradient).all()


def test_a_zero_feature_is_like_nothing():
    np.testing.assert_allclose(cosine(torch.zeros(1, 3), torch.eye(3)), 1.0)


def test_bad_input():
    with pytest.raises(UnknownName, match="'cosine'"):
        get_cost_function("cosin")
    with pytest.raises(WrongShape):
        euclidean(torch.ones(2, 3), torch.ones(2, 4))
