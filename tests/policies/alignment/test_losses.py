"""Alignment losses: closed forms, finite differences, and two Gaussian modes whose preferred one is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from robo_reward.errors import UsageError, WrongShape
from robo_reward.policies.alignment.losses.anchor import compute_cloning_loss
from robo_reward.policies.alignment.losses.dpo import compute_dpo_loss, compute_preference_accuracy
from robo_reward.policies.alignment.losses.dro import MARGIN, compute_dro_loss
from robo_reward.policies.alignment.losses.implicit_reward import average_rows, compute_implicit_reward
from robo_reward.policies.alignment.losses.kto import compute_kto_loss
from robo_reward.policies.alignment.losses.reward_weighting import compute_progress_weights, compute_return_weights


def test_implicit_reward_leaves_padding_out() -> None:
    errors, reference = torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[2.0, 5.0, -7.0]])
    mask = torch.tensor([[True, True, False]])
    assert compute_implicit_reward(errors, reference, mask).item() == pytest.approx((1 + 3) / 2)
    assert compute_implicit_reward(errors, reference).item() == pytest.approx((1 + 3 - 16) / 3)
    assert average_rows(errors, torch.zeros(1, 3)).item() == 0.0  # all padding


def test_dpo_is_log_two_at_the_reference_and_the_closed_form_elsewhere() -> None:
    zero = torch.zeros(5)
    assert compute_dpo_loss(zero, zero, beta=30.0).item() == pytest.approx(math.log(2))
    better, worse, beta = 0.04, -0.01, 20.0
    expected = -math.log(1 / (1 + math.exp(-beta * (better - worse))))
    assert compute_dpo_loss(torch.tensor([better]), torch.tensor([worse]), beta).item() == pytest.approx(
        expected, rel=1e-5
    )
    tie = compute_dpo_loss(torch.tensor([better]), torch.tensor([worse]), beta, torch.tensor([0.5])).item()
    swapped = compute_dpo_loss(torch.tensor([worse]), torch.tensor([better]), beta).item()
    assert tie == pytest.approx((expected + swapped) / 2, rel=1e-5)


def test_a_tie_pulls_both_sides_together() -> None:
    winner, loser = torch.tensor([0.2], requires_grad=True), torch.tensor([-0.1], requires_grad=True)
    compute_dpo_loss(winner, loser, 5.0, torch.tensor([0.5])).backward()
    assert winner.grad is not None and loser.grad is not None
    assert winner.grad.item() > 0 > loser.grad.item()


def test_preference_accuracy_counts_equal_rewards_half() -> None:
    assert compute_preference_accuracy(torch.tensor([1.0, 0.0, 2.0]), torch.tensor([0.0, 0.0, 3.0])) == 0.5


def test_kto_reference_point_has_no_gradient_and_is_not_negative() -> None:
    reward = torch.tensor([0.3, -0.1], requires_grad=True)
    good = torch.tensor([True, False])
    beta = 2.0
    loss = compute_kto_loss(reward, good, beta, 1.0, 0.5)
    point = beta * 0.1

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    expected = ((1 - sigmoid(0.6 - point)) + 0.5 * (1 - sigmoid(point + 0.2))) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert reward.grad is not None
    slope = -beta * sigmoid(0.6 - point) * (1 - sigmoid(0.6 - point)) / 2  # of the fixed point, not of the mean
    assert reward.grad[0].item() == pytest.approx(slope, rel=1e-5)
    below = torch.tensor([-3.0, -3.0])
    assert compute_kto_loss(below, good, beta).item() == pytest.approx(
        (1 - sigmoid(-6.0) + 1 - sigmoid(6.0)) / 2, rel=1e-4
    )


def test_dro_is_flat_beyond_the_margin() -> None:
    liked = torch.tensor([0.5, 0.0], requires_grad=True)
    loss = compute_dro_loss(liked, torch.tensor([0.1, 0.2]))
    assert loss.item() == pytest.approx((0.0 + 0.2 + MARGIN) / 2, rel=1e-5)
    loss.backward()
    assert liked.grad is not None and liked.grad.tolist() == [0.0, -0.5]


@pytest.mark.parametrize("name", ["dpo", "dro", "cloning"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    torch.manual_seed(0)
    errors = torch.rand(6, 4, dtype=torch.float64, requires_grad=True)
    reference, mask = torch.rand(6, 4, dtype=torch.float64), torch.rand(6, 4) < 0.8

    def loss(values: Tensor) -> Tensor:
        reward = compute_implicit_reward(values, reference, mask)
        if name == "dpo":
            return compute_dpo_loss(reward[:3], reward[3:], 4.0)
        if name == "dro":
            return compute_dro_loss(reward[:3], reward[3:])
        return compute_cloning_loss(values, mask, torch.arange(6.0, dtype=torch.float64))

    assert torch.autograd.gradcheck(loss, (errors,))


def test_progress_weights_are_those_of_the_rule() -> None:
    progress = np.array([-0.2, 0.0, 0.005, 0.5])
    mean, spread = progress.mean(), progress.std()
    soft = [(x - (mean - 2 * spread)) / (4 * spread + 1e-6) for x in (0.0, 0.005)]
    raw = np.array([0.0, *soft, 1.0])
    assert compute_progress_weights(progress) == pytest.approx(raw * 4 / raw.sum())


def test_return_weights_have_mean_one_and_grow_with_the_return() -> None:
    weights = compute_return_weights(np.array([1.0, 2.0, 4.0]), temperature=0.5)
    assert weights.mean() == pytest.approx(1.0)
    assert weights[0] < weights[1] < weights[2]
    assert weights[2] / weights[0] == pytest.approx(math.exp(3 / (np.std([1.0, 2.0, 4.0]) * 0.5)))


def test_rewards_that_prefer_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="prefers none"):
        compute_return_weights(np.full(4, 2.0))
    with pytest.raises(UsageError, match="all weights are 0"):
        compute_progress_weights(np.full(3, -0.1))
    with pytest.raises(UsageError, match="not finite"):
        compute_progress_weights(np.array([0.0, np.nan]))
    with pytest.raises(WrongShape):
        compute_return_weights(np.ones((2, 2)))


MODES, WIDTH = (-1.0, 1.0), 0.2


class TwoModes(torch.nn.Module):
    """The exact noise prediction of a mixture of two narrow Gaussians, whose only parameter is its odds."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = torch.nn.Parameter(torch.zeros(()))

    def preferred_rate(self) -> float:
        return float(torch.sigmoid(self.logit.detach()))

    def errors(self, actions: Tensor, noise: Tensor, alpha: Tensor) -> Tensor:
        noisy = alpha.sqrt() * actions + (1 - alpha).sqrt() * noise  # (B, 1)
        variance = alpha * WIDTH**2 + 1 - alpha
        weight = torch.nn.functional.logsigmoid(torch.stack([-self.logit, self.logit]))
        gaps = torch.cat([noisy - alpha.sqrt() * mode for mode in MODES], dim=1)  # (B, 2)
        share = torch.softmax(weight - gaps**2 / (2 * variance), dim=1)
        predicted = (1 - alpha).sqrt() * (share * gaps).sum(1, keepdim=True) / variance
        return (predicted - noise) ** 2


