"""A report survives JSON, and a file that is not a report says where it does not fit."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robo_reward.report import Headline, ReportClip, RunReport, Series
from robo_reward.report.codec import BadReportFile
from robo_reward.report.forms import CandidateForm, SearchForm
from robo_reward.report.runs import _build_headline
from robo_reward.reward_search.job_validation import EvaluationForm, TrainingForm
from tests.report.sample import failed_report, sample_report, train_report


@pytest.mark.parametrize("make", [sample_report, train_report, failed_report])
def test_json_round_trip_is_exact(make):
    report = make()
    assert RunReport.from_json(report.to_json()) == report


def test_paths_stay_paths():
    report = RunReport("t", "g", "panda/lift", "train", videos=(ReportClip(Path("videos/a.mp4")),))
    assert RunReport.from_json(report.to_json()).videos[0].video == Path("videos/a.mp4")


def test_json_is_strict_and_gaps_come_back_as_nan():
    report = RunReport("t", "g", "panda/lift", "train", headline=Headline(steps=np.int64(5)))  # type: ignore[arg-type]
    series = Series((0.0, 1.0), (0.5, math.nan))
    report = replace(report, winner=replace(sample_report().winner, terms={"a": series}))  # type: ignore[type-var]
    text = report.to_json()
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    back = RunReport.from_json(text)
    assert back.winner is not None
    assert math.isnan(back.winner.terms["a"].values[1])
    assert back.headline.steps == 5


def test_unknown_keys_are_ignored():
    data = json.loads(train_report().to_json()) | {"from_the_future": 1}
    assert RunReport.from_json(json.dumps(data)) == train_report()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{", "the file"),
        ("[]", "the file"),
        ('{"title": "t"}', "goal"),
        ('{"title": "t", "goal": 3, "task": "x", "kind": "train"}', "report.goal"),
        ('{"title": "t", "goal": "g", "task": "x", "kind": "dance"}', "'search', 'train', 'evaluate'"),
        ('{"title": "t", "goal": "g", "task": "x", "kind": "train", "rungs": [1, "a"]}', "report.rungs[1]"),
        ('{"title": "t", "goal": "g", "task": "x", "kind": "train", "videos": [{"video": {"base64": "?"}}]}', "base64"),
        ('{"format": 99, "title": "t", "goal": "g", "task": "x", "kind": "train"}', "newer"),
    ],
)
def test_a_bad_file_names_the_place(text, place):
    with pytest.raises(BadReportFile, match="not a report") as caught:
        RunReport.from_json(text)
    assert place in str(caught.value)


def test_a_search_tells_all_steps_that_it_has_trained():
    evaluation = EvaluationForm(100, 90, 0.9, 0.8, 0.95, 0.9)
    half, whole = (TrainingForm(steps, 1.0, [], evaluation) for steps in (64, 160))
    rungs = [[half, whole], [half], [half], []]
    candidates = [CandidateForm(f"1.{i}", 0, "", None, "finished", [], done, "") for i, done in enumerate(rungs)]
    head = _build_headline(evaluation, SearchForm(candidates, "1.0", [whole] * 2), 1.0)
    assert head.steps == 160 and head.total_steps == 160 + 64 + 64 + 2 * 160
