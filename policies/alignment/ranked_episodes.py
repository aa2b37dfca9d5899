"""Episodes with statements about which of them is better: from people's answers, or from a reward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from robo_reward.data.cloning.demonstrations import load_demonstration_set
from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import Task
from robo_reward.errors import UsageError
from robo_reward.labelling.comparisons import NO_ANCHOR, Comparisons, build_comparisons
from robo_reward.labelling.store import Clip
from robo_reward.policies.alignment.behaviour import roll_out
from robo_reward.policies.alignment.job import FinetuneJob, Preferences, RankedEpisodes
from robo_reward.policies.policy import PolicyMismatch
from robo_reward.rewards.contract import EpisodeReward, RewardOutput, StepReward

BATCH, RUNS = 25, 2
"""Number of starts that are run and scored together, and of episodes from each start."""
NOISE_SEEDS = 50_000
"""Distance of the seeds of the noise of two episodes from one start."""
ROLLOUT_SEEDS = 500
"""First seed of the episodes that a reward ranks; training has the seeds below `VALIDATION_SEEDS`."""


def load_ranked_episodes(preferences: Preferences, task: Task) -> RankedEpisodes:
    """Returns the episodes that people compared, and their comparisons.

    Raises:
        UsageError: a clip without actions, or answers from which nothing can be learnt.
        PolicyMismatch: a clip of another task, or with another state or action.
    """
    wanted = sorted({clip for answer in preferences.answers for clip in answer.clips} & preferences.clips.keys())
    numbers = {name: number for number, name in enumerate(wanted)}
    pairs = build_comparisons(preferences.answers, numbers)  # before reading, which takes longer
    used = np.union1d(pairs.winner, pairs.loser)
    place = {int(number): at for at, number in enumerate(used)}
    episodes = [load_clip_episode(preferences.clips[wanted[number]], task) for number in used]
    moved = Comparisons(
        np.array([place[int(number)] for number in pairs.winner]),
        np.array([place[int(number)] for number in pairs.loser]),
        pairs.target,
        np.full(len(pairs), NO_ANCHOR),
    )
    return RankedEpisodes(episodes, moved, compute_win_shares(moved, len(episodes)))


def compute_win_shares(pairs: Comparisons, count: int) -> np.ndarray:
    """Returns the share of its comparisons that each of `count` episodes won, smoothed by one win and one loss."""
    won, total = np.ones(count), np.full(count, 2.0)
    np.add.at(won, pairs.winner, pairs.target)
    np.add.at(won, pairs.loser, 1 - pairs.target)
    for side in (pairs.winner, pairs.loser):
        np.add.at(total, side, 1.0)
    return won / total


def load_clip_episode(clip: Clip, task: Task) -> Episode:
    """Returns the episode of a clip, without frames.

    Raises:
        UsageError: the clip is a video, which has no actions, or is no longer there.
        PolicyMismatch: it is an episode of another task, or with another state or action.
    """
    path = Path(clip.path)
    if path.is_file():
        raise UsageError(
            f"clip {clip.id} is the video {path}, which has no actions to learn from. Label episodes instead: "
            "`robo-reward record task=TASK by=RUN`, then `robo-reward label STORE`"
        )
    if not path.is_dir():
        raise UsageError(f"clip {clip.id} is no longer at {path}; give clips=FOLDER with its present folder")
    episode = EpisodeStore(path).load(clip.id, frames=False)
    require_own_episode(episode, task, f"clip {clip.id} of {path}")
    return episode


def require_own_episode(episode: Episode, task: Task, name: str) -> None:
    """Raises PolicyMismatch for an episode that the policy of a task cannot have made."""
    remedy = f"Give episodes of {task.id}, such as those of the policy itself"
    if episode.task_id and episode.task_id != task.id:
        raise PolicyMismatch(f"{name} is an episode of {episode.task_id}, the policy acts in {task.id}. {remedy}")
    if episode.spec != task.spec:
        raise PolicyMismatch(f"{name} has the state {episode.spec!r}, {task.id} has {task.spec!r}. {remedy}")
    if episode.action.shape[1] != task.action.dim:
        raise PolicyMismatch(
            f"{name} has actions of {episode.action.shape[1]} numbers, {task.id} takes {task.action.dim}. {remedy}"
        )


def rank_rollouts(job: FinetuneJob, count: int, share: float) -> RankedEpisodes:
    """Returns episodes of the policy, ranked by the reward of a job; they are kept in `rollouts` of its folder.

    Args:
        job: with a reward.
        count: number of episodes; every start is run twice, so that an odd number becomes the next even one.
        share: which share of the best is compared with the same share of the worst.

    Raises:
        UsageError: fewer than four episodes, or the reward prefers none of them.
    """
    require_rollouts(count)
    store, filmed = EpisodeStore(job.folder / "rollouts", frames="drop"), getattr(job.reward, "frames", None)
    keys = [f"{start:06d}-{run}" for start in range(-(-count // RUNS)) for run in range(RUNS)]
    for first in range(0, len(keys) // RUNS, BATCH):  # whole batches, so that a resumed run has the same episodes
        batch = keys[RUNS * first : RUNS * (first + BATCH)]
        missing = set(batch) - set(store.keys())
        if job.stop() or not missing:
            continue
        seed = ROLLOUT_SEEDS + 100_000 * job.seed + first
        episodes = roll_out_twice(job.task, job.policy, len(batch) // RUNS, seed, filmed, job.threads)
        for key, episode, output in zip(batch, episodes, score_episodes(job.reward, episodes), strict=True):
            if key in missing:
                store.append(replace(episode, reward=output, frames=None), key)
        job.report(0, {"rollouts": float(RUNS * first + len(batch))})
    if set(keys) - set(store.keys()):
        return RankedEpisodes([], pair_by_scores(np.arange(4.0), 0.5), np.zeros(0))
    episodes = [store.load(key, frames=False) for key in keys]
    scores = np.array([e.reward.total.mean() for e in episodes if e.reward is not None])
    return RankedEpisodes(episodes, pair_by_scores(scores, share), scores)


def roll_out_twice(
    task: Task, policy: Any, starts: int, seed: int, frames: FrameSpec | None = None, threads: int | None = None
) -> list[Episode]:
    """Returns `RUNS` episodes of the policy from each of some starts, one after the other, with different noise."""
    runs = [roll_out(task, policy, starts, seed, frames, threads, seed + run * NOISE_SEEDS) for run in range(RUNS)]
    return [episode for same in zip(*runs, strict=True) for episode in same]


def require_rollouts(count: int) -> None:
    """Raises UsageError for too few episodes to rank."""
    if count < 4:
        raise UsageError(f"settings.rollouts={count}: expected at least 4 episodes to rank")


def score_episodes(reward: StepReward | EpisodeReward | None, episodes: Sequence[Episode]) -> list[RewardOutput]:
    """Returns the output of a reward for each episode.

    Raises:
        UsageError: there is no reward.
    """
    if reward is None:
        raise UsageError("reward=sparse is no reward that ranks episodes; give reward=RUN")
    if isinstance(reward, EpisodeReward):
        return reward.batch(episodes)
    return [reward(episode.to_transitions()) for episode in episodes]


def pair_by_scores(scores: np.ndarray, share: float) -> Comparisons:
    """Returns pairs of the best episodes, by scores (N,), with the worst: every one of the first with every other.

    Args:
        scores: larger is better.
        share: which share of the episodes counts as best and as worst, above 0, at most one half.

    Raises:
        UsageError: a share out of range, scores that are not finite, or no pair with different scores.
    """
    if not 0 < share <= 0.5:
        raise UsageError(f"settings.share={share}: expected above 0, at most 0.5")
    if not np.isfinite(scores).all():
        raise UsageError("the reward gives some episodes a score that is not finite; check it with `robo-reward check`")
    count = max(1, round(share * len(scores)))
    order = np.argsort(-scores, kind="stable")
    best, worst = np.meshgrid(order[:count], order[-count:], indexing="ij")
    winner, loser = best.ravel(), worst.ravel()
    decided = scores[winner] > scores[loser]
    if not decided.any():
        raise UsageError(f"the reward gives all {len(scores)} episodes {scores[0]:.4g}: it prefers none of them")
    winner, loser = winner[decided], loser[decided]
    return Comparisons(winner, loser, np.ones(len(winner)), np.full(len(winner), NO_ANCHOR))


def load_demonstrations(job: FinetuneJob) -> Sequence[Episode]:
    """Returns the demonstrations of a job: `data=`, else those that the policy was cloned from, if they still exist.

    Raises:
        UsageError: demonstrations that do not fit the task.
    """
    source = job.data
    if not source:
        known = str(job.policy.meta.get("data", ""))
        source = known if known and Path(known).exists() else ""
    return load_demonstration_set(source, job.task).episodes if source else ()
