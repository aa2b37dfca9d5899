"""`robo-reward doctor`: what works on this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from robo_reward.cli.folder import write_json
from robo_reward.doctor import diagnose


def run(config: DictConfig, arguments: list[str]) -> int:
    """Prints every finding with its remedy; returns 1 if something that is needed does not work."""
    findings = diagnose()
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[yellow]--[/]"
        table.add_row(mark, finding.name, finding.value + (f"\n[dim]{finding.remedy}[/]" if finding.remedy else ""))
    Console().print(table)
    if config.json:
        write_json(Path(config.json), [asdict(finding) for finding in findings])
    return 0
