"""What a program costs: operations and numbers for each transition, counted before each operation runs.

No function of the language makes anything larger than its arguments together: what it joins, or what it broadcasts
against each other. So the size of every result, and of all that a function needs on the way, follows from the shapes
of the arguments alone.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from robo_reward.code.facade import FUNCTIONS
from robo_reward.code.problems import Problem, ProgramRefused

MAX_OPERATIONS = 4_096
MAX_WORK = 16_384
"""Numbers that may be read or computed for each transition, each times the cost of its function."""

_JOINS = frozenset(FUNCTIONS[name].call for name in ("np.stack", "np.concatenate", "np.array"))
_COSTS = {function.call: function.cost for function in FUNCTIONS.values()} | {
    operator.pow: FUNCTIONS["np.power"].cost,
    operator.mod: FUNCTIONS["np.mod"].cost,
    operator.floordiv: FUNCTIONS["np.mod"].cost,
}


class Exhausted(ProgramRefused):
    """A limit is used up: there is no point in going on."""


class Workload:
    """What a program did so far.

    Args:
        batch: B, the transitions of the trial.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.operations = 0
        self.work = 0

    def count(self, node: ast.AST) -> None:
        """Counts one operation, statement, call or round of a loop.

        Raises:
            Exhausted: there are too many.
        """
        self.operations += 1
        if self.operations > MAX_OPERATIONS:
            raise _exhausted(node, f"more than {MAX_OPERATIONS} operations", "use whole arrays in place of loops")

    def foresee(self, node: ast.AST, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
        """Adds what an operation on these arguments costs at most, before it runs.

        Axes that do not fit count as the larger of the two, since a function may broadcast some of its arguments before
        it fails on others.

        Raises:
            ProgramRefused: the operation is too large even to try.
            Exhausted: with this operation the program does too much.
        """
        shapes = [part.shape for part in parts_of(arguments) if isinstance(part, np.ndarray)]
        if not shapes or function is operator.getitem:
            return
        if function in _JOINS:
            size = sum(map(math.prod, shapes))
        else:
            aligned = zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1)
            size = math.prod(max(axis) for axis in aligned)
        if size > self.batch * MAX_WORK:
            reason = f"`{shown_code(node)}` would compute {size // self.batch} numbers for each transition"
            remedy = f"use smaller arrays: at most {MAX_WORK} numbers"
            raise ProgramRefused([Problem(getattr(node, "lineno", 0), reason, remedy)])
        self.add(node, _COSTS.get(function, 1) * size)

    def add(self, node: ast.AST, numbers: int) -> None:
        """Adds numbers that were or will be computed for the whole batch.

        Raises:
            Exhausted: there are too many.
        """
        self.work += numbers // self.batch
        if self.work > MAX_WORK:
            reason = f"the program computes more than {MAX_WORK} numbers for each transition"
            raise _exhausted(node, reason, "compute less, with smaller arrays")


def parts_of(values: Sequence[Any]) -> Iterator[Any]:
    """Yields values, and what lists, indices and slices among them hold."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from parts_of(value)
        elif isinstance(value, slice):
            yield from (value.start, value.stop, value.step)
        else:
            yield value


def shown_code(node: ast.AST) -> str:
    """The beginning of an expression's text, for a message."""
    try:
        text = ast.unparse(node)
    except (ValueError, RecursionError, MemoryError):  # ValueError: a whole number of more than 4,300 digits
        return "this expression"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _exhausted(node: ast.AST, reason: str, remedy: str) -> Exhausted:
    return Exhausted([Problem(getattr(node, "lineno", 0), reason, remedy)])
