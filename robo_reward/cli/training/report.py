"""`robo-reward report`: rewrites a run's page."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from robo_reward.cli.terminal import Terminal
from robo_reward.report.runs import report_run


def run(config: DictConfig, arguments: list[str]) -> int:
    """Writes report.html and prints where it is."""
    page = report_run(Path(config.folder))
    Terminal().print(f"report: {page.resolve()}", soft_wrap=True, highlight=False)
    return 0