def _align(compute_loss: Callable[[Tensor, Tensor], Tensor], anchor: float = 0.0, steps: int = 50) -> float:
    """Returns the rate of the preferred mode +1 after alignment; `compute_loss` gets rewards of good and bad chunks."""
    generator = torch.Generator().manual_seed(0)
    policy, reference = TwoModes(), TwoModes()
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.12)
    for _ in range(steps):
        shape = (64, 1)
        good, bad = (mode + WIDTH * torch.randn(shape, generator=generator) for mode in (MODES[1], MODES[0]))
        noise, alpha = torch.randn(shape, generator=generator), torch.rand(shape, generator=generator)
        errors = [policy.errors(side, noise, alpha) for side in (good, bad)]
        with torch.no_grad():
            before = [reference.errors(side, noise, alpha) for side in (good, bad)]
        rewards = [compute_implicit_reward(e, r) for e, r in zip(errors, before, strict=True)]
        loss = compute_loss(*rewards) + anchor * compute_cloning_loss(torch.cat(errors))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return policy.preferred_rate()


def test_each_loss_moves_the_odds_to_the_preferred_mode() -> None:
    is_good = torch.arange(128) < 64
    assert _align(lambda good, bad: compute_dpo_loss(good, bad, 5.0)) > 0.9
    assert _align(lambda good, bad: compute_kto_loss(torch.cat([good, bad]), is_good, 5.0)) > 0.9
    assert _align(lambda good, bad: compute_dro_loss(good, bad, 0.5)) > 0.9
    assert _align(lambda good, bad: compute_dpo_loss(bad, good, 5.0)) < 0.1  # the opposite preference
    assert (
        abs(_align(lambda good, bad: compute_dpo_loss(good, bad, 5.0, torch.full((64,), 0.5))) - 0.5) < 0.1
    )  # all ties


def test_the_anchor_holds_against_a_weak_preference() -> None:
    free, held = (_align(lambda good, bad: compute_dpo_loss(good, bad, 0.2), anchor) for anchor in (0.0, 3.0))
    assert free > 0.9
    assert 0.5 < held < 0.75  # the demonstrations of the anchor are half and half
