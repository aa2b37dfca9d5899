"""Renders a report as one self-contained HTML file: no network, no fonts, no other files."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from robo_reward.errors import BadArtifact
from robo_reward.files import read_bytes, write_bytes
from robo_reward.report import view, wording
from robo_reward.report.charts import build_chart_data, dump_script_json
from robo_reward.report.clips import BUDGET_BYTES, embed_clips
from robo_reward.report.codec import BadReportFile
from robo_reward.report.data import RunReport
from robo_reward.report.program import highlight_lines


def render_report(report: RunReport, folder: Path | None = None, video_budget: int = BUDGET_BYTES) -> str:
    """Returns the page as HTML text.

    Args:
        report: the report; missing parts are left out.
        folder: base folder of relative video paths; the working directory if not given.
        video_budget: largest number of base64 characters for all videos.
    """
    report = view.drop_non_finite(report)
    style, script = read_asset("style.css"), read_asset("script.js")
    message, next_step = view.summarise_outcome(report)
    template = template_environment().get_template("report.html.jinja")
    return template.render(
        report=report,
        head=report.headline,
        style=Markup(style),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=dump_script_json(build_chart_data(report)),
        kind_words=view.KIND_WORDS.get(report.kind, report.kind),
        status_words=view.STATUS_WORDS,
        created=_format_date(report.created),
        message=message,
        next_step=next_step,
        facts=view.list_facts(report),
        interval=view.position_interval(report.headline),
        program=view.build_program_view(report, report.winner) if report.winner else None,
        clips=embed_clips(report.videos, folder, video_budget),
        shares=view.compute_time_shares(report),
        refused_groups=view.group_by_candidate(report),
        names=view.candidate_names(report),
        rows=view.sort_candidates(report.candidates),
        rung_count=max([len(report.rungs), *(row.rung for row in report.candidates)]),
        config_lines=highlight_lines(report.config_text, "yaml") if report.config_text.strip() else [],
    )


def write_report(report: RunReport, path: Path, video_budget: int = BUDGET_BYTES) -> Path:
    """Writes the page atomically and returns its path; relative video paths are relative to the page's folder."""
    path = Path(path)
    return write_page(path, render_report(report, folder=path.parent, video_budget=video_budget))


def save_report(report: RunReport, folder: Path) -> Path:
    """Writes `report.json` and, from it, `report.html` into a run folder; returns the path of the page."""
    write_page(Path(folder) / "report.json", report.to_json())
    return write_report(report, Path(folder) / "report.html")


def rebuild_report(folder: Path) -> Path:
    """Writes `report.html` again from the `report.json` of a run folder; returns the path of the page.

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
    """Writes text as a whole and returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, text.encode(errors="replace"), sync=False)  # "replace": lone surrogates
    return path


def _format_date(created: str) -> str:
    try:
        return f"{datetime.fromisoformat(created):%-d %B %Y, %H:%M}"
    except ValueError:
        return created


@cache
def template_environment() -> Environment:
    """Returns the Jinja environment with the templates, filters and globals of the page."""
    made = Environment(
        loader=PackageLoader("robo_reward.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "percent": wording.format_percent,
        "duration": wording.format_duration,
        "count": wording.format_count,
        "whole": wording.format_integer,
    }
    made.globals["plural"] = wording.format_plural
    return made


@cache
def read_asset(name: str) -> str:
    """Returns the text of a file in the folder of templates."""
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")
