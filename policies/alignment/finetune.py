"""The methods of `robo-reward finetune` that change the weights of a diffusion or flow policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robo_reward.data.episode import Episode
from robo_reward.errors import UsageError
from robo_reward.labelling.comparisons import Comparisons
from robo_reward.policies.alignment.anchor import compute_cloning_loss
from robo_reward.policies.alignment.chunks import Chunks, Draw, EpisodeChunks, compute_chunk_errors, draw_noise
from robo_reward.policies.alignment.demonstrations import load_demonstrations
from robo_reward.policies.alignment.dpo import compute_dpo_loss, compute_preference_accuracy
from robo_reward.policies.alignment.dro import compute_dro_loss
from robo_reward.policies.alignment.implicit_reward import compute_implicit_reward
from robo_reward.policies.alignment.job import FinetuneJob, FinetuneOutcome
from robo_reward.policies.alignment.kto import compute_kto_loss
from robo_reward.policies.alignment.ranked_episodes import (
    RankedEpisodes,
    load_ranked_episodes,
    rank_rollouts,
)
from robo_reward.policies.alignment.reward_weighting import compute_progress_weights, compute_return_weights
from robo_reward.policies.alignment.settings import AlignmentSettings
from robo_reward.policies.alignment.train import copy_trainable, train_model
from robo_reward.policies.diffusion.model import DiffusionModel
from robo_reward.policies.diffusion.policy import DiffusionPolicy

STEPS = 1000
"""Updates where the user gives no number."""
DRAWS = 8
"""Draws of noise per pair with which the preference accuracy is measured."""
Loss = Callable[["Alignment", int], Tensor]


@dataclass(frozen=True, eq=False)
class Alignment:
    """What the loss of an update is computed from.

    Args:
        policy: whose chunks are cut and, for own samples, drawn.
        model: that is trained.
        reference: the same model before, frozen.
        ranked: episodes and their pairs.
        data: all chunks of these.
        anchor: numbers of the chunks of `demonstrations` that hold the policy.
        demonstrations: chunks that hold it.
        settings: of the method.
        seed: of all random draws.
    """

    policy: DiffusionPolicy
    model: DiffusionModel
    reference: DiffusionModel
    ranked: RankedEpisodes
    data: EpisodeChunks
    demonstrations: Chunks
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
        count = self.settings.batch * self.settings.chunks
        chunks = self.demonstrations.select(rng.integers(len(self.demonstrations.state), size=count))
        draw = draw_noise(self.model, count, [self.seed, step, 1])
        return compute_cloning_loss(compute_chunk_errors(self.model, chunks, draw), chunks.mask)


def finetune_dpo(job: FinetuneJob) -> FinetuneOutcome:
    """Aligns a policy by Diffusion-DPO, or flow-DPO, with the cloning anchor."""
    return _finetune(job, _compute_dpo)


def finetune_kto(job: FinetuneJob) -> FinetuneOutcome:
    """Aligns a policy by KTO with the episodes that people like and those that they do not."""
    return _finetune(job, _compute_kto)


def finetune_dro(job: FinetuneJob) -> FinetuneOutcome:
    """Aligns a policy by Diffusion-DRO: liked episodes against its own samples."""
    return _finetune(job, OwnSampleLoss())


def finetune_clone(job: FinetuneJob) -> FinetuneOutcome:
    """Clones the episodes that people like, starting from the policy."""
    return _finetune(job, _compute_clone)


def finetune_rwr(job: FinetuneJob) -> FinetuneOutcome:
    """Clones all episodes, each chunk weighted by the reward."""
    return _finetune(job, WeightedLoss())


def _compute_dpo(state: Alignment, step: int) -> Tensor:
    settings, rng = state.settings, state.make_rng(step)
    pairs = state.ranked.pairs.select_rows(rng.integers(len(state.ranked.pairs), size=settings.batch))
    phase = rng.random((settings.batch, settings.chunks))
    sides = [state.data.pick(side[:, None].repeat(settings.chunks, 1), phase) for side in (pairs.winner, pairs.loser)]
    chunks = state.data.chunks.select(np.concatenate([side.ravel() for side in sides]))
    draw = state.draw(settings.batch * settings.chunks, step)
    reward = state.compute_rewards(chunks, draw.repeat(2)).reshape(2, settings.batch, settings.chunks).mean(-1)
    loss = compute_dpo_loss(reward[0], reward[1], settings.beta, torch.from_numpy(pairs.target).float())
    return loss + settings.anchor * state.compute_anchor(rng, step)


def _compute_kto(state: Alignment, step: int) -> Tensor:
    settings, rng = state.settings, state.make_rng(step)
    good, bad = (np.flatnonzero(side) for side in (state.ranked.is_liked, state.ranked.is_disliked))
    half = max(1, settings.batch // 2)
    chosen = np.concatenate([rng.choice(good, half), rng.choice(bad, half)])  # (2 half,)
    phase = rng.random((2 * half, settings.chunks))
    chunks = state.data.chunks.select(state.data.pick(chosen[:, None].repeat(settings.chunks, 1), phase).ravel())
    reward = state.compute_rewards(chunks, state.draw(len(chunks.state), step))
    reward = reward.reshape(2 * half, settings.chunks).mean(-1)
    loss = compute_kto_loss(reward, torch.arange(2 * half) < half, settings.beta)
    return loss + settings.anchor * state.compute_anchor(rng, step)


def _compute_clone(state: Alignment, step: int) -> Tensor:
    rng, count = state.make_rng(step), state.settings.batch * state.settings.chunks
    liked = np.flatnonzero(state.ranked.is_liked)
    chunks = state.data.chunks.select(state.data.pick(rng.choice(liked, count), rng.random(count)))
    return compute_cloning_loss(compute_chunk_errors(state.model, chunks, state.draw(count, step)), chunks.mask)


class OwnSampleLoss:
    """The loss of Diffusion-DRO; it draws own samples again every `refresh` updates."""

    def __init__(self) -> None:
        self._drawn_at = -1
        self._liked: Chunks | None = None
        self._own: Chunks | None = None

    def __call__(self, state: Alignment, step: int) -> Tensor:
        settings = state.settings
        at = step - step % settings.refresh
        if at != self._drawn_at or self._liked is None or self._own is None:
            self._drawn_at = at
            self._liked, self._own = self._draw_samples(state, at)
        rng = state.make_rng(step)
        draw = state.draw(len(self._liked.state), step)
        reward = state.compute_rewards(self._liked + self._own, draw.repeat(2)).reshape(2, -1)
        return compute_dro_loss(reward[0], reward[1]) * settings.beta + settings.anchor * state.compute_anchor(rng, step)

    def _draw_samples(self, state: Alignment, step: int) -> tuple[Chunks, Chunks]:
        """Returns liked chunks, and chunks that the present policy draws for the same observations."""
        count = state.settings.batch * state.settings.chunks
        rng = np.random.default_rng([state.seed, step, 2])
        liked = np.flatnonzero(state.ranked.is_liked)
        chunks = state.data.chunks.select(state.data.pick(rng.choice(liked, count), rng.random(count)))
        noise = draw_noise(state.model, count, [state.seed, step, 2]).noise
        with torch.no_grad():
            own = state.model.sample(state.model.encode(chunks.state), noise)
        return chunks, Chunks(chunks.state, own, chunks.mask)


class WeightedLoss:
    """The cloning loss of all ranked episodes, each chunk with a weight by the reward."""

    def __init__(self) -> None:
        self._weights: np.ndarray | None = None

    def __call__(self, state: Alignment, step: int) -> Tensor:
        if self._weights is None:
            self._weights = compute_chunk_weights(state.ranked, state.data, state.policy, state.settings)
        rng, count = state.make_rng(step), state.settings.batch * state.settings.chunks
        rows = rng.integers(len(state.data), size=count)
        chunks, weight = state.data.chunks.select(rows), torch.from_numpy(self._weights[rows]).float()
        errors = compute_chunk_errors(state.model, chunks, state.draw(count, step))
        return compute_cloning_loss(errors, chunks.mask, weight)


def compute_chunk_weights(
    ranked: RankedEpisodes, data: EpisodeChunks, policy: Any, settings: AlignmentSettings
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


def _finetune(job: FinetuneJob, compute_loss: Loss) -> FinetuneOutcome:
    """Trains a copy of the policy's model and measures what changed."""
    settings = AlignmentSettings().with_changes(job.settings)
    policy = require_diffusion(job.policy)
    demonstrations = load_demonstrations(job)
    ranked, held_out = load_ranked(job, settings)
    if not ranked.episodes:
        return FinetuneOutcome(None, 0)
    require_both_sides(ranked)
    data = EpisodeChunks(policy, ranked.episodes)
    held_by = demonstrations or [e for e, liked in zip(ranked.episodes, ranked.is_liked, strict=True) if liked]
    anchor = EpisodeChunks(policy, held_by)
    state = Alignment(
        policy, copy_trainable(policy.model), policy.model, ranked, data, anchor.chunks, settings, job.seed
    )
    tests = [(ranked, data, "")]
    if held_out is not None:
        tests.append((held_out, EpisodeChunks(policy, held_out.episodes), "answers_"))

    def measure(model: DiffusionModel) -> dict[str, float]:
        found = {"cloning_loss": measure_cloning_loss(model, anchor.chunks)}
        for episodes, chunks, prefix in tests:
            accuracy, margin = measure_pairs(model, policy.model, episodes.pairs, chunks)
            found |= {f"{prefix}preference_accuracy": accuracy, f"{prefix}winner_reward": margin}
        return found

    before, steps = measure(policy.model), job.steps or STEPS
    report = lambda step, numbers: job.report(step, {**numbers, **measure(state.model)})  # noqa: E731
    done = train_model(
        state.model,
        lambda step: (compute_loss(state, step), {}),
        job.folder,
        steps,
        settings.learning_rate,
        job.stop,
        report,
    )
    if done < steps:
        return FinetuneOutcome(None, done)
    details = {
        "episodes": len(ranked.episodes),
        "pairs": len(ranked.pairs),
        "anchor": "demonstrations" if demonstrations else "preferred episodes",
    }
    return FinetuneOutcome(replace(policy, model=state.model), done, before, measure(state.model), details)


