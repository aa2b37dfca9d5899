"""Similarity of a frame to the demonstrations, by its Mahalanobis distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

SHRINK = 0.1  # shrinkage of the covariance towards its diagonal
FAMILIAR_SHARE = 0.95  # share of the held-out demonstrations' frames that count as familiar


class MahalanobisSimilarity:
    """Similarity in (0, 1]: 1 for a frame close to a demonstration, less the further it is from all of them.

    d(y) = min_k (y - mu_k)' P (y - mu_k) over the means of the steps, with one shared, shrunk covariance P^-1, and
    `min(1, d_0 / d)`, where 95 % of the frames of held-out demonstrations have d <= d_0. A policy that finds frames
    which the step classifier mistakes for the last step gains nothing, and is drawn back, because the similarity keeps
    falling with distance.

    Args:
        mean: (n, d).
        precision: (d, d), P.
        usual: (), d_0.
    """

    def __init__(self, mean: np.ndarray, precision: np.ndarray, usual: np.ndarray) -> None:
        self.mean, self.precision, self.usual = mean, precision, usual

    @classmethod
    def fit(cls, components: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> MahalanobisSimilarity:
        """Fits the model to the principal components (T_i, d) and the steps (T_i,) of demonstrations."""
        mean, precision = _fit_gaussians(components, labels)
        if len(components) == 1:
            seen = [_squared_mahalanobis(components[0], mean, precision)]
        else:
            seen = []
            for i, y in enumerate(components):
                # Distances of held-out frames: those of training frames would be too small.
                rest = [j for j in range(len(components)) if j != i]
                others = _fit_gaussians([components[j] for j in rest], [labels[j] for j in rest])
                seen.append(_squared_mahalanobis(y, *others))
        return cls(mean, precision, np.array(np.quantile(np.concatenate(seen), FAMILIAR_SHARE)))

    def __call__(self, y: np.ndarray) -> np.ndarray:
        """Returns the similarity (T,) in (0, 1] of components (T, d)."""
        return 1.0 / np.maximum(_squared_mahalanobis(y, self.mean, self.precision) / self.usual, 1.0)

    def to_tensors(self) -> dict[str, np.ndarray]:
        """Returns the learnt arrays by name."""
        return {"known_mean": self.mean, "known_precision": self.precision, "known_usual": self.usual}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray]) -> MahalanobisSimilarity:
        """Creates the model from the arrays of `to_tensors`."""
        return cls(tensors["known_mean"], tensors["known_precision"], tensors["known_usual"])


def _fit_gaussians(components: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the means of the steps (n, d) and their shared precision (d, d)."""
    y, label = np.concatenate(components), np.concatenate(labels)
    mean = np.stack([y[label == step].mean(axis=0) for step in range(int(label.max()) + 1)])
    rest = y - mean[label]
    covariance = rest.T @ rest / len(rest)
    spread = np.diag(covariance)
    covariance = (1 - SHRINK) * covariance + np.diag(SHRINK * spread + 1e-9 * spread.max())
    return mean, np.linalg.inv(covariance)


def _squared_mahalanobis(y: np.ndarray, mean: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Returns the squared Mahalanobis distance (T,) of components (T, d) from the nearest mean."""
    away = y[:, None] - mean  # (T, n, d)
    return np.einsum("tni,ij,tnj->tn", away, precision, away).min(axis=1)
