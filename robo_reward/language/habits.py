"""Habits of Python programmers that mean something in the language, rewritten before the linter sees them.

* `import numpy as np` has no effect.
* A dictionary of terms that is kept in a variable and returned becomes one local variable for each term:

      parts = {"near": near}                    parts_near = near
      parts["lift"] = 3.0 * lift      ->        parts_lift = 3.0 * lift
      return near + parts["lift"], parts        return near + parts_lift, {"near": parts_near, "lift": parts_lift}

What does not fit one of these forms exactly stays unchanged, and the linter reports it.
"""

from __future__ import annotations

import ast

from robo_reward.language.grammar import ENTRY, NAME


def rewrite_habits(tree: ast.Module) -> ast.Module:
    """Returns the tree with both habits rewritten in place; every node keeps its line."""
    for block in (tree, *(node for node in tree.body if isinstance(node, ast.FunctionDef))):
        block.body = [node for node in block.body if not _is_numpy_import(node)]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == ENTRY:
            _inline_term_dictionary(node)
    return tree


def _is_numpy_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import) and [(a.name, a.asname) for a in node.names] == [("numpy", "np")]


def _inline_term_dictionary(function: ast.FunctionDef) -> None:
    """Replaces the variable that holds the returned dictionary by one local variable for each term, in place.

    The function stays as it is unless all uses of that variable can be replaced.
    """
    last = function.body[-1] if function.body else None
    if not (isinstance(last, ast.Return) and isinstance(last.value, ast.Tuple) and len(last.value.elts) == 2):
        return
    returned = last.value.elts[1]
    if not isinstance(returned, ast.Name) or not NAME.fullmatch(returned.id):
        return
    made = [node for node in function.body if _is_dictionary_assignment(node, returned.id)]
    uses = [node for node in ast.walk(function) if isinstance(node, ast.Name) and node.id == returned.id]
    items = [node for node in ast.walk(function) if isinstance(node, ast.Subscript) and _is_item_of(node, returned.id)]
    if len(made) != 1 or len(uses) != len(items) + 2:  # expected: one assignment, one return, otherwise items
        return
    start = made[0]
    assert isinstance(start, ast.Assign) and isinstance(start.value, ast.Dict)
    locals_ = _TermVariables(function, returned.id)
    written = [
        ast.copy_location(ast.Assign([ast.Name(locals_.get_variable(key), ast.Store())], value), key or start)
        for key, value in zip(start.value.keys, start.value.values, strict=True)
    ]
    stored = [node.slice for node in items if isinstance(node.ctx, ast.Store) and isinstance(node.slice, ast.Constant)]
    known = {key.value for key in start.value.keys if isinstance(key, ast.Constant)}
    added = {key.value: key for key in reversed(stored) if key.value not in known}
    keys = [*start.value.keys, *sorted(added.values(), key=lambda key: key.lineno)]
    at = function.body.index(start)
    function.body[at : at + 1] = written
    _ItemReplacer(returned.id, locals_).visit(function)
    names: list[ast.expr] = [ast.Name(locals_.get_variable(key), ast.Load()) for key in keys]
    last.value.elts[1] = ast.copy_location(ast.Dict(keys, names), returned)
    ast.fix_missing_locations(function)


def _is_dictionary_assignment(node: ast.stmt, name: str) -> bool:
    """Returns whether a statement is `name = {"key": ..., ...}` with plain, distinct keys."""
    match node:
        case ast.Assign(targets=[ast.Name(id=target)], value=ast.Dict(keys=keys)) if target == name:
            plain = [key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
            return len(plain) == len(keys) == len(set(plain)) and all(map(NAME.fullmatch, plain))
    return False


def _is_item_of(node: ast.Subscript, name: str) -> bool:
    """Returns whether a node is `name["key"]`."""
    match node:
        case ast.Subscript(value=ast.Name(id=held), slice=ast.Constant(value=str() as key), ctx=context):
            return held == name and NAME.fullmatch(key) is not None and not isinstance(context, ast.Del)
    return False


class _TermVariables:
    """Assigns a local variable to each item of a dictionary."""

    def __init__(self, function: ast.FunctionDef, name: str) -> None:
        self._name = name
        self._taken = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
        self._chosen: dict[str, str] = {}

    def get_variable(self, key: ast.expr | None) -> str:
        """Returns the variable of a key."""
        text = str(key.value) if isinstance(key, ast.Constant) else ""
        if text not in self._chosen:
            base = f"{self._name}_{text}"[:60]
            free = (f"{base}{n or ''}" for n in range(len(self._taken) + 1))
            self._chosen[text] = next(name for name in free if name not in self._taken)
            self._taken.add(self._chosen[text])
        return self._chosen[text]


class _ItemReplacer(ast.NodeTransformer):
    """Replaces each item of the dictionary by the variable of its key."""

    def __init__(self, name: str, locals_: _TermVariables) -> None:
        self._name, self._locals = name, locals_

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        if not _is_item_of(node, self._name):
            return node
        return ast.copy_location(ast.Name(self._locals.get_variable(node.slice), node.ctx), node)
