"""Pairs of chunks for nearly the same observation, taken from pairs of episodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from robo_reward.labelling.comparisons import Comparisons
from robo_reward.policies.alignment.chunks import EpisodeChunks
from robo_reward.policies.diffusion.model import DiffusionModel

MOST_PAIRS = 1000
"""Most pairs of episodes that are matched; of more, some are drawn."""


@dataclass(frozen=True, eq=False)
class ChunkPairs:
    """Pairs of chunks, from pairs of episodes that are all equally likely.

    Args:
        winner: (R,) number of the chunk of the better episode.
        loser: (R,) number of the chunk of the other.
        target: (R,) probability that the first is better: 1, or 1/2 for a tie.
        cumulated: (R,) cumulated probabilities of being drawn.
    """

    winner: np.ndarray
    loser: np.ndarray
    target: np.ndarray
    cumulated: np.ndarray

    def __len__(self) -> int:
        return len(self.winner)

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Returns the numbers of `count` drawn pairs."""
        return np.minimum(np.searchsorted(self.cumulated, rng.random(count), side="right"), len(self) - 1)


def match_chunks(
    model: DiffusionModel, data: EpisodeChunks, pairs: Comparisons, focus: float, seed: int = 0
) -> ChunkPairs:
    """Returns pairs of chunks whose observations are nearly the same.

    Diffusion-DPO compares two samples for one prompt, but two episodes soon see different things: that a policy
    prefers one of two chunks then says nothing about what it will do where it has the choice. Each chunk of the
    better episode is therefore paired with the chunk of the other whose encoded observation is nearest, at distance
    d, and drawn with a weight of exp(-(d² - d_min²) / 2h²), where d_min is the smallest distance of this pair of
    episodes and h² the quantile `focus` of all d² - d_min².

    Args:
        model: encodes the observations.
        data: the chunks of the episodes.
        pairs: of the episodes.
        focus: share of the chunks that is drawn mostly, above 0; 1: all chunks are drawn equally often.
        seed: of the choice among more than `MOST_PAIRS` pairs.
    """
    if len(pairs) > MOST_PAIRS:
        pairs = pairs.select_rows(np.random.default_rng(seed).choice(len(pairs), MOST_PAIRS, replace=False))
    with torch.no_grad():
        seen = model.encode(data.chunks.state)  # (M, C)
    winner, loser, gap, target, owner = [], [], [], [], []
    for number in range(len(pairs)):
        sides = [data.list_chunks(int(side[number])) for side in (pairs.winner, pairs.loser)]
        distance = torch.cdist(seen[sides[0]], seen[sides[1]]).square().numpy()  # (m, n)
        nearest = distance.argmin(axis=1)
        least = distance[np.arange(len(nearest)), nearest]
        winner.append(sides[0])
        loser.append(sides[1][nearest])
        gap.append(least - least.min())
        target.append(np.full(len(nearest), pairs.target[number]))
        owner.append(np.full(len(nearest), number))
    weight = np.ones(sum(map(len, gap)))
    if focus < 1:
        gaps = np.concatenate(gap)
        weight = np.exp(-gaps / (2 * max(float(np.quantile(gaps, focus)), 1e-12)))
    numbers = np.concatenate(owner)
    weight /= np.bincount(numbers, weights=weight)[numbers]
    rows = [np.concatenate(part) for part in (winner, loser, target)]
    return ChunkPairs(rows[0], rows[1], rows[2], np.cumsum(weight) / weight.sum())
