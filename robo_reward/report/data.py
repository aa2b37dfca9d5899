"""The data of a report: frozen dataclasses, most of whose parts may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["search", "train", "evaluate", "clone", "finetune"]
Status = Literal["winner", "finished", "stopped", "refused", "failed", "running"]


@dataclass(frozen=True)
class Headline:
    """The main result of a run.

    Attributes:
        success: success rate of the final policy in [0, 1]; None when there is no policy.
        low: lower end of the confidence interval, in [0, 1].
        high: upper end of the confidence interval, in [0, 1].
        confidence: level of the interval, in [0, 1].
        episodes: number of evaluation episodes.
        seconds: wall time of the whole run [s].
        steps: environment steps that trained the final policy.
        total_steps: of a search: environment steps that trained all candidates and all final policies.
        message: what went wrong, or a note to read first.
        next_step: recommended next step; shown prominently when there is no success rate.
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
        name: display name; the id when empty.
        round: counted from 1.
        parent: id of the candidate it was made from.
        stage: last stage that it reached ("lint", "probe", "rung 2 of 3").
        rung: number of finished rungs; 0 if it was never trained.
        steps: environment steps spent on it.
        success: last measured success rate in [0, 1].
        status: final status.
        note: short reason of the status.
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
        why: reason why it won; derived from the candidates when empty.
    """

    source: str
    id: str = ""
    parent: str | None = None
    parent_source: str | None = None
    terms: Mapping[str, Series] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True)
class ReportClip:
    """A video of the policy: mp4 bytes, or a path (relative to the report's folder) to an mp4."""

    video: Path | bytes
    caption: str = ""
    success: bool | None = None
    alt: str = ""


@dataclass(frozen=True)
class Costs:
    """Usage and cost of the writer; a cached token was answered by the ledger or the server's cache."""

    writer: str = ""
    model: str = ""
    requests: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    dollars: float | None = None


@dataclass(frozen=True)
class PhaseTiming:
    """Wall time of one phase [s]."""

    phase: str
    seconds: float


@dataclass(frozen=True)
class Reproduce:
    """The information needed to run this again."""

    command: str = ""
    seed: int | None = None
    git_revision: str = ""
    git_dirty: bool = False
    folder: str = ""


@dataclass(frozen=True)
class ReportWord:
    """A word or phrase of the goal sentence and its meaning; empty if it was not understood."""

    text: str
    meaning: str = ""


@dataclass(frozen=True)
class Measure:
    """The conditions of success and failure of a run whose goal is not the task's own.

    Attributes:
        success: the condition.
        failure: the condition that ends an episode as failed; empty for none.
        success_by: who wrote them.
        words: how the writer read the goal sentence.
        notes: what was assumed.
    """

    success: str
    failure: str = ""
    success_by: str = ""
    words: tuple[ReportWord, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunReport:
    """All data shown on the page.

    Attributes:
        rungs: environment steps at which each rung ends, ascending; drawn in the chart of success.
        created: date and time as ISO 8601.
        versions: package -> version.
        environment: further conditions of the result (CPU, GL backend, operating system).
    """

    title: str
    goal: str
    task: str
    kind: Kind
    headline: Headline = field(default_factory=Headline)
    candidates: tuple[CandidateRow, ...] = ()
    refused: tuple[RefusedRow, ...] = ()
    winner: Winner | None = None
    measure: Measure | None = None
    curves: tuple[Curve, ...] = ()
    rungs: tuple[int, ...] = ()
    videos: tuple[ReportClip, ...] = ()
    costs: Costs | None = None
    timings: tuple[PhaseTiming, ...] = ()
    reproduce: Reproduce | None = None
    config_text: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    created: str = ""

    def to_json(self) -> str:
        """Returns this report as JSON text; video bytes become base64, values that are not finite become null."""
        from robo_reward.report.codec import encode_report

        return encode_report(self)

    @staticmethod
    def from_json(text: str) -> RunReport:
        """Restores a report from the text of `to_json`.

        Raises:
            BadReportFile: the text is not a report.
        """
        from robo_reward.report.codec import decode_report

        return decode_report(text)
