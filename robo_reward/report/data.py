"""What a report is made of: plain frozen data, filled by whoever ran something; most parts may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["search", "train", "evaluate"]
Status = Literal["winner", "finished", "stopped", "refused", "failed", "running"]


@dataclass(frozen=True)
class Headline:
    """The result in one line.

    Attributes:
        success: success rate of the final policy in [0, 1]; None when there is no policy.
        low: lower end of the confidence interval, in [0, 1].
        high: upper end of the confidence interval, in [0, 1].
        confidence: level of the interval, in [0, 1].
        episodes: evaluation episodes behind the rate.
        seconds: wall time of the whole run [s].
        steps: environment steps that trained the final policy.
        total_steps: of a search: environment steps that trained all candidates and all final policies.
        message: what went wrong, or what to know before reading on.
        next_step: what the reader should do now; shown prominently when there is no success rate.
    """

    success: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float = 0.95
    episodes: int | None = None
    seconds: float | None = None
    steps: int | None = None
    total_steps: int | None = None
    message: str = ""
    next_step: str = ""


@dataclass(frozen=True)
class CandidateRow:
    """One reward program of a search.

    Attributes:
        id: unique in the run; curves, parents and refusals refer to it.
        name: what a person calls it; the id when empty.
        round: counted from 1.
        parent: id of the candidate it was made from.
        stage: how far it came, in words ("lint", "probe", "rung 2 of 3").
        rung: rungs finished; 0 when it was never trained.
        steps: environment steps spent on it.
        success: last measured success rate in [0, 1].
        status: how it ended.
        note: why, in a few words.
    """

    id: str
    name: str = ""
    round: int = 1
    parent: str | None = None
    stage: str = ""
    rung: int = 0
    steps: int | None = None
    success: float | None = None
    status: Status = "finished"
    note: str = ""


@dataclass(frozen=True)
class RefusedRow:
    """One reason why a program was not trained or not finished; a candidate may have several."""

    candidate: str
    reason: str
    remedy: str = ""
    line: int | None = None
    stage: str = "lint"
    source: str = ""


@dataclass(frozen=True)
class Series:
    """Numbers against environment steps; both (T,). Values that are not finite leave a gap."""

    steps: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Curve:
    """The success rate in [0, 1] of one candidate against environment steps."""

    candidate: str
    series: Series
    label: str = ""


@dataclass(frozen=True)
class Winner:
    """The reward that trained the final policy: a searched program, or the fixed reward of a `train` run.

    Attributes:
        id: its candidate id, if it came from a search.
        source: program text.
        parent: id of the parent candidate.
        parent_source: program text of the parent, for the diff.
        terms: term name -> mean per episode against steps.
        why: why it won; derived from the candidates when empty.
    """

    source: str
    id: str = ""
    parent: str | None = None
    parent_source: str | None = None
    terms: Mapping[str, Series] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True)
class Clip:
    """A video of the policy: mp4 bytes, or a path (relative to the report's folder) to an mp4."""

    video: Path | bytes
    caption: str = ""
    success: bool | None = None
    alt: str = ""


@dataclass(frozen=True)
class Costs:
    """What the writer consumed; a cached token was answered by the ledger or the server's cache."""

    writer: str = ""
    model: str = ""
    requests: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    dollars: float | None = None


@dataclass(frozen=True)
class Timing:
    """Wall time of one phase [s]."""

    phase: str
    seconds: float


@dataclass(frozen=True)
class Reproduce:
    """What it takes to run this again."""

    command: str = ""
    seed: int | None = None
    git_revision: str = ""
    git_dirty: bool = False
    folder: str = ""


@dataclass(frozen=True)
class RunReport:
    """Everything the page shows.

    Attributes:
        rungs: environment steps at which each rung ends, ascending; drawn in the chart of success.
        created: date and time as ISO 8601.
        versions: package -> version.
        environment: what else the result depends on (CPU, GL backend, operating system).
    """

    title: str
    goal: str
    task: str
    kind: Kind
    headline: Headline = field(default_factory=Headline)
    candidates: tuple[CandidateRow, ...] = ()
    refused: tuple[RefusedRow, ...] = ()
    winner: Winner | None = None
    curves: tuple[Curve, ...] = ()
    rungs: tuple[int, ...] = ()
    videos: tuple[Clip, ...] = ()
    costs: Costs | None = None
    timings: tuple[Timing, ...] = ()
    reproduce: Reproduce | None = None
    config_text: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    created: str = ""

    def to_json(self) -> str:
        """This report as JSON text; video bytes become base64, values that are not finite become null."""
        from robo_reward.report.codec import encode

        return encode(self)

    @staticmethod
    def from_json(text: str) -> RunReport:
        """Rebuilds a report from `to_json`.

        Raises:
            BadReportFile: the text is not a report.
        """
        from robo_reward.report.codec import decode

        return decode(text)
