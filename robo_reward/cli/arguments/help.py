"""Help texts for people, made from the dataclasses and configuration files themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from robo_reward.cli.arguments.choices import (
    PATHS,
    is_registered,
    list_group_options,
    list_options,
    read_settings,
)
from robo_reward.cli.arguments.structured import (
    STRUCTURED,
    find_verb_groups,
    format_keys,
    list_structured_keys,
    list_verb_keys,
)
from robo_reward.cli.verbs import VERBS
from robo_reward.errors import UnknownName

if TYPE_CHECKING:
    from omegaconf import DictConfig


def format_overview() -> str:
    """Returns the text of `robo-reward --help`."""
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "robo-reward VERB [key=value ...]",
            "",
            "From a goal sentence to a reward, a trained policy and a Franka arm.",
            "",
            *lines,
            "",
            "robo-reward VERB --help explains a verb's keys. Every verb takes -m for sweeps and --config-dir for",
            "configuration files of your own.",
        ]
    )


def format_verb_help(verb: str, arguments: Sequence[str] = ()) -> str:
    """Returns the text of `robo-reward VERB --help`: summary, example, choices, and the keys with their comments.

    Args:
        verb: one of `VERBS`.
        arguments: what else was typed; the keys of an option named there, such as `writer=openai`, are shown.
    """
    what = VERBS[verb]
    text = [f"robo-reward {verb}: {what.summary}", "", f"  {what.example}", ""]
    groups = find_verb_groups(verb)
    if groups:
        text.append("Choices (group=option):")
        text += [f"  {group:<9} {', '.join(list_options(group))}{_format_path(group)}" for group in groups]
        text.append("")
    text.append("Keys and their defaults:")
    text += [f"  {line}" for line in format_keys(list_verb_keys(verb))]
    typed = {key: option for key, _, option in (argument.partition("=") for argument in arguments)}
    for group, default in groups.items():
        option = typed.get(group, default)
        if option and option != "null" and (group != "task" or group in typed):
            text += ["", f"  Keys of {group}={option}:", *(f"    {line}" for line in _read_option_keys(group, option))]
    if len(groups) > 1:
        text += ["", f"`robo-reward {verb} --help GROUP=OPTION` shows the keys of another option."]
    return "\n".join(text)


def _format_path(group: str) -> str:
    return f"; or {PATHS[group]}" if group in PATHS else ""


COMMENTS = {
    "task.options": "  # passed to the task: control=joint_delta, ...; `robo-reward tasks name=ID` lists them",
    "task.steps": "  # usual training budget [environment steps]",
    "task.params": "  # settings of PPO that suit the task",
}
"""Of the keys of registered options, which stand in no configuration file."""


def _read_option_keys(group: str, option: str) -> list[str]:
    """Returns the keys of an option by their full names.

    Raises:
        UnknownName: no such option.
    """
    if is_registered(group, option):
        settings, _ = read_settings(group, option)
        lines = [f"{key}: {json.dumps(value)}{COMMENTS.get(f'{group}.{key}', '')}" for key, value in settings.items()]
    elif option in STRUCTURED.get(group, ()):
        lines = format_keys(list_structured_keys(group, option))
    elif option in list_group_options(group):
        lines = _strip_defaults((files("robo_reward.configs") / group / f"{option}.yaml").read_text())
    else:
        raise UnknownName(f"value of {group}", option, list_options(group))
    return [line if line.startswith((" ", "#")) else f"{group}.{line}" for line in lines]


@cache
def list_keys(verb: str) -> tuple[str, ...]:
    """Returns every key that a verb takes with its usual options, dotted, groups included."""
    from robo_reward.cli.app import compose_config

    return tuple(list_config_keys(compose_config(verb, [])))


def is_key(verb: str, key: str) -> bool:
    """Returns whether a verb has a key or group of this name."""
    return key in list_keys(verb) or key in find_verb_groups(verb)


def list_config_keys(node: DictConfig, prefix: str = "") -> list[str]:
    """Returns the dotted names of all keys of a configuration, mappings included."""
    from omegaconf import DictConfig

    found = []
    for key in node:
        found.append(f"{prefix}{key}")
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            found += list_config_keys(child, f"{prefix}{key}.")
    return found


def find_comment(verb: str, key: str) -> str:
    """Returns the comment of a key; empty where it has none."""
    for known in list_verb_keys(verb):
        if known.name == key:
            return known.comment
    group = key.partition(".")[0]
    for option in list_group_options(group):
        for line in _read_option_keys(group, option):
            if line.startswith(f"{key}:"):
                return line.partition("# ")[2]
    return ""


def _strip_defaults(text: str) -> list[str]:
    """Returns the lines after the defaults list."""
    lines, inside = [], False
    for line in text.splitlines():
        if line.startswith("defaults:"):
            inside = True
        elif not inside or (line and not line.startswith((" ", "-"))):
            inside = False
            if line.strip() and not line.startswith("# @"):
                lines.append(line)
    return lines
