"""The settings of a search: its budget and its criteria."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from robo_reward.configs.values import Flag, Natural, NotNegative, Positive, Real, Seed, Shares, Whole
from robo_reward.errors import UsageError

BASE_SECONDS, SECONDS_PER_STEP = 1800.0, 0.05
"""Time limit of a job, fixed and per step [s]: far above the usual duration (not measured), to end only hung jobs."""


@dataclass(frozen=True)
class SearchSettings:
    """The settings of Eureka's search: its budget and its criteria.

    Args:
        candidates: programs per round
        rounds: rounds of propose, train, reflect
        restarts: independent repetitions of all rounds; the best of all wins
        repairs: how often a rejected program is returned to its writer for correction
        steps: training budget of one candidate [environment steps]
        rungs: fractions of the budget at which candidates are compared (successive halving); the last is 1
        keep: fraction of the candidates that goes on to the next rung
        seeds: trainings of each candidate with different seeds; with more than one, a rung stops only candidates that
            are worse with `confidence`, whatever `keep` says, and a candidate's success is the mean of its seeds
        confidence: with which a candidate must be worse than the best one before it is stopped
        algorithm: the training algorithm
        params: settings over the algorithm's defaults
        normalise_reward: whether trainings divide rewards by the spread of the return
        final_seeds: how often the best program is trained again, with new seeds; 0 keeps the search's policy
        final_steps: training budget of each of these runs; 0: same as steps
        episodes: episodes per evaluation, at every rung and for the final policy
        enough: success rate at which the search ends early ...
        least_rounds: ... after this many rounds
        faithful: Eureka as published: no rungs, elitism, repairs, confirmation or early end; `rungs`, `repairs`,
            `seeds`, `final_seeds` and `enough` do not count
        seed: random seed; the same seed gives the same search
        initial: start from these programs: FILE.py or an earlier run, several separated by commas; they are trained
            first, and the writer gets the best of them with its results
        timeout: time limit of one training job, after which it is ended [s]; 0: half an hour plus 50 ms per
            environment step, see `compute_time_limit`
    """

    candidates: Positive = 4
    rounds: Positive = 2
    restarts: Positive = 1
    repairs: Whole = 2
    steps: Positive = field(default=160_000, metadata={"config": "${task.steps}"})
    rungs: Shares = (0.4, 1.0)
    keep: Real = 0.5
    seeds: Positive = 1
    confidence: Real = 0.95
    algorithm: str = "ppo"
    params: Mapping[str, Any] = field(default_factory=dict)
    normalise_reward: Flag = False
    final_seeds: Whole = 2
    final_steps: Natural = 0
    episodes: Positive = 100
    enough: Real = 0.99
    least_rounds: Whole = 2
    faithful: Flag = False
    seed: Seed = 0
    initial: str = ""
    timeout: NotNegative = 0

    def __post_init__(self) -> None:
        for name in ("candidates", "rounds", "restarts", "steps", "episodes", "seeds"):
            if getattr(self, name) < 1:
                raise UsageError(f"search.{name} is {getattr(self, name)}, expected at least 1")
        if not 0 <= self.timeout < float("inf"):
            raise UsageError(
                f"search.timeout is {self.timeout}, expected seconds, or 0 for a limit made from the steps"
            )
        if self.faithful:
            for name, value in {"repairs": 0, "final_seeds": 0, "seeds": 1, "enough": 2.0}.items():
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
        if not 0.5 <= self.confidence < 1:
            raise UsageError(f"search.confidence is {self.confidence}, expected at least 0.5 and below 1, such as 0.95")

    def get_rung_end(self, rung: int) -> int:
        """Returns the environment steps at which a rung ends."""
        return round(self.steps * self.rungs[rung])

    def compute_time_limit(self, until: int) -> float:
        """Returns the wall time after which a training job of `until` environment steps counts as hanging [s]."""
        return self.timeout or BASE_SECONDS + until * SECONDS_PER_STEP

    def to_json(self) -> dict[str, Any]:
        """Returns all settings as JSON."""
        return {**asdict(self), "rungs": list(self.rungs)}
