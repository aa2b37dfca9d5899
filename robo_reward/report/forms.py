"""JSON schemas of the files in a run folder that a report is made of; the folder may be another person's."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from robo_reward.files import Count, Finite, Share
from robo_reward.language.grammar import MAX_SOURCE
from robo_reward.reward_search.job_validation import TrainingForm

Text = Annotated[str, msgspec.Meta(max_length=1 << 20)]
Name = Annotated[str, msgspec.Meta(max_length=200)]
Whole = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=1e12)]


class RefusalForm(msgspec.Struct):
    """Reason why a version of a program was rejected."""

    stage: Name
    reason: Text
    remedy: Text = ""
    line: Whole | None = None
    source: Text = ""


class CandidateForm(msgspec.Struct):
    """A candidate of a search."""

    id: Name
    round: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    source: Annotated[str, msgspec.Meta(max_length=MAX_SOURCE)]
    parent: Name | None
    status: Literal["refused", "duplicate", "accepted", "training", "stopped", "failed", "finished"]
    refusals: list[RefusalForm]
    rungs: list[TrainingForm]
    note: Text
    changes: list[Text] = []


class SearchForm(msgspec.Struct):
    """`search.json`."""

    candidates: list[CandidateForm]
    winner: Name | None
    finals: list[TrainingForm]
    replaced: list[TrainingForm] = []


class WordForm(msgspec.Struct):
    """A word of the goal."""

    text: Text
    meaning: Text


class GoalForm(msgspec.Struct):
    """`goal.json`."""

    success: Text
    failure: Text = ""
    success_by: Text = ""
    words: Annotated[list[WordForm], msgspec.Meta(max_length=1000)] = []
    notes: Annotated[list[Text], msgspec.Meta(max_length=1000)] = []


class TaskForm(msgspec.Struct):
    """`task` of a configuration."""

    id: Name


class WriterForm(msgspec.Struct):
    """`writer` of a configuration."""

    name: Name
    model: Name = ""


class BudgetForm(msgspec.Struct):
    """`search` of a configuration."""

    steps: Count
    rungs: list[Share]


class AlgorithmForm(msgspec.Struct):
    """`policy` of a configuration."""

    algorithm: Name


class RewardForm(msgspec.Struct):
    """`reward` of a configuration."""

    kind: Name


class ConfigForm(msgspec.Struct):
    """Fields common to every `config.yaml`."""

    task: TaskForm
    goal: Text | Whole | Finite | bool | None = ""
    seed: Whole | None = None


class SearchConfigForm(ConfigForm, kw_only=True):
    """`config.yaml` of a search."""

    search: BudgetForm
    writer: WriterForm


class TrainConfigForm(ConfigForm, kw_only=True):
    """`config.yaml` of a training run."""

    policy: AlgorithmForm
    reward: RewardForm


class CloneConfigForm(ConfigForm, kw_only=True):
    """`config.yaml` of a cloned policy."""

    policy: Name


class VerbForm(msgspec.Struct):
    """The field of `result.json` that says which verb wrote it; `train` writes none."""

    verb: Name = ""


class VideoForm(msgspec.Struct):
    """One entry of `videos.json`."""

    path: Name
    success: bool


class GitForm(msgspec.Struct):
    """The source tree that a run was made with."""

    revision: Name = ""
    dirty: bool = False


class ProvenanceForm(msgspec.Struct):
    """`provenance.json`."""

    command: Text = ""
    created: Name = ""
    versions: dict[Name, Name] = {}
    git: GitForm = msgspec.field(default_factory=GitForm)
    machine: dict[Name, Name] = {}


Sittings = list[Seconds]
Videos = list[VideoForm]
