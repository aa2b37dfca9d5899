"""The interface of writers: their requests and their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from robo_reward.envs.state import StateSpec
from robo_reward.envs.task import ActionSpec
from robo_reward.errors import RoboRewardError
from robo_reward.registry import Registry


class WriterError(RoboRewardError):
    """Raised when a writer cannot write; the message holds the reason and the remedy."""


@dataclass(frozen=True)
class Usage:
    """The tokens and the cost of a completion.

    Args:
        prompt_tokens: read by the model.
        completion_tokens: written by it.
        estimated: whether the counts are guesses, since the server gave none.
        cost: in dollars, where prices are known.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False
    cost: float = 0.0


@dataclass(frozen=True)
class Completion:
    """One answer.

    Args:
        text: all of it, reasoning apart.
        source: the program in it, or `None`.
        usage: tokens and cost.
        finish_reason: `stop`, `length`, `error` or the reason that the server gave.
        index: the number of the sample in its request.
        cached: whether it came from the ledger.
        error: why there is no program, for the writer and the reader.
    """

    text: str
    source: str | None = None
    usage: Usage = Usage()
    finish_reason: str = "stop"
    index: int = 0
    cached: bool = False
    error: str | None = None


class ProblemLike(Protocol):
    """A reason against a program, such as `language.problems.Problem` and the search's `CandidateProblem`."""

    @property
    def line(self) -> int | None: ...
    @property
    def reason(self) -> str: ...
    @property
    def remedy(self) -> str: ...


@dataclass(frozen=True)
class RejectedAnswer:
    """An answer whose program was sent back, with every problem of it."""

    source: str
    problems: Sequence[ProblemLike]


@dataclass(frozen=True)
class ScoredProgram:
    """A program that was trained on, and the results of the training.

    Args:
        name: the candidate's id.
        source: its text.
        success: success rate at its last evaluation, in [0, 1].
        fitness: the key of its rank, larger is better.
        episode_length: mean length of an episode [steps].
        terms: per term, its mean per step at about ten moments of training.
        curve: success while training, at the same moments.
    """

    name: str
    source: str
    success: float
    fitness: tuple[float, ...] = ()
    episode_length: float = 0.0
    terms: dict[str, list[float]] = field(default_factory=dict)
    curve: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Feedback:
    """The results of earlier rounds.

    Args:
        best: the program to improve on.
        others: further trained programs, best first.
        refused: programs of the last round that could not be repaired.
    """

    best: ScoredProgram
    others: tuple[ScoredProgram, ...] = ()
    refused: tuple[RejectedAnswer, ...] = ()


@dataclass(frozen=True)
class WriteRequest:
    """A search's request for programs.

    Args:
        goal: the sentence.
        spec: the state fields that programs may read.
        action: the action of the policy.
        round: counted from 0.
        seed: of the search.
        success_rule: the criterion of success, as text; may be empty.
        feedback: of earlier rounds, or `None` in the first.
        repair: a refused program that is to be repaired, or `None`.
        first: number of the first sample, so that repairs and restarts ask for samples of their own.
        start: field -> lowest and highest value of each component when an episode begins; may be empty.
        wants: what is asked for: a reward program, or a condition of success for the goal.
    """

    goal: str
    spec: StateSpec
    action: ActionSpec
    round: int = 0
    seed: int = 0
    success_rule: str = ""
    feedback: Feedback | None = None
    repair: RejectedAnswer | None = None
    first: int = 0
    start: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    wants: Literal["program", "rule"] = "program"


class Writer(Protocol):
    """Turns a request into programs. The same request gives the same answers."""

    name: str

    def write(self, request: WriteRequest, k: int) -> list[Completion]:
        """Returns K answers, samples `request.first` and following, in order.

        Raises:
            WriterError: the writer cannot answer at all; what it has answered stays in its ledger.
        """
        ...


writers: Registry[Writer] = Registry("writer", "robo_reward.writers")


def make_writer(config: dict[str, Any], folder: Path) -> Writer:
    """Returns a writer made from its configuration.

    Args:
        config: `name` and the options of that writer.
        folder: of the run; the ledger lies in it.

    Raises:
        UnknownName: no such writer, or an option that it does not take.
    """
    from robo_reward.writers import builtin

    builtin.register_writers()
    options = {k: v for k, v in config.items() if k != "name"}
    return writers.create(config["name"], folder=folder, **options)
