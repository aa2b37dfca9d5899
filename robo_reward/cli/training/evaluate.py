"""`robo-reward evaluate`: the success rate of a policy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from omegaconf import DictConfig, OmegaConf

from robo_reward.checks.proportion import format_success, wilson_interval
from robo_reward.cli.terminal import Terminal
from robo_reward.envs.task import Task, make_task
from robo_reward.errors import UsageError
from robo_reward.files import load_yaml, write_json
from robo_reward.policies.evaluate import evaluate_policy
from robo_reward.policies.policy import load_policy
from robo_reward.seeds import EVALUATION_SEEDS


def run(config: DictConfig, arguments: list[str]) -> int:
    """Prints success with its interval per seed and over all; returns 1 if the lower end is below `min_success`."""
    path = Path(config.run)
    policy = load_policy(path)
    chosen: Any = OmegaConf.to_container(config.task) if config.get("task") else {}
    rules = {name: config[name] for name in ("success", "failure") if config[name]}
    if rules:
        chosen["options"] = {**chosen.get("options", {}), **rules}
    task = choose_task(policy, path, chosen)
    policy.require_compatible(task)
    if config.runtime != "torch":
        from robo_reward.policies.diffusion.runtime import with_runtime

        policy = with_runtime(policy, config.runtime)
    console = Terminal()
    if task.options:
        console.print(f"{task.id} with {json.dumps(dict(task.options))}")
    results = []
    for seed in config.seeds:
        result = replace(evaluate_policy(task, policy, config.episodes, EVALUATION_SEEDS + seed), seed=seed)
        results.append(result)
        console.print(f"seed {seed}: {result.successes} of {result.episodes}", highlight=False)
    episodes, successes = sum(r.episodes for r in results), sum(r.successes for r in results)
    low, high = wilson_interval(successes, episodes)
    success = successes / episodes
    console.print(f"{task.id}: {format_success(success, low, high, 3)} over {episodes} episodes", highlight=False)
    if config.json:
        summary = {"task": task.id, "options": dict(task.options), "success": success, "low": low, "high": high}
        rest = {"episodes": episodes, "seeds": [r.to_json() for r in results]}
        write_json(Path(config.json), {**summary, **rest})
    if low < config.min_success:
        console.print(f"the interval's lower end {low:.3f} is below min_success={config.min_success}", style="red")
        return 1
    return 0


def choose_task(policy: Any, run: Path | None, chosen: dict[str, Any]) -> Task:
    """Returns the task to evaluate a policy on.

    By default, that is the training task with its options; chosen options replace single ones of these. Another task
    keeps only the `control` of the training: dynamics and ranges belong to the arm and objects of the training task.

    Args:
        policy: whose `meta` names task and options.
        run: its run folder, whose `config.yaml` is read if an older policy does not name its options; None without one.
        chosen: `id` and `options`, or neither.
    """
    trained_on = str(policy.meta.get("task", ""))
    id = str(chosen.get("id") or trained_on)
    if not id:
        where = f" at {run}" if run is not None else ""
        raise UsageError(f"the policy{where} does not record the task it was trained on; give task=NAME")
    options = policy.meta["options"] if "options" in policy.meta else _read_task_options(run, trained_on)
    if id != trained_on:
        scene = str(chosen.get("id", "")).startswith("scene/")
        options = {name: value for name, value in options.items() if name == "control" and not scene}
    return make_task(id, **{**options, **chosen.get("options", {})})


class _TaskForm(msgspec.Struct):
    """`task` of a run's configuration."""

    id: str = ""
    options: dict[str, Any] = {}


class _ConfigForm(msgspec.Struct):
    """The part of a run's configuration that is read."""

    task: _TaskForm = msgspec.field(default_factory=_TaskForm)


def _read_task_options(run: Path | None, id: str) -> dict[str, Any]:
    """Returns the task options in a run folder's configuration; empty where there is no such folder."""
    if run is None:
        return {}
    path = (run.parent if run.name == "policy" else run) / "config.yaml"
    found = load_yaml(path, _ConfigForm, remedy="Give task=NAME and its options, or restore the file")
    return found.task.options if found is not None and found.task.id == id else {}
