"""The task of a verb's configuration: chosen by name or scene file, with the user's goal and rules."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from robo_reward.envs.suites.catalogue import describe_environment, is_environment
from robo_reward.envs.task import Task, make_task
from robo_reward.scenes.check import check_rules_at_start


def make_configured_task(config: DictConfig) -> Task:
    """Returns the task of a configuration with the keys `task`, `goal`, `success` and `failure`.

    A goal sentence alone leaves a task of robo-reward as it is: the search takes the sentence, success stays the
    task's own. With `success`, or for a scene file or an environment without a goal, the sentence is the task's.

    Raises:
        UsageError: the task cannot be built, a rule is not a condition on its state, or it fails at the start.
    """
    options: Any = OmegaConf.to_container(config.task.options, resolve=True)
    given = {name: config.get(name) for name in ("success", "failure") if config.get(name)}
    id = config.task.id
    own_goal = is_environment(id) and describe_environment(id).goal
    if config.get("goal") and ("success" in given or id.startswith("scene/") or own_goal == ""):
        given["goal"] = config.goal
    task = make_task(id, **{**options, **given})
    if options.get("fast"):
        config.task.params = dict(task.ppo_params)  # not those of environments that are stepped by their own code
    if given or task.id.startswith("scene/"):
        check_rules_at_start(task)
    return task
