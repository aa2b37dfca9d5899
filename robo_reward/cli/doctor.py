"""`robo-reward doctor`: what works on this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from robo_reward.cli.folder import write_json
from robo_reward.doctor import diagnose
from robo_reward.finding import Finding


def run(config: DictConfig, arguments: list[str]) -> int:
    """Prints every finding with its remedy; returns 1 if something that is needed does not work."""
    findings = _of_robot(config) if config.get("robot") else diagnose()
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[yellow]--[/]"
        table.add_row(mark, finding.name, finding.value + (f"\n[dim]{finding.remedy}[/]" if finding.remedy else ""))
    Console().print(table)
    if config.json:
        write_json(Path(config.json), [asdict(finding) for finding in findings])
    return 0


def _of_robot(config: DictConfig) -> list[Finding]:
    """The findings about a robot, its network and its cameras."""
    from robo_reward.hardware.doctor import diagnose_robot

    options: Any = OmegaConf.to_container(config.robot, resolve=True)
    kind, host = options.pop("kind"), config.host or options.pop("host", "")
    if kind == "mujoco":
        return diagnose()
    return diagnose_robot(
        kind, host, {k: v for k, v in options.items() if k not in ("host", "process")}, config.cameras
    )
