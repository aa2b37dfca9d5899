"""The task of a verb's configuration: chosen by name or scene file, with the user's goal and rules."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from robo_reward.envs.task import Task, make_task
from robo_reward.scenes.check import check_rules_at_start


def make_configured_task(config: DictConfig) -> Task:
    """Returns the task of a configuration with the keys `task`, `goal`, `success` and `failure`.

    A goal sentence alone leaves a task of robo-reward as it is: the search takes the sentence, success stays the
    task's own. With `success`, or for a scene file, the sentence is the task's.

    Raises:
        UsageError: the task cannot be built, a rule is not a condition on its state, or it fails at the start.
    """
    options: Any = OmegaConf.to_container(config.task.options, resolve=True)
    given = {name: config.get(name) for name in ("success", "failure") if config.get(name)}
    if config.get("goal") and ("success" in given or config.task.id.startswith("scene/")):
        given["goal"] = config.goal
    task = make_task(config.task.id, **{**options, **given})
    if given or task.files:
        check_rules_at_start(task)
    return task
