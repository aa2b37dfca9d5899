"""`method=best_of_n`: learns a value of chunks from pairs of episodes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from robo_reward.labelling.comparisons import Comparisons
from robo_reward.policies.alignment.best_of_n import (
    BestOfNPolicy,
    ChunkValue,
    compute_values,
    create_value,
)
from robo_reward.policies.alignment.chunks import EpisodeChunks
from robo_reward.policies.alignment.finetune import load_ranked, require_diffusion
from robo_reward.policies.alignment.job import FinetuneJob, FinetuneOutcome
from robo_reward.policies.alignment.losses.dpo import compute_dpo_loss, compute_preference_accuracy
from robo_reward.policies.alignment.matching import match_chunks
from robo_reward.policies.alignment.measure import DRAWS
from robo_reward.policies.alignment.settings import AlignmentSettings
from robo_reward.policies.alignment.train import train_model

STEPS = 500
LEARNING_RATE = 1e-3
PENALTY = 0.01
"""Weight of the squared values, which keeps them from growing without end on pairs that are told apart."""


def finetune_best_of_n(job: FinetuneJob) -> FinetuneOutcome:
    """Returns a policy that draws several chunks and takes the best; the base policy stays as it is.

    The value has the Bradley-Terry loss of pairs of chunks for nearly the same observation, see `match_chunks`.
    """
    settings = AlignmentSettings().with_changes(job.settings)
    policy = require_diffusion(job.policy)
    ranked, held_out = load_ranked(job, settings)
    if not ranked.episodes:
        return FinetuneOutcome(None, 0)
    data = EpisodeChunks(policy, ranked.episodes)
    pairs = match_chunks(policy.model, data, ranked.pairs, settings.focus, job.seed)
    value = create_value(policy.model.condition_dim, policy.noise_shape, job.seed)

    def compute_loss(step: int) -> tuple[Tensor, dict[str, float]]:
        rows = pairs.draw(np.random.default_rng([job.seed, step]), settings.batch)
        sides = [compute_values(value, policy, data.chunks.select(side[rows])) for side in (pairs.winner, pairs.loser)]
        target = torch.from_numpy(pairs.target[rows]).float().expand_as(sides[0])
        loss = compute_dpo_loss(sides[0], sides[1], 1.0, target)
        return loss + PENALTY * (sides[0] ** 2 + sides[1] ** 2).mean(), {}

    def measure() -> dict[str, float]:
        found = {"preference_accuracy": _measure(value, policy, ranked.pairs, data)}
        if held_out is not None:
            chunks = EpisodeChunks(policy, held_out.episodes)
            found["answers_preference_accuracy"] = _measure(value, policy, held_out.pairs, chunks)
        return found

    before, steps = measure(), job.steps or STEPS
    report = lambda step, numbers: job.report(step, {**numbers, **measure()})  # noqa: E731
    done = train_model(
        value, compute_loss, job.folder, steps, LEARNING_RATE, job.stop, report, ranked.compute_fingerprint(settings)
    )
    if done < steps:
        return FinetuneOutcome(None, done)
    details = {"episodes": len(ranked.episodes), "pairs": len(ranked.pairs), "candidates": settings.candidates}
    aligned = BestOfNPolicy(policy, value, settings.candidates, dict(policy.meta))
    return FinetuneOutcome(aligned, done, before, measure(), details)


def compute_episode_values(
    value: ChunkValue, policy: object, data: EpisodeChunks, episodes: np.ndarray, phase: np.ndarray
) -> Tensor:
    """Returns the mean value (members, P) of the chunks of episodes (P,) at phases (P, K)."""
    rows = data.pick(episodes[:, None].repeat(phase.shape[1], 1), phase)
    found = compute_values(value, require_diffusion(policy), data.chunks.select(rows.ravel()))
    return found.reshape(len(found), *phase.shape).mean(-1)


@torch.no_grad()
def _measure(value: ChunkValue, policy: object, pairs: Comparisons, data: EpisodeChunks) -> float:
    """Returns the share of decided pairs that the mean value ranks correctly."""
    decided = pairs.drop_ties()
    phase = np.broadcast_to((np.arange(DRAWS) + 0.5) / DRAWS, (len(decided), DRAWS))
    sides = [
        compute_episode_values(value, policy, data, side, phase).mean(0) for side in (decided.winner, decided.loser)
    ]
    return compute_preference_accuracy(*sides)
