"""What a writer is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from robo_reward.envs.state import StateSpec
from robo_reward.envs.task import ActionSpec
from robo_reward.errors import RoboRewardError
from robo_reward.registry import Registry


class WriterError(RoboRewardError):
    """A writer that cannot write: the message says why and what to do."""


@dataclass(frozen=True)
class Usage:
    """What a completion cost.

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
        source: the program in it, or none.
        usage: what it cost.
        finish_reason: `stop`, `length`, `error` or what the server said.
        index: which sample of its request it is.
        cached: whether it came from the ledger.
        error: why there is no program, in words for the writer and the reader.
    """

    text: str
    source: str | None = None
    usage: Usage = Usage()
    finish_reason: str = "stop"
    index: int = 0
    cached: bool = False
    error: str | None = None


class Objection(Protocol):
    """One reason against a program: `code.problems.Problem` and the search's `Refusal` are such."""

    @property
    def line(self) -> int | None: ...
    @property
    def reason(self) -> str: ...
    @property
    def remedy(self) -> str: ...


@dataclass(frozen=True)
class RefusedProgram:
    """A program that was sent back, with every objection to it."""

    source: str
    problems: Sequence[Objection]


@dataclass(frozen=True)
class ScoredProgram:
    """A program that was trained on, and what came of it.

    Args:
        name: the candidate's id.
        source: its text.
        success: success rate at its last evaluation, in [0, 1].
        fitness: what it was ranked by, larger is better.
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
    """What earlier rounds taught.

    Args:
        best: the program to improve on.
        others: further trained programs, best first.
        refused: programs of the last round that could not be repaired.
    """

    best: ScoredProgram
    others: tuple[ScoredProgram, ...] = ()
    refused: tuple[RefusedProgram, ...] = ()


@dataclass(frozen=True)
class WriteRequest:
    """What a search asks for.

    Args:
        goal: the sentence.
        spec: what programs may read.
        action: what the policy commands.
        round: counted from 0.
        seed: of the search.
        success_rule: how success is told, in words; may be empty.
        feedback: of earlier rounds, or none in the first.
        repair: a refused program that shall be mended, or none.
        first: number of the first sample, so that repairs and restarts ask for samples of their own.
    """

    goal: str
    spec: StateSpec
    action: ActionSpec
    round: int = 0
    seed: int = 0
    success_rule: str = ""
    feedback: Feedback | None = None
    repair: RefusedProgram | None = None
    first: int = 0


class Writer(Protocol):
    """Turns a request into programs. The same request gives the same answers."""

    name: str

    def write(self, request: WriteRequest, k: int) -> list[Completion]:
        """K answers, samples `request.first` and following, in order.

        Raises:
            WriterError: the writer cannot answer at all; what it has answered stays in its ledger.
        """
        ...


writers: Registry[Writer] = Registry("writer", "robo_reward.writers")


def make_writer(config: dict[str, Any], folder: Path) -> Writer:
    """A writer from its configuration.

    Args:
        config: `name` and the options of that writer.
        folder: of the run; the ledger lies in it.

    Raises:
        UnknownName: no such writer, or an option that it does not take.
    """
    from robo_reward.code.writers import builtin

    builtin.load()
    options = {k: v for k, v in config.items() if k != "name"}
    return writers.create(config["name"], folder=folder, **options)
