"""Options that can be chosen by name: from robo-reward, from the user's folder, and from plug-ins."""

from __future__ import annotations

import hashlib
import inspect
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NamedTuple

from robo_reward.cli.arguments.structured import STRUCTURED, build_node, list_structured_keys
from robo_reward.configs.values import SCENE_SUFFIXES
from robo_reward.errors import UsageError
from robo_reward.registry import load_plugin


class PluginGroup(NamedTuple):
    """A group whose plug-ins become options.

    Attributes:
        points: the entry point group.
        key: the key of the option that holds the plug-in's name.
        settings: what every plug-in of the group has, besides the keys of its class in `BASES`.
        given: parameters of the factory that the program passes itself.
        read: whether further keys are the parameters of the factory.
    """

    points: str
    key: str
    settings: dict[str, Any]
    given: tuple[str, ...] = ()
    read: bool = True


PLUGGED = {
    "task": PluginGroup("robo_reward.tasks", "id", {}, read=False),
    "writer": PluginGroup("robo_reward.writers", "name", {}, ("folder",)),
    "executor": PluginGroup("robo_reward.executors", "name", {}, ("workers", "max_workers")),
    "encoder": PluginGroup("robo_reward.encoders", "kind", {}, read=False),
    "robot": PluginGroup("robo_reward.robots", "kind", {}, ("host",)),
}

PATHS = {
    "task": "a path: FILE.xml with a MuJoCo model, or FILE.yaml with a scene; or gymnasium/ID, metaworld/NAME, "
    "robotics/ID, dm_control/DOMAIN-TASK: an environment of another package",
    "policy": "package.module:Class: a class derived from one of Stable-Baselines3's",
    "reward": "a path: FILE.py with a reward program, or a folder with a reward in it; or FILE.py:NAME or "
    "package.module:NAME: a Python function (it runs with your rights and is not confined)",
}
"""Group -> what may be given instead of an option's name."""


@cache
def list_group_options(group: str) -> tuple[str, ...]:
    """Returns the names of a group's built-in options: dataclasses, files in `configs/`, and the tasks."""
    if group == "task":
        from robo_reward.envs.catalogue import list_builtin_tasks

        return tuple(sorted(list_builtin_tasks()))
    folder = files("robo_reward.configs") / group
    found = _list_yaml_files(folder) if group and folder.is_dir() else ()
    return tuple(sorted({*found, *STRUCTURED.get(group, ())}))


def list_options(group: str, config_dir: str | None = None) -> tuple[str, ...]:
    """Returns all option names of a group: built in, plugged in, and of the user's folder."""
    own = Path(config_dir) / group if config_dir else None
    found = {*list_group_options(group), *find_plugins(group)}
    return tuple(sorted(found | set(_list_yaml_files(own) if own and own.is_dir() else ())))


def is_own_group(key: str, config_dir: str | None) -> bool:
    """Returns whether the user's folder has a group of options of this name."""
    return bool(config_dir and key and key != "." and (Path(config_dir) / key).is_dir())


def is_own_option(group: str, option: str, config_dir: str | None) -> bool:
    """Returns whether the user's folder has an option of this name."""
    return bool(config_dir and (Path(config_dir) / group / f"{option}.yaml").is_file())


def _list_yaml_files(folder: Traversable | Path, prefix: str = "") -> list[str]:
    found = []
    for item in folder.iterdir():
        if item.name.endswith(".yaml"):
            found.append(prefix + item.name.removesuffix(".yaml"))
        elif item.is_dir() and not item.name.startswith("_"):
            found += _list_yaml_files(item, f"{prefix}{item.name}/")
    return found


def find_plugins(group: str) -> dict[str, EntryPoint]:
    """Returns the entry points of other packages by the names that `group=NAME` takes."""
    if group not in PLUGGED:
        return {}
    points = entry_points(group=PLUGGED[group].points)
    return {point.name: point for point in points if point.name not in list_group_options(group)}


def is_registered(group: str, name: str) -> bool:
    """Returns whether an option is made from code, not read from a file: a task or another package's plug-in."""
    is_task = group == "task" and (name in list_group_options(group) or is_environment(name))
    return is_task or name in find_plugins(group)


