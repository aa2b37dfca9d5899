"""The work that a method of `robo-reward finetune` is given, and its result."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.envs.task import Task
from robo_reward.labelling.answers import Answer
from robo_reward.labelling.comparisons import Comparisons
from robo_reward.labelling.store import Clip
from robo_reward.rewards.contract import EpisodeReward, StepReward


class ChunkPolicy(Protocol):
    """The part of a policy that acts in chunks which alignment uses; see `policies/policy.py`."""

    meta: dict[str, Any]

    def act(self, observations: Any, noise: np.ndarray | None = None) -> np.ndarray:
        """Returns chunks (B, H, A)."""
        ...

    def save(self, folder: Path) -> Path:
        """Writes the policy into a folder."""
        ...

    def with_meta(self, **more: Any) -> Any:
        """Returns the same policy with more metadata."""
        ...


@dataclass(frozen=True)
class Preferences:
    """People's answers.

    Args:
        answers: at least one.
        clips: those that the answers are about, by id.
    """

    answers: tuple[Answer, ...]
    clips: Mapping[str, Clip]


@dataclass(frozen=True, eq=False)
class RankedEpisodes:
    """Episodes, pairs of them of which one is better, and a score of each.

    Args:
        episodes: N.
        pairs: numbers of the better and the worse episode of each pair.
        scores: (N,) larger is better: the reward of each, or the share of its comparisons that it won.
    """

    episodes: Sequence[Episode]
    pairs: Comparisons
    scores: np.ndarray

    @property
    def is_liked(self) -> np.ndarray:
        """(N,) bool, whether an episode wins more of its pairs than it loses."""
        return self._count_wins() > 0

    @property
    def is_disliked(self) -> np.ndarray:
        """(N,) bool, whether an episode loses more of its pairs than it wins."""
        return self._count_wins() < 0

    def compute_fingerprint(self, settings: object) -> str:
        """Returns a hash of the episodes, their pairs and scores, and the settings of a method."""
        parts = [part for episode in self.episodes for part in (episode.state, episode.action)]
        digest = hashlib.sha256(repr(settings).encode())
        for part in (*parts, self.pairs.winner, self.pairs.loser, self.pairs.target, self.scores):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def _count_wins(self) -> np.ndarray:
        """Returns wins less losses of each episode (N,); ties count as neither."""
        found = np.zeros(len(self.episodes))
        decided = self.pairs.drop_ties()
        np.add.at(found, decided.winner, 1.0)
        np.add.at(found, decided.loser, -1.0)
        return found


@dataclass(frozen=True)
class FinetuneJob:
    """The work of a method of fine-tuning.

    Args:
        task: that the policy acts in.
        policy: as it was loaded; a method must not change it.
        folder: of the run; a method keeps in it what it needs to resume.
        preferences: people's answers, or None.
        reward: any reward, or None.
        ranked: episodes that are ranked already, in place of preferences and reward, or None.
        data: folder of demonstrations; empty: none.
        steps: gradient steps, or environment steps for reinforcement; 0: what suits the method.
        seed: of all random draws.
        threads: of the simulator.
        settings: those of the method, as the user gave them.
        stop: asks whether to stop; the method then saves what it needs to resume and returns.
        report: called with the step and the numbers to show.
    """

    task: Task
    policy: Any
    folder: Path
    preferences: Preferences | None = None
    reward: StepReward | EpisodeReward | None = None
    ranked: RankedEpisodes | None = None
    data: str = ""
    steps: int = 0
    seed: int = 0
    threads: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    stop: Callable[[], bool] = lambda: False
    report: Callable[[int, Mapping[str, float]], None] = lambda step, numbers: None


@dataclass(frozen=True)
class FinetuneOutcome:
    """The result of a method.

    Args:
        policy: the aligned policy; None where the work was stopped.
        steps: done so far.
        before: numbers of the method about the policy as it came, such as `preference_accuracy`.
        after: the same numbers of the aligned policy.
        details: JSON to keep with the result.
    """

    policy: Any
    steps: int
    before: Mapping[str, float] = field(default_factory=dict)
    after: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
