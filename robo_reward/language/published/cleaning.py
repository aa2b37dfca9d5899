"""Removes variables of the rewriting that are read once or never."""

from __future__ import annotations

import ast
from collections import Counter

MAX_TEXT = 90
"""Longest expression that takes the place of a variable."""


def inline_variables(body: list[ast.stmt], made: set[str]) -> list[ast.stmt]:
    """Returns the statements of a function with each variable in `made` that is read once replaced by its value."""
    changed = True
    for _ in range(6):
        if not changed:
            break
        body, changed = _inline_once(body, made)
    return body


def _inline_once(body: list[ast.stmt], made: set[str]) -> tuple[list[ast.stmt], bool]:
    names = [node for statement in body for node in ast.walk(statement) if isinstance(node, ast.Name)]
    loads = Counter(node.id for node in names if isinstance(node.ctx, ast.Load))
    stores = Counter(node.id for node in names if isinstance(node.ctx, ast.Store))
    waiting: dict[str, tuple[ast.expr, set[str]]] = {}
    kept: list[ast.stmt] = []
    changed = False
    for statement in body:
        if isinstance(statement, ast.For):
            inner, inner_changed = _inline_loop(statement, made, loads, stores)
            changed |= inner_changed
            statement.body = inner
        target = statement.targets[0] if isinstance(statement, ast.Assign) and len(statement.targets) == 1 else None
        reads = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        usable = {name: waiting[name][0] for name in reads & waiting.keys()}
        if usable and not isinstance(statement, ast.For):
            _Replacer(usable).visit(statement)
            for name in usable:
                reads |= waiting.pop(name)[1]
            changed = True
        written = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        for name in [n for n, (_, needed) in waiting.items() if needed & written or (n in reads)]:
            value, _ = waiting.pop(name)
            kept.append(_assign(name, value, statement))
        if isinstance(target, ast.Name) and target.id in made and stores[target.id] == 1:
            assert isinstance(statement, ast.Assign)
            if loads[target.id] == 0:
                changed = True
                continue
            if loads[target.id] == 1 and len(ast.unparse(statement.value)) <= MAX_TEXT:
                waiting[target.id] = (statement.value, reads)
                continue
        kept.append(statement)
    assert not waiting, "a variable that is read once is read by a later statement"
    return kept, changed


def _inline_loop(
    loop: ast.For, made: set[str], loads: Counter[str], stores: Counter[str]
) -> tuple[list[ast.stmt], bool]:
    """Returns the body of a loop, with the variables replaced that only the loop reads."""
    names = [n for s in loop.body for n in ast.walk(s) if isinstance(n, ast.Name)]
    inside = Counter(n.id for n in names if isinstance(n.ctx, ast.Load))
    own = {name for name in made if stores[name] == 1 and loads[name] == inside[name]}
    written = {n.id for n in names if isinstance(n.ctx, ast.Store)}
    return _inline_once(loop.body, own & written)


def _assign(name: str, value: ast.expr, near: ast.stmt) -> ast.stmt:
    line = getattr(value, "lineno", near.lineno)
    return ast.Assign([ast.Name(name, ast.Store())], value, lineno=line)


class _Replacer(ast.NodeTransformer):
    """Replaces variables by their values."""

    def __init__(self, values: dict[str, ast.expr]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.values[node.id] if isinstance(node.ctx, ast.Load) and node.id in self.values else node
