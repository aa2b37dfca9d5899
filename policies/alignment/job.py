"""What a method of `robo-reward finetune` gets and returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from robo_reward.envs.task import Task
from robo_reward.labelling.answers import Answer
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
    """What people said.

    Args:
        answers: at least one.
        clips: those that the answers are about, by id.
    """

    answers: tuple[Answer, ...]
    clips: Mapping[str, Clip]


@dataclass(frozen=True)
class FinetuneJob:
    """The work of a method of fine-tuning.

    Args:
        task: that the policy acts in.
        policy: as it was loaded; a method must not change it.
        folder: of the run; a method keeps in it what it needs to resume.
        preferences: people's answers, or None.
        reward: any reward, or None.
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
