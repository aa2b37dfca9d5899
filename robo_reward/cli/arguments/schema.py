"""The values that a configuration takes.

A key's type is the annotation of its field where a dataclass describes it, else the type of its default. msgspec
checks it; the description is what a message says was expected.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from robo_reward.cli.arguments.structured import STRUCTURED, list_structured_keys, list_verb_keys
from robo_reward.configs.values import Flag, Mappings, Real, Whole
from robo_reward.errors import UnknownName, UsageError

if TYPE_CHECKING:
    from omegaconf import DictConfig

BY_DEFAULT: dict[type, Any] = {
    bool: Flag,
    int: Whole,
    float: Real,
    str: str,
    list: Annotated[list, Meta(description="a list, such as [a,b]")],
    dict: Mappings,
}
_SHORT = re.compile(r"(\d+(?:\.\d+)?)([kKM])")


def find_value_type(verb: str, key: str, default: Any, config: DictConfig) -> Any:
    """Returns the type of a key's values.

    Args:
        verb: the verb.
        key: dotted.
        default: of the key.
        config: names the chosen option of each group by its `kind`, `name` or `algorithm`.
    """
    declared = {one.name: one.type for one in list_verb_keys(verb)}.get(key)
    if declared is None:
        group, _, name = key.partition(".")
        known = list_structured_keys(group, find_option_name(config, group))
        declared = {one.name: one.type for one in known}.get(name)
    return BY_DEFAULT.get(type(default), Any) if declared is None else declared


def find_option_name(config: DictConfig, group: str) -> str:
    """Returns the name by which an option of a group says what it is, empty where it does not."""
    from omegaconf import DictConfig

    option = config.get(group) if group in STRUCTURED else None
    names = (option.get(key) for key in ("kind", "name", "algorithm")) if isinstance(option, DictConfig) else ()
    return next((str(name) for name in names if name), "")


def is_text(verb: str, key: str, default: Any, config: DictConfig) -> bool:
    """Returns whether a key holds text, which is taken exactly as a person types it."""
    kind = find_value_type(verb, key, default, config)
    return kind is str or get_origin(kind) is Literal


def check_config(verb: str, config: DictConfig, defaults: DictConfig) -> None:
    """Raises an error for a missing key or a value of the wrong type, before any work starts.

    `200k` and `1.5M` become whole numbers, in place.

    Raises:
        UsageError: the message names the key, the value and what was expected.
        UnknownName: a value outside a fixed set of words.
    """
    from omegaconf import OmegaConf

    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise _missing_key_error(verb, missing[0])
    present = {key for key, _ in list_leaves(config)}
    for key, default in list_leaves(defaults):
        if key not in present:  # belongs to another option of a swept group
            continue
        value = OmegaConf.select(config, key)
        value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        found = parse_value(key, value, find_value_type(verb, key, default, config))
        if found != value or (isinstance(found, int) and not isinstance(value, int)):
            OmegaConf.update(config, key, found)


def list_leaves(config: DictConfig, prefix: str = "") -> list[tuple[str, Any]]:
    """Returns the dotted keys of a configuration with their values; lists and empty mappings are values."""
    from omegaconf import DictConfig, OmegaConf

    found: list[tuple[str, Any]] = []
    for name in config:
        child = config._get_node(name)
        if isinstance(child, DictConfig) and not child._is_none() and len(child):
            found += list_leaves(child, f"{prefix}{name}.")
        else:
            value = "???" if OmegaConf.is_missing(config, name) else config[name]
            found.append((f"{prefix}{name}", OmegaConf.to_container(value) if OmegaConf.is_config(value) else value))
    return found


def parse_value(key: str, value: Any, kind: Any) -> Any:
    """Returns the value converted to its type.

    Raises:
        UsageError: it is of another type, or out of range.
        UnknownName: it is not in a fixed set of words.
    """
    if kind is str:
        return value if isinstance(value, str) else str(value)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise UnknownName(f"value of {key}", str(value), get_args(kind))
        return value
    try:
        return msgspec.convert(_parse_number(value, kind), kind)
    except msgspec.ValidationError:
        hint = _suggest_list(key, value, kind)
        raise UsageError(f"{key}={_format_value(value)}: expected {_describe_type(kind)}{hint}") from None


def _suggest_list(key: str, value: Any, kind: Any) -> str:
    """Returns the value in brackets as a suggestion, where a list of it would be valid."""
    try:
        msgspec.convert([value], kind)
    except msgspec.ValidationError:
        return ""
    return f". Did you mean {key}=[{value}]?"


def _parse_number(value: Any, kind: Any) -> Any:
    """Returns a whole number that is written in another way: `200k`, `1.5M`, 1e5."""
    if get_args(kind)[:1] != (int,):
        return value
    if isinstance(value, str) and (match := _SHORT.fullmatch(value)):
        value = float(match[1]) * (1e6 if match[2] == "M" else 1e3)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _describe_type(kind: Any) -> str:
    """Returns a description of the values that a type takes."""
    described = [meta.description for meta in getattr(kind, "__metadata__", ()) if getattr(meta, "description", None)]
    if described:
        return described[-1]
    return "a list of numbers, such as [0.1,0.2]" if get_origin(kind) is list else str(kind)


def _format_value(value: Any) -> str:
    return repr(value) if isinstance(value, str) and not value.isalnum() else str(value)


def _missing_key_error(verb: str, key: str) -> UsageError:
    from robo_reward.cli.arguments.help import find_comment
    from robo_reward.cli.verbs import VERBS

    comment = find_comment(verb, key).removeprefix("give it as policy=RUN: ")
    wanted = {"policy_folder": "policy=RUN", "reward.path": "reward=PATH"}.get(key, f"{key}=...")
    example = {"reward.url": "reward=http url=http://127.0.0.1:8001", "reward.function": "reward=my.py:my_reward"}
    such_as = example.get(key, VERBS[verb].example)
    return UsageError(f"{wanted} is missing{': ' + comment if comment else ''}. Such as: {such_as}")
