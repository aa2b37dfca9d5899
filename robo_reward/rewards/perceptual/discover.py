"""Discovers the steps of demonstrations and fits a reward that recognises them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from robo_reward.configs.rewards import DiscoverConfig
from robo_reward.errors import UnknownName, UsageError
from robo_reward.rewards.perceptual.align import compute_principal_components, find_joint_cuts, log_variance_cost
from robo_reward.rewards.perceptual.gaussian import GaussianSteps
from robo_reward.rewards.perceptual.ordered import DIMS, OrderedSteps
from robo_reward.rewards.perceptual.reward import Steps, compute_curves
from robo_reward.rewards.perceptual.steps import (
    compute_total_cost,
    cuts_to_labels,
    find_best_cuts,
    get_objective,
    trend_cost,
    variance_cost,
)

log = logging.getLogger(__name__)

MAX_AUTO_STEPS = 5  # largest number of steps tried when it is not given
MIN_GAIN_SINGLE = 0.15  # nats per frame that an additional step must explain in a single demonstration
MIN_GAIN = (
    0.09  # the same for the mean of several, which varies less: noise alone gives 0.07, a true fourth step gives 0.11
)


@dataclass(frozen=True, eq=False)
class Discovery:
    """The steps of some demonstrations.

    Args:
        cuts: of each demonstration, its n - 1 first frames of steps 2 to n.
        recognised: n -> mean Jaccard with which a reward fitted on all but one demonstration finds the steps of the
            one left out; empty if n was given or there is one demonstration.
        chance: n -> the same for equal parts, cut without regard to the frames: what `recognised` must exceed.
        certain: whether more than one step was found; false for a motion without steps, or noise.
    """

    cuts: tuple[tuple[int, ...], ...]
    recognised: dict[int, float]
    chance: dict[int, float] = field(default_factory=dict)
    certain: bool = True

    @property
    def steps(self) -> int:
        """Number of steps n."""
        return len(self.cuts[0]) + 1


def discover_steps(
    features: Sequence[np.ndarray],
    steps: int | Literal["auto"] = "auto",
    alignment: Literal["joint", "each"] = "joint",
    cost: str = "trend",
    min_size: int = DiscoverConfig.min_size,
    fps: float = 25.0,
) -> Discovery:
    """Cuts demonstrations of one task into its steps.

    With `steps="auto"`, n grows up to 5 as long as one more step explains 0.09 nats per frame of `log_variance_cost`,
    the mean over all demonstrations (0.15 in a single one). If not even the second does, n is 2 and `certain` is
    false. The recognition of the steps in a demonstration left out does not choose n, since it falls with n by itself;
    it is reported with its chance level.

    Args:
        features: (T_i, F) of each demonstration, of one encoder.
        steps: n, or `auto`.
        alignment: `joint` (`align.find_joint_cuts`), or `each` demonstration alone, as in the paper.
        cost: an objective of `robo_reward.rewards.perceptual.steps`, for `each`; the paper's is `paper`.
        min_size: fewest frames of a step.
        fps: of the demonstrations [Hz].

    Raises:
        UsageError: no demonstrations, or one that is too short.
        UnknownName: no such alignment or objective.
    """
    if not features:
        raise UsageError("no demonstrations: give at least one")
    if alignment not in ("joint", "each"):
        raise UnknownName("alignment", alignment, ("joint", "each"))
    if alignment == "joint":
        mean, basis = compute_principal_components(features, DIMS)
        reduced = [(x - mean) @ basis for x in features]

    def cut_into(n: int) -> list[tuple[int, ...]]:
        if alignment == "joint":
            return find_joint_cuts(reduced, n, min_size)
        return [find_best_cuts(get_objective(cost)(x), n, min_size) for x in features]

    if steps != "auto":
        return Discovery(tuple(cut_into(int(steps))), {})
    most = min(MAX_AUTO_STEPS, min(map(len, features)) // min_size)
    if most < 2:
        shortest = min(map(len, features))
        raise UsageError(f"a demonstration of {shortest} frames is too short for two steps of {min_size}")
    if len(features) == 1:  # no cross-validation
        costs = _compute_single_costs(features[0], most, min_size)
        chosen, certain = _choose_step_count(costs, MIN_GAIN_SINGLE)
        return Discovery(tuple(cut_into(chosen)), {}, {}, certain)
    tried = {n: cut_into(n) for n in range(2, most + 1)}
    chosen, certain = _choose_step_count(_compute_mean_costs(features, list(tried.values())), MIN_GAIN)
    # Only reported: recognition falls with n by itself.
    recognised = {n: cross_validate_recognition(features, cuts, fps) for n, cuts in tried.items()}
    chance = {n: compute_chance_level(features, cuts) for n, cuts in tried.items()}
    log.info("%d steps: left-out recognition %s", chosen, {n: round(v, 2) for n, v in recognised.items()})
    return Discovery(tuple(tried[chosen]), recognised, chance, certain)


def _compute_single_costs(features: np.ndarray, most: int, min_size: int) -> list[float]:
    """Returns the cost of 1, 2, … `most` steps of one demonstration (T, F) [nats per frame]."""
    cost = log_variance_cost(_compute_residual_share(features))
    best = (find_best_cuts(cost, n, min_size) for n in range(1, most + 1))
    return [compute_total_cost(cost, cuts) / len(features) for cuts in best]


def _compute_mean_costs(features: Sequence[np.ndarray], tried: Sequence[Sequence[Sequence[int]]]) -> list[float]:
    """Returns the mean cost over the demonstrations without cuts, and with each of the tried cuts [nats per frame]."""
    costs = [log_variance_cost(_compute_residual_share(x)) for x in features]
    whole: list[Sequence[int]] = [()] * len(features)
    return [
        float(np.mean([compute_total_cost(c, k) / len(x) for c, k, x in zip(costs, cuts, features, strict=True)]))
        for cuts in (whole, *tried)
    ]


def compute_chance_level(features: Sequence[np.ndarray], cuts: Sequence[Sequence[int]]) -> float:
    """Returns the mean Jaccard of the steps with equal parts of each demonstration."""
    found = []
    for x, own in zip(features, cuts, strict=True):
        steps = len(own) + 1
        # Equal parts, independent of the frames.
        blind = cuts_to_labels([round(k * len(x) / steps) for k in range(1, steps)], len(x))
        found.append(compute_jaccard(np.eye(steps, dtype=bool)[blind], cuts_to_labels(own, len(x))))
    return float(np.mean(found))


def cross_validate_recognition(features: Sequence[np.ndarray], cuts: Sequence[Sequence[int]], fps: float) -> float:
    """Returns the mean Jaccard of the steps that a reward finds in a demonstration left out of its training."""
    labels = [cuts_to_labels(c, len(x)) for c, x in zip(cuts, features, strict=True)]
    found = []
    for i, (x, label) in enumerate(zip(features, labels, strict=True)):
        rest = [j for j in range(len(features)) if j != i]
        model = OrderedSteps.fit([features[j] for j in rest], [labels[j] for j in rest], fps)
        seen = compute_curves(model, x, fps)[0].argmax(axis=1)
        found.append(compute_jaccard(np.eye(model.steps, dtype=bool)[seen], label))
    return float(np.mean(found))


def compute_jaccard(detected: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Returns the intersection over union of the frames detected as each step and those labelled so.

    Args:
        detected: (T, n) bool.
        label: (T,) the step of each frame.

    Returns:
        (n,), 0 for a step that neither has.
    """
    true = label[:, None] == np.arange(detected.shape[1])
    either = (detected | true).sum(axis=0)
    return (detected & true).sum(axis=0) / np.maximum(either, 1)


