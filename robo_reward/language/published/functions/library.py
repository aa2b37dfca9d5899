"""Rewrites calls: functions of torch, math, scipy and numpy, methods of arrays, and Python's own functions."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from robo_reward.language.builtins import FUNCTIONS
from robo_reward.language.grammar import get_dotted_name
from robo_reward.language.published.frames import Environment
from robo_reward.language.published.functions.array_functions import rewrite_function, rewrite_method
from robo_reward.language.published.functions.python_functions import rewrite_builtin, rewrite_dictionary_method
from robo_reward.language.published.names import REDUCTIONS, resolve_library, spell_canonically
from robo_reward.language.published.values import (
    UNKNOWN,
    ArrayValue,
    DictionaryValue,
    FunctionValue,
    SequenceValue,
    TypedExpression,
)

if TYPE_CHECKING:
    from robo_reward.language.published.calls import FunctionCaller

_REDUCING = frozenset(["sum", "mean", "prod", "max", "min", "any", "all", "stack", "concatenate"])
_SAME_SHAPE = {"tolerance": (), "quat_mul": (4,), "quat_conj": (4,), "quat_rotate": (3,), "quat_to_axis": (3,)}
"""Function of the language that has no library's name -> shape of its result in one world."""


class CallRewriter:
    """Rewrites calls by what is called."""

    def rewrite_call(self, rewriter: FunctionCaller, node: ast.Call, env: Environment) -> TypedExpression | None:
        """Returns the call in the language, or with rewritten arguments if it is not known."""
        root = get_dotted_name(node.func).partition(".")[0]
        called = rewriter.rewrite(node.func, env) if isinstance(node.func, ast.Name | ast.Lambda) else None
        positional = rewriter.rewrite_all(node.args, env)
        named = {k.arg: rewriter.rewrite(k.value, env) for k in node.keywords if k.arg is not None}
        if any(keyword.arg is None for keyword in node.keywords):
            return None
        if called is not None and isinstance(called.value, FunctionValue):
            return rewriter.call_function(called.value, positional, named, node)
        if isinstance(node.func, ast.Attribute) and get_dotted_name(node.func.value) == "self" and root not in env:
            method = rewriter.context.functions.get(node.func.attr)
            if method is not None:
                return rewriter.call_function(FunctionValue(node.func.attr, method), positional, named, node)
        if root and not rewriter.is_shadowed(root, env):
            found = resolve_library(node.func, rewriter.context.imported)
            if found is not None:
                return self.call_library(rewriter, node, *found, positional, named)
            if isinstance(node.func, ast.Name) and not rewriter.is_shadowed(root, env):
                term = rewrite_builtin(rewriter, root, positional, named)
                return term or self.keep_call(rewriter, node, node.func, positional, named)
        if isinstance(node.func, ast.Attribute):
            return self.call_method(rewriter, node, node.func, positional, named, env)
        return self.keep_call(rewriter, node, node.func, positional, named)

    def call_library(
        self,
        rewriter: FunctionCaller,
        node: ast.Call,
        library: str,
        name: str,
        positional: list[TypedExpression],
        named: dict[str, TypedExpression],
    ) -> TypedExpression:
        """Returns the call of a library's function."""
        spelled = get_dotted_name(node.func)
        term = rewrite_function(rewriter, library, name, positional, named)
        if term is None:
            return self.keep_call(
                rewriter, node, spell_canonically(node.func, rewriter.context.imported), positional, named
            )
        written = get_dotted_name(term.node.func) if isinstance(term.node, ast.Call) else "arithmetic"
        if spelled != written:
            rewriter.note(f"{spelled} is written as {written}", "the language has numpy's names")
        elif name in REDUCTIONS and "axis" not in named and len(positional) == 1:
            rewriter.note(f"{spelled} gets axis=-1", "each world is reduced by itself")
        return term

    def call_method(
        self,
        rewriter: FunctionCaller,
        node: ast.Call,
        function: ast.Attribute,
        positional: list[TypedExpression],
        named: dict[str, TypedExpression],
        env: Environment,
    ) -> TypedExpression | None:
        """Returns the call of a method of an array, a dictionary or a list."""
        held = rewriter.rewrite(function.value, env)
        name = function.attr
        if isinstance(held.value, DictionaryValue):
            return rewrite_dictionary_method(held.value, name, positional)
        if isinstance(held.value, ArrayValue | SequenceValue):
            term = rewrite_method(rewriter, name, rewriter.pack(held), positional, named)
            if term is not None:
                rewriter.note(f".{name}() is written as a function", "arrays have no methods in the language")
                return term
        kept = ast.Attribute(held.node, name, ast.Load())
        return self.keep_call(rewriter, node, ast.copy_location(kept, function), positional, named)

    def keep_call(
        self,
        rewriter: FunctionCaller,
        node: ast.Call,
        function: ast.expr,
        positional: list[TypedExpression],
        named: dict[str, TypedExpression],
    ) -> TypedExpression:
        """Returns a call with rewritten arguments; its value is known for the language's own functions only."""
        name = get_dotted_name(function)
        axis = named.get("axis", positional[1] if len(positional) > 1 and name[3:] in _REDUCING else None)
        if axis is not None and not rewriter.context.batched and type(axis.const) is int and axis.const >= 0:
            rewriter.context.doubt(node.lineno, f"an axis of {name} that is not known", "write axis=-1")
        arguments = [rewriter.pack(term).node for term in positional]
        keywords = [ast.keyword(key, term.node) for key, term in named.items()]
        call = ast.copy_location(ast.Call(function, arguments, keywords), node)
        shape = _SAME_SHAPE.get(name) if name in FUNCTIONS else None
        if name == "quat_angle":
            shape = ()
        first = positional[0] if positional else named.get("x")
        if shape is None or first is None or first.array is None:
            return TypedExpression(call, UNKNOWN)
        if name == "tolerance":
            shape = first.array.shape
        arrays = [t.array for t in [*positional, *named.values()]]
        return TypedExpression(call, ArrayValue(shape, any(array is not None and array.batch for array in arrays)))
