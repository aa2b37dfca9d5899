"""`robo-reward tasks` lists the simulated tasks, `robo-reward task` shows and checks one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from rich.table import Table

from robo_reward.cli.task import add_derived_rules
from robo_reward.cli.terminal import Terminal, build_findings_table
from robo_reward.configs.values import SCENE_SUFFIXES
from robo_reward.envs.rendering.render import NoRenderer, Renderer
from robo_reward.envs.suites.catalogue import is_environment, list_environments
from robo_reward.envs.task import RULE_OPTIONS, Task, list_task_options, make_task, task_names
from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.rewards.perceptual.picture import write_png
from robo_reward.scenes.check import check_task
from robo_reward.scenes.task import make_example_rule

PICTURE_SIZE = 640, 480
"""Width and height of the pictures of a check [pixels]."""


def run(config: DictConfig, arguments: list[str]) -> int:
    """Lists all tasks, or shows one in detail; returns 1 if its check finds something that prevents training."""
    console = Terminal()
    if config.name:
        task = _make_task(config, console)
        _print_details(console, task)
        return _print_check(console, task) if config.check or task.id.startswith("scene/") else 0
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
    console.print(f"\nEnvironments of other packages: {', '.join(list_environments())}", soft_wrap=True)
    console.print("\n`robo-reward task panda/lift` shows one in detail.")
    return 0


def run_one(config: DictConfig, arguments: list[str]) -> int:
    """Shows one task; with `check` also what will go wrong, and pictures; returns 1 if that prevents training.

    Raises:
        UsageError: no task is named.
    """
    if not config.name:
        raise UsageError("name a task or a scene file, such as `robo-reward task scene.yaml --check`")
    console = Terminal()
    task = _make_task(config, console)
    _print_details(console, task)
    if not config.check:
        console.print("\n--check runs random episodes and says what will go wrong before training.")
        return 0
    code = _print_check(console, task)
    try:
        pictures = draw_cameras(task, Path(config.out) / task.id.replace("/", "-"))
    except NoRenderer as error:
        console.print(f"no pictures: {error}", style="yellow")
    else:
        console.print(f"\nwhat the cameras see: {', '.join(map(str, pictures))}", highlight=False)
    return code


def draw_cameras(task: Task, folder: Path) -> list[Path]:
    """Draws a start of a task from each of its cameras, and returns the PNG files.

    Raises:
        NoRenderer: this machine cannot render.
    """
    start, paths = task.sample(np.random.default_rng(0), 1), []
    for camera in task.cameras:
        with Renderer(task.model, *PICTURE_SIZE, camera, "high") as renderer:
            folder.mkdir(parents=True, exist_ok=True)
            paths.append(write_png(folder / f"{camera}.png", renderer.render(start.qpos[0], start.mocap[0])))
    return paths


def _make_task(config: DictConfig, console: Terminal) -> Task:
    """Returns the task of a configuration; a scene file may still lack its goal and success rule.

    Raises:
        UsageError: another goal than the task's own, from which no rule follows; for a scene file it is only printed.
    """
    options = {name: config[name] for name in RULE_OPTIONS if config[name]}
    may_lack = Path(config.name).suffix.lower() in SCENE_SUFFIXES or is_environment(config.name)
    try:
        options = add_derived_rules(config.name, options)
    except UsageError as error:
        if not may_lack:
            raise
        console.print(str(error), style="yellow")
    return make_task(config.name, **options, **({"draft": True} if may_lack else {}))


def _print_check(console: Terminal, task: Task) -> int:
    findings = check_task(task)
    console.print("\ncheck with random and extreme actions", style="bold")
    console.print(build_findings_table(findings), soft_wrap=False)
    return int(any(finding.needed and not finding.ok for finding in findings))


def _print_details(console: Terminal, task: Task) -> None:
    action = task.action
    console.print(f"{task.id}  {task.goal or '(no goal yet: give goal=...)'}", style="bold")
    rule = f"{task.success_rule}, at the last step" if task.success_rule else ""
    console.print(f"success: {rule or f'(no rule yet, such as success={make_example_rule(task.spec)!r})'}")
    console.print(f"episode: {task.horizon} steps at {action.rate_hz:g} Hz", highlight=False)
    units = ["" if unit == "1" else f" {unit}" for unit in action.units]
    parts = [f"{n} (1 = {s:g}{u})" for n, s, u in zip(action.names, action.scale, units, strict=True)]
    console.print(f"action {action.kind}: {', '.join(parts)}", highlight=False)
    console.print(f"cameras: {', '.join(task.cameras)}", highlight=False)
    own = () if task.id.startswith("scene/") else list_task_options(task.id)
    options = [*(name for name in own if name != "draft"), *(name for name in RULE_OPTIONS if name not in own)]
    console.print(f"options: {', '.join(options)}\n", highlight=False)
    console.print(task.spec.outline(), highlight=False, markup=False, soft_wrap=True)
