"""Simulated people: the teachers of B-Pref (Lee et al., 2021), for comparisons of any number of clips."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from robo_reward.errors import UnknownName, UsageError, WrongShape
from robo_reward.labelling.answers import Answer
from robo_reward.labelling.queries import Query

TEACHERS: dict[str, dict[str, float]] = {
    "oracle": {},
    "noisy": {"beta": 1.0},
    "mistake": {"mistake": 0.1},
    "equal": {"equal": 0.1},
    "skip": {"skip": 0.1},
    "myopic": {"gamma": 0.9},
}
"""B-Pref's six teachers and their parameters; `equal` and `skip` are shares of `typical_return`."""


class SimulatedPerson:
    """Ranks clips by their true reward, with the noise models of B-Pref.

    With the reward r_t of a clip of T steps, its value is v = Σ_t γ^(T-1-t) r_t (a myopic person remembers the end
    best) and its plain return R = Σ_t r_t. In this order, as B-Pref does for two clips:

    * *skip*: "can't tell" when max R < `skip`;
    * *equal*: clips whose R are less than `equal` apart are tied; for more than two, chains of them;
    * *rational*: groups are ordered by draws without replacement with p_i ∝ exp(β v_i) (Plackett-Luce; for two
      clips Bradley-Terry), a group's v being its mean; without limit on β, by v;
    * *mistake*: with this probability two groups, drawn at random, are swapped; for two clips, the order flips.

    Args:
        rewards: clip id -> (T,) true reward per step.
        name: the annotator's name.
        beta: rationality β > 0; infinite for no such noise.
        gamma: discount γ in (0, 1].
        mistake: probability.
        equal: threshold, in units of return.
        skip: threshold, in units of return; minus infinity to never skip.
        seed: of all draws; the same seed and queries give the same answers.

    Raises:
        UsageError: a parameter out of range.
        WrongShape: rewards that are not (T,).
    """

    def __init__(
        self,
        rewards: Mapping[str, np.ndarray],
        name: str = "oracle",
        *,
        beta: float = math.inf,
        gamma: float = 1.0,
        mistake: float = 0.0,
        equal: float = 0.0,
        skip: float = -math.inf,
        seed: int = 0,
    ) -> None:
        if not beta > 0 or not 0 < gamma <= 1 or not 0 <= mistake <= 1 or not equal >= 0 or math.isnan(skip):
            raise UsageError(
                f"{beta=} {gamma=} {mistake=} {equal=}: expected beta > 0, 0 < gamma <= 1, "
                "0 <= mistake <= 1, equal >= 0"
            )
        self.name, self.beta, self.mistake, self.equal, self.skip = name, beta, mistake, equal, skip
        self._returns, self._values = {}, {}
        for clip, reward in rewards.items():
            reward = np.asarray(reward, float)
            if reward.ndim != 1 or not len(reward) or not np.isfinite(reward).all():
                raise WrongShape(f"reward of clip {clip!r}", reward.shape, "(T,) finite, at least one step")
            self._returns[clip] = float(reward.sum())
            self._values[clip] = float(reward @ gamma ** np.arange(len(reward))[::-1])
        self._rng = np.random.default_rng(seed)

    def __call__(self, query: Query) -> Answer:
        """Returns the simulated person's answer to a query.

        Raises:
            UnknownName: a clip without a reward.
        """
        for clip in query.clips:
            if clip not in self._returns:
                raise UnknownName("clip", clip, self._returns)
        return Answer(
            clips=query.clips,
            annotator=self.name,
            ranking=self._rank_clips(query.clips),
            provenance={"simulated": True, "query": query.source},
        )

    def _rank_clips(self, clips: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
        if max(self._returns[clip] for clip in clips) < self.skip:
            return ()
        groups = self._order_groups(self._group_ties(clips))
        if self._rng.random() < self.mistake and len(groups) > 1:
            i, j = self._rng.choice(len(groups), 2, replace=False)
            groups[i], groups[j] = groups[j], groups[i]
        return tuple(groups)

    def _group_ties(self, clips: tuple[str, ...]) -> list[tuple[str, ...]]:
        """Groups clips whose returns are too close to tell apart."""
        groups: list[list[str]] = []
        for clip in sorted(clips, key=lambda clip: -self._returns[clip]):
            gap = self._returns[groups[-1][-1]] - self._returns[clip] if groups else math.inf
            if gap < self.equal or gap == 0:
                groups[-1].append(clip)
            else:
                groups.append([clip])
        return [tuple(group) for group in groups]

    def _order_groups(self, groups: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
        values = np.array([np.mean([self._values[clip] for clip in group]) for group in groups])
        if math.isinf(self.beta):
            return [groups[i] for i in np.argsort(-values, kind="stable")]
        # Gumbel-max trick: sorting v + Gumbel noise draws without replacement from the softmax.
        noisy = self.beta * values + self._rng.gumbel(size=len(values))
        return [groups[i] for i in np.argsort(-noisy)]


def typical_return(rewards: Mapping[str, np.ndarray]) -> float:
    """Returns the mean return minus the worst clip's, the unit of the thresholds of `make_teacher`.

    B-Pref uses shares of the mean return; with a worst return of zero, as in its tasks, this is the same.
    """
    returns = [float(np.sum(reward)) for reward in rewards.values()]
    return float(np.mean(returns)) - min(returns)


def make_teacher(kind: str, rewards: Mapping[str, np.ndarray], seed: int = 0, **changes: Any) -> SimulatedPerson:
    """Returns one of B-Pref's simulated teachers.

    Args:
        kind: a name in `TEACHERS`.
        rewards: clip id -> (T,) true reward per step.
        seed: of all draws.
        changes: arguments of `SimulatedPerson` in place of B-Pref's.

    Raises:
        UnknownName: no such teacher.
    """
    if kind not in TEACHERS:
        raise UnknownName("teacher", kind, TEACHERS)
    settings = dict(TEACHERS[kind])
    unit = typical_return(rewards)
    if "equal" in settings:
        settings["equal"] *= unit
    if "skip" in settings:
        settings["skip"] = settings["skip"] * unit + min(float(np.sum(reward)) for reward in rewards.values())
    return SimulatedPerson(rewards, **{"name": kind, **settings, "seed": seed, **changes})
