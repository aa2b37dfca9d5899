"""The function that is being written: its statements, the names it has given, and the returns met on the way."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import NamedTuple

from robo_reward.language.grammar import NAME, RESERVED_NAMES
from robo_reward.language.published.values import TypedExpression

Environment = dict[str, TypedExpression]


class EarlyReturn(NamedTuple):
    """A value that a function returns where the conditions on the way hold; `None` is everywhere."""

    condition: ast.expr | None
    value: TypedExpression


@dataclass
class FunctionFrame:
    """A function of the rewritten program.

    Args:
        taken: names that have a meaning already.
        reserved: names that no variable may have.
        local_names: names that the original function assigns to.
    """

    taken: set[str]
    reserved: frozenset[str] = RESERVED_NAMES
    local_names: frozenset[str] = frozenset()
    statements: list[ast.stmt] = field(default_factory=list)
    constants: Environment = field(default_factory=dict)
    prologue: list[ast.stmt] = field(default_factory=list)
    frozen: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    owner: dict[str, int] = field(default_factory=dict)
    branches: list[int] = field(default_factory=lambda: [0])
    conditions: list[ast.expr] = field(default_factory=list)
    returns: list[EarlyReturn] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    counters: dict[str, range] = field(default_factory=dict)

    def clean_name(self, name: str) -> str:
        """Returns a name that the language allows for a variable: no leading underscore, no reserved name."""
        if name not in self.renamed:
            wished = name.lstrip("_") or "value"
            if wished in self.reserved:
                wished = f"{wished}_value"
            self.renamed[name] = name if wished == name else self.make_name(wished)
            self.taken.add(self.renamed[name])
        return self.renamed[name]

    def make_name(self, wished: str) -> str:
        """Returns a new name, `wished` if it is free."""
        wished = wished.strip("_")[:56]
        if not NAME.fullmatch(wished):
            wished = "value"
        number, name = 1, wished
        while name in self.taken or name in self.reserved:
            number += 1
            name = f"{wished}_{number}" if wished[-1].isdigit() else f"{wished}{number}"
        self.taken.add(name)
        return name

    def choose_target(self, name: str, current: TypedExpression | None) -> str:
        """Returns the variable that a new value of `name` is written to.

        In a branch that is a variable of its own, so that the value before the branch stays.
        """
        held = current.node.id if current is not None and isinstance(current.node, ast.Name) else ""
        branch = self.branches[-1]
        if held and held not in self.frozen and self.owner.get(held) == branch:
            return held
        clean = self.clean_name(name)
        if branch == 0 and clean not in self.frozen:
            chosen = clean
        else:
            chosen = self.make_name(clean)
            self.made.add(chosen)
        self.owner[chosen] = branch
        return chosen
