"""Wording, thinning of curves, diffs and embedded JSON against independent truth."""

from __future__ import annotations

import difflib
import html
import json
import math
import re

import numpy as np
import pytest

from robo_reward.report import CandidateRow, RunReport, Series
from robo_reward.report.charts import MAX_POINTS, downsample_series, dump_script_json, trace_ancestry
from robo_reward.report.program import count_changes, diff_lines, program_lines
from robo_reward.report.wording import format_count, format_duration, format_percent
from tests.report.sample import PARENT, PROGRAM


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.973, "97 %"), (0.999, "99.9 %"), (0.001, "0.1 %"), (1.0, "100 %"), (None, "–"), (math.nan, "–")],
)
def test_percent(rate, text):
    assert format_percent(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.26, "4.3 s"), (59.4, "59 s"), (252.4, "4 min 12 s"), (3599.9, "1 h 00 min"), (7500, "2 h 05 min")],
)
def test_duration(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (999, "999"), (999_900, "1 M"), (1_234_567, "1.23 M"), (None, "–")]
)
def test_count(number, text):
    assert format_count(number) == text


def test_thinning_keeps_ends_and_spikes():
    values = np.zeros(10_000)
    values[[1234, 8765]] = 5.0, -3.0
    steps, kept = downsample_series(Series(tuple(range(10_000)), tuple(values)))
    assert len(steps) <= MAX_POINTS
    assert (steps[0], steps[-1]) == (0, 9_999)
    assert steps == sorted(set(steps))
    known = [value for value in kept if value is not None]
    assert (max(known), min(known)) == (5.0, -3.0)


def test_thinning_keeps_gaps():
    steps, kept = downsample_series(Series(tuple(range(1000)), (0.0,) * 400 + (math.nan,) * 200 + (1.0,) * 400))
    assert [step for step, value in zip(steps, kept, strict=True) if value is None]


def test_short_series_are_left_alone():
    assert downsample_series(Series((0, 1), (0.25, math.inf))) == ([0, 1], [0.25, None])


def _text(line) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", line.html))


def test_program_lines_give_the_text_back():
    assert [_text(line) for line in program_lines(PROGRAM)] == PROGRAM.rstrip("\n").split("\n")


def test_the_diff_agrees_with_difflib():
    lines = diff_lines(PARENT, PROGRAM)
    unified = list(difflib.unified_diff(PARENT.splitlines(), PROGRAM.splitlines(), lineterm="", n=0))[2:]
    changes = [line for line in unified if not line.startswith("@@")]
    signs = {"added": "+", "removed": "-"}
    assert sorted(signs[line.sign] + _text(line) for line in lines if line.sign in signs) == sorted(changes)
    assert count_changes(lines) == (sum(c[0] == "+" for c in changes), sum(c[0] == "-" for c in changes))


def test_long_equal_runs_are_folded():
    old = "\n".join(f"a{i} = {i}" for i in range(50))
    lines = diff_lines(old, old.replace("a25 = 25", "a25 = 0"))
    assert [line.sign for line in lines] == ["fold", *["same"] * 3, "removed", "added", *["same"] * 3, "fold"]
    assert _text(lines[0]) == "22 unchanged lines"


@pytest.mark.parametrize(
    "source", ["", "\n\n", "x = 1\r\ny = 2\r\n", "def broken(:\n\t'''never closed\n<script>", "\x00\x0c\u2028a"]
)
def test_odd_programs_are_shown(source):
    assert program_lines(source)
    assert diff_lines(source, PROGRAM)
    assert diff_lines(PROGRAM, source)


def test_embedded_json_cannot_leave_its_element_and_stays_the_same_data():
    data = {"a": "</script><!--<script>\u2028&"}
    text = str(dump_script_json(data))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == data


def test_ancestry_survives_a_circle():
    rows = (CandidateRow("a", parent="b"), CandidateRow("b", parent="a"))
    assert trace_ancestry(RunReport("t", "g", "x", "search", candidates=rows), "a") == ["a", "b"]


def test_programs_of_many_equal_lines_are_compared_in_bounded_time() -> None:
    old, new = "#\n\n" * 1500, "\n#\n#\n" * 1000  # matching each line with each takes minutes
    assert len(diff_lines(old, new)) > 0
    few = diff_lines("#\n" * 3000 + "a = 1\n", "#\n" * 3000 + "a = 2\n")
    assert {line.sign for line in few} >= {"added", "removed"}
