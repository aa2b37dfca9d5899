"""The filter against every path, the discriminant against densities, and that the future does not matter."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from robo_reward.rewards.perceptual.ordered import OrderedSteps, _fit_discriminant
from robo_reward.rewards.perceptual.reward import compute_curves
from tests.rewards.perceptual.scenes import LENGTHS
from tests.rewards.perceptual.test_align import features, truth

FPS = 20.0


def labels() -> list[np.ndarray]:
    return [np.repeat([0, 1, 2], lengths) for lengths in LENGTHS]


@pytest.fixture(scope="module")
def model() -> OrderedSteps:
    return OrderedSteps.fit(features(), labels(), FPS, dims=6)


def test_the_filter_sums_over_every_path(model: OrderedSteps) -> None:
    described = model.describe_frames(features()[0][8:14], FPS) * 0.02  # weak evidence: many paths matter
    likelihood = np.exp(described @ model.weight + model.bias)
    move = model._build_transition_matrix()
    for t in range(1, 6):
        weight = np.zeros(3)
        for path in product(range(3), repeat=t + 1):
            if path[0] != 0:
                continue
            moves = np.prod([move[a, b] for a, b in pairwise(path)])
            weight[path[-1]] += moves * np.prod([likelihood[i, step] for i, step in enumerate(path)])
        np.testing.assert_allclose(model.recognise_steps(described)[t], weight / weight.sum(), atol=1e-6)


def test_transitions_stay_go_on_and_seldom_back(model: OrderedSteps) -> None:
    move = model._build_transition_matrix()
    np.testing.assert_allclose(move.sum(axis=1), 1)
    assert move[0, 2] == 0 and move[2, 0] == 0
    assert move[1, 1] > move[1, 2] > move[1, 0] > 0


def test_the_discriminant_is_bayes_rule_of_gaussians_with_one_covariance() -> None:
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], [30, 50])
    f = rng.normal(size=(80, 3)) + label[:, None]
    weight, bias = _fit_discriminant(f, label, 2)
    rest = f - np.stack([f[label == k].mean(axis=0) for k in range(2)])[label]
    covariance = 0.9 * rest.T @ rest / 80
    covariance += 0.1 * np.trace(rest.T @ rest / 80) / 3 * np.eye(3)
    precision = np.linalg.inv(covariance)
    away = [f - f[label == k].mean(axis=0) for k in range(2)]
    logs = [np.log(np.mean(label == k)) - 0.5 * ((away[k] @ precision) * away[k]).sum(axis=1) for k in range(2)]
    score = f @ weight + bias
    np.testing.assert_allclose(score[:, 1] - score[:, 0], logs[1] - logs[0], atol=1e-8)


def test_the_future_does_not_matter(model: OrderedSteps) -> None:
    x = features()[2]
    whole = compute_curves(model, x, FPS)
    for end in (1, 9, 25):
        for part, full in zip(compute_curves(model, x[:end], FPS), whole, strict=True):
            np.testing.assert_allclose(part, full[:end], atol=1e-9)


def test_progress_climbs_from_nothing_to_all(model: OrderedSteps) -> None:
    for x, label in zip(features(), labels(), strict=True):
        recognised, total = compute_curves(model, x, FPS)
        assert (recognised.argmax(axis=1) == label).mean() > 0.9
        np.testing.assert_allclose(recognised.sum(axis=1), 1)
        assert total[0] < 0.1 and total[-1] > 0.9
        assert (total >= 0).all() and (total <= 1).all()
        smooth = np.convolve(total, np.ones(5) / 5, "valid")
        assert (np.diff(smooth) > -0.05).all()


def test_undone_work_is_taken_back(model: OrderedSteps) -> None:
    x = features()[0]
    there_and_back = np.concatenate([x, x[::-1]])
    _, total = compute_curves(model, there_and_back, FPS)
    assert total[len(x) - 1] > 0.9 and total[-1] < 0.65


def test_a_demonstration_at_another_rate_is_seen_alike(model: OrderedSteps) -> None:
    x = features(noise=0.0)[2]
    _, full = compute_curves(model, x, FPS)
    _, half = compute_curves(model, x[::2], FPS / 2)
    assert np.abs(half - full[::2]).mean() < 0.08


def test_one_demonstration_is_enough_to_fit() -> None:
    alone = OrderedSteps.fit(features()[:1], labels()[:1], FPS)
    recognised, _ = compute_curves(alone, features()[1], FPS)
    assert (recognised.argmax(axis=1) == labels()[1]).mean() > 0.6


def test_the_number_of_steps_counts_all_labels() -> None:
    assert OrderedSteps.fit(features(), labels(), FPS).steps == 3
    assert truth(LENGTHS[0]) == (14, 22)
