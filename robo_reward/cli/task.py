"""The task of a verb's configuration: chosen by name or scene file, with the user's goal and rules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from robo_reward.cli.confirm import propose_goal
from robo_reward.cli.goals import (
    BY_ENVIRONMENT,
    BY_SCENE,
    BY_TASK,
    BY_USER,
    GoalRecord,
    derive_goal,
    read_own_goal,
)
from robo_reward.cli.terminal import Terminal
from robo_reward.configs.values import SCENE_SUFFIXES
from robo_reward.envs.suites.catalogue import is_environment
from robo_reward.envs.task import Task, make_task
from robo_reward.errors import UsageError
from robo_reward.scenes.check import check_rules_at_start
from robo_reward.scenes.rules import is_same_sentence
from robo_reward.scenes.settings import load_scene_settings
from robo_reward.writers.offline.plans.rule import parse_requirements

PROPOSE = "propose"
"""The value of `success=` that asks a writer for a rule."""


def make_configured_task(config: DictConfig, arguments: Sequence[str] = ()) -> tuple[Task, GoalRecord]:
    """Returns the task of a configuration with the keys `task`, `goal`, `success` and `failure`, and its goal.

    Raises:
        UsageError: the task cannot be built, a rule is not a condition on its state, or no rule follows from the goal.
    """
    task, record = _settle_goal(config, arguments)
    if config.task.options.get("fast"):
        config.task.params = dict(task.ppo_params)  # not those of environments that are stepped by their own code
    return task, record


def _settle_goal(config: DictConfig, arguments: Sequence[str]) -> tuple[Task, GoalRecord]:
    """Returns the task and its goal: given, derived from the sentence, or proposed.

    A goal sentence that differs from the task's own is measured by a rule of its own: the user's, one that a writer
    proposes and the user confirms (`success=propose`), or the one that follows from the sentence. The rules that were
    found are written into the configuration, so that they are part of what names the run.

    Raises:
        UsageError: the task cannot be built, a rule is not a condition on its state, or no rule follows from the goal.
    """
    options: Any = OmegaConf.to_container(config.task.options, resolve=True)
    goal, success, failure = (str(config.get(name) or "") for name in ("goal", "success", "failure"))
    given = {name: text for name, text in (("success", success), ("failure", failure)) if text}
    if not goal and not success and not has_draft(config.task.id):
        task = make_task(config.task.id, **{**options, **given})
        if given:
            check_rules_at_start(task)
        return task, GoalRecord(task.goal, task.success_rule, task.failure_rule, BY_TASK)
    own_goal, own_rule = _find_own(config, options)
    if success == PROPOSE:
        sentence, runs = _require_sentence(config, goal or own_goal), str(config.get("runs") or "runs")
        draft, writer = _make_draft(config, options), _find_writer(config)
        record = propose_goal(Terminal(), draft, sentence, failure, writer, runs, arguments)
    elif success:
        named = {"goal": goal} if goal else {}
        task = make_task(config.task.id, **{**options, **given, **named})
        check_rules_at_start(task)
        return task, _describe_own(config, task, goal or own_goal, BY_USER)
    elif own_rule and (not goal or not own_goal or is_same_sentence(goal, own_goal)):
        keeps_goal = has_draft(config.task.id)
        named = {"goal": goal} if goal and keeps_goal else {}
        task = make_task(config.task.id, **{**options, **given, **named})
        check_rules_at_start(task)
        by = BY_ENVIRONMENT if is_environment(config.task.id) else BY_SCENE if keeps_goal else BY_TASK
        return task, _describe_own(config, task, goal or own_goal, by)
    else:
        writer = _find_writer(config)
        offline, strict = "writer" in config and writer["name"] == "offline", bool(writer.get("strict", True))
        draft = _make_draft(config, options)
        record = derive_goal(draft, _require_sentence(config, goal or own_goal), failure, strict, offline)
    rules = {"goal": record.goal, "success": record.success}
    rules = {**rules, "failure": record.failure} if record.failure else rules
    task = make_task(config.task.id, **{**options, **rules})
    OmegaConf.update(config, "success", record.success)
    OmegaConf.update(config, "failure", record.failure)
    return task, record


def add_derived_rules(name: str, rules: dict[str, str]) -> dict[str, str]:
    """Returns the rules of `robo-reward tasks name=NAME`, with those that follow from another goal than the task's own.

    Args:
        name: of a task, or the path of a scene or model file.
        rules: goal, success and failure as far as they are given.

    Raises:
        GoalNotUnderstood: words of the sentence are not understood.
        NoSuccessRule: no condition follows from it.
    """
    goal = rules.get("goal", "")
    if not goal or rules.get("success"):
        return rules
    is_scene = Path(name).suffix.lower() in SCENE_SUFFIXES
    settings = load_scene_settings(Path(name)) if is_scene else None
    draft = make_task(name, **({"draft": True} if is_scene or is_environment(name) else {}))
    own, rule = (settings.goal, settings.success) if settings is not None else (draft.goal, draft.success_rule)
    if rule and (not own or is_same_sentence(goal, own)):
        return rules
    record = derive_goal(draft, goal, rules.get("failure", ""), strict=True, offline=False)
    found = {"goal": goal, "success": record.success, "failure": record.failure}
    return {key: text for key, text in found.items() if text}


def has_draft(id: str) -> bool:
    """Returns whether a task can be built without goal and rule: from a scene file, or an environment of others."""
    return id.startswith("scene/") or is_environment(id)


def _find_own(config: DictConfig, options: dict[str, Any]) -> tuple[str, str]:
    """Returns goal and success rule of the task itself; empty where a scene file has none."""
    if config.task.id.startswith("scene/"):
        settings = load_scene_settings(Path(options["file"]))
        return settings.goal, settings.success
    task = _make_draft(config, options)
    return task.goal, task.success_rule


def _make_draft(config: DictConfig, options: dict[str, Any]) -> Task:
    """Returns the task without the user's rules; a scene without any."""
    draft = {"draft": True} if has_draft(config.task.id) else {}
    return make_task(config.task.id, **{**options, **draft})


