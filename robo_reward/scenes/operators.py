"""Operators of rules over time: `held(condition, seconds)`, `ever(condition)` and `count(condition)`."""

from __future__ import annotations

import ast
from typing import NamedTuple

import numpy as np

OPERATORS = ("held", "ever", "count")
"""`held(c, s)`: c has been true for s seconds without a break, up to now. `ever(c)`: c has been true in this episode.
`count(c)`: how often c became true in this episode, a number."""
SLOT = "rule_memory_"
"""Names of the numbers that operators remember begin with this."""


class RuleOperator(NamedTuple):
    """One use of an operator in a rule.

    Attributes:
        kind: one of `OPERATORS`.
        condition: its argument, in which inner operators are replaced by their slots.
        slot: name of the number that it remembers: control steps for which a `held` condition has been true, 1.0 once
            an `ever` condition was true, or the count.
        source: as it was written.
    """

    kind: str
    condition: str
    slot: str
    source: str

    def advance(self, holds: np.ndarray, held_before: np.ndarray, value: np.ndarray) -> np.ndarray:
        """Returns the next remembered numbers (n,) from the condition now and before (n,) bool and the last ones."""
        if self.kind == "held":
            return np.where(holds & held_before, value + 1, 0.0)
        return np.maximum(value, holds) if self.kind == "ever" else value + (holds & ~held_before)


class OperatorError(ValueError):
    """An operator is not used as it should.

    Args:
        problem: what is wrong.
        remedy: what to write instead.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy


def extract_operators(text: str, dt: float, longest: float) -> tuple[str, list[RuleOperator]]:
    """Replaces the operators of a rule by comparisons of remembered numbers.

    Args:
        text: a Python expression.
        dt: control period [s].
        longest: length of an episode [s].

    Returns:
        The rule without operators, and the operators, inner ones first.

    Raises:
        OperatorError: an operator has other arguments, or a time that no episode lasts.
    """
    extractor = _Extractor(dt, longest)
    tree = extractor.visit(ast.parse(text, mode="eval"))
    return ast.unparse(ast.fix_missing_locations(tree)), extractor.found


def remove_operators(text: str) -> str:
    """Returns a condition on one state: `c` in place of `held(c, s)`, `ever(c)` and a compared `count(c)`."""
    return ast.unparse(ast.fix_missing_locations(_Remover().visit(ast.parse(text, mode="eval"))))


def find_operator(node: ast.AST) -> ast.Call | None:
    """Returns the first use of an operator in a tree, or None."""
    return next((call for call in ast.walk(node) if isinstance(call, ast.Call) and _get_kind(call)), None)


def _get_kind(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) and node.func.id in OPERATORS else ""


class _Extractor(ast.NodeTransformer):
    def __init__(self, dt: float, longest: float) -> None:
        self.dt, self.longest = dt, longest
        self.found: list[RuleOperator] = []

    def visit_Call(self, node: ast.Call) -> ast.AST:
        kind, source = _get_kind(node), ast.unparse(node)
        if not kind:
            return self.generic_visit(node)
        steps = self._read_steps(node, source) if kind == "held" else 0
        if len(node.args) != (2 if kind == "held" else 1) or node.keywords:
            raise OperatorError(f"{source} has other arguments", f"write {kind}(CONDITION)")
        condition = ast.unparse(self.visit(node.args[0]))
        slot = f"{SLOT}{len(self.found) + 1}"
        self.found.append(RuleOperator(kind, condition, slot, source))
        if kind == "count":
            return ast.Name(slot)
        return ast.Compare(ast.Name(slot), [ast.GtE()], [ast.Constant(float(max(steps, 1)))])

    def _read_steps(self, node: ast.Call, source: str) -> int:
        """Returns the control steps of the time in `held(condition, seconds)`."""
        seconds = node.args[1].value if len(node.args) == 2 and isinstance(node.args[1], ast.Constant) else None
        if node.keywords or not isinstance(seconds, int | float) or not seconds > 0:
            raise OperatorError(
                f"{source} has no time", "write held(CONDITION, SECONDS), such as held(cube_z > 1, 3.0)"
            )
        if seconds > self.longest:
            raise OperatorError(
                f"{source} waits for {seconds:g} s, and an episode lasts {self.longest:g} s",
                "use a shorter time, or a longer horizon",
            )
        return int(np.ceil(seconds / self.dt - 1e-9))


class _Remover(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.AST:
        return self.visit(node.args[0]) if _get_kind(node) else self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        used = find_operator(node)
        return self.visit(used.args[0]) if used and _get_kind(used) == "count" else self.generic_visit(node)
