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
    prefers one of two chunks then says nothing about what it will do where it has the choice. Only chunks of the
    beginning of both episodes are therefore compared, where the policy still has it: each chunk of the better episode
    is paired with the chunk of the other whose encoded observation is nearest.

    Args:
        model: encodes the observations.
        data: the chunks of the episodes.
        pairs: of the episodes.
        focus: share of each episode, from its start, whose chunks are compared, above 0; 1: all.
        seed: of the choice among more than `MOST_PAIRS` pairs.
    """
    if len(pairs) > MOST_PAIRS:
        pairs = pairs.select_rows(np.random.default_rng(seed).choice(len(pairs), MOST_PAIRS, replace=False))
    with torch.no_grad():
        seen = model.encode(data.chunks.state)  # (M, C)
    winner, loser, target, weight = [], [], [], []
    for number in range(len(pairs)):
        sides = [
            rows[: max(1, round(focus * len(rows)))]
            for rows in (data.list_chunks(int(side[number])) for side in (pairs.winner, pairs.loser))
        ]
        nearest = torch.cdist(seen[sides[0]], seen[sides[1]]).argmin(dim=1).numpy()
        winner.append(sides[0])
        loser.append(sides[1][nearest])
        target.append(np.full(len(nearest), pairs.target[number]))
        weight.append(np.full(len(nearest), 1 / len(nearest)))
    rows = [np.concatenate(part) for part in (winner, loser, target, weight)]
    return ChunkPairs(rows[0], rows[1], rows[2], np.cumsum(rows[3]) / len(pairs))
