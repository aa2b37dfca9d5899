"""Curves of training jobs reach the loggers once, whatever a job writes into its progress file."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from robo_reward.jobs.context import JobContext
from robo_reward.jobs.job import Job
from robo_reward.reward_search.job_curves import JobCurves, forward_job_curves


def make_job(jobs: Path, name: str) -> JobContext:
    job = Job.create(jobs / name, {"entry": "any:thing"})
    return JobContext(job.folder)


def point(steps: int, **terms: float) -> dict[str, Any]:
    return {"steps": steps, "success": 0.5, "episode_return": 1.0, "terms": terms or {"a": 1.0}, "seconds": 0.1}


class Sink:
    def __init__(self) -> None:
        self.points: list[tuple[str, int, list[str]]] = []

    def log_point(self, value: Mapping[str, Any], curve: str) -> None:
        self.points.append((curve, value["steps"], list(value["terms"])))


def test_rungs_of_a_candidate_are_one_curve_and_each_point_comes_once(tmp_path: Path) -> None:
    sink = Sink()
    curves = JobCurves(tmp_path, sink.log_point)
    curves.forward_new_points()
    first = make_job(tmp_path, "r1-1.1-rung1-0123abcd")
    first.report_progress(point(10))
    curves.forward_new_points()
    curves.forward_new_points()
    first.report_progress(point(20))
    make_job(tmp_path, "r1-1.1-rung2-0123abce").report_progress(point(30))
    make_job(tmp_path, "final-1-0123abcd").report_progress(point(5))
    (tmp_path / "something else").mkdir()
    curves.forward_new_points()
    assert sorted(sink.points) == [
        ("final-1", 5, ["a"]),
        ("r1-1.1", 10, ["a"]),
        ("r1-1.1", 20, ["a"]),
        ("r1-1.1", 30, ["a"]),
    ]


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path: Path) -> None:
    sink = Sink()
    curves = JobCurves(tmp_path, sink.log_point)
    job = make_job(tmp_path, "1.1-rung1-0123abcd")
    job.report_progress(point(10))
    path = tmp_path / "1.1-rung1-0123abcd" / "progress.jsonl"
    with path.open("a") as file:
        file.write('{"steps": 20, "succ')
    curves.forward_new_points()
    JobContext(path.parent).report_progress(point(20))  # the next attempt
    curves.forward_new_points()
    assert [steps for _, steps, _ in sink.points] == [10, 20]


@pytest.mark.parametrize(
    "line",
    [
        {**point(10), "success": float("nan")},
        {**point(10), "terms": {str(i): 0.0 for i in range(1000)}},
        {"steps": 1},
        [],
    ],
)
def test_what_is_no_point_is_told_once_and_not_logged(
    line: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Sink()
    curves = JobCurves(tmp_path, sink.log_point)
    job = make_job(tmp_path, "1.1-rung1-0123abcd")
    good = make_job(tmp_path, "1.2-rung1-0123abcd")
    for steps in (10, 20):
        with (job.folder / "progress.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        good.report_progress(point(steps))
        with caplog.at_level(logging.WARNING):
            curves.forward_new_points()
    assert sink.points == [("1.2", 10, ["a"]), ("1.2", 20, ["a"])]
    assert len(caplog.records) <= 1  # none for a line that is not even a dictionary, as for one that was cut short


def test_names_of_terms_cannot_drive_a_terminal(tmp_path: Path) -> None:
    sink = Sink()
    job = make_job(tmp_path, "1.1-rung1-0123abcd")
    job.report_progress(point(10, **{"\x1b[2J": 1.0, "b" * 500: 1.0}))
    JobCurves(tmp_path, sink.log_point).forward_new_points()
    assert sink.points == [("1.1", 10, ["\\x1b[2J", "b" * 64])]


def test_links_and_pipes_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(json.dumps(point(7)) + "\n")
    folder = make_job(tmp_path / "jobs", "1.1-rung1-0123abcd").folder
    (folder / "progress.jsonl").symlink_to(secret)
    sink = Sink()
    JobCurves(tmp_path / "jobs", sink.log_point).forward_new_points()
    assert sink.points == []


def test_points_are_forwarded_while_the_jobs_run_and_the_last_ones_afterwards(tmp_path: Path) -> None:
    sink = Sink()
    job = make_job(tmp_path, "1.1-rung1-0123abcd")
    with forward_job_curves(tmp_path, sink.log_point, period=0.01):
        job.report_progress(point(10))
        until = time.monotonic() + 10
        while not sink.points and time.monotonic() < until:
            time.sleep(0.01)
        assert sink.points == [("1.1", 10, ["a"])]
        job.report_progress(point(20))
    assert [steps for _, steps, _ in sink.points] == [10, 20]
