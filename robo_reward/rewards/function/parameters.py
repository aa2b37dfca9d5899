"""The parameters of a reward function: what each of them gets, decided by its name.

People write `f(state, action, previous)`, `f(obs, action)`, `f(obs, action, next_obs)`, or name the fields that they
need. The state is the one after the action, unless another parameter is the next state: it is then the one before.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from robo_reward.envs.state import StateSpec
from robo_reward.errors import UnknownName, UsageError

STATES = ("state", "states", "s", "obs", "observation", "observations", "o", "ob")
NEXT = ("next_state", "next_obs", "next_observation", "state_next", "obs_next", "new_state", "new_obs", "next_s")
BEFORE = ("previous", "prev", "previous_state", "prev_state", "last_state", "previous_obs", "prev_obs", "last_obs")
ACTIONS = ("action", "actions", "act", "a", "u")
_OBSERVATION = re.compile(r"(?:^|_)(?:obs|observations?|ob|o)(?:_|$)")
SHOWN = ("state", "action", "previous", "obs", "next_obs")
"""Names that an error message suggests, besides the fields of the state."""


class Parameter(NamedTuple):
    """A parameter of a reward function.

    Attributes:
        name: its name.
        role: `state`, `previous`, `action`, or `field` for a field of the state.
        is_flat: whether its name or annotation says that the state is a flat array, and not an object with fields.
        is_tensor: whether it is annotated as a tensor of torch.
        by_name: whether it can only be given by its name.
    """

    name: str
    role: str
    is_flat: bool = False
    is_tensor: bool = False
    by_name: bool = False


def read_parameters(function: Callable[..., Any], spec: StateSpec, name: str) -> tuple[Parameter, ...]:
    """Returns the parameters of a function that are given a value.

    Args:
        function: anything that can be called.
        spec: the state, whose fields may be parameters.
        name: of the function, for messages.

    Raises:
        UsageError: a function without such parameters.
        UnknownName: a parameter without a default whose meaning is unknown.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C
        raise UsageError(f"{name} does not say its parameters. Wrap it in `def reward(state, action): ...`") from None
    given = [p for p in signature.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    has_next = any(parameter.name in NEXT for parameter in given)
    found = []
    for parameter in given:
        role = _find_role(parameter.name, spec, has_next)
        if role:
            note = str(parameter.annotation)
            is_tensor = "Tensor" in note
            is_flat = is_tensor or "ndarray" in note or _OBSERVATION.search(parameter.name) is not None
            found.append(Parameter(parameter.name, role, is_flat, is_tensor, parameter.kind is parameter.KEYWORD_ONLY))
        elif parameter.default is parameter.empty:
            remedy = f"A reward function, here {name}, is given these, and fields of the state by their names."
            raise UnknownName("parameter", parameter.name, (*SHOWN, *spec.names), remedy)
    if not found:
        raise UsageError(f"{name} takes no parameter that it could compute a reward from, such as state and action")
    return tuple(found)


def _find_role(name: str, spec: StateSpec, has_next: bool) -> str:
    """Returns the role of a parameter; empty where its name says nothing."""
    if name in spec:
        return "field"
    if name in ACTIONS:
        return "action"
    if name in NEXT:
        return "state"
    if name in BEFORE:
        return "previous"
    return ("previous" if has_next else "state") if name in STATES else ""
