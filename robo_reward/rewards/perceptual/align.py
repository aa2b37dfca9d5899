"""Joint discovery of the same steps in several demonstrations, in which each demonstration informs the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from robo_reward.errors import UsageError
from robo_reward.rewards.perceptual.steps import cuts_to_labels, find_best_cuts, trend_cost, variance_cost

Cuts = tuple[int, ...]

FLOOR = 0.2  # share of a demonstration's variance below which a step counts as motionless
WINDOW = 3  # frames to each side for central velocities
RIDGE = 1.0  # of the classifier, on standardised features
CLASSIFIER_DIMS = 24  # number of principal components that the classifier uses
ROUNDS = 10  # maximum number of rounds


def compute_principal_components(features: Sequence[np.ndarray], dims: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean (F,) and an orthonormal basis (F, d) of the frames of all demonstrations, d at most `dims`.

    Uses the Gram matrix, because there are far fewer frames than features.
    """
    every = np.concatenate(features).astype(np.float64)
    mean = every.mean(axis=0)
    every -= mean
    values, vectors = np.linalg.eigh(every @ every.T)
    kept = np.flatnonzero(values > 1e-10 * values[-1])[::-1][:dims]
    if not kept.size or values[-1] <= 0:
        raise UsageError(
            "the frames of all demonstrations look the same, so no steps can be "
            "discovered; use another encoder or camera"
        )
    basis = every.T @ (vectors[:, kept] / np.sqrt(values[kept]))
    # The sign of an eigenvector is arbitrary: fix it, so that results are reproducible.
    return mean, basis * np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(len(kept))])


def log_variance_cost(spread: np.ndarray) -> np.ndarray:
    """Returns `L log(spread / (L v) + 0.2)` of a step of L frames, v the variance of the whole demonstration.

    The likelihood of a Gaussian with a separate variance for each step: a pause becomes a step although omitting it
    would cost little squared error. The floor limits the gain from a few equal frames.

    Args:
        spread: (T + 1, T + 1) summed squared distances, already divided by those of the whole demonstration.
    """
    frames = len(spread) - 1
    length = np.maximum(np.arange(frames + 1) - np.arange(frames + 1)[:, None], 1)
    known = np.isfinite(spread)
    return np.where(known, length * np.log(np.where(known, spread, 0.0) * frames / length + FLOOR), np.inf)


def find_joint_cuts(features: Sequence[np.ndarray], steps: int, min_size: int) -> list[Cuts]:
    """Returns cuts into the same steps in the same order, found in all demonstrations together.

    Each demonstration is cut repeatedly, by dynamic programming, against the steps of the *others*, until nothing
    changes (leaving it out itself keeps a first guess from confirming itself). Step k of demonstration i costs

        L log((R + Q_k) / (2 v) + 0.2) / 2 + |p(x_t) - e_k|^2 / 2 summed over its L frames

    with R the mean squared distance from the step's own straight line in time, Q_k the same when the line may only run
    along the direction in which the others move in step k, and p a ridge classifier of steps that the others trained
    on features and velocities. The first rounds go without the classifier.

    Args:
        features: (T_i, F) of each; a few dozen principal components.
        steps: n.
        min_size: fewest frames of a step.
    """
    alone = [_DemonstrationCosts(x) for x in features]
    cuts = [find_best_cuts(log_variance_cost(one.own), steps, min_size) for one in alone]
    if len(features) == 1:
        return cuts
    cuts = _iterate_until_stable(cuts, lambda now: _cut_against_others(alone, None, now, min_size))
    return _iterate_until_stable(
        cuts, lambda now: _cut_against_others(alone, _build_motion_features(features), now, min_size)
    )


