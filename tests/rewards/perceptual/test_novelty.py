"""Familiar is what lies near the demonstrations, in the units of their own spread."""

from __future__ import annotations

import numpy as np

from robo_reward.rewards.perceptual.novelty import MahalanobisSimilarity, _squared_mahalanobis

RNG = np.random.default_rng(0)
MIX = np.array([[3.0, 0.0], [2.9, 0.2]])  # a long thin cloud


def data(n: int = 6) -> tuple[list[np.ndarray], list[np.ndarray]]:
    labels = [np.repeat([0, 1], 30) for _ in range(n)]
    return [RNG.normal(size=(60, 2)) @ MIX.T + label[:, None] * (20, 0) for label in labels], labels


def test_distance_by_hand() -> None:
    mean, precision = np.array([[0.0, 0.0], [4.0, 0.0]]), np.diag([1.0, 4.0])
    np.testing.assert_allclose(
        _squared_mahalanobis(np.array([[1.0, 1.0], [3.0, 0.5]]), mean, precision), [1 + 4, 1 + 1]
    )


def test_new_frames_of_the_same_kind_are_familiar_and_others_less_and_less() -> None:
    known = MahalanobisSimilarity.fit(*data())
    fresh, _ = data(1)
    assert (known(fresh[0]) == 1.0).mean() > 0.85
    away = known(np.array([[0.0, 0.0], [2.0, -2.0], [6.0, -6.0], [60.0, -60.0], [6000.0, -6000.0]]))
    assert away[0] == 1.0 and (np.diff(away) < 0).all() and away[-1] > 0  # drawn back from anywhere
    along = known(np.array([[2.0, 1.9]]))
    assert along[0] > away[1]  # as far, but in the direction in which demonstrations differ


def test_units_do_not_matter() -> None:
    components, labels = data()
    scale = np.array([0.5, 5.0])
    plain, scaled = (
        MahalanobisSimilarity.fit(components, labels),
        MahalanobisSimilarity.fit([y * scale for y in components], labels),
    )
    probe = RNG.normal(0, 20, (30, 2))
    np.testing.assert_allclose(scaled(probe * scale), plain(probe), rtol=1e-5)


def test_it_comes_back_from_its_tensors() -> None:
    known, probe = MahalanobisSimilarity.fit(*data()), RNG.normal(size=(9, 2))
    np.testing.assert_array_equal(MahalanobisSimilarity.from_tensors(known.to_tensors())(probe), known(probe))
