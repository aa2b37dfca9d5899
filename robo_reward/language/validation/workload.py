"""The cost of a program: operations and numbers for each transition, counted before each operation runs.

No function of the language makes anything larger than its arguments together: what it joins, or what it broadcasts
against each other. So the size of every result, and of all that a function needs on the way, follows from the
shapes of the arguments alone.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from robo_reward.language.builtins import FUNCTIONS
from robo_reward.language.problems import Problem, ProgramError

MAX_OPERATIONS = 4_096
MAX_WORK = 16_384
"""Maximum work per transition: numbers read or computed, each times the cost of its function."""

_JOINS = frozenset(FUNCTIONS[name].call for name in ("np.stack", "np.concatenate", "np.array"))
_COSTS = {function.call: function.cost for function in FUNCTIONS.values()} | {
    operator.pow: FUNCTIONS["np.power"].cost,
    operator.mod: FUNCTIONS["np.mod"].cost,
    operator.floordiv: FUNCTIONS["np.mod"].cost,
}


class LimitExceeded(ProgramError):
    """Raised when a limit of work is exceeded, which ends the trial."""


class Workload:
    """The operations and numbers that a program has used so far.

    Args:
        batch: B, the transitions of the trial.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.operations = 0
        self.work = 0

    def count_operation(self, node: ast.AST) -> None:
        """Counts one operation, statement, call or round of a loop.

        Raises:
            LimitExceeded: there are too many.
        """
        self.operations += 1
        if self.operations > MAX_OPERATIONS:
            raise _make_limit_error(
                node, f"more than {MAX_OPERATIONS} operations", "use whole arrays in place of loops"
            )

    def add_operation(self, node: ast.AST, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
        """Adds the upper bound of the cost of an operation on these arguments, before it runs.

        Axes that do not fit count as the larger of the two, since a function may broadcast some of its arguments
        before it fails on others.

        Raises:
            ProgramError: the operation is too large even to try.
            LimitExceeded: with this operation the program does too much.
        """
        shapes = [part.shape for part in flatten_values(arguments) if isinstance(part, np.ndarray)]
        if not shapes or function is operator.getitem:
            return
        if function in _JOINS:
            size = sum(map(math.prod, shapes))
        else:
            aligned = zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1)
            size = math.prod(max(axis) for axis in aligned)
        if size > self.batch * MAX_WORK:
            reason = f"`{quote_code(node)}` would compute {size // self.batch} numbers for each transition"
            remedy = f"use smaller arrays: at most {MAX_WORK} numbers"
            raise ProgramError([Problem(getattr(node, "lineno", 0), reason, remedy)])
        self.add_numbers(node, _COSTS.get(function, 1) * size)

    def add_numbers(self, node: ast.AST, numbers: int) -> None:
        """Adds numbers that were or will be computed for the whole batch.

        Raises:
            LimitExceeded: there are too many.
        """
        self.work += numbers // self.batch
        if self.work > MAX_WORK:
            reason = f"the program computes more than {MAX_WORK} numbers for each transition"
            raise _make_limit_error(node, reason, "compute less, with smaller arrays")


def flatten_values(values: Sequence[Any]) -> Iterator[Any]:
    """Yields the values, and those inside lists, indices and slices among them."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from flatten_values(value)
        elif isinstance(value, slice):
            yield from (value.start, value.stop, value.step)
        else:
            yield value


def quote_code(node: ast.AST) -> str:
    """Returns the beginning of an expression's text, for a message."""
    try:
        text = ast.unparse(node)
    except (ValueError, RecursionError, MemoryError):  # ValueError: an integer of more than 4,300 digits
        return "this expression"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _make_limit_error(node: ast.AST, reason: str, remedy: str) -> LimitExceeded:
    return LimitExceeded([Problem(getattr(node, "lineno", 0), reason, remedy)])
