"""The methods of `robo-reward finetune` that change the weights of a diffusion or flow policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from robo_reward.errors import UsageError
from robo_reward.policies.alignment.chunks import EpisodeChunks
from robo_reward.policies.alignment.job import FinetuneJob, FinetuneOutcome, RankedEpisodes
from robo_reward.policies.alignment.matching import match_chunks
from robo_reward.policies.alignment.measure import measure_cloning_loss, measure_pairs
from robo_reward.policies.alignment.ranked_episodes import (
    load_demonstrations,
    load_ranked_episodes,
    rank_rollouts,
    require_rollouts,
)
from robo_reward.policies.alignment.settings import AlignmentSettings
from robo_reward.policies.alignment.train import copy_trainable, train_model
from robo_reward.policies.alignment.updates import (
    AlignmentState,
    OwnSampleLoss,
    WeightedLoss,
    compute_clone_update,
    compute_dpo_update,
    compute_kto_update,
)
from robo_reward.policies.diffusion.model import DiffusionModel
from robo_reward.policies.diffusion.policy import DiffusionPolicy

STEPS, CLONING_STEPS = 300, 1000
"""Updates where the user gives no number; cloning needs more than a comparison with the reference."""
Update = Callable[[AlignmentState, int], Tensor]


def finetune_dpo(job: FinetuneJob) -> FinetuneOutcome:
    """Aligns a policy by Diffusion-DPO, or flow-DPO, with the cloning anchor."""
    return _finetune(job, compute_dpo_update)


def finetune_kto(job: FinetuneJob) -> FinetuneOutcome:
    """Aligns a policy by KTO with the episodes that people like and those that they do not."""
    return _finetune(job, compute_kto_update)


def finetune_dro(job: FinetuneJob) -> FinetuneOutcome:
    """Aligns a policy by Diffusion-DRO: liked episodes against its own samples."""
    return _finetune(job, OwnSampleLoss())


def finetune_clone(job: FinetuneJob) -> FinetuneOutcome:
    """Clones the episodes that people like, starting from the policy."""
    return _finetune(job, compute_clone_update, CLONING_STEPS)


def finetune_rwr(job: FinetuneJob) -> FinetuneOutcome:
    """Clones all episodes, each chunk weighted by the reward."""
    return _finetune(job, WeightedLoss(), CLONING_STEPS)


def _finetune(job: FinetuneJob, compute_loss: Update, usual: int = STEPS) -> FinetuneOutcome:
    """Trains a copy of the policy's model and measures what changed."""
    settings = AlignmentSettings().with_changes(job.settings)
    policy = require_diffusion(job.policy)
    demonstrations = load_demonstrations(job)
    ranked, held_out = load_ranked(job, settings)
    if not ranked.episodes:
        return FinetuneOutcome(None, 0)
    require_both_sides(ranked)
    data = EpisodeChunks(policy, ranked.episodes)
    preferred = data.chunks.select(np.flatnonzero(ranked.is_liked[data.episode]))
    shown = EpisodeChunks(policy, demonstrations).chunks if demonstrations else preferred
    anchor = shown if demonstrations and settings.anchor_on == "demonstrations" else preferred
    pairs = match_chunks(policy.model, data, ranked.pairs, settings.focus, job.seed)
    model = copy_trainable(policy.model)
    state = AlignmentState(policy, model, policy.model, ranked, data, pairs, anchor, settings, job.seed)
    tests = [(ranked, data, "")]
    if held_out is not None:
        tests.append((held_out, EpisodeChunks(policy, held_out.episodes), "answers_"))

    def measure(model: DiffusionModel) -> dict[str, float]:
        found = {"cloning_loss": measure_cloning_loss(model, shown)}
        for episodes, chunks, prefix in tests:
            accuracy, margin = measure_pairs(model, policy.model, episodes.pairs, chunks)
            found |= {f"{prefix}preference_accuracy": accuracy, f"{prefix}winner_reward": margin}
        return found

    before, steps = measure(policy.model), job.steps or usual
    report = lambda step, numbers: job.report(step, {**numbers, **measure(state.model)})  # noqa: E731
    done = train_model(
        state.model,
        lambda step: (compute_loss(state, step), {}),
        job.folder,
        steps,
        settings.learning_rate,
        job.stop,
        report,
        ranked.compute_fingerprint(settings),
    )
    if done < steps:
        return FinetuneOutcome(None, done)
    details = {
        "episodes": len(ranked.episodes),
        "pairs": len(ranked.pairs),
        "cloning_loss_on": "demonstrations" if demonstrations else "preferred episodes",
    }
    return FinetuneOutcome(replace(policy, model=state.model), done, before, measure(state.model), details)


def check_job(job: FinetuneJob) -> None:
    """Raises what is wrong with a job, before any long work.

    Raises:
        UnknownName: a setting that does not exist.
        UsageError: settings out of range, a policy that cannot be aligned, answers from which nothing can be learnt,
            or nothing to learn from.
        PolicyMismatch: clips that the policy never saw.
    """
    settings = AlignmentSettings().with_changes(job.settings)
    require_diffusion(job.policy)
    if job.preferences is not None:
        require_both_sides(load_ranked_episodes(job.preferences, job.task))
    if job.reward is not None:
        require_rollouts(settings.rollouts)
    elif job.preferences is None:
        raise UsageError("reward=sparse ranks no episodes; give reward=RUN, reward=expert or preferences=DIR")
    if settings.anchor_on == "demonstrations" and not load_demonstrations(job):
        raise UsageError("settings.anchor_on=demonstrations: the policy's own are not known; give data=DIR")


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
        raise UsageError(
            "the policy looks at pictures, and alignment reads the state alone; give a policy of the state"
        )
    return policy


def load_ranked(job: FinetuneJob, settings: AlignmentSettings) -> tuple[RankedEpisodes, RankedEpisodes | None]:
    """Returns the episodes to learn from, and those on which people's answers are compared with the result.

    With a reward, the policy learns from its own episodes, ranked by the reward; the answers then measure only.
    """
    if job.ranked is not None:
        return job.ranked, None
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
