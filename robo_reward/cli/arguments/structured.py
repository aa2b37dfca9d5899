"""The keys of verbs and options as dataclasses: one place for each key's default, type and comment.

A field's default is the key's default, its annotation the type of its values (`robo_reward.configs.values`), and its
entry under `Args:` in the docstring the comment in the help. Fields without a default must be given. A field with the
metadata `config` has that text in the configuration, such as a reference to another key, instead of its default.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, get_type_hints

from robo_reward.cli.verbs import VERBS

_ENTRY = re.compile(r"(\w+): (.*)")


class StructuredOption(NamedTuple):
    """An option of a group that is described by a dataclass.

    Attributes:
        place: `module:class`.
        fixed: keys with a fixed value, such as the option's own name.
        omitted: fields that are no keys of the group.
    """

    place: str
    fixed: dict[str, str]
    omitted: tuple[str, ...] = ()


ALGORITHMS = ("a2c", "ars", "crossq", "ddpg", "ppo", "sac", "td3", "tqc", "trpo")
"""Names of the options of `policy=`: those of `robo_reward.policies.algorithms`, which takes longer to import."""
_POLICY = "robo_reward.configs.training:PolicyConfig"
_WRITERS = "robo_reward.configs.writers"
_SEARCH = "robo_reward.reward_search.settings:SearchSettings"
_NOT_IN_SEARCH = ("algorithm", "params", "normalise_reward", "seed")  # keys of `policy=` and of the verb
STRUCTURED: dict[str, dict[str, StructuredOption]] = {
    "writer": {
        "offline": StructuredOption(f"{_WRITERS}:OfflineConfig", {"name": "offline"}),
        "openai": StructuredOption(f"{_WRITERS}:OpenAIConfig", {"name": "openai"}),
        "replay": StructuredOption(f"{_WRITERS}:ReplayConfig", {"name": "replay"}),
        "mailbox": StructuredOption(f"{_WRITERS}:MailboxConfig", {"name": "mailbox"}),
    },
    "search": {"eureka": StructuredOption(_SEARCH, {"name": "eureka"}, _NOT_IN_SEARCH)},
    "policy": {name: StructuredOption(_POLICY, {"algorithm": name}) for name in ALGORITHMS},
    "reward": {
        "python": StructuredOption("robo_reward.configs.rewards:PythonConfig", {"kind": "python"}),
        "http": StructuredOption("robo_reward.configs.rewards:HttpConfig", {"kind": "http"}),
    },
    "executor": {"local": StructuredOption("robo_reward.configs.training:ExecutorConfig", {"name": "local"})},
    "robot": {
        "mujoco": StructuredOption("robo_reward.configs.robots:MujocoConfig", {"kind": "mujoco"}),
        "fr3": StructuredOption("robo_reward.configs.robots:FrankaConfig", {"kind": "fr3"}),
        "panda": StructuredOption("robo_reward.configs.robots:PandaConfig", {"kind": "panda"}),
    },
}
"""Group -> option -> the dataclass that holds its keys."""

BASES = {
    "executor": "robo_reward.configs.training:ExecutorConfig",
    "robot": "robo_reward.configs.robots:RobotConfig",
}
"""Group -> the dataclass with the keys of every plug-in."""


class Key(NamedTuple):
    """A key of a verb or an option.

    Attributes:
        name: dotted, without the group.
        default: in the configuration; a dictionary for a key that holds further keys, which follow it.
        type: of its values.
        comment: for the help.
    """

    name: str
    default: Any
    type: Any
    comment: str


@cache
def load_config_class(place: str) -> type:
    """Returns the dataclass at `module:class`."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def find_verb_groups(verb: str) -> dict[str, str | None]:
    """Returns the groups in which a verb has a choice, each with its default option."""
    return getattr(load_config_class(VERBS[verb].config), "groups", {})


@cache
def list_verb_keys(verb: str) -> tuple[Key, ...]:
    """Returns the keys of a verb that are not in a group."""
    groups = find_verb_groups(verb)
    found = _list_keys(load_config_class(VERBS[verb].config))
    return tuple(key for key in found if key.name not in groups or key.default == {})


@cache
def list_structured_keys(group: str, option: str) -> tuple[Key, ...]:
    """Returns the keys of an option that are described by a dataclass; the comment of its name is its summary.

    Those of a plug-in, or of any other option, are the ones that every plug-in of the group has.
    """
    described = STRUCTURED.get(group, {}).get(option)
    if described is None:
        return tuple(_list_keys(load_config_class(BASES[group]))) if group in BASES else ()
    kind = load_config_class(described.place)
    summary = inspect.cleandoc(kind.__doc__ or "").partition("\n")[0].rstrip(".")
    keys = [key for key in _list_keys(kind) if key.name not in described.omitted]
    return (*(Key(name, value, str, summary) for name, value in described.fixed.items()), *keys)


def build_node(keys: tuple[Key, ...]) -> dict[str, Any]:
    """Returns keys with their defaults as nested dictionaries."""
    node: dict[str, Any] = {}
    for key in keys:
        parent = node
        *above, name = key.name.split(".")
        for step in above:
            parent = parent[step]
        parent[name] = {} if key.default == {} else key.default
    return node


def format_keys(keys: tuple[Key, ...]) -> list[str]:
    """Returns a line for each key, as in a YAML file: `key: default  # comment`; keys inside a key are indented."""
    lines = []
    for key in keys:
        *above, name = key.name.split(".")
        is_parent = any(other.name.startswith(f"{key.name}.") for other in keys)
        value = "" if is_parent else f" {_format_default(key.default)}"
        comment = f"  # {key.comment}" if key.comment else ""
        lines.append(f"{'  ' * len(above)}{name}:{value}{comment}")
    return lines


def _list_keys(kind: type, prefix: str = "") -> list[Key]:
    found, comments = [], read_comments(kind)
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        name, type_ = f"{prefix}{field.name}", hints[field.name]
        if isinstance(type_, type) and is_dataclass(type_):
            found += [Key(name, {}, dict, comments.get(field.name, "")), *_list_keys(type_, f"{name}.")]
        else:
            found.append(Key(name, _find_default(field), type_, comments.get(field.name, "")))
    return found


def _find_default(field: Field[Any]) -> Any:
    """Returns a field's default in the configuration, `???` where there is none."""
    if "config" in field.metadata:
        return field.metadata["config"]
    default = field.default if field.default_factory is MISSING else field.default_factory()
    if default is MISSING:
        return "???"
    return list(default) if isinstance(default, tuple) else default


def read_comments(kind: type) -> dict[str, str]:
    """Returns field -> its text under `Args:` in the docstrings of a dataclass and its bases."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        found |= _read_arguments(base.__dict__.get("__doc__") or "")
    return found


def _read_arguments(docstring: str) -> Iterator[tuple[str, str]]:
    name, text = "", ""
    lines = inspect.cleandoc(docstring).splitlines()
    for line in lines[lines.index("Args:") + 1 :] if "Args:" in lines else []:
        if line and not line.startswith("    "):
            break
        entry = _ENTRY.fullmatch(line[4:]) if line[4:5].strip() else None
        if entry:
            if name:
                yield name, text
            name, text = entry[1], entry[2]
        else:
            text = f"{text} {line.strip()}".strip()
    if name:
        yield name, text


def _format_default(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(_format_default, value))}]"
    return str(value) if value != "" else '""'
