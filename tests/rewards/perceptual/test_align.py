"""Joint discovery finds the same steps in demonstrations of different pace."""

from __future__ import annotations

import numpy as np
import pytest

from robo_reward.errors import UnknownName, UsageError
from robo_reward.rewards.perceptual.align import compute_principal_components, find_joint_cuts, log_variance_cost
from robo_reward.rewards.perceptual.discover import compute_jaccard, cross_validate_recognition, discover_steps
from robo_reward.rewards.perceptual.steps import cuts_to_labels, find_best_cuts, variance_cost
from tests.rewards.perceptual.scenes import LENGTHS, clip, path


def features(noise: float = 0.02, width: int = 40) -> list[np.ndarray]:
    """The dot's position behind a random linear map, with noise: (T_i, width) per demonstration."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(2, width))
    found = []
    for lengths in LENGTHS:
        x = path(lengths) / 24 @ mixing
        found.append(x + rng.normal(0, noise, x.shape))
    return found


def truth(lengths: tuple[int, int, int]) -> tuple[int, int]:
    return lengths[0], lengths[0] + lengths[1]


def test_principal_components_are_those_of_the_svd() -> None:
    x = features()
    mean, basis = compute_principal_components(x, 5)
    every = np.concatenate(x)
    np.testing.assert_allclose(mean, every.mean(axis=0))
    np.testing.assert_allclose(basis.T @ basis, np.eye(5), atol=1e-8)
    expected = np.linalg.svd(every - mean, full_matrices=False)[2][:5]
    np.testing.assert_allclose(np.abs(expected @ basis), np.eye(5), atol=1e-6)


def test_pace_does_not_matter() -> None:
    for cuts, lengths in zip(find_joint_cuts(features(), 3, 3), LENGTHS, strict=True):
        assert np.abs(np.subtract(cuts, truth(lengths))).max() <= 3


def test_a_rest_is_a_step() -> None:
    for x, lengths in zip(features(), LENGTHS, strict=True):
        (alone,) = find_joint_cuts([x], 3, 3)
        assert np.abs(np.subtract(alone, truth(lengths))).max() <= 2


def test_the_order_of_demonstrations_does_not_matter() -> None:
    x = features()
    forward, backward = find_joint_cuts(x, 3, 3), find_joint_cuts(x[::-1], 3, 3)
    assert forward == backward[::-1]


def test_still_cost_is_the_likelihood_of_a_variance_per_step() -> None:
    x = features()[0]
    spread = variance_cost(x) / variance_cost(x)[0, -1]
    cost = log_variance_cost(spread)
    whole = x.var(axis=0).sum()
    for start, end in ((0, 4), (3, 20), (0, len(x))):
        share = x[start:end].var(axis=0).sum() / whole
        assert cost[start, end] == pytest.approx((end - start) * np.log(share + 0.2))
    assert np.isinf(cost[5, 5])


def test_the_number_of_steps_is_found() -> None:
    together = discover_steps(features(), "auto", min_size=3, fps=20.0)
    assert together.steps in (3, 4)  # 4 are recognised nearly as well
    assert max(together.recognised, key=lambda n: together.recognised[n]) == 3
    alone = discover_steps(features()[1:2], "auto", min_size=3, fps=20.0)
    assert alone.steps == 3 and alone.recognised == {}


def test_recognition_falls_where_steps_are_arbitrary() -> None:
    x = features()
    good = [truth(lengths) for lengths in LENGTHS]
    rng = np.random.default_rng(1)
    poor = [tuple(sorted(rng.choice(np.arange(3, len(a) - 3), 2, replace=False))) for a in x]
    assert cross_validate_recognition(x, good, 20.0) > 0.15 + cross_validate_recognition(x, poor, 20.0)


def test_alone_it_is_the_plain_programme() -> None:
    x = features()
    found = discover_steps(x, 3, "each", "variance", 3)
    assert list(found.cuts) == [find_best_cuts(variance_cost(a), 3, 3) for a in x]


def test_frames_through_pixels() -> None:
    x = [clip(lengths, seed).reshape(sum(lengths), -1) / 255.0 for seed, lengths in enumerate(LENGTHS)]
    found = discover_steps(x, 3, min_size=3)
    scores = [
        compute_jaccard(np.eye(3, dtype=bool)[cuts_to_labels(c, len(a))], cuts_to_labels(truth(lengths), len(a))).mean()
        for c, a, lengths in zip(found.cuts, x, LENGTHS, strict=True)
    ]
    assert np.mean(scores) > 0.65  # random cuts: 0.45


def test_jaccard_by_hand() -> None:
    detected = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], bool)
    np.testing.assert_allclose(compute_jaccard(detected, np.array([0, 0, 0, 1])), [2 / 3, 0 / 3])


def test_wrong_input_is_named() -> None:
    with pytest.raises(UsageError, match="no demonstrations"):
        discover_steps([])
    with pytest.raises(UnknownName, match="'joint'"):
        discover_steps(features(), 2, "jiont")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="too short"):
        discover_steps([features()[0][:6]], min_size=5)
    with pytest.raises(UsageError, match="look the same"):
        discover_steps([np.ones((20, 4))] * 2, 2)
