"""The contract of a matching rule: from a cost matrix to a reward per step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from robo_reward.errors import UnknownName, UsageError
from robo_reward.registry import Registry


@dataclass(frozen=True)
class Rule:
    """Turns C (..., T, S) into a reward (..., T), for any leading axes; larger is better.

    The fields of a subclass are its parameters and its JSON.

    Attributes:
        name: in specs and on the command line.
        looks_back: the reward of step t needs no cost of later steps.
    """

    name: ClassVar[str]
    looks_back: ClassVar[bool] = False

    def __call__(self, cost: Tensor) -> Tensor:
        """Returns the reward (..., T) of C (..., T, S), in the type of C.

        It is differentiable unless the class documents an exception.
        """
        raise NotImplementedError

    def select_targets(self, demonstrations: Sequence[Tensor]) -> list[Tensor]:
        """Returns the features (S, F) with which an episode is compared: by default, the demonstrations."""
        return list(demonstrations)

    def spec(self) -> dict[str, Any]:
        """Returns the JSON from which `build_rule` makes the same rule."""
        return {"name": self.name, **asdict(self)}


def require_positive(rule: Rule, *names: str) -> None:
    """Raises unless parameters are positive.

    Raises:
        UsageError: the name and the value.
    """
    for name in names:
        value = getattr(rule, name)
        if not value > 0:
            raise UsageError(f"{name} of the matching rule {rule.name!r} is {value}, expected more than 0")


rules: Registry[Rule] = Registry("matching rule", "robo_reward.matching_rules")
"""Name -> class; other packages add theirs by entry points."""


def build_rule(spec: str | Mapping[str, Any]) -> Rule:
    """Creates a rule from its name, or from its name and parameters: `{"name": "orca", "tau": 0.5}`.

    Raises:
        UnknownName: no such rule or parameter; the message lists the closest.
    """
    given = {"name": spec} if isinstance(spec, str) else dict(spec)
    if "name" not in given:
        raise UsageError(f"a matching rule has a 'name', one of: {', '.join(rules.list_names())}")
    name = given.pop("name")
    try:
        return rules.create(name, **given)
    except TypeError:
        known = [field.name for field in fields(rules.create(name))]
        for parameter in given:
            if parameter not in known:
                raise UnknownName(f"parameter of the matching rule {name!r}", parameter, known) from None
        raise


def compute_causal_reward(rule: Rule, cost: Tensor) -> Tensor:
    """Returns the reward (..., T) as if the episode ended at each step: r_t = rule(C[..., :t + 1, :])_t."""
    if rule.looks_back:
        return rule(cost)
    return torch.stack([rule(cost[..., : t + 1, :])[..., -1] for t in range(cost.shape[-2])], dim=-1)
