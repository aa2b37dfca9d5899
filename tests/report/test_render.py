"""What the page holds, without a browser."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from robo_reward.report import (
    CandidateRow,
    Costs,
    Curve,
    Headline,
    PhaseTiming,
    RefusedRow,
    ReportClip,
    Reproduce,
    RunReport,
    Series,
    Winner,
    rebuild_report,
    render_report,
    save_report,
    write_report,
)
from robo_reward.report.codec import BadReportFile
from tests.report.sample import clip_bytes, failed_report, sample_report, train_report

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
VOID = {"meta", "link", "img", "br", "input", "hr"}


class Elements(HTMLParser):
    """Counts elements and fails on tags that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page() -> str:
    return render_report(sample_report())


@pytest.mark.parametrize("make", [sample_report, train_report, failed_report])
def test_tags_nest_and_ids_are_unique(make):
    elements = Elements(render_report(make()))
    ids = [attributes["id"] for _, attributes in elements.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_page_names_everything_that_matters(page):
    for text in ("Lift the cube ten", "91.5 %", "4 min 12 s", "staged-still", "sparse-bonus", "18\u202f420", "4f1c2a9"):
        assert text in page
    assert "staged-still reached 97 % success; the next best, staged-gate, reached 91 %" in page
    assert "Its lineage began with staged-reach at 71 %" in page


def test_the_page_refers_to_nothing_outside_itself(page):
    for _, attributes in Elements(page).tags:
        for name in ("src", "href", "poster", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#"))
    assert "@import" not in page
    assert not re.search(r"url\((?!data:)", page)


def test_three_clips_stay_under_five_megabytes(page):
    assert len(Elements(page).named("video")) == 3
    assert len(page.encode()) < 5e6


def _evil_report() -> RunReport:
    series = Series((0.0, 1.0), (0.0, 1.0))
    return RunReport(
        title=EVIL,
        goal=EVIL,
        task=EVIL,
        kind="search",
        headline=Headline(message=EVIL, next_step=EVIL),
        candidates=(CandidateRow(EVIL, EVIL, 1, EVIL, EVIL, 1, 5, 0.5, "failed", EVIL), CandidateRow("b", round=2)),
        refused=(RefusedRow(EVIL, EVIL, EVIL, 3, EVIL, EVIL),),
        winner=Winner(f'x = "{EVIL}"\n', EVIL, EVIL, f'y = "{EVIL}"\n', {EVIL: series}, EVIL),
        curves=(Curve(EVIL, series, EVIL), Curve("b", series)),
        videos=(ReportClip(clip_bytes(0), EVIL, alt=EVIL), ReportClip(Path(EVIL.replace("/", "-")))),
        costs=Costs(EVIL, EVIL),
        timings=(PhaseTiming(EVIL, 1.0),),
        reproduce=Reproduce(EVIL, 1, EVIL, True, EVIL),
        config_text=f"a: {EVIL}",
        versions={EVIL: EVIL},
        environment={EVIL: EVIL},
        created=EVIL,
    )


def test_markup_in_any_text_stays_text():
    html = render_report(_evil_report())
    elements = Elements(html)
    assert len(elements.named("script")) == 2
    assert elements.named("img") == []
    assert not any(name.startswith("on") for _, attributes in elements.tags for name in attributes)
    assert "alert(1)</script>" not in html


def test_a_minimal_report_renders_for_every_kind():
    for kind in ("search", "train", "evaluate"):
        html = render_report(RunReport("t", "a goal", "panda/lift", kind))
        assert "a goal" in html
        assert "Next" in html
        assert "<table" not in html
        assert 'id="success-chart"' not in html


def test_a_failed_search_says_what_happened_and_what_to_do():
    html = render_report(failed_report())
    assert "None of the 4 candidates became a policy: 4 refused." in html
    assert "Read below what was refused and why" in html
    assert 'id="success"' not in html


def test_numbers_that_are_not_finite_do_not_break_the_page():
    odd = Series((0.0, 1.0, math.inf), (math.nan, math.inf, 1.0))
    report = replace(
        sample_report(),
        curves=(Curve("a", odd),),
        winner=Winner("x = 1", terms={"a": odd, "empty": Series((), ())}),
        candidates=(CandidateRow("a", success=math.nan),),
        timings=(PhaseTiming("nothing", 0.0),),
    )
    html = render_report(report)
    assert "NaN" not in re.sub(r"<script>.*?</script>", "", html, flags=re.S)


def test_a_video_that_is_missing_or_too_big_is_named(tmp_path):
    report = replace(train_report(), videos=(ReportClip(Path("gone.mp4")), ReportClip(clip_bytes(0)), ReportClip(b"")))
    html = render_report(report, tmp_path, video_budget=1000)
    assert "gone.mp4 could not be read" in html
    assert "left out to keep this page small" in html
    assert "is empty" in html
    assert "<video" not in html


def test_write_is_atomic_and_finds_videos_beside_it(tmp_path):
    (tmp_path / "a.mp4").write_bytes(clip_bytes(0))
    target = tmp_path / "report.html"
    target.write_text("old")
    path = write_report(replace(train_report(), videos=(ReportClip(Path("a.mp4")),)), target)
    assert path == target
    assert "<video" in target.read_text(encoding="utf-8")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "report.html"]


def test_a_saved_run_is_rebuilt_to_the_same_page(tmp_path):
    page = save_report(sample_report(), tmp_path)
    first = page.read_bytes()
    page.unlink()
    assert rebuild_report(tmp_path) == page
    assert page.read_bytes() == first


def test_a_folder_without_a_report_is_named(tmp_path):
    with pytest.raises(BadReportFile, match=r"report\.json"):
        rebuild_report(tmp_path)


def test_a_failed_write_leaves_the_old_page(tmp_path, monkeypatch):
    target = tmp_path / "report.html"
    target.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("robo_reward.files.os.replace", full)
    with pytest.raises(OSError, match="No space"):
        write_report(train_report(), target)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
