"""Checks a matching reward on its own demonstrations: does it prefer each one, left out, to wrong clips made of it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from robo_reward.rewards.matching.cost import get_cost_function
from robo_reward.rewards.matching.reward import MatchingReward

MOST = 10
"""Demonstrations that are left out in turn; each is compared with all others."""


@dataclass(frozen=True)
class LeftOutScores:
    """Sums of the reward over demonstrations that were left out, and over wrong clips made of them.

    Args:
        forward: of each demonstration, from the reward of the others.
        backward: of the same, played backward.
        still: of the same, where all steps show the first one.
    """

    forward: tuple[float, ...]
    backward: tuple[float, ...]
    still: tuple[float, ...]

    @property
    def preferred_share(self) -> float:
        """The share of demonstrations with a larger sum than both wrong clips; NaN where none was left out."""
        if not self.forward:
            return float("nan")
        return float(np.mean([f > max(b, s) for f, b, s in zip(self.forward, self.backward, self.still, strict=True)]))

    def to_json(self) -> dict[str, Any]:
        """Returns all fields, and the share that is preferred or None, as JSON."""
        return {**asdict(self), "preferred": self.preferred_share if self.forward else None}


def score_left_out(reward: MatchingReward, most: int = MOST) -> LeftOutScores:
    """Returns what the reward gives to each demonstration if it knows only the others; nothing for a single one.

    Args:
        reward: with all demonstrations; `first_episode` scales do not matter here.
        most: demonstrations that are left out in turn.
    """
    features = reward.demonstrations
    rows: list[tuple[float, float, float]] = []
    for k in range(min(most, len(features)) if len(features) > 1 else 0):
        others = [each for i, each in enumerate(features) if i != k]
        known = MatchingReward(reward.look, others, reward.rule, reward.cost, 1.0, reward.causal)
        clips = [features[k], features[k][::-1], np.repeat(features[k][:1], len(features[k]), axis=0)]
        forward, backward, still = known.compute_unscaled(clips).sum(axis=1).tolist()
        rows.append((forward, backward, still))
    return LeftOutScores(*zip(*rows, strict=True)) if rows else LeftOutScores((), (), ())


def compute_typical_cost(features: Sequence[np.ndarray], cost: str, most: int = MOST) -> float:
    """Returns the cost of a good match: the median between steps of equal progress of two demonstrations.

    For a single demonstration it is the median between steps that lie a twentieth of its length apart.

    Args:
        features: (S_k, F) of each demonstration.
        cost: name of the cost function.
        most: demonstrations that are looked at.
    """
    pairs = [_pair_by_progress(*features[i : i + 2]) for i in range(min(most, len(features)) - 1)]
    if not pairs:
        apart = max(1, len(features[0]) // 20)
        pairs = [(features[0][:-apart], features[0][apart:])]
    function = get_cost_function(cost)
    with torch.no_grad():
        found = [function(*(torch.from_numpy(x.copy()).double() for x in pair)).diagonal().numpy() for pair in pairs]
    return float(np.median(np.concatenate(found))) if any(map(len, found)) else 0.0


def _pair_by_progress(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns steps of two clips at equal shares of their lengths, as many as the shorter one has."""
    steps = min(len(a), len(b))
    at = [np.linspace(0, len(x) - 1, steps).round().astype(int) for x in (a, b)]
    return a[at[0]], b[at[1]]
