"""The paper's reward of a step: a few selected features, each with its own Gaussian."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robo_reward.errors import UsageError

ALPHA = 5.0
TOP = 32
SIGMA_FLOOR = 0.1  # minimum standard deviation of a selected feature, relative to its deviation over all frames
FLAT = 1e-3  # features that deviate by less than this share of the largest deviation are ignored


def compute_selection_scores(inside: np.ndarray, outside: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """Returns how well each feature distinguishes a step from the rest (Unsupervised Perceptual Rewards, eq. 1).

    `z_i = alpha |mu+_i - mu-_i| - (sigma+_i + sigma-_i)`.

    Args:
        inside: z-normalised features (N+, F) of the step's frames in all demonstrations.
        outside: (N-, F) of all other frames.
        alpha: weight of the means' distance.

    Returns:
        (F,).
    """
    distance = np.abs(inside.mean(axis=0) - outside.mean(axis=0))
    return alpha * distance - (inside.std(axis=0) + outside.std(axis=0))


def compute_log_probability(a: np.ndarray, mean: np.ndarray, sigma: np.ndarray, printed: bool = False) -> np.ndarray:
    """Returns the reward of one step (Unsupervised Perceptual Rewards, eq. 2), with the sign that makes it one.

    `r(a) = -(1/n) sum_i (a_i - mu_i)^2 / (2 sigma_i^2)`: the exponent of independent Gaussians, at most 0. Equation 2
    is printed as `(1/n) sum_i (a_i - mu_i)^2 / sigma_i`, which grows away from the demonstrations.

    Args:
        a: (..., n) selected features.
        mean: (n,).
        sigma: (n,).
        printed: divide by sigma as printed; the minus sign is kept.

    Returns:
        (...,).
    """
    return -((a - mean) ** 2 / (sigma if printed else 2 * sigma**2)).mean(axis=-1)


class GaussianSteps:
    """Step rewards as in the paper: for each step 32 features, their means and deviations.

    A step's reward is `compute_log_probability` scaled linearly such that the median frame outside the step gives 0
    and the median frame inside it 1, clipped to [0, 1]; 0.5 is where the paper's evaluation puts its threshold. The
    rewards add up as `R = min(1, sum_{i=2..n} 2^(i-n) R_i)`: the first step, which every episode begins in, counts
    nothing, each later one twice its predecessor, and the last alone gives 1 (appendix A.1:
    `sum_{i=2..n} 2^(i-1) R_i`, rescaled to [0, 1]).

    Args:
        select: (n, k) indices of features.
        mean: (n, k) in the encoder's units.
        sigma: (n, k), in the encoder's units, squared if `printed`.
        low: (n,) log probability that gives 0.
        high: (n,) log probability that gives 1.
        printed: see `compute_log_probability`.
    """

    form = "gaussian"

    def __init__(
        self,
        select: np.ndarray,
        mean: np.ndarray,
        sigma: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
        printed: bool = False,
    ) -> None:
        self.select, self.mean, self.sigma, self.low, self.high = select, mean, sigma, low, high
        self.printed = printed
        self.steps = len(select)

    @classmethod
    def fit(
        cls,
        features: Sequence[np.ndarray],
        labels: Sequence[np.ndarray],
        alpha: float = ALPHA,
        top: int = TOP,
        printed: bool = False,
    ) -> GaussianSteps:
        """Fits the model to demonstrations cut into steps.

        Args:
            features: (T_i, F) of each.
            labels: the step (T_i,) of each frame, 0 to n - 1; every step occurs.
            alpha: see `compute_selection_scores`.
            top: k, the number of features by which a step is recognised.
            printed: see `compute_log_probability`.
        """
        every, label = np.concatenate(features).astype(np.float64), np.concatenate(labels)
        centre, spread = every.mean(axis=0), every.std(axis=0)
        lively = np.flatnonzero(spread > FLAT * spread.max())
        if not lively.size:
            raise UsageError(
                "no feature changes in the demonstrations, so no step can be recognised; "
                "use another encoder or demonstrations with more motion"
            )
        z = (every[:, lively] - centre[lively]) / spread[lively]
        found = []
        for step in range(int(label.max()) + 1):
            inside, outside = z[label == step], z[label != step]
            best = np.argsort(-compute_selection_scores(inside, outside, alpha), kind="stable")[:top]
            mean, sigma = inside[:, best].mean(axis=0), np.maximum(inside[:, best].std(axis=0), SIGMA_FLOOR)
            # The reward is 0 at the median of the other frames and 1 at that of the step's own.
            low, high = (
                np.median(compute_log_probability(part[:, best], mean, sigma, printed)) for part in (outside, inside)
            )
            chosen = lively[best]
            unit = spread[chosen]
            # Back to the encoder's units; as printed, eq. 2 squares the distance but divides by sigma only once.
            wide = sigma * unit**2 if printed else sigma * unit
            found.append((chosen, centre[chosen] + mean * unit, wide, low, max(high, low + 1e-6)))
        select, mean, sigma, low, high = (np.stack([part[i] for part in found]) for i in range(5))
        return cls(select, mean, sigma, low, high, printed)

    def recognise_steps(self, features: np.ndarray) -> np.ndarray:
        """Returns the reward (T, n) of each step, in [0, 1], of features (T, F)."""
        chosen = np.asarray(features, dtype=np.float64)[:, self.select]  # (T, n, k)
        raw = compute_log_probability(chosen, self.mean, self.sigma, self.printed)
        return np.clip((raw - self.low) / (self.high - self.low), 0.0, 1.0)

    def compute_total(self, features: np.ndarray, recognised: np.ndarray) -> np.ndarray:
        """Returns the reward (T,) over all steps, in [0, 1]."""
        weight = 2.0 ** (np.arange(self.steps) - (self.steps - 1))
        weight[0] = 0.0
        return np.minimum(recognised @ weight, 1.0)

    def spec(self) -> dict[str, Any]:
        """Returns the JSON from which, with `to_tensors`, `from_spec` makes the same model."""
        return {"form": self.form, "printed": self.printed}

    def to_tensors(self) -> dict[str, np.ndarray]:
        """Returns the learnt arrays by name."""
        return {name: getattr(self, name) for name in ("select", "mean", "sigma", "low", "high")}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> GaussianSteps:
        """Creates the model from the results of `spec` and `to_tensors`."""
        return cls(**{k: tensors[k] for k in ("select", "mean", "sigma", "low", "high")}, printed=spec["printed"])
