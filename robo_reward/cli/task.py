"""The task of a verb's configuration: chosen by name or scene file, with the user's goal and rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from robo_reward.envs.task import SCENE_SUFFIXES, Task, make_task


def make_configured_task(config: DictConfig) -> Task:
    """Returns the task of a configuration with the keys `task`, `goal`, `success` and `failure`.

    A goal sentence alone leaves a task of robo-reward as it is: the search takes the sentence, success stays the
    task's own. With `success`, or for a scene file, the sentence is the task's.

    Raises:
        UsageError: the task cannot be built, or a rule is not a condition on its state.
    """
    options: Any = OmegaConf.to_container(config.task.options, resolve=True)
    given = {name: config.get(name) for name in ("success", "failure") if config.get(name)}
    if config.get("goal") and (given or config.task.id.startswith("scene/")):
        given["goal"] = config.goal
    return make_task(config.task.id, **{**options, **given})


def is_scene_file(value: str) -> bool:
    """Returns whether the value of `task=` is the path of a scene or model file."""
    return Path(value).suffix.lower() in SCENE_SUFFIXES


def register_scene(value: str) -> str:
    """Makes a scene file known to Hydra as an option of `task=` and returns the option's name.

    Raises:
        UsageError: the file is not there or has another form.
    """
    from hydra.core.config_store import ConfigStore

    from robo_reward.envs.model.names import make_identifier
    from robo_reward.scenes.settings import load_scene_settings

    path = Path(value).expanduser().absolute()
    name = make_identifier(path.stem, "scene")
    settings = load_scene_settings(path)
    node = {"id": f"scene/{name}", "options": {"file": str(path)}, "steps": settings.steps, "params": {}}
    ConfigStore.instance().store(group="task/scene", name=name, node=node, package="task", provider="task")
    return f"scene/{name}"
