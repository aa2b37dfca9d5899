"""Values of an algorithm's settings, checked against the types that its class declares, before any training."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

import numpy as np

from robo_reward.errors import UsageError

RANGES: dict[str, tuple[float, float]] = {
    "gamma": (0.0, 1.0),
    "gae_lambda": (0.0, 1.0),
    "tau": (0.0, 1.0),
    "learning_rate": (0.0, math.inf),
    "final_learning_rate": (0.0, math.inf),
    "ent_coef": (0.0, math.inf),
    "vf_coef": (0.0, math.inf),
    "max_grad_norm": (0.0, math.inf),
    "worlds": (1, math.inf),
    "batch_size": (1, math.inf),
    "n_steps": (1, math.inf),
    "n_epochs": (1, math.inf),
    "buffer_size": (1, math.inf),
    "learning_starts": (0, math.inf),
}
"""Setting -> its smallest and largest valid value; the annotations of the SB3 class say whether it is an integer."""

_OURS = {"worlds": int, "final_learning_rate": float}


def check_values(name: str, cls: type, given: Mapping[str, Any]) -> None:
    """Raises an error for values of a wrong type or out of range.

    Args:
        name: of the algorithm, for the message.
        cls: its class, whose annotations say which types a setting has.
        given: the settings, by name.

    Raises:
        UsageError: the message names the setting, its value and what was expected.
    """
    constructors = [vars(base)["__init__"] for base in reversed(cls.__mro__) if "__init__" in vars(base)]
    hints = {k: v for init in constructors for k, v in getattr(init, "__annotations__", {}).items()} | _OURS
    for key, value in given.items():
        if callable(value):  # a schedule or a class, passed from Python
            continue
        value = value.item() if isinstance(value, np.generic) else value
        kinds = _plain_types(hints.get(key, Any))
        low, high = RANGES.get(key, (-math.inf, math.inf))
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = _is_valid_value(value, kinds) and not (is_number and not low <= value <= high)
        if not fits:
            raise UsageError(f"setting {key} of {name} is {value!r}, expected {_describe_expected(kinds, low, high)}")


def _plain_types(hint: Any) -> set[Any]:
    """Returns the plain types of an annotation; empty where it holds others, which cannot be distinguished here."""
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if any(part is Any or isinstance(part, str) for part in parts):
        return set()
    return {part for part in parts if part in (int, float, bool, str, type(None))} | {
        get_origin(part) or part for part in parts if get_origin(part) in (tuple, dict, list)
    }


def _is_valid_value(value: Any, kinds: set[Any]) -> bool:
    if not kinds or (isinstance(value, dict) and dict in kinds):
        return True
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, int):
        return int in kinds or float in kinds
    if isinstance(value, float):
        return float in kinds and math.isfinite(value)
    if isinstance(value, list | tuple):
        return tuple in kinds or list in kinds
    return value is None if type(None) in kinds and value is None else type(value) in kinds


def _describe_expected(kinds: set[Any], low: float, high: float) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    words |= {tuple: "a list", list: "a list", dict: "keys with values"}
    said = " or ".join(dict.fromkeys(words[kind] for kind in words if kind in kinds)) or "something else"
    if math.isfinite(low):
        said += f" from {low:g}" + (f" to {high:g}" if math.isfinite(high) else "")
    return said
