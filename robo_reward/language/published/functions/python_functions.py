"""Rewrites Python's own functions, and the methods of dictionaries."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from robo_reward.language.published.functions.reductions import reduce_array
from robo_reward.language.published.values import (
    ArrayValue,
    DictionaryValue,
    SequenceValue,
    TypedExpression,
    combine,
    make_call,
    make_number,
    make_python,
    make_sequence,
)

if TYPE_CHECKING:
    from robo_reward.language.published.operators import OperatorRewriter

MAX_ITEMS = 64
"""Largest number of items that are written out."""


def rewrite_builtin(
    rewriter: OperatorRewriter, name: str, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    """Returns the call of one of Python's functions, or `None` if it is not known or not of a known form."""
    if name == "dict" and not positional:
        return TypedExpression(ast.Constant("dict"), DictionaryValue(dict(named)))
    if name == "dict" and len(positional) == 1 and isinstance(positional[0].value, DictionaryValue):
        return TypedExpression(ast.Constant("dict"), DictionaryValue(positional[0].value.items | named))
    if named:
        return None
    if name in ("max", "min", "sum", "any", "all", "list", "tuple", "len", "enumerate", "zip", "range", "sorted"):
        term = _rewrite_collection(rewriter, name, positional)
    else:
        term = _rewrite_number(rewriter, name, positional)
    if term is not None and name in ("max", "min", "sum", "any", "all", "float", "int", "bool", "round", "pow"):
        rewriter.note(f"{name}() is written with the functions of arrays", "arrays hold many worlds")
    return term


def _rewrite_collection(
    rewriter: OperatorRewriter, name: str, positional: list[TypedExpression]
) -> TypedExpression | None:
    if name == "range":
        bounds = [term.const for term in positional]
        if not 1 <= len(bounds) <= 3 or any(type(b) is not int or abs(b) > 10**6 for b in bounds) or bounds[2:] == [0]:
            return None
        numbers = range(*bounds)
        return make_sequence([make_number(i) for i in numbers]) if len(numbers) <= MAX_ITEMS else None
    if name in ("max", "min") and len(positional) > 1:
        return _fold_extremes(rewriter, name, positional)
    if name == "zip":
        lists = [rewriter.list_items(term) for term in positional]
        if not lists or any(items is None for items in lists):
            return None
        return make_sequence([make_sequence(list(row)) for row in zip(*lists, strict=False)])
    if len(positional) not in (1, 2):
        return None
    first = positional[0]
    if name == "len":
        return _count_items(rewriter, first)
    if isinstance(first.value, ArrayValue) and name not in ("list", "tuple", "enumerate"):
        if first.value.rank != 1 or len(positional) > 1 or (rewriter.context.batched and first.value.batch):
            return None
        return reduce_array(rewriter, name, first, None) if name != "sorted" else None
    items = rewriter.list_items(first)
    if items is None or len(items) > MAX_ITEMS:
        return None
    match name:
        case "enumerate":
            start = positional[1].const if len(positional) > 1 else 0
            if type(start) is not int:
                return None
            return make_sequence([make_sequence([make_number(start + i), item]) for i, item in enumerate(items)])
        case "list" | "tuple":
            return make_sequence(items)
        case "sum":
            return _add_items(rewriter, [*positional[1:], *items])
        case "any" | "all" if items:
            truths = [rewriter.as_truth(item) for item in items]
            return rewriter.join_conditions(truths, both=name == "all")
        case "max" | "min" if items:
            return _fold_extremes(rewriter, name, items)
        case "sorted" if all(isinstance(item.const, str) for item in items):
            return make_sequence(sorted(items, key=lambda item: item.const))
    return None


def _add_items(rewriter: OperatorRewriter, items: list[TypedExpression]) -> TypedExpression:
    """Returns the sum, from left to right; truth values count as 0 and 1."""
    if not items:
        return make_number(0)
    numbers = [as_number(rewriter, item) for item in items]
    result = numbers[0]
    for number in numbers[1:]:
        result = rewriter.apply_operator(ast.Add(), result, number)
    return result


