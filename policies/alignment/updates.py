"""The losses of one update of each alignment method, from batches of chunks of ranked episodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robo_reward.errors import UsageError
from robo_reward.policies.alignment.chunks import Chunks, Draw, EpisodeChunks, compute_chunk_errors, draw_noise
from robo_reward.policies.alignment.job import RankedEpisodes
from robo_reward.policies.alignment.losses.anchor import compute_cloning_loss
from robo_reward.policies.alignment.losses.dpo import compute_dpo_loss
from robo_reward.policies.alignment.losses.dro import compute_dro_loss
from robo_reward.policies.alignment.losses.implicit_reward import compute_implicit_reward
from robo_reward.policies.alignment.losses.kto import compute_kto_loss
from robo_reward.policies.alignment.losses.reward_weighting import compute_progress_weights, compute_return_weights
from robo_reward.policies.alignment.matching import ChunkPairs
from robo_reward.policies.alignment.settings import AlignmentSettings
from robo_reward.policies.diffusion.model import DiffusionModel
from robo_reward.policies.diffusion.policy import DiffusionPolicy


@dataclass(frozen=True, eq=False)
class AlignmentState:
    """The parts that the loss of an update is computed from.

    Args:
        policy: whose chunks are cut and, for own samples, drawn.
        model: that is trained.
        reference: the same model before, frozen.
        ranked: episodes and their pairs.
        data: all chunks of these.
        pairs: of chunks, from the pairs of episodes.
        anchor: chunks that hold the policy, for cloning those of liked episodes.
        settings: of the method.
        seed: of all random draws.
    """

    policy: DiffusionPolicy
    model: DiffusionModel
    reference: DiffusionModel
    ranked: RankedEpisodes
    data: EpisodeChunks
    pairs: ChunkPairs
    anchor: Chunks
    settings: AlignmentSettings
    seed: int

    def make_rng(self, step: int) -> np.random.Generator:
        """Returns the generator of an update: a resumed training draws the same."""
        return np.random.default_rng([self.seed, step])

    def draw(self, count: int, step: int) -> Draw:
        """Returns the noise and times of an update."""
        return draw_noise(self.model, count, [self.seed, step])

    def compute_rewards(self, chunks: Chunks, draw: Draw) -> Tensor:
        """Returns the implicit reward of each chunk (B,)."""
        errors = compute_chunk_errors(self.model, chunks, draw)
        with torch.no_grad():
            before = compute_chunk_errors(self.reference, chunks, draw)
        return compute_implicit_reward(errors, before, chunks.mask)

    def compute_anchor(self, rng: np.random.Generator, step: int) -> Tensor:
        """Returns the cloning loss of a batch of the chunks that hold the policy."""
        count = self.settings.batch
        chunks = self.anchor.select(rng.integers(len(self.anchor.state), size=count))
        draw = draw_noise(self.model, count, [self.seed, step, 1])
        return compute_cloning_loss(compute_chunk_errors(self.model, chunks, draw), chunks.mask)


def compute_dpo_update(state: AlignmentState, step: int) -> Tensor:
    """Computes the DPO loss of pairs of chunks, with the anchor."""
    settings, rng = state.settings, state.make_rng(step)
    rows = state.pairs.draw(rng, settings.batch)
    chunks = state.data.chunks.select(np.concatenate([state.pairs.winner[rows], state.pairs.loser[rows]]))
    reward = state.compute_rewards(chunks, state.draw(settings.batch, step).repeat(2)).reshape(2, -1)
    target = torch.from_numpy(state.pairs.target[rows]).float()
    loss = compute_dpo_loss(reward[0], reward[1], settings.beta, target)
    return loss + settings.anchor * state.compute_anchor(rng, step)


def compute_kto_update(state: AlignmentState, step: int) -> Tensor:
    """Computes the KTO loss of chunks of liked and disliked episodes, with the anchor."""
    settings, rng = state.settings, state.make_rng(step)
    half = max(1, settings.batch // 2)
    good, bad = (state.pairs.draw(rng, half) for _ in range(2))  # chunks of their own, not pairs
    chunks = state.data.chunks.select(np.concatenate([state.pairs.winner[good], state.pairs.loser[bad]]))
    reward = state.compute_rewards(chunks, state.draw(2 * half, step))
    loss = compute_kto_loss(reward, torch.arange(2 * half) < half, settings.beta)
    return loss + settings.anchor * state.compute_anchor(rng, step)


def compute_clone_update(state: AlignmentState, step: int) -> Tensor:
    """Computes the cloning loss of liked episodes."""
    return state.compute_anchor(state.make_rng(step), step)


class OwnSampleLoss:
    """The loss of Diffusion-DRO; it draws own samples again every `refresh` updates."""

    def __init__(self) -> None:
        self._drawn_at = -1
        self._liked: Chunks | None = None
        self._own: Chunks | None = None

    def __call__(self, state: AlignmentState, step: int) -> Tensor:
        settings = state.settings
        at = step - step % settings.refresh
        if at != self._drawn_at or self._liked is None or self._own is None:
            self._drawn_at = at
            self._liked, self._own = self._draw_samples(state, at)
        rng = state.make_rng(step)
        draw = state.draw(len(self._liked.state), step)
        reward = state.compute_rewards(self._liked + self._own, draw.repeat(2)).reshape(2, -1)
        return compute_dro_loss(reward[0], reward[1]) * settings.beta + settings.anchor * state.compute_anchor(
            rng, step
        )

    def _draw_samples(self, state: AlignmentState, step: int) -> tuple[Chunks, Chunks]:
        """Returns liked chunks, and chunks that the present policy draws for the same observations."""
        count = state.settings.batch
        rng = np.random.default_rng([state.seed, step, 2])
        chunks = state.data.chunks.select(state.pairs.winner[state.pairs.draw(rng, count)])
        noise = draw_noise(state.model, count, [state.seed, step, 2]).noise
        with torch.no_grad():
            own = state.model.sample(state.model.encode(chunks.state), noise)
        return chunks, Chunks(chunks.state, own, chunks.mask)


class WeightedLoss:
    """The cloning loss of all ranked episodes, each chunk with a weight by the reward."""

    def __init__(self) -> None:
        self._weights: np.ndarray | None = None

    def __call__(self, state: AlignmentState, step: int) -> Tensor:
        if self._weights is None:
            self._weights = compute_chunk_weights(state.ranked, state.data, state.policy, state.settings)
        rng, count = state.make_rng(step), state.settings.batch
        rows = rng.integers(len(state.data), size=count)
        chunks, weight = state.data.chunks.select(rows), torch.from_numpy(self._weights[rows]).float()
        errors = compute_chunk_errors(state.model, chunks, state.draw(count, step))
        return compute_cloning_loss(errors, chunks.mask, weight)


def compute_chunk_weights(
    ranked: RankedEpisodes, data: EpisodeChunks, policy: DiffusionPolicy, settings: AlignmentSettings
) -> np.ndarray:
    """Returns the weight of each chunk (M,) with mean 1.

    By `progress`, from how far the reward rises while the chunk is executed, where the level of the reward is scaled
    to [0, 1] over all episodes. Without a reward, and by `return`, from the score of the episode.
    """
    rewards = [episode.reward for episode in ranked.episodes]
    levels = [reward.total for reward in rewards if reward is not None]
    if settings.weights == "return" or len(levels) < len(rewards):
        return compute_return_weights(ranked.scores, settings.temperature)[data.episode]
    low, high = min(level.min() for level in levels), max(level.max() for level in levels)
    if not high > low:
        raise UsageError("the reward is the same at every step, so that it shows no progress; give another reward")
    step = np.maximum(data.step, 0)
    progress = np.zeros(len(data))
    for number, level in enumerate(levels):
        rows = np.flatnonzero(data.episode == number)
        begin = np.minimum(step[rows], len(level) - 1)
        end = np.minimum(begin + policy.execute, len(level) - 1)
        progress[rows] = (level[end] - level[begin]) / (high - low)
    return compute_progress_weights(progress)
