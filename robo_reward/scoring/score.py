"""Scores of episodes: one number each, and their progress over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from robo_reward.checks.rank import area_under_curve, average_ranks

END = 0.1  # share of the steps that count as the end of an episode
OUTLIERS = 0.01  # share of the values at each end of a reward's range that do not set it


class ScoredEpisode(msgspec.Struct, frozen=True):
    """The reward of each step of one episode, as it is kept on disk.

    Args:
        name: of the episode in its data set.
        stamp: of its files when it was scored.
        success: whether the goal held at the end, or None where this is unknown.
        values: reward of each step.
    """

    name: str
    stamp: str
    success: bool | None
    values: list[float]

    @property
    def total(self) -> float:
        """The sum over all steps."""
        return float(np.sum(self.values))

    @property
    def mean(self) -> float:
        """The mean per step."""
        return float(np.mean(self.values))

    @property
    def final(self) -> float:
        """The mean over the last tenth of the steps, at least one."""
        return float(np.mean(self.values[-max(1, round(END * len(self.values))) :]))


@dataclass(frozen=True, eq=False)
class RankedEpisode:
    """An episode among the others of its data set.

    Args:
        episode: its rewards.
        index: its place in the data set.
        score: what it is ranked by; higher is better.
        rank: 1 for the worst.
        progress: (T + 1,) in [0, 1], at each of its states or frames.
        label: `good`, `bad`, or None where nothing says which.
    """

    episode: ScoredEpisode
    index: int
    score: float
    rank: int
    progress: np.ndarray
    label: str | None


def rank_episodes(
    scored: Sequence[tuple[int, ScoredEpisode]], by: str, curve: str, bounded: bool, bad_below: float | None = None
) -> list[RankedEpisode]:
    """Returns all episodes, the worst first; equal scores keep the order of the data set.

    Args:
        scored: the place in the data set of each episode, and its rewards.
        by: `final`, `mean` or `total`.
        curve: `level` or `cumulative`, see `compute_progress`.
        bounded: whether a step's reward is progress in [0, 1] by itself.
        bad_below: episodes with a lower score are labelled bad, others good; None: failures are bad, successes good.
    """
    scores = np.array([getattr(episode, by) for _, episode in scored])
    curves = compute_progress([np.array(episode.values) for _, episode in scored], curve, bounded)
    found = []
    for rank, i in enumerate(np.argsort(scores, kind="stable").tolist(), start=1):
        index, episode = scored[i]
        good = episode.success if bad_below is None else scores[i] >= bad_below
        label = None if good is None else "good" if good else "bad"
        found.append(RankedEpisode(episode, index, float(scores[i]), rank, curves[i], label))
    return found


def pick_ends(ranked: Sequence[RankedEpisode], count: int) -> tuple[list[RankedEpisode], list[RankedEpisode]]:
    """Returns the worst episodes, the worst first, and the best ones, the best first; none is in both.

    Args:
        ranked: all episodes, the worst first.
        count: most episodes on each side.
    """
    worst = min(count, (len(ranked) + 1) // 2)
    return list(ranked[:worst]), list(ranked[worst:][::-1][:count])


def compute_progress(values: Sequence[np.ndarray], curve: str = "level", bounded: bool = False) -> list[np.ndarray]:
    """Computes the progress (T_i + 1,) in [0, 1] of each episode, at each of its states or frames.

    Progress is the reward itself (`level`) or its sum so far (`cumulative`). Unless bounded, it is scaled over all
    episodes: the 1 % quantile of all values becomes 0, the 99 % quantile 1. The reward of step t belongs to the state
    after it, t + 1; the first state has the level of the second, or the sum 0.

    Args:
        values: reward (T_i,) of each episode.
        curve: `level` or `cumulative`.
        bounded: whether the levels are in [0, 1] by themselves.
    """
    if curve == "cumulative":
        found = [np.concatenate([[0.0], np.cumsum(v)]) for v in values]
    else:
        found = [np.concatenate([v[:1], v]) for v in values]
        if bounded:
            return [np.clip(v, 0.0, 1.0) for v in found]
    if not found:
        return []
    low, high = np.quantile(np.concatenate(found), (OUTLIERS, 1 - OUTLIERS))
    if high - low < 1e-12:
        return [np.zeros(len(v)) for v in found]
    return [np.clip((v - low) / (high - low), 0.0, 1.0) for v in found]


def compute_success_auc(scored: Sequence[tuple[float, bool | None]]) -> float | None:
    """Computes the probability that a success scores above a failure; None unless both are known.

    Args:
        scored: score and success of each episode; unknown successes do not count.
    """
    known = [(score, success) for score, success in scored if success is not None]
    if not known:
        return None
    return area_under_curve(np.array([s for s, _ in known]), np.array([hit for _, hit in known]))


def correlate_curves(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Computes Spearman's ρ of two rewards over the steps of one episode; None where one is constant."""
    if min(np.ptp(a), np.ptp(b)) <= 0:
        return None
    return float(np.corrcoef(average_ranks(np.asarray(a)), average_ranks(np.asarray(b)))[0, 1])
