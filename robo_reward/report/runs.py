"""Builds the report of a run folder."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, TypeVar

from robo_reward.errors import BadArtifact, RoboRewardError, UsageError
from robo_reward.files import MAX_YAML, is_regular, load_json, load_yaml, raise_as_bad_artifact, read_bytes, read_inside
from robo_reward.report.data import (
    CandidateRow,
    Costs,
    Curve,
    Headline,
    Measure,
    PhaseTiming,
    RefusedRow,
    ReportClip,
    ReportWord,
    Reproduce,
    RunReport,
    Series,
    Winner,
)
from robo_reward.report.finetune import FinetuneForm, SeedForm, build_finetune_report, caption_films
from robo_reward.report.forms import (
    CandidateForm,
    CloneConfigForm,
    ConfigForm,
    GoalForm,
    ProvenanceForm,
    SearchConfigForm,
    SearchForm,
    Sittings,
    TaskForm,
    TrainConfigForm,
    VerbForm,
    Videos,
    WriterForm,
)
from robo_reward.report.render import save_report
from robo_reward.reward_search.job_validation import CurvePointForm, EvaluationForm, TrainingForm

MAX_PROGRAM = 256 << 10  # [bytes] of a reward program
STATUSES = {"duplicate": "refused", "training": "running", "accepted": "running"}
REMEDY = "Run the command that created the folder again: it resumes and rewrites this file"

log = logging.getLogger(__name__)
C = TypeVar("C", bound=ConfigForm | SeedForm)
T = TypeVar("T")


def report_run(folder: Path) -> Path:
    """Writes `report.html` of any run folder and returns its path.

    The folder may come from another person: only regular files inside it are read, `${...}` in its settings is not
    resolved, and a damaged file is left out if the page makes sense without it.

    Raises:
        UsageError: the folder holds no run that has a report.
        BadArtifact: a file that the page requires is damaged.
    """
    if os.path.lexists(folder / "search.json"):
        return report_search(folder)
    if os.path.lexists(folder / "result.json") and os.path.lexists(folder / "config.yaml"):
        found = _load_optional(folder / "result.json", VerbForm)
        writers = {"clone": report_clone, "finetune": report_finetune}
        return writers.get(found.verb if found else "", report_train)(folder)
    raise UsageError(f"{folder} holds no finished run: expected search.json, or result.json and config.yaml")


def report_search(folder: Path) -> Path:
    """Writes `report.html` of a search, finished or not, and returns its path."""
    search, config = _load_required(folder / "search.json", SearchForm), _load_config(folder, SearchConfigForm)
    candidates = search.candidates
    winner = next((c for c in candidates if c.id == search.winner), None)
    evaluation = _load_optional(folder / "evaluation.json", EvaluationForm) if winner else None
    sittings = _load_optional(folder / "sittings.json", Sittings) or []
    report = RunReport(
        title=f"{config.task.id}: {len(candidates)} reward programs",
        goal=_find_goal(config),
        task=config.task.id,
        kind="search",
        measure=_load_measure(folder),
        headline=_build_headline(evaluation, search, sum(sittings)),
        candidates=tuple(_build_candidate_row(c, winner) for c in candidates),
        refused=tuple(row for c in candidates for row in _build_refused_rows(c)),
        winner=_build_winner(winner, candidates) if winner else None,
        curves=tuple(curve for c in candidates for curve in _build_curves(c)),
        rungs=tuple(round(config.search.steps * share) for share in config.search.rungs),
        videos=_load_videos(folder),
        costs=_sum_costs(folder, config.writer),
        timings=tuple(
            PhaseTiming(f"sitting {i + 1}" if len(sittings) > 1 else "whole run", s) for i, s in enumerate(sittings)
        ),
        **_load_provenance(folder, config),
    )
    return save_report(report, folder)


def report_train(folder: Path) -> Path:
    """Writes `report.html` of one training run with a given reward and returns its path."""
    result, config = _load_required(folder / "result.json", TrainingForm), _load_config(folder, TrainConfigForm)
    report = RunReport(
        title=f"{config.task.id} with {config.policy.algorithm}",
        goal=_find_goal(config),
        task=config.task.id,
        kind="train",
        measure=_load_measure(folder),
        headline=Headline(**_rate_fields(result.evaluation), seconds=result.seconds, steps=result.steps),
        winner=Winner(
            _read_program(folder) or f"# reward: {config.reward.kind}", terms=_build_term_series(result.points)
        ),
        curves=(Curve("policy", _build_success_series(result.points), config.policy.algorithm),),
        videos=_load_videos(folder),
        timings=(PhaseTiming("training", result.seconds),),
        **_load_provenance(folder, config),
    )
    return save_report(report, folder)


def report_finetune(folder: Path) -> Path:
    """Writes `report.html` of a fine-tuning and returns its path."""
    result = _load_required(folder / "result.json", FinetuneForm)
    config = ConfigForm(task=TaskForm(result.task), seed=_load_config(folder, SeedForm).seed)
    films = [_load_optional(folder / name, Videos) or [] for name in ("videos_before.json", "videos.json")]
    report = build_finetune_report(result, _find_goal(config), caption_films(*films), _load_provenance(folder, config))
    return save_report(report, folder)


def report_clone(folder: Path) -> Path:
    """Writes `report.html` of a policy that imitates demonstrations and returns its path."""
    result, config = _load_required(folder / "result.json", TrainingForm), _load_config(folder, CloneConfigForm)
    report = RunReport(
        title=f"{config.task.id}: {config.policy} policy from demonstrations",
        goal=_find_goal(config),
        task=config.task.id,
        kind="clone",
        measure=_load_measure(folder),
        headline=Headline(**_rate_fields(result.evaluation), seconds=result.seconds, steps=result.steps),
        curves=(Curve("policy", _build_success_series(result.points), config.policy),),
        videos=_load_videos(folder),
        timings=(PhaseTiming("training", result.seconds),),
        **_load_provenance(folder, config),
    )
    return save_report(report, folder)


def _load_required(path: Path, schema: type[T]) -> T:
    found = load_json(path, schema, remedy=REMEDY)
    if found is None:
        raise BadArtifact(path, "it is not a regular file", REMEDY)
    return found


def _load_optional(path: Path, schema: type[T]) -> T | None:
    """Returns the content of an optional file; a damaged one is logged and ignored."""
    try:
        return load_json(path, schema, remedy="The report is written without it")
    except BadArtifact as problem:
        log.warning("%s", problem)
        return None


def _load_config(folder: Path, schema: type[C]) -> C:
    path = folder / "config.yaml"
    found = load_yaml(path, schema, remedy=REMEDY)
    if found is None:
        raise BadArtifact(path, "it is not a regular file", REMEDY)
    return found


def _read_program(folder: Path) -> str:
    """Returns the reward program of a training run; empty if there is none."""
    try:
        return read_inside(folder, "reward/reward.py", MAX_PROGRAM).decode(errors="replace")
    except BadArtifact:
        return ""


def _find_goal(config: ConfigForm) -> str:
    """Returns the goal sentence of the run, else that of its task.

    Options in the folder construct nothing here.
    """
    if config.goal not in ("", None):
        return str(config.goal)
    from robo_reward.envs.task import make_task, task_names

    try:
        return make_task(config.task.id).goal if config.task.id in task_names() else config.task.id
    except RoboRewardError as problem:  # the task's package is not installed here
        log.warning("%s", problem)
        return config.task.id


def _load_measure(folder: Path) -> Measure | None:
    """Returns what counts as success, if the run has a goal of its own."""
    found = _load_optional(folder / "goal.json", GoalForm)
    if found is None:
        return None
    words = tuple(ReportWord(word.text, word.meaning) for word in found.words)
    return Measure(found.success, found.failure, found.success_by, words, tuple(found.notes))


def _rate_fields(evaluation: EvaluationForm) -> dict[str, Any]:
    return {key: getattr(evaluation, key) for key in ("success", "low", "high", "episodes")}


def _build_headline(evaluation: EvaluationForm | None, search: SearchForm, seconds: float) -> Headline:
    if evaluation is None:
        trained = sum(bool(c.rungs) for c in search.candidates)
        return Headline(
            seconds=seconds,
            message=f"No final policy yet: {trained} of {len(search.candidates)} programs were trained.",
            next_step="Run the same command again to resume, or read below why programs were refused.",
        )
    finals = search.finals
    rates = ", ".join(f"{r.evaluation.success:.2f}" for r in finals)
    message = f"The winning program, retrained with {len(finals)} other seeds: {rates}." if finals else ""
    steps = finals[0].steps if finals else None
    spent = [c.rungs[-1].steps for c in search.candidates if c.rungs]  # a rung continues the one before
    total = sum(spent) + sum(r.steps for r in [*finals, *search.replaced])
    next_step = "" if evaluation.successes else "Try more steps, more rounds or another writer."
    return Headline(
        **_rate_fields(evaluation),
        seconds=seconds,
        steps=steps,
        total_steps=total,
        message=message,
        next_step=next_step,
    )


def _build_candidate_row(candidate: CandidateForm, winner: CandidateForm | None) -> CandidateRow:
    rungs = candidate.rungs
    status = "winner" if winner and candidate.id == winner.id else candidate.status
    stage = f"rung {len(rungs)}" if rungs else (candidate.refusals[-1].stage if candidate.refusals else "")
    return CandidateRow(
        id=candidate.id,
        round=candidate.round + 1,
        parent=candidate.parent,
        stage=stage,
        rung=len(rungs),
        steps=rungs[-1].steps if rungs else None,
        success=rungs[-1].evaluation.success if rungs else None,
        status=STATUSES.get(status, status),  # type: ignore[arg-type]
        note=candidate.note or _describe_changes(candidate.changes),
    )


def _describe_changes(changes: list[str]) -> str:
    """Returns a line about what was rewritten in a program; the whole list is in `search.json`."""
    if not changes:
        return ""
    more = f"; {len(changes) - 1} more changes in search.json" if len(changes) > 1 else ""
    return f"rewritten for the reward language, {changes[0][:160]}{more}"


def _build_refused_rows(candidate: CandidateForm) -> list[RefusedRow]:
    rows = [RefusedRow(candidate.id, r.reason, r.remedy, r.line, r.stage, r.source) for r in candidate.refusals]
    if candidate.status == "failed":
        rows.append(RefusedRow(candidate.id, candidate.note, stage="training", source=candidate.source))
    return rows


def _build_winner(winner: CandidateForm, candidates: list[CandidateForm]) -> Winner:
    parent = next((c for c in candidates if c.id == winner.parent), None)
    return Winner(
        source=winner.source,
        id=winner.id,
        parent=winner.parent,
        parent_source=parent.source if parent else None,
        terms=_build_term_series(winner.rungs[-1].points) if winner.rungs else {},
    )


def _build_term_series(points: list[CurvePointForm]) -> dict[str, Series]:
    steps = tuple(p.steps for p in points)
    names = points[0].terms if points else {}
    return {name: Series(steps, tuple(p.terms[name] for p in points)) for name in names}


def _build_success_series(points: list[CurvePointForm]) -> Series:
    return Series(tuple(p.steps for p in points), tuple(p.success for p in points))


def _build_curves(candidate: CandidateForm) -> list[Curve]:
    return [Curve(candidate.id, _build_success_series(candidate.rungs[-1].points))] if candidate.rungs else []


def _load_videos(folder: Path) -> tuple[ReportClip, ...]:
    films = _load_optional(folder / "videos.json", Videos) or []
    names = {True: "goal fulfilled", False: "goal missed"}
    return tuple(
        ReportClip(Path(f.path), f"Episode {i + 1}: {names[f.success]}", f.success) for i, f in enumerate(films)
    )


def _sum_costs(folder: Path, writer: WriterForm) -> Costs:
    """Returns the usage of the writer, summed over the ledger."""
    from robo_reward.writers.ledger import Ledger

    path = folder / "ledger.jsonl"
    usages = []
    try:
        with raise_as_bad_artifact(path, "The report is written without it"):
            usages = [entry.usage for entry in Ledger(path, "replay").load_entries()] if is_regular(path) else []
            return Costs(
                writer=writer.name,
                model=writer.model,
                requests=len(usages),
                prompt_tokens=sum(u.prompt_tokens for u in usages),
                completion_tokens=sum(u.completion_tokens for u in usages),
                dollars=sum(u.cost or 0.0 for u in usages),
            )
    except (BadArtifact, OSError) as problem:
        log.warning("%s", problem)
        return Costs(writer=writer.name, model=writer.model)


def _load_provenance(folder: Path, config: ConfigForm) -> dict[str, Any]:
    """Returns the fields of the report that are needed to reproduce the run."""
    origin = _load_optional(folder / "provenance.json", ProvenanceForm) or ProvenanceForm()
    return {
        "reproduce": Reproduce(
            command=origin.command,
            seed=config.seed,
            git_revision=origin.git.revision,
            git_dirty=origin.git.dirty,
            folder=folder.name,
        ),
        "config_text": (read_bytes(folder / "config.yaml", MAX_YAML) or b"").decode(),
        "versions": origin.versions,
        "environment": {k: v for k, v in origin.machine.items() if k != "executable"},
        "created": origin.created,
    }