def fit_steps(
    features: Sequence[np.ndarray],
    cuts: Sequence[Sequence[int]],
    fps: float,
    form: Literal["ordered", "gaussian"] = "ordered",
) -> Steps:
    """Fits a model that recognises the steps: `ordered` (ours) or `gaussian` (the paper's)."""
    labels = [cuts_to_labels(c, len(x)) for c, x in zip(cuts, features, strict=True)]
    if form == "ordered":
        return OrderedSteps.fit(features, labels, fps)
    if form == "gaussian":
        return GaussianSteps.fit(features, labels)
    raise UnknownName("form of perceptual steps", form, ("ordered", "gaussian"))


def _compute_residual_share(x: np.ndarray) -> np.ndarray:
    """Returns the share of the total variance that straight lines leave in each segment, (T + 1, T + 1)."""
    return trend_cost(x) / max(variance_cost(x)[0, -1], 1e-12)


def _choose_step_count(costs: Sequence[float], least: float) -> tuple[int, bool]:
    """Returns the largest number of steps, at least 2, that each explain enough, and whether the second one does.

    Args:
        costs: nats per frame of 1, 2, … steps.
        least: nats per frame that one more step must explain.
    """
    n = 1
    while n < len(costs) and costs[n - 1] - costs[n] >= least:
        n += 1
    return max(n, 2), n > 1
