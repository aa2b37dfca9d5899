"""`robo-reward tasks`: lists the simulated tasks."""

from __future__ import annotations

from omegaconf import DictConfig
from rich.table import Table

from robo_reward.cli.task import add_derived_rules
from robo_reward.cli.terminal import Terminal, build_findings_table
from robo_reward.envs.task import RULE_OPTIONS, Task, list_task_options, make_task, task_names
from robo_reward.errors import RoboRewardError
from robo_reward.scenes.check import check_task


def run(config: DictConfig, arguments: list[str]) -> int:
    """Lists all tasks, or shows one in detail; returns 1 if its check finds something that prevents training."""
    console = Terminal()
    if config.name:
        rules = {name: config[name] for name in RULE_OPTIONS if config[name]}
        task = make_task(config.name, **add_derived_rules(config.name, rules))
        _print_details(console, task)
        return _print_check(console, task) if config.check or task.files else 0
    table = Table(box=None, pad_edge=False)
    for column in ("task", "goal", "success"):
        table.add_column(column)
    broken: list[str] = []
    for name in task_names():
        try:
            task = make_task(name)
        except RoboRewardError as error:
            broken.append(str(error))
        else:
            table.add_row(name, str(task.goal), str(task.success_rule))
    console.print(table, soft_wrap=False)
    for problem in broken:
        console.print(f"left out: {problem}", style="yellow")
    console.print("\n`robo-reward tasks name=panda/lift` shows one in detail.")
    return 0


def _print_check(console: Terminal, task: Task) -> int:
    findings = check_task(task)
    console.print("\ncheck with random actions", style="bold")
    console.print(build_findings_table(findings), soft_wrap=False)
    return int(any(finding.needed and not finding.ok for finding in findings))


def _print_details(console: Terminal, task: Task) -> None:
    action = task.action
    console.print(f"{task.id}  {task.goal}", style="bold")
    console.print(f"success: {task.success_rule}, at the last step")
    console.print(f"episode: {task.horizon} steps at {action.rate_hz:g} Hz", highlight=False)
    parts = [f"{n} (1 = {s:g} {u})" for n, s, u in zip(action.names, action.scale, action.units, strict=True)]
    console.print(f"action {action.kind}: {', '.join(parts)}", highlight=False)
    console.print(f"cameras: {', '.join(task.cameras)}", highlight=False)
    options = RULE_OPTIONS if task.files else (*list_task_options(task.id), *RULE_OPTIONS)
    console.print(f"options: {', '.join(options)}\n", highlight=False)
    console.print(task.spec.outline(), highlight=False, markup=False, soft_wrap=True)
