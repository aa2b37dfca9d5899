"""Numbers that are always shown of an alignment: preference accuracy, reward of the winners, cloning loss."""

from __future__ import annotations

import numpy as np
import torch

from robo_reward.labelling.comparisons import Comparisons
from robo_reward.policies.alignment.chunks import Chunks, EpisodeChunks, compute_chunk_errors, draw_noise
from robo_reward.policies.alignment.losses.anchor import compute_cloning_loss
from robo_reward.policies.alignment.losses.dpo import compute_preference_accuracy
from robo_reward.policies.alignment.losses.implicit_reward import compute_implicit_reward
from robo_reward.policies.diffusion.model import DiffusionModel

DRAWS = 8
"""Chunks per episode, each with its own noise, with which pairs are measured."""


@torch.no_grad()
def measure_cloning_loss(model: DiffusionModel, chunks: Chunks, most: int = 512) -> float:
    """Returns the cloning loss of chunks under a fixed noise, of at most `most` of them."""
    rows = np.linspace(0, len(chunks.state) - 1, min(most, len(chunks.state))).astype(int)
    kept = chunks.select(rows)
    errors = compute_chunk_errors(model, kept, draw_noise(model, len(rows), [0]))
    return float(compute_cloning_loss(errors, kept.mask))


@torch.no_grad()
def measure_pairs(
    model: DiffusionModel, reference: DiffusionModel, pairs: Comparisons, data: EpisodeChunks, most: int = 50
) -> tuple[float, float]:
    """Returns the implicit preference accuracy of decided pairs, and the mean implicit reward of their winners.

    A falling reward of the winners says that the likelihood of what people prefer falls as well.
    """
    decided = pairs.drop_ties()
    decided = decided.select_rows(np.linspace(0, len(decided) - 1, min(most, len(decided))).astype(int))
    phase = (np.arange(DRAWS) + 0.5) / DRAWS
    draw = draw_noise(model, len(decided) * DRAWS, [1])
    rewards = []
    for side in (decided.winner, decided.loser):
        rows = data.pick(side[:, None].repeat(DRAWS, 1), np.broadcast_to(phase, (len(side), DRAWS)))
        chunks = data.chunks.select(rows.ravel())
        errors = [compute_chunk_errors(m, chunks, draw) for m in (model, reference)]
        rewards.append(compute_implicit_reward(errors[0], errors[1], chunks.mask).reshape(-1, DRAWS).mean(-1))
    return compute_preference_accuracy(rewards[0], rewards[1]), float(rewards[0].mean())
