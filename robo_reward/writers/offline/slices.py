"""Parses a program into its terms, each with the assignments that it needs."""

from __future__ import annotations

import ast

from robo_reward.language.grammar import ENTRY, skip_docstring
from robo_reward.writers.offline.terms import Recipe, SourceLine, Term


def parse_recipe(source: str) -> Recipe | None:
    """Parses a program into a recipe: its terms, and the assignments from which each is computed.

    Works on any straight-line program of one function, single assignments, and a `total` that is the plain sum of the
    terms, regardless of its author. Comments and docstrings are dropped.

    Returns:
        None when the program has another form, such as loops, helpers or a product of terms.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    body = skip_docstring(tree.body)
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef) or body[0].name != ENTRY:
        return None
    statements = skip_docstring(body[0].body)
    lines = _parse_assignments(statements[:-1])
    if lines is None or not isinstance(statements[-1], ast.Return):
        return None
    pair = statements[-1].value
    if not isinstance(pair, ast.Tuple) or len(pair.elts) != 2 or not isinstance(pair.elts[1], ast.Dict):
        return None
    total, terms = pair.elts[0], pair.elts[1]
    named = {
        ast.literal_eval(key): value for key, value in zip(terms.keys, terms.values, strict=True) if key is not None
    }
    if not _is_sum_of_terms(total, list(named.values()), dict(lines)):
        return None
    return Recipe(tuple(_slice_term(str(name), value, lines) for name, value in named.items()))


def _parse_assignments(statements: list[ast.stmt]) -> list[tuple[str, ast.expr]] | None:
    """Returns single assignments in order, or None when there are other statements."""
    lines: list[tuple[str, ast.expr]] = []
    for statement in statements:
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            return None
        target = statement.targets[0]
        if not isinstance(target, ast.Name) or any(target.id == local for local, _ in lines):
            return None
        lines.append((target.id, statement.value))
    return lines


def _is_sum_of_terms(total: ast.expr, terms: list[ast.expr], lines: dict[str, ast.expr]) -> bool:
    """Returns whether a total is the sum of the terms, each once."""
    if isinstance(total, ast.Name) and total.id in lines and not any(ast.dump(total) == ast.dump(t) for t in terms):
        total = lines[total.id]
    addends: list[str] = []
    waiting = [total]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            waiting += [node.left, node.right]
        else:
            addends.append(ast.dump(node))
    return sorted(addends) == sorted(ast.dump(term) for term in terms)


def _slice_term(name: str, value: ast.expr, lines: list[tuple[str, ast.expr]]) -> Term:
    """Returns a term with the lines on which it depends."""
    needed = _collect_names(value)
    kept: list[SourceLine] = []
    for local, code in reversed(lines):
        if local in needed:
            needed |= _collect_names(code)
            kept.append(SourceLine(local, ast.unparse(code)))
    kept.reverse()
    if not (isinstance(value, ast.Name) and kept and kept[-1].local == value.id):
        local = name if all(line.local != name for line in kept) else f"{name}_term"
        kept.append(SourceLine(local, ast.unparse(value)))
    return Term(kept[-1].local, tuple(kept))


def _collect_names(node: ast.expr) -> set[str]:
    """Returns the names that an expression uses."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
