"""One self-contained HTML page per run: what was asked, what was learnt, why, and how to do it again."""

from robo_reward.report.data import (
    CandidateRow,
    Clip,
    Costs,
    Curve,
    Headline,
    RefusedRow,
    Reproduce,
    RunReport,
    Series,
    Timing,
    Winner,
)
from robo_reward.report.render import rebuild_report, render_report, save_report, write_report

__all__ = [
    "CandidateRow",
    "Clip",
    "Costs",
    "Curve",
    "Headline",
    "RefusedRow",
    "Reproduce",
    "RunReport",
    "Series",
    "Timing",
    "Winner",
    "rebuild_report",
    "render_report",
    "save_report",
    "write_report",
]
