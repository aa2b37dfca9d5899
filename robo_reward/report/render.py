"""A report as one HTML file that needs nothing else: no network, no fonts, no files beside it."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from datetime import datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from robo_reward.errors import BadArtifact
from robo_reward.files import read_bytes
from robo_reward.report import view, wording
from robo_reward.report.charts import chart_data, embedded_json
from robo_reward.report.clips import BUDGET_BYTES, embedded_clips
from robo_reward.report.codec import BadReportFile
from robo_reward.report.data import RunReport
from robo_reward.report.program import highlighted


def render_report(report: RunReport, folder: Path | None = None, video_budget: int = BUDGET_BYTES) -> str:
    """The page as HTML text.

    Args:
        report: what to show; parts that are missing are left out.
        folder: what relative video paths are relative to; the working directory if not given.
        video_budget: how many characters of base64 the videos may take together.
    """
    report = view.cleaned(report)
    style, script = asset("style.css"), asset("script.js")
    message, next_step = view.verdict(report)
    template = environment().get_template("report.html.jinja")
    return template.render(
        report=report,
        head=report.headline,
        style=Markup(style),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=embedded_json(chart_data(report)),
        kind_words=view.KIND_WORDS.get(report.kind, report.kind),
        status_words=view.STATUS_WORDS,
        created=_date(report.created),
        message=message,
        next_step=next_step,
        facts=view.facts(report),
        interval=view.interval(report.headline),
        program=view.program_view(report, report.winner) if report.winner else None,
        clips=embedded_clips(report.videos, folder, video_budget),
        shares=view.shares(report),
        refused_groups=view.by_candidate(report),
        names=view.candidate_names(report),
        rows=view.order_of_interest(report.candidates),
        rung_count=max([len(report.rungs), *(row.rung for row in report.candidates)]),
        config_lines=highlighted(report.config_text, "yaml") if report.config_text.strip() else [],
    )


def write_report(report: RunReport, path: Path, video_budget: int = BUDGET_BYTES) -> Path:
    """Writes the page by rename, so that a half-written one is never read; gives its path.

    Relative video paths are relative to the page's folder.
    """
    path = Path(path)
    return write_page(path, render_report(report, folder=path.parent, video_budget=video_budget))


def save_report(report: RunReport, folder: Path) -> Path:
    """Writes `report.json` and, from it, `report.html` into a run folder; gives the path of the page."""
    write_page(Path(folder) / "report.json", report.to_json())
    return write_report(report, Path(folder) / "report.html")


def rebuild_report(folder: Path) -> Path:
    """Writes `report.html` anew from the `report.json` of a run folder; gives the path of the page.

    Raises:
        BadReportFile: there is no report in the folder, or it cannot be read.
    """
    source = Path(folder) / "report.json"
    try:
        text = read_bytes(source)
        if text is None:
            raise BadReportFile(str(source), "there is no such file")
        return write_report(RunReport.from_json(text.decode()), Path(folder) / "report.html")
    except (BadArtifact, UnicodeDecodeError) as error:
        raise BadReportFile(str(source), str(error)) from error


def write_page(path: Path, text: str) -> Path:
    """Writes text under a temporary name and renames; gives the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:  # halves of surrogate pairs
            file.write(text)
        os.chmod(temporary, 0o644)  # mkstemp makes it private; a report is meant to be shared
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _date(created: str) -> str:
    try:
        return f"{datetime.fromisoformat(created):%-d %B %Y, %H:%M}"
    except ValueError:
        return created


@cache
def environment() -> Environment:
    """Where templates come from, and what they may call."""
    made = Environment(
        loader=PackageLoader("robo_reward.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "percent": wording.percent,
        "duration": wording.duration,
        "count": wording.count,
        "whole": wording.whole,
    }
    made.globals["plural"] = wording.plural
    return made


@cache
def asset(name: str) -> str:
    """A file beside the templates."""
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")
