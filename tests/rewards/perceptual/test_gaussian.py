"""The paper's equations, by hand and against the normal distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest

from robo_reward.errors import UsageError
from robo_reward.rewards.perceptual.gaussian import GaussianSteps, compute_log_probability, compute_selection_scores


def test_selection_by_hand() -> None:
    inside = np.array([[2.0, 0.0], [4.0, 0.0]])  # means 3 and 0, deviations 1 and 0
    outside = np.array([[0.0, 1.0], [0.0, -1.0]])  # means 0 and 0, deviations 0 and 1
    np.testing.assert_allclose(compute_selection_scores(inside, outside), [5 * 3 - (1 + 0), 5 * 0 - (0 + 1)])
    np.testing.assert_allclose(compute_selection_scores(inside, outside, alpha=1.0), [2.0, -1.0])


def test_log_probability_is_that_of_independent_gaussians() -> None:
    rng = np.random.default_rng(0)
    a, mean, sigma = rng.normal(size=(6, 4)), rng.normal(size=4), rng.uniform(0.5, 2, 4)
    density = np.array(
        [
            sum(
                math.log(math.exp(-((x - m) ** 2) / (2 * s * s)) / (s * math.sqrt(2 * math.pi)))
                for x, m, s in zip(row, mean, sigma, strict=True)
            )
            for row in a
        ]
    )
    constant = sum(math.log(s * math.sqrt(2 * math.pi)) for s in sigma)
    np.testing.assert_allclose(compute_log_probability(a, mean, sigma), (density + constant) / 4)


def test_the_printed_form_by_hand() -> None:
    a, mean, sigma = np.array([[3.0, 1.0]]), np.array([1.0, 1.0]), np.array([0.5, 2.0])
    assert compute_log_probability(a, mean, sigma, printed=True) == pytest.approx(-(4 / 0.5 + 0) / 2)
    assert compute_log_probability(a, mean, sigma) == pytest.approx(-(4 / (2 * 0.25)) / 2)


def data(seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Three steps in two demonstrations; features 0, 1 and 2 each mark one, 3 to 9 are noise, 10 never changes."""
    rng = np.random.default_rng(seed)
    labels = [np.repeat([0, 1, 2], counts) for counts in ((20, 15, 25), (12, 18, 14))]
    features = []
    for label in labels:
        x = rng.normal(0, 1, (len(label), 11))
        x[:, :3] = np.eye(3)[label] * 10 + rng.normal(0, 0.5, (len(label), 3)) + 100
        x[:, 10] = 7.0
        features.append(x)
    return features, labels


@pytest.mark.parametrize("printed", [False, True])
def test_steps_are_recognised_by_the_features_that_mark_them(printed: bool) -> None:
    features, labels = data()
    model = GaussianSteps.fit(features, labels, top=1, printed=printed)
    np.testing.assert_array_equal(model.select[:, 0], [0, 1, 2])
    for x, label in zip(*data(1), strict=True):
        seen = model.recognise_steps(x)
        assert (seen >= 0).all() and (seen <= 1).all()
        assert ((seen > 0.5) == np.eye(3, dtype=bool)[label]).mean() > 0.97


@pytest.mark.parametrize("printed", [False, True])
def test_units_of_features_do_not_matter(printed: bool) -> None:
    features, labels = data()
    scale, shift = np.geomspace(0.01, 100, 11), np.arange(11.0)
    plain = GaussianSteps.fit(features, labels, top=4, printed=printed)
    scaled = GaussianSteps.fit([x * scale + shift for x in features], labels, top=4, printed=printed)
    for x in data(2)[0]:
        np.testing.assert_allclose(scaled.recognise_steps(x * scale + shift), plain.recognise_steps(x), atol=1e-8)


def test_the_first_step_counts_nothing_and_each_later_one_twice_the_last() -> None:
    model = GaussianSteps.fit(*data())
    np.testing.assert_allclose(model.compute_total(np.zeros(3), np.eye(3)), [0.0, 0.5, 1.0])
    np.testing.assert_allclose(model.compute_total(np.zeros(1), np.array([[0.2, 0.4, 0.3], [1, 1, 1]])), [0.5, 1.0])


def test_without_change_there_is_nothing_to_select() -> None:
    with pytest.raises(UsageError, match="no feature changes"):
        GaussianSteps.fit([np.ones((6, 3))], [np.repeat([0, 1], 3)])