def read_settings(group: str, name: str) -> tuple[dict[str, Any], bool]:
    """Returns the keys of a registered option with their defaults, and whether it takes any other key as well.

    Raises:
        BrokenPlugin: a plug-in whose module cannot be imported.
    """
    if group == "task":
        from robo_reward.envs.task import find_training_defaults

        usual = find_training_defaults(name)
        return {"id": name, "options": {}, "steps": usual.steps, "params": usual.ppo_params}, False
    kind = PLUGGED[group]
    settings: dict[str, Any] = {kind.key: name, **kind.settings, **build_node(list_structured_keys(group, name))}
    if not kind.read:
        return settings, False
    factory = load_plugin(kind.points.rpartition(".")[2].rstrip("s"), find_plugins(group)[name])
    try:
        parameters = list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):  # a factory written in C may have no signature
        return settings, True
    for parameter in parameters:
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            if parameter.name in (*kind.given, *settings):
                continue
            default = "???" if parameter.default is parameter.empty else parameter.default
            if default is None or isinstance(default, bool | int | float | str | list | dict):
                settings[parameter.name] = default
    return settings, any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def register_option(group: str, name: str) -> bool:
    """Makes a task or the option of a plug-in known to Hydra; returns whether it takes any key.

    Raises:
        BrokenPlugin: a plug-in whose module cannot be imported.
        UsageError: a name that cannot be an option.
    """
    from hydra.core.config_store import ConfigStore

    if not is_registered(group, name):
        return False
    settings, free = read_settings(group, name)
    folder, _, leaf = name.rpartition("/")
    if not leaf or any(mark in name for mark in "=,@:{}[]'\"$ "):
        raise UsageError(
            f"{group} plug-in {name!r} cannot be chosen; rename it with letters, digits, '_', '-' and '/' only"
        )
    ConfigStore.instance().store(
        group=f"{group}/{folder}" if folder else group, name=leaf, node=settings, package=group, provider=group
    )
    return free


def is_environment(value: str) -> bool:
    """Returns whether the value of `task=` is an environment of another package."""
    from robo_reward.envs.suites.catalogue import is_environment

    return is_environment(value)


def register_environment(value: str) -> str:
    """Makes an environment of another package known to Hydra as an option of `task=` and returns the option's name.

    Raises:
        UnknownName: no such environment.
        UsageError: its package is not installed, or does not fit others.
    """
    from hydra.core.config_store import ConfigStore

    from robo_reward.envs.model.names import make_identifier

    node, _ = read_settings("task", value)
    suite, _, name = value.partition("/")
    # an id may have characters that Hydra does not take, such as the colon of `my_package:Mine-v0`
    option = f"{make_identifier(name, suite)}_{hashlib.sha256(value.encode()).hexdigest()[:8]}"
    ConfigStore.instance().store(group=f"task/{suite}", name=option, node=node, package="task", provider=suite)
    return f"{suite}/{option}"


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
    from robo_reward.scenes.model_file import compute_digest, find_model_files
    from robo_reward.scenes.settings import load_scene_settings

    path = Path(value).expanduser().absolute()
    path = path.resolve() if path.is_symlink() else path
    name = make_identifier(path.stem, "scene")
    settings = load_scene_settings(path)
    digest = compute_digest((path, *find_model_files((path.parent / settings.model).absolute())))
    options = {"file": str(path), "digest": digest}
    node = {"id": f"scene/{name}", "options": options, "steps": settings.steps, "params": {}}
    option = f"{name}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"  # two files may have one name
    ConfigStore.instance().store(group="task/scene", name=option, node=node, package="task", provider="task")
    return f"scene/{option}"


def register_algorithm(value: str) -> str:
    """Makes an algorithm of `module:Class` known to Hydra as an option of `policy=` and returns the option's name.

    Raises:
        UsageError: there is no such module.
    """
    from hydra.core.config_store import ConfigStore

    from robo_reward.policies.own_algorithm import compute_digest, find_sources

    usual = build_node(list_structured_keys("policy", "ppo"))
    node = {**usual, "algorithm": value, "digest": compute_digest(find_sources(value))}
    option = f"own_{hashlib.sha256(value.encode()).hexdigest()[:8]}"
    ConfigStore.instance().store(group="policy", name=option, node=node, package="policy", provider="policy")
    return option
