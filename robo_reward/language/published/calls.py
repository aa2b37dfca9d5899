"""Rewrites calls of the program's own functions: as helpers of their own, or written out where they are called."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING

from robo_reward.language.grammar import skip_docstring
from robo_reward.language.published.expressions import ExpressionRewriter
from robo_reward.language.published.frames import EarlyReturn, Environment, FunctionFrame
from robo_reward.language.published.values import (
    UNKNOWN,
    ArrayValue,
    DictionaryValue,
    FunctionValue,
    PythonValue,
    SequenceValue,
    TypedExpression,
    UnknownValue,
    Value,
    make_number,
)

if TYPE_CHECKING:
    from robo_reward.language.published.context import Context, WrittenHelper

_MUTATORS = frozenset(
    [
        "append",
        "extend",
        "insert",
        "update",
        "setdefault",
        "pop",
        "popitem",
        "remove",
        "clear",
        "sort",
        "reverse",
        "fill",
    ]
)
MAX_CALLS = 12
"""Largest depth of calls that are written out."""


class FunctionCaller(ExpressionRewriter):
    """Rewrites calls of functions of the program."""

    def run_block(self, statements: list[ast.stmt], env: Environment) -> bool:
        """Rewrites statements; see `StatementRewriter`."""
        raise NotImplementedError

    def freeze(self, term: TypedExpression) -> None:
        """Keeps variables as they are; see `StatementRewriter`."""
        raise NotImplementedError

    def store_part(self, wished: str, term: TypedExpression) -> TypedExpression:
        """Writes an item of a dictionary or list; see `StatementRewriter`."""
        raise NotImplementedError

    def rewrite_Call(self, node: ast.Call, env: Environment) -> TypedExpression | None:
        return self.context.library.rewrite_call(self, node, env)

    def call_function(
        self,
        function: FunctionValue,
        positional: list[TypedExpression],
        named: dict[str, TypedExpression],
        node: ast.Call,
    ) -> TypedExpression | None:
        """Returns the result of a call, or `None` where it cannot be rewritten."""
        if function.name in self.context.calls or len(self.context.calls) >= MAX_CALLS:
            return None
        arguments = self.match_arguments(function, positional, named)
        if arguments is None:
            return None
        self.context.calls.append(function.name if function.name != "lambda" else f"lambda {function.node.lineno}")
        try:
            plain = all(isinstance(term.value, ArrayValue) for term in arguments.values())
            if plain and function.around is None:
                helper = self.write_helper(function, arguments)
                if helper is not None:
                    call = ast.Call(ast.Name(helper.name, ast.Load()), [t.node for t in arguments.values()], [])
                    return self.unpack_result(ast.copy_location(call, node), helper.value)
            return self.write_out(function, arguments)
        finally:
            self.context.calls.pop()

    def unpack_result(self, call: ast.Call, value: Value) -> TypedExpression:
        """Returns the result of a helper; several values are unpacked into variables."""
        if not isinstance(value, SequenceValue):
            return TypedExpression(call, value)
        names = [self.frame.make_name(getattr(item.node, "id", "result")) for item in value.items]
        self.frame.frozen |= set(names)
        self.emit(ast.Assign([ast.Tuple([ast.Name(name, ast.Store()) for name in names], ast.Store())], call))
        items = [
            TypedExpression(ast.Name(n, ast.Load()), item.value) for n, item in zip(names, value.items, strict=True)
        ]
        return TypedExpression(ast.Tuple([item.node for item in items], ast.Load()), SequenceValue(tuple(items)))

    def match_arguments(
        self, function: FunctionValue, positional: list[TypedExpression], named: dict[str, TypedExpression]
    ) -> dict[str, TypedExpression] | None:
        """Returns the arguments by the names of the parameters, with the defaults of those not given."""
        given = function.node.args
        if given.vararg or given.kwarg or given.posonlyargs:
            return None
        names = [parameter.arg for parameter in given.args]
        every = [*names, *(parameter.arg for parameter in given.kwonlyargs)]
        if names[:1] == ["self"]:
            names, every = names[1:], every[1:]
        found = dict(zip(names, positional, strict=False))
        if len(positional) > len(names) or set(named) & set(found) or not set(named) <= set(every):
            return None
        found |= named
        defaults = dict(zip(names[len(names) - len(given.defaults) :], given.defaults, strict=True))
        defaults |= {p.arg: d for p, d in zip(given.kwonlyargs, given.kw_defaults, strict=True) if d is not None}
        around = function.around or {}
        for name in every:
            if name not in found and name not in defaults:
                return None
            if name not in found and is_mutated(name, defaults[name], function.node):
                return None
            if name not in found:
                self.note(f"{name} is passed to {function.name}", "the language has no default values")
                found[name] = self.rewrite(defaults[name], around)
        return {name: found[name] for name in every}

    def write_helper(self, function: FunctionValue, arguments: dict[str, TypedExpression]) -> WrittenHelper | None:
        """Returns the helper for arguments of these shapes, or `None` if it must be written out at the call."""
        context = self.context
        if not isinstance(function.node, ast.FunctionDef):
            return None
        shapes = tuple(term.value for term in arguments.values())
        key = (function.name, shapes)
        if key not in context.written:
            branches = any(isinstance(node, ast.If | ast.IfExp | ast.For) for node in ast.walk(function.node))
            values = {
                name: ArrayValue(v.shape, v.batch, v.truth, v.const if branches else None)
                for name, v in zip(arguments, shapes, strict=True)
                if isinstance(v, ArrayValue)
            }
            context.written[key] = self.make_helper(function, values)
        return context.written[key]

    def make_helper(self, function: FunctionValue, values: dict[str, ArrayValue]) -> WrittenHelper | None:
        """Rewrites a function for arguments of certain shapes."""
        from robo_reward.language.published.context import WrittenHelper

        context = self.context
        assert isinstance(function.node, ast.FunctionDef)
        frame = make_frame(context, function.node)
        env: Environment = {}
        parameters = []
        for name, value in values.items():
            spelled = frame.clean_name(name) if name != "action" else name
            parameters.append(spelled)
            frame.taken.add(spelled)
            frame.frozen.add(spelled)
            env[name] = TypedExpression(
                ast.Name(spelled, ast.Load()),
                ArrayValue(value.shape, value.batch, value.truth, value.const, "an argument"),
            )
        rewriter = type(self)(context, frame)
        rewriter.line = function.node.lineno
        result = rewriter.run_function(skip_docstring(function.node.body), env)
        value = result.value
        if isinstance(value, SequenceValue):
            result = TypedExpression(ast.Tuple([item.node for item in value.items], ast.Load()), value)
            plain = all(isinstance(item.value, ArrayValue) for item in value.items) and len(value.items) > 1
        else:
            plain = isinstance(value, ArrayValue)
        if not plain:
            return None
        body = [*frame.prologue, *frame.statements, ast.Return(result.node)]
        body[-1].lineno = rewriter.line
        name = function.name.lstrip("_") or "helper"
        if ast.get_docstring(function.node, clean=False) is not None:
            body.insert(0, function.node.body[0])
        args = ast.arguments([], [ast.arg(p) for p in parameters], None, [], [], None, [])
        written = ast.FunctionDef(name, args, body, [], lineno=function.node.lineno)
        for other in context.helpers:
            if getattr(other, "original", "") == function.name and _dump(other, name) == _dump(written, name):
                return WrittenHelper(other.name, _forget(value))
        taken = {other.name for other in context.helpers} | (context.reserved - {name})
        from robo_reward.language.grammar import RESERVED_NAMES

        number = 1
        if name != function.name:
            taken |= context.local_names | set(context.functions)
        while written.name in taken | RESERVED_NAMES:
            number += 1
            written.name = f"{name}{number}"
        written.original = function.name  # type: ignore[attr-defined]
        context.helpers.append(written)
        if written.name != function.name:
            context.note(
                function.node.lineno, f"{function.name} is called {written.name}", "the name must be free and plain"
            )
        if function.node.decorator_list or function.node.returns or any(a.annotation for a in function.node.args.args):
            context.note(function.node.lineno, "decorators and type hints are removed", "everything is an array")
        return WrittenHelper(written.name, _forget(value))

    def run_function(self, body: list[ast.stmt], env: Environment) -> TypedExpression:
        """Rewrites the body of a function and returns its result, chosen between all its returns."""
        outer = self.frame.returns, self.frame.branches, self.frame.conditions
        self.frame.returns, self.frame.branches, self.frame.conditions = [], [self.frame.branches[-1]], []
        reached = self.run_block(body, env)
        returns = self.frame.returns
        self.frame.returns, self.frame.branches, self.frame.conditions = outer
        if reached or not returns:
            returns = [*returns, EarlyReturn(None, TypedExpression(ast.Constant(None), PythonValue(None)))]
        if len(returns) > 1:
            self.note("an early return is np.where", "arrays hold many worlds, and a function has one return")
        result = returns[-1].value
        for early in reversed(returns[:-1]):
            if early.condition is None:
                result = early.value
                continue
            condition = TypedExpression(early.condition, ArrayValue((), True, True))
            result = self.choose_return(condition, early.value, result)
        return result

    def choose_return(
        self, condition: TypedExpression, chosen: TypedExpression, other: TypedExpression
    ) -> TypedExpression:
        """Returns one of two results, dictionaries by their keys; a key that one of them lacks is 0 there."""
        if isinstance(chosen.value, DictionaryValue) and isinstance(other.value, DictionaryValue):
            zero = make_number(0.0)
            keys = {**other.value.items, **chosen.value.items}
            items = {
                key: self.choose(condition, chosen.value.items.get(key, zero), other.value.items.get(key, zero))
                for key in keys
            }
            return TypedExpression(other.node, DictionaryValue(items))
        if isinstance(chosen.value, SequenceValue) and isinstance(other.value, SequenceValue):
            pairs = list(zip(chosen.value.items, other.value.items, strict=False))
            if len(pairs) == len(chosen.value.items) == len(other.value.items):
                if not isinstance(condition.node, ast.Name):
                    condition = self.name_value(condition, "early")
                items = [self.choose_return(condition, a, b) for a, b in pairs]
                return TypedExpression(
                    ast.Tuple([item.node for item in items], ast.Load()), SequenceValue(tuple(items))
                )
        return self.choose(condition, chosen, other)

    def write_out(self, function: FunctionValue, arguments: dict[str, TypedExpression]) -> TypedExpression | None:
        """Rewrites the body of a function in the place of its call."""
        env: Environment = dict(function.around or {})
        for name, term in {**env, **arguments}.items():
            if not isinstance(term.value, FunctionValue) and is_mutated(name, ast.Dict([], []), function.node):
                remedy = "return the new value and assign it at the call"
                self.context.doubt(self.line, f"{function.name} changes {name} in place", remedy)
        for name, term in arguments.items():
            held = self.name_value(term, name)
            self.freeze(held)
            value = replace(held.value, cell="an argument") if isinstance(held.value, ArrayValue) else held.value
            env[name] = TypedExpression(held.node, value)
        if isinstance(function.node, ast.Lambda):
            self.note("a lambda is written out", "the language has functions on the top level only")
            return self.rewrite(function.node.body, env)
        self.note(f"{function.name} is written out where it is called", "its arguments are not all arrays")
        line = self.line
        self.frame.branches.append(self.context.make_cell())
        result = self.run_function(skip_docstring(function.node.body), env)
        self.frame.branches.pop()
        self.line = line
        return result


def is_mutated(name: str, default: ast.expr, function: ast.AST) -> bool:
    """Returns whether a function changes the default value of a parameter, which then lasts from call to call."""
    if isinstance(default, ast.Constant | ast.UnaryOp | ast.Name | ast.Tuple):
        return False
    for node in ast.walk(function):
        match node:
            case ast.Subscript(value=ast.Name(id=held), ctx=ast.Store()) if held == name:
                return True
            case ast.Attribute(value=ast.Name(id=held), attr=method) if held == name and method in _MUTATORS:
                return True
            case ast.AugAssign(target=ast.Name(id=held)) if held == name:
                return True
    return False


def make_frame(context: Context, function: ast.FunctionDef) -> FunctionFrame:
    """Returns an empty frame for a function of the program."""
    names = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
    local_names = frozenset(node.id for node in names if isinstance(node.ctx, ast.Store))
    return FunctionFrame({node.id for node in names}, frozenset(context.reserved), local_names)


def _dump(function: ast.FunctionDef, name: str) -> str:
    held, function.name = function.name, name
    text = ast.dump(function)
    function.name = held
    return text


def _forget(value: Value) -> Value:
    """Returns the value of a call: what is known of its shape."""
    if isinstance(value, ArrayValue):
        return ArrayValue(value.shape, value.batch, value.truth)
    if isinstance(value, SequenceValue):
        return SequenceValue(tuple(TypedExpression(item.node, _forget(item.value)) for item in value.items))
    return UNKNOWN if isinstance(value, UnknownValue) else value
