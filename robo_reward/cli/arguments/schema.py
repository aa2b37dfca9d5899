"""The values that a configuration takes: the types of its defaults, and the ranges below.

A key's type is the type of its default in `configs/`. Where a type says too little, `TYPES` says more, as types
that msgspec checks; the description is what a message says was expected.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from robo_reward.errors import UnknownName, UsageError

if TYPE_CHECKING:
    from omegaconf import DictConfig

Natural = Annotated[int, Meta(ge=0, le=2**53, description="a whole number from 0")]
Positive = Annotated[int, Meta(ge=1, le=2**53, description="a whole number from 1")]
Seed = Annotated[int, Meta(ge=0, lt=2**31, description="a whole number from 0 to 2147483647")]
Seeds = Annotated[list[Seed], Meta(min_length=1, description="a list of whole numbers from 0, such as [0,1,2]")]
Names = Annotated[list[str], Meta(description="a list of names, such as [front]")]
Real = Annotated[float, Meta(ge=-1e300, le=1e300, description="a number")]
NotNegative = Annotated[float, Meta(ge=0.0, le=1e300, description="a number from 0")]
Above0 = Annotated[float, Meta(gt=0.0, le=1e300, description="a number above 0")]
Share = Annotated[float, Meta(ge=0.0, le=1.0, description="a number from 0 to 1")]
Portion = Annotated[float, Meta(ge=0.0, lt=1.0, description="a number from 0, below 1")]
Side = Annotated[int, Meta(ge=8, le=4096, description="a whole number from 8 to 4096")]
Port = Annotated[int, Meta(ge=0, le=65535, description="a whole number from 0 to 65535")]
Auto = Annotated[
    Annotated[int, Meta(ge=2, le=1000)] | Literal["auto"], Meta(description="auto or a whole number from 2 to 1000")
]
OrNull = Annotated[NotNegative | None, Meta(description="a number from 0, or null")]
Frames = Literal["mp4", "exact"]

TYPES: dict[str, Any] = {
    "seed": Seed,
    "seeds": Seeds,
    "steps": Positive,
    "discover:steps": Auto,
    "episodes": Positive,
    "threads": Natural,
    "videos": Natural,
    "pictures": Natural,
    "calibrate:pictures": str,
    "size": Side,
    "port": Port,
    "view_port": Port,
    "version": Natural,
    "target": Positive,
    "most": Positive,
    "rest": Natural,
    "min_size": Positive,
    "fps": Above0,
    "holdout": Portion,
    "shared": Share,
    "noise": NotNegative,
    "min_chroma": NotNegative,
    "cameras": Names,
    "first": list[Real],
    "last": list[Real],
    "label:mode": Literal["pair", "triplet", "rank"],
    "label:query": Literal["random", "disagreement"],
    "record:by": Literal["expert", "keyboard"],
    "record:frames": Frames,
    "deploy:frames": Frames,
    "score:by": Literal["auto", "final", "mean", "total"],
    "score:curve": Literal["level", "cumulative"],
    "score:bad_below": Annotated[Real | None, Meta(description="a number, or null")],
    "score:listed": Positive,
    "compare:metric": Literal["auto", "success", "reward"],
    "compare:require": Literal["none", "better", "not_worse"],
    "compare:margin": Share,
    "executor.workers": Natural,
    "search.steps": Positive,
    "search.final_steps": Natural,
    "search.timeout": NotNegative,
    "search.rungs": Annotated[list[Real], Meta(description="a list of shares, such as [0.4,1.0]")],
    "writer.temperature": OrNull,
    "writer.max_tokens": Natural,
    "writer.timeout": NotNegative,
    "writer.retries": Natural,
    "writer.backoff": NotNegative,
    "writer.concurrency": Positive,
    "writer.price_in": NotNegative,
    "writer.price_out": NotNegative,
    "writer.budget": NotNegative,
    "writer.poll": Above0,
}
"""`KEY` or `VERB:KEY` -> its valid values."""

BY_DEFAULT: dict[type, Any] = {
    bool: Annotated[bool, Meta(description="true or false")],
    int: Annotated[int, Meta(description="a whole number")],
    float: Real,
    str: str,
    list: Annotated[list, Meta(description="a list, such as [a,b]")],
    dict: Annotated[dict, Meta(description="keys with values, such as {a: 1}")],
}
_SHORT = re.compile(r"(\d+(?:\.\d+)?)([kKM])")


def find_value_type(verb: str, key: str, default: Any) -> Any:
    """Returns the type of a key's values."""
    declared = TYPES.get(f"{verb}:{key}", TYPES.get(key))
    return BY_DEFAULT.get(type(default), Any) if declared is None else declared


def is_text(verb: str, key: str, default: Any) -> bool:
    """Returns whether a key holds text, which is taken exactly as a person types it."""
    kind = find_value_type(verb, key, default)
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
        found = parse_value(key, value, find_value_type(verb, key, default))
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
        raise UsageError(f"{key}={_format_value(value)}: expected {_describe_type(kind)}") from None


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
    return UsageError(f"{wanted} is missing{': ' + comment if comment else ''}. Such as: {VERBS[verb].example}")