def _fold_extremes(rewriter: OperatorRewriter, name: str, items: list[TypedExpression]) -> TypedExpression:
    """Returns the largest or smallest of several numbers, as nested calls of two."""
    result = items[0]
    for item in items[1:]:
        a, b = result.const, item.const
        if isinstance(a, int | float) and isinstance(b, int | float):
            result = make_number(max(a, b) if name == "max" else min(a, b))
        elif float("inf") in (a, b) or float("-inf") in (a, b):
            kept = item if a in (float("inf"), float("-inf")) else result
            infinite = a if kept is item else b
            if (infinite > 0) == (name == "max"):
                return make_python(infinite)
            result = kept
        else:
            result = rewriter.call("np.maximum" if name == "max" else "np.minimum", result, item)
    return result


def _count_items(rewriter: OperatorRewriter, term: TypedExpression) -> TypedExpression | None:
    if isinstance(term.value, SequenceValue | DictionaryValue):
        return make_number(len(term.value.items))
    if isinstance(term.value, ArrayValue):
        if rewriter.context.batched and term.value.batch:
            return make_python("B")
        return make_number(term.value.shape[0]) if term.value.rank else None
    return None


def as_number(rewriter: OperatorRewriter, term: TypedExpression) -> TypedExpression:
    """Returns truth values as 0.0 and 1.0, and everything else as it is."""
    value = term.array
    if value is None or not value.truth:
        return term
    if value.const is not None:
        return make_number(float(value.const))
    return combine([term], lambda n: make_call("np.where", [n[0], ast.Constant(1.0), ast.Constant(0.0)]))


def _rewrite_number(rewriter: OperatorRewriter, name: str, positional: list[TypedExpression]) -> TypedExpression | None:
    first = positional[0] if positional else None
    if first is None:
        return None
    if name == "float" and first.const in ("inf", "-inf", "Infinity", "infinity"):
        return make_python(float(str(first.const)))
    value = first.array
    if name == "abs" and len(positional) == 1:
        return rewriter.call("np.abs", first) if value is not None else None
    if value is None or len(positional) > 2:
        return None
    match name:
        case "float" if len(positional) == 1:
            return as_number(rewriter, first)
        case "int" if len(positional) == 1:
            return _truncate(rewriter, first)
        case "bool" if len(positional) == 1:
            return rewriter.as_truth(first)
        case "round" if len(positional) == 1:
            return rewriter.call("np.rint", first)
        case "pow" if len(positional) == 2:
            return rewriter.apply_operator(ast.Pow(), first, positional[1])
    return None


def _truncate(rewriter: OperatorRewriter, term: TypedExpression) -> TypedExpression:
    """Returns the whole part of a number."""
    if term.array is not None and term.array.truth:
        return as_number(rewriter, term)
    if isinstance(term.const, int):
        return term
    term = rewriter.name_value(term, "number")
    return rewriter.apply_operator(
        ast.Mult(), rewriter.call("np.sign", term), rewriter.call("np.floor", rewriter.call("np.abs", term))
    )


def rewrite_dictionary_method(
    value: DictionaryValue, name: str, positional: list[TypedExpression]
) -> TypedExpression | None:
    """Returns the call of a method of a dictionary that changes nothing."""
    match name, positional:
        case "values", []:
            return make_sequence(list(value.items.values()))
        case "keys", []:
            return make_sequence([make_python(key) for key in value.items])
        case "items", []:
            return make_sequence([make_sequence([make_python(key), term]) for key, term in value.items.items()])
        case "copy", []:
            return TypedExpression(ast.Constant("dict"), DictionaryValue(dict(value.items)))
        case "get", [key, *default] if len(default) <= 1 and isinstance(key.const, str | int):
            return value.items.get(
                key.const, default[0] if default else TypedExpression(ast.Constant(None), make_python(None).value)
            )
    return None
