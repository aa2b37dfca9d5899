"""The limits and reserved names of the reward language, and small readers of its syntax trees."""

from __future__ import annotations

import ast
import re
import warnings

from robo_reward.language.builtins import FUNCTIONS
from robo_reward.language.problems import Problem

ENTRY = "compute_reward"
PARAMETERS = ("state", "action", "previous")
STATES = ("state", "previous")
RESERVED_TERMS = frozenset({"task_score", "consecutive_successes", "gt_reward", "success", "total", "return"})
"""Names that reports and logs use for the true score or the total, so that no term may have them."""
RESERVED_NAMES = frozenset({*PARAMETERS, "np", "range", *(name for name in FUNCTIONS if "." not in name)})

MAX_SOURCE = 20_000
MAX_NODES = 6_000
MAX_NESTING = 60
MAX_LOOP = 256
MAX_LOOPS = 8
MAX_CONSTANT = 1e12
MAX_INDEX = 64
"""Largest absolute value of `axis=` and `index=`."""
MAX_ELEMENTS = 64
"""Maximum length of a literal list of values to join."""
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)


def parse(source: str) -> ast.Module:
    """Returns the syntax tree of a text, without Python's warnings about odd literals.

    Raises:
        SyntaxError: it is not Python, or nested too deeply.
        ValueError: it holds what no program can, such as half a surrogate pair.
        MemoryError, RecursionError: it is nested too deeply.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def find_size_problem(tree: ast.Module) -> Problem | None:
    """Returns a problem when the tree is too large or too deep to walk recursively, else `None`."""
    layer: list[ast.AST] = [tree]
    nodes = 0
    for depth in range(MAX_NESTING + 1):
        nodes += len(layer)
        if nodes > MAX_NODES:
            return Problem(0, f"the program has more than {MAX_NODES} syntax nodes", "write a shorter program")
        deeper = [child for node in layer for child in ast.iter_child_nodes(node)]
        if not deeper:
            return None
        if depth == MAX_NESTING:
            line = next((node.lineno for node in deeper if isinstance(node, ast.expr | ast.stmt)), 0)
            return Problem(line, f"expressions nest deeper than {MAX_NESTING}", "use local variables for the parts")
        layer = deeper
    return None


def skip_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    """Returns the statements of a body after its docstring."""
    first = body[0] if body else None
    is_text = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return body[1:] if is_text else body


def get_dotted_name(node: ast.expr) -> str:
    """Returns the name of nested attributes, such as `np.linalg.norm`; empty when the root is not a name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def parse_integer_literal(node: ast.expr) -> int | None:
    """Returns the value of a literal such as 3 or -1, or `None` for anything else."""
    sign = 1
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        sign, node = -1, node.operand
    return sign * node.value if isinstance(node, ast.Constant) and type(node.value) is int else None
