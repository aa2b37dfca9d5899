"""The report of a run of `robo-reward finetune`: success and modes of a policy before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from robo_reward.files import Count, Finite, Share
from robo_reward.report.data import Headline, PhaseTiming, ReportClip, RunReport
from robo_reward.report.forms import Name, Seconds, VideoForm


class BehaviourForm(msgspec.Struct):
    """Numbers of a policy before or after."""

    success: Share
    low: Share
    high: Share
    episodes: Count
    modes: dict[Name, Count] = {}
    preferred_rate: Share | None = None
    preference_accuracy: Share | None = None
    answers_preference_accuracy: Share | None = None
    cloning_loss: Finite | None = None


class FinetuneForm(msgspec.Struct):
    """`result.json` of a fine-tuning."""

    task: Name
    method: Name
    steps: Count
    seconds: Seconds
    before: BehaviourForm
    after: BehaviourForm


class SeedForm(msgspec.Struct):
    """The part of `config.yaml` that the report reads; there is no task in it, the policy names its own."""

    seed: int | None = None


def build_finetune_report(
    found: FinetuneForm, goal: str, videos: tuple[ReportClip, ...], about: dict[str, Any]
) -> RunReport:
    """Returns the report of a fine-tuning.

    Args:
        found: the content of `result.json`.
        goal: the task's goal sentence.
        videos: films of the policy before and after.
        about: what is needed to reproduce the run.
    """
    lines = [f"{when}: {describe_behaviour(form)}" for when, form in (("Before", found.before), ("After", found.after))]
    after = found.after
    return RunReport(
        title=f"{found.task} aligned by {found.method}",
        goal=goal,
        task=found.task,
        kind="finetune",
        headline=Headline(
            success=after.success,
            low=after.low,
            high=after.high,
            episodes=after.episodes,
            seconds=found.seconds,
            steps=found.steps,
            message="\n".join(lines),
        ),
        videos=videos,
        timings=(PhaseTiming("fine-tuning", found.seconds),),
        **about,
    )


def describe_behaviour(form: BehaviourForm) -> str:
    """Returns a sentence with success, modes and what else was measured."""
    parts = [f"success {form.success:.2f}"]
    if form.modes:
        used = sum(form.modes.values())
        counts = ", ".join(f"{name} {count}" for name, count in form.modes.items())
        rate = "not measured" if form.preferred_rate is None else f"{form.preferred_rate:.2f}"
        parts.append(f"preferred mode {rate} ({counts}, none {form.episodes - used})")
    if form.preference_accuracy is not None:
        parts.append(f"implicit preference accuracy {form.preference_accuracy:.2f}")
    if form.answers_preference_accuracy is not None:
        parts.append(f"accuracy on people's answers {form.answers_preference_accuracy:.2f}")
    if form.cloning_loss is not None:
        parts.append(f"cloning loss {form.cloning_loss:.4f}")
    return ", ".join(parts) + "."


def caption_films(before: Sequence[VideoForm], after: Sequence[VideoForm]) -> tuple[ReportClip, ...]:
    """Returns the films of a policy before and after, with captions that say which is which."""
    words = {True: "goal fulfilled", False: "goal missed"}
    return tuple(
        ReportClip(Path(film.path), f"{when}: {words[film.success]}", film.success)
        for when, films in (("Before", before), ("After", after))
        for film in films
    )
