"""One self-contained HTML page per run: the goal, the result, its reasons, and how to reproduce it."""

from robo_reward.report.data import (
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
)
from robo_reward.report.render import rebuild_report, render_report, save_report, write_report

__all__ = [
    "CandidateRow",
    "Costs",
    "Curve",
    "Headline",
    "PhaseTiming",
    "RefusedRow",
    "ReportClip",
    "Reproduce",
    "RunReport",
    "Series",
    "Winner",
    "rebuild_report",
    "render_report",
    "save_report",
    "write_report",
]
