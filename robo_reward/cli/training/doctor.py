"""`robo-reward doctor`: what works on this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from robo_reward.cli.terminal import Terminal, build_findings_table
from robo_reward.doctor import diagnose
from robo_reward.errors import UsageError
from robo_reward.files import write_json
from robo_reward.finding import Finding


def run(config: DictConfig, arguments: list[str]) -> int:
    """Prints every finding with its remedy; returns 1 if a robot cannot be deployed to.

    Raises:
        UsageError: an address or cameras without a robot.
    """
    if not config.get("robot") and (config.host or config.cameras):
        raise UsageError("host= and cameras= apply to a robot; add robot=fr3 or robot=panda")
    robot = bool(config.get("robot")) and config.robot.kind != "mujoco"
    findings = _diagnose_robot(config) if robot else diagnose()
    Terminal().print(build_findings_table(findings), soft_wrap=False)
    if config.json:
        write_json(Path(config.json), [asdict(finding) for finding in findings])
    return _print_verdict(findings) if robot else 0


def _print_verdict(findings: list[Finding]) -> int:
    """Prints one line that says whether `deploy` can run; returns 1 if it cannot."""
    missing = [finding.name for finding in findings if finding.needed and not finding.ok]
    advice = [finding.name for finding in findings if not finding.needed and not finding.ok]
    text = f"not ready: {', '.join(missing)}" if missing else "ready for `robo-reward deploy`"
    better = f"; advice for: {', '.join(advice)}" if advice else ""
    Terminal().print(text + better, highlight=False)
    return int(bool(missing))


def _diagnose_robot(config: DictConfig) -> list[Finding]:
    """Returns the findings about a robot, its network and its cameras."""
    from robo_reward.hardware.deployment.doctor import diagnose_robot
    from robo_reward.hardware.drivers.registry import driver_options

    robot: Any = OmegaConf.to_container(config.robot, resolve=True)
    return diagnose_robot(robot["kind"], config.host or robot.get("host", ""), driver_options(robot), config.cameras)