def _find_writer(config: DictConfig) -> dict[str, Any]:
    """Returns the writer of a verb, the offline writer where it has none."""
    return OmegaConf.to_container(config.writer, resolve=True) if "writer" in config else {"name": "offline"}  # type: ignore[return-value]


def _require_sentence(config: DictConfig, goal: str) -> str:
    if not goal:
        name = Path(config.task.options.get("file", config.task.id)).name
        raise UsageError(f"{name} has no goal: give goal='Throw the ball into the basket.', or a line `goal:` in it")
    return goal


def _describe_own(config: DictConfig, task: Task, goal: str, by: str) -> GoalRecord:
    """Returns the goal of a task whose rules are given, as the offline writer reads it.

    Where it does not understand the sentence, its rewards follow the rule alone.

    Raises:
        GoalNotUnderstood: no terms follow from the rule either, and the writer is strict.
    """
    record = GoalRecord(goal or task.goal, task.success_rule, task.failure_rule, by)
    writer = _find_writer(config)
    if by == BY_TASK or "writer" not in config or writer["name"] != "offline":
        return record
    if by == BY_USER and not config.get("goal") and not has_draft(config.task.id):
        return record  # the sentence is the task's own
    found = read_own_goal(task, record.goal)
    notes: tuple[str, ...] = ()
    if not found.reading.is_clear and parse_requirements(record.success, task.spec):
        notes = ("not all of the sentence is understood: the rewards follow the rule alone",)
    elif writer.get("strict", True):
        found.require_clear("writer.strict=false goes on without these words.")
    return GoalRecord(record.goal, record.success, record.failure, by, found.reading.words, notes)