def require_diffusion(policy: Any) -> DiffusionPolicy:
    """Returns the policy if its weights can be aligned.

    Raises:
        UsageError: another kind of policy, one that looks at pictures, or plain regression.
    """
    if not isinstance(policy, DiffusionPolicy):
        raise UsageError(
            f"the policy is {type(policy).__name__}: its weights cannot be aligned. Give a diffusion or flow policy of "
            "`robo-reward clone`, or method=best_of_n"
        )
    if policy.settings.objective == "regression":
        raise UsageError("the policy is a plain regression, which has no likelihood to align; give a diffusion policy")
    if policy.frames is not None:
        raise UsageError("the policy looks at pictures, and alignment reads the state alone; give a policy of the state")
    return policy


def load_ranked(job: FinetuneJob, settings: AlignmentSettings) -> tuple[RankedEpisodes, RankedEpisodes | None]:
    """Returns the episodes to learn from, and those on which people's answers are compared with the result.

    With a reward, the policy learns from its own episodes, ranked by the reward; the answers then measure only.
    """
    answered = load_ranked_episodes(job.preferences, job.task) if job.preferences else None
    if job.reward is not None:
        return rank_rollouts(job, settings.rollouts, settings.share), answered
    if answered is None:
        raise UsageError("there is nothing to learn from; give preferences=DIR or reward=RUN")
    return answered, None


def require_both_sides(ranked: RankedEpisodes) -> None:
    """Raises UsageError if no episode wins, or none loses, more comparisons than it loses or wins."""
    if not ranked.is_liked.any() or not ranked.is_disliked.any():
        raise UsageError(
            f"the {len(ranked.pairs)} comparisons cancel each other: no episode wins more than it loses. Answer more"
        )


@torch.no_grad()
def measure_cloning_loss(model: DiffusionModel, chunks: Chunks, most: int = 2048) -> float:
    """Returns the cloning loss of chunks under a fixed noise, of at most `most` of them."""
    rows = np.linspace(0, len(chunks.state) - 1, min(most, len(chunks.state))).astype(int)
    kept = chunks.select(rows)
    errors = compute_chunk_errors(model, kept, draw_noise(model, len(rows), [0]))
    return float(compute_cloning_loss(errors, kept.mask))


@torch.no_grad()
def measure_pairs(
    model: DiffusionModel, reference: DiffusionModel, pairs: Comparisons, data: EpisodeChunks, most: int = 100
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


__all__ = ["Alignment", "Episode", "Mapping"]