class _DemonstrationCosts:
    """Costs of one demonstration without the others, as shares of its whole variance.

    Args:
        x: (T, F).
    """

    def __init__(self, x: np.ndarray) -> None:
        self.x = x - x.mean(axis=0)
        total = max(float((self.x**2).sum()), 1e-12)
        self.scale = 1.0 / total
        self.spread = variance_cost(x) * x.shape[1] / total
        self.own = trend_cost(x) * x.shape[1] / total

    def compute_displacements(self, cuts: Cuts) -> np.ndarray:
        """Returns the normalised displacement of each step, (n, F)."""
        found = []
        for start, end in pairwise((0, *cuts, len(self.x))):
            # Slope of the least-squares line, times the norm of the centred time.
            time = np.arange(start, end) - (start + end - 1) / 2
            found.append(time @ self.x[start:end] / np.sqrt(max((time**2).sum(), 1e-12)))
        return np.stack(found) * np.sqrt(self.scale)

    def compute_directed_cost(self, direction: np.ndarray) -> np.ndarray:
        """Returns the cost table for lines along a unit vector (F,) only, averaged with that of free lines."""
        line = self.x @ direction[:, None]
        with np.errstate(invalid="ignore"):  # inf - inf where end <= start
            explained = np.nan_to_num(variance_cost(line) - trend_cost(line)) * self.scale
        return (self.own + self.spread - explained) / 2


def _iterate_until_stable(cuts: list[Cuts], recut: Callable[[list[Cuts]], list[Cuts]]) -> list[Cuts]:
    """Applies `recut` until the cuts no longer change, at most `ROUNDS` times."""
    for _ in range(ROUNDS):
        new = recut(cuts)
        if new == cuts:
            break
        cuts = new
    return cuts


def _cut_against_others(
    alone: list[_DemonstrationCosts], moving: list[np.ndarray] | None, cuts: list[Cuts], min_size: int
) -> list[Cuts]:
    """Returns the cuts after one round: every demonstration is cut against the others' last cuts."""
    leans = np.stack([one.compute_displacements(c) for one, c in zip(alone, cuts, strict=True)])  # (N, n, F)
    misses = _compute_classifier_errors(moving, cuts) if moving else None
    found = []
    for i, one in enumerate(alone):
        # Without demonstration i itself, so that a first guess cannot confirm itself.
        others = np.delete(leans, i, axis=0)
        # Main direction of motion of the others in step k: the first right singular vector.
        directions = [np.linalg.svd(others[:, k], full_matrices=False)[2][0] for k in range(leans.shape[1])]
        tables = np.stack([log_variance_cost(one.compute_directed_cost(direction)) for direction in directions])
        if misses:
            tables = (tables + _sum_over_segments(misses[i])) / 2
        found.append(find_best_cuts(tables, len(tables), min_size))
    return found


def _build_motion_features(features: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns standardised features and central velocities with a constant, (T_i, 2 d + 1)."""
    both = [
        np.concatenate([x[:, :CLASSIFIER_DIMS], _compute_velocity(x[:, :CLASSIFIER_DIMS])], axis=1) for x in features
    ]
    every = np.concatenate(both)
    centre, scale = every.mean(axis=0), every.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    return [np.concatenate([(x - centre) / scale, np.ones((len(x), 1))], axis=1) for x in both]


def _compute_velocity(x: np.ndarray) -> np.ndarray:
    """Returns the central differences of a sequence over `WINDOW` frames to each side."""
    at = np.arange(len(x))
    after, before = np.minimum(at + WINDOW, len(x) - 1), np.maximum(at - WINDOW, 0)
    return (x[after] - x[before]) / (after - before)[:, None]


def _compute_classifier_errors(moving: list[np.ndarray], cuts: list[Cuts]) -> list[np.ndarray]:
    """Returns |p(x_t) - e_k|^2 (T_i, n).

    p is a ridge regression to step indicators that the other demonstrations trained.
    """
    steps = np.eye(len(cuts[0]) + 1)
    grams = [x.T @ x for x in moving]
    sides = [x.T @ steps[cuts_to_labels(c, len(x))] for x, c in zip(moving, cuts, strict=True)]
    ridge = RIDGE * sum(map(len, moving)) * np.eye(len(grams[0]))
    found = []
    for i, x in enumerate(moving):
        # Normal equations of the other demonstrations.
        gram, side = sum(grams) - grams[i], sum(sides) - sides[i]
        p = x @ np.linalg.solve(gram + ridge, side)
        found.append(((p[:, None] - steps) ** 2).sum(axis=-1))
    return found


def _sum_over_segments(unary: np.ndarray) -> np.ndarray:
    """Returns the costs of frames (T, n) summed over segments, (n, T + 1, T + 1)."""
    sums = np.concatenate([np.zeros((1, unary.shape[1])), np.cumsum(unary, axis=0)]).T  # (n, T + 1)
    return sums[:, None, :] - sums[:, :, None]
