"""The settings of a search: its budget and its criteria."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from robo_reward.errors import UsageError

BASE_SECONDS, SECONDS_PER_STEP = 1800.0, 0.05
"""Time limit of a job, fixed and per step [s]: far above the usual duration (not measured), to end only hung jobs."""


@dataclass(frozen=True)
class SearchSettings:
    """The settings of a search.

    Args:
        candidates: K programs per round.
        rounds: N rounds of propose, train and reflect.
        restarts: independent repetitions of all rounds; the best of all wins.
        repairs: how often a refused program goes back to its writer.
        steps: training budget of one candidate [environment steps].
        rungs: shares of the budget at which candidates are compared; the last is 1.
        keep: share of the candidates that goes on from one rung to the next.
        algorithm: the training algorithm.
        params: settings over the algorithm's defaults.
        final_seeds: how often the winner is trained again, each time with another seed; 0 keeps the search's policy.
        final_steps: budget of each of those trainings, or 0 for `steps`.
        episodes: evaluation episodes at every rung and for the final policy.
        enough: success rate at which the search ends early, after `least_rounds` rounds.
        least_rounds: rounds that are always done.
        faithful: Eureka as published: no rungs, no elitism in the writer's context, no repairs, no confirmation of the
            winner on new seeds, and all rounds are done; `rungs`, `repairs`, `final_seeds` and `enough` do not count.
        seed: of everything.
        timeout: for one training job [s]; 0 chooses one with `compute_time_limit`.
    """

    candidates: int = 4
    rounds: int = 2
    restarts: int = 1
    repairs: int = 2
    steps: int = 160_000
    rungs: tuple[float, ...] = (0.4, 1.0)
    keep: float = 0.5
    algorithm: str = "ppo"
    params: Mapping[str, Any] = field(default_factory=dict)
    final_seeds: int = 2
    final_steps: int = 0
    episodes: int = 100
    enough: float = 0.99
    least_rounds: int = 2
    faithful: bool = False
    seed: int = 0
    timeout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("candidates", "rounds", "restarts", "steps", "episodes"):
            if getattr(self, name) < 1:
                raise UsageError(f"search.{name} is {getattr(self, name)}, expected at least 1")
        if not 0 <= self.timeout < float("inf"):
            raise UsageError(
                f"search.timeout is {self.timeout}, expected seconds, or 0 for a limit made from the steps"
            )
        if self.faithful:
            for name, value in {"repairs": 0, "final_seeds": 0, "enough": 2.0}.items():
                object.__setattr__(self, name, value)
        rungs = (1.0,) if self.faithful else tuple(self.rungs)
        object.__setattr__(self, "rungs", rungs)
        object.__setattr__(self, "params", dict(self.params))
        rising = all(a < b for a, b in itertools.pairwise(rungs))
        if not rungs or not rising or rungs[0] <= 0 or rungs[-1] != 1.0:
            raise UsageError(
                f"search.rungs is {list(rungs)}, expected rising shares that end with 1.0, such as [0.4, 1.0]"
            )
        if not 0 < self.keep <= 1:
            raise UsageError(f"search.keep is {self.keep}, expected a share above 0 and at most 1")

    def get_rung_end(self, rung: int) -> int:
        """Returns the environment steps at which a rung ends."""
        return round(self.steps * self.rungs[rung])

    def compute_time_limit(self, until: int) -> float:
        """Returns the wall time after which a training job of `until` environment steps counts as hanging [s]."""
        return self.timeout or BASE_SECONDS + until * SECONDS_PER_STEP

    def to_json(self) -> dict[str, Any]:
        """Returns all settings as JSON."""
        return {**asdict(self), "rungs": list(self.rungs)}
