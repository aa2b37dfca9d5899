"""Rewrites reductions: over an axis of one world, or over all of them."""

from __future__ import annotations

import ast
import math
from typing import TYPE_CHECKING

from robo_reward.language.published.values import (
    UNKNOWN,
    ArrayValue,
    PythonValue,
    SequenceValue,
    TypedExpression,
    combine,
    index_array,
    make_call,
    make_number,
)

if TYPE_CHECKING:
    from robo_reward.language.published.operators import OperatorRewriter


_ORDERS = {"amax": "max", "amin": "min", "average": "mean", "nansum": "sum"}
_EXPANDED = 16
"""Largest constant vector whose reduction is written out."""


def to_number(term: TypedExpression) -> TypedExpression:
    """Returns truth values as 0.0 and 1.0."""
    return combine([term], lambda n: make_call("np.where", [n[0], ast.Constant(1.0), ast.Constant(0.0)]))


def sum_axis(node: ast.expr, axis: int, shape: tuple[int, ...]) -> TypedExpression:
    """Returns the sum over one of the last axes; `shape` is that of the result in one world."""
    return TypedExpression(make_call("np.sum", [node], axis=make_number(axis).node), ArrayValue(shape, True))


def rewrite_reduction(
    rewriter: OperatorRewriter,
    library: str,
    name: str,
    positional: list[TypedExpression],
    named: dict[str, TypedExpression],
) -> TypedExpression | None:
    """Returns the call of a reduction, or `None` if its arguments are of another form or it would mix worlds."""
    known = {"axis", "keepdims", "ord", "p", "correction", "unbiased", "ddof"}
    if not positional or not set(named) <= known:
        return None
    array, *rest = positional
    if name == "norm" and library == "torch" and rest:
        named = {"p": rest[0], **({"axis": rest[1]} if len(rest) > 1 else {}), **named}
    elif name == "norm" and rest:
        named = {"ord": rest[0], **({"axis": rest[1]} if len(rest) > 1 else {}), **named}
    elif rest:
        named = {"axis": rest[0], **({"keepdims": rest[1]} if len(rest) > 1 else {}), **named}
    if len(rest) > 2:
        return None
    order = named.get("ord", named.get("p"))
    axis = named.get("axis")
    keepdims = named["keepdims"].const if "keepdims" in named else False
    if axis is not None and isinstance(axis.value, PythonValue) and axis.value.value is None:
        axis = None
    value = array.array
    if value is None:
        return None
    number: int | None = None
    if axis is not None:
        if isinstance(axis.value, SequenceValue) and len(axis.value.items) == 1:
            axis = axis.value.items[0]
        if type(axis.const) is not int:
            return None
        number = _resolve_axis(rewriter, value, axis.const)
        if number is None:
            return None
    elif rewriter.context.batched and value.batch:
        return None  # over the batch: rows would mix
    if name == "norm" and order is not None:
        return _take_norm(rewriter, array, order.const, number, bool(keepdims))
    if name in ("std", "var"):
        free = named.get("ddof", named.get("correction", named.get("unbiased")))
        ddof = free.const if free is not None else int(library == "torch")
        return _take_deviation(rewriter, name, array, number, int(ddof) if isinstance(ddof, int) else 0)
    result = reduce_array(rewriter, _ORDERS.get(name, name), array, number, bool(keepdims))
    if result is not None and library == "torch" and name in ("max", "min") and axis is not None:
        pair = (result, TypedExpression(ast.Constant(0), UNKNOWN))
        return TypedExpression(result.node, SequenceValue(pair))
    return result


def _resolve_axis(rewriter: OperatorRewriter, value: ArrayValue, axis: int) -> int | None:
    """Returns the axis of one world, counted from the front, or `None` where it is the batch or missing."""
    rows = int(rewriter.context.batched and value.batch)
    front = axis if axis >= 0 else axis + value.rank + rows
    front -= rows
    return front if 0 <= front < value.rank else None


def reduce_array(
    rewriter: OperatorRewriter, name: str, term: TypedExpression, axis: int | None, keepdims: bool = False
) -> TypedExpression | None:
    """Returns a reduction over an axis of one world, or over all of them.

    Args:
        rewriter: of the function in which the call stands.
        name: `sum`, `mean`, `prod`, `max`, `min`, `any`, `all`, `norm`, `ptp` or `count_nonzero`.
        term: the array.
        axis: counted from the front in one world; `None` reduces all.
        keepdims: whether the axis stays, with the length 1.
    """
    value = term.array
    assert value is not None
    if name == "ptp":
        term = rewriter.name_value(term, "numbers")
        ends = [reduce_array(rewriter, end, term, axis, keepdims) for end in ("max", "min")]
        return rewriter.apply_operator(ast.Sub(), ends[0], ends[1]) if ends[0] and ends[1] else None
    if name == "count_nonzero":
        return reduce_array(rewriter, "sum", to_number(rewriter.as_truth(term)), axis, keepdims)
    if value.truth and name in ("sum", "mean", "prod", "max", "min"):
        term = to_number(term) if name != "max" and name != "min" else term
    if value.rank == 0:
        if name == "norm":
            return rewriter.call("np.abs", term)
        return rewriter.as_truth(term) if name in ("any", "all") else term
    truth = name in ("any", "all") or (value.truth and name in ("max", "min"))
    if not value.batch:
        return reduce_constant(rewriter, name, term, axis)
    if axis is None and value.rank > 1 and keepdims:
        return None
    if name == "norm" and axis is None and value.rank > 1:
        square = reduce_array(rewriter, "sum", rewriter.call("np.square", term), None)
        return rewriter.call("np.sqrt", square) if square else None
    axes = [axis] if axis is not None else list(reversed(range(value.rank)))
    node = term.node
    shape = list(value.shape)
    for front in axes:
        if not shape[front]:
            return None
        keywords = {"axis": make_number(front - len(shape)).node}
        if keepdims:
            keywords["keepdims"] = ast.Constant(True)
            shape[front] = 1
        else:
            del shape[front]
        node = make_call("np.linalg.norm" if name == "norm" else f"np.{name}", [node], **keywords)
    return TypedExpression(node, ArrayValue(tuple(shape), True, truth))


def reduce_constant(
    rewriter: OperatorRewriter, name: str, term: TypedExpression, axis: int | None
) -> TypedExpression | None:
    """Returns the reduction of a constant vector, written out, since the language reduces arrays of the batch only."""
    value = term.array
    if value is None or value.rank != 1 or not 0 < value.shape[0] <= _EXPANDED:
        return None
    term = rewriter.name_value(term, "numbers")
    items = [rewriter.pick(term, [i]) for i in range(value.shape[0])]
    match name:
        case "norm":
            squares = [rewriter.apply_operator(ast.Mult(), item, item) for item in items]
            return rewriter.call("np.sqrt", _chain(rewriter, ast.Add(), squares))
        case "mean":
            total = _chain(rewriter, ast.Add(), items)
            return rewriter.apply_operator(ast.Div(), total, make_number(float(len(items))))
        case "sum" | "prod":
            return _chain(rewriter, ast.Add() if name == "sum" else ast.Mult(), items)
        case "any" | "all":
            return rewriter.join_conditions([rewriter.as_truth(item) for item in items], both=name == "all")
    result = items[0]
    for item in items[1:]:
        result = rewriter.call("np.maximum" if name == "max" else "np.minimum", result, item)
    return result


def _chain(rewriter: OperatorRewriter, op: ast.operator, items: list[TypedExpression]) -> TypedExpression:
    result = items[0]
    for item in items[1:]:
        result = rewriter.apply_operator(op, result, item)
    return result


def _take_norm(
    rewriter: OperatorRewriter, term: TypedExpression, order: object, axis: int | None, keepdims: bool
) -> TypedExpression | None:
    """Returns a norm of a vector by its order: 1, 2, or infinity."""
    value = term.array
    if value is None or (axis is None and value.rank > 1):
        return None
    if order in (2, "fro", None):
        return reduce_array(rewriter, "norm", term, axis, keepdims)
    if order == 1:
        return reduce_array(rewriter, "sum", rewriter.call("np.abs", term), axis, keepdims)
    if isinstance(order, float) and math.isinf(order):
        return reduce_array(rewriter, "max" if order > 0 else "min", rewriter.call("np.abs", term), axis, keepdims)
    return None


def _take_deviation(
    rewriter: OperatorRewriter, name: str, term: TypedExpression, axis: int | None, ddof: int
) -> TypedExpression | None:
    """Returns the standard deviation or variance of a vector."""
    value = term.array
    if value is None or value.rank != 1 or not value.batch or value.shape[0] <= ddof:
        return None
    term = rewriter.name_value(term, "numbers")
    mean = reduce_array(rewriter, "mean", term, 0, keepdims=True)
    difference = combine([term, mean], lambda n: ast.BinOp(n[0], ast.Sub(), n[1])) if mean else None
    if difference is None:
        return None
    square = rewriter.call("np.square", difference)
    total = reduce_array(rewriter, "sum", square, 0)
    if total is None:
        return None
    variance = rewriter.apply_operator(ast.Div(), total, make_number(float(value.shape[0] - ddof)))
    return rewriter.call("np.sqrt", variance) if name == "std" else variance


def multiply_matrices(rewriter: OperatorRewriter, a: TypedExpression, b: TypedExpression) -> TypedExpression:
    """Returns `a @ b` in one world: a dot product, or matrices and vectors."""
    a, b = rewriter.pack(a), rewriter.pack(b)
    first, second = a.array, b.array
    unknown = TypedExpression(ast.BinOp(a.node, ast.MatMult(), b.node), UNKNOWN)
    if first is None or second is None or not (first.batch or second.batch):
        return unknown
    if not 1 <= first.rank <= 2 or not 1 <= second.rank <= 2:
        return unknown
    if rewriter.context.batched and first.batch and second.batch and (first.rank, second.rank) != (2, 2):
        return unknown  # in torch and numpy that is a product over the batch
    if first.shape[-1] != second.shape[0]:
        return unknown
    if first.rank == second.rank == 1:
        return TypedExpression(make_call("np.dot", [a.node, b.node]), ArrayValue((), True))
    a, b = rewriter.name_value(a, "left"), rewriter.name_value(b, "right")
    if not (first.batch and second.batch):
        return unknown
    none, every = ast.Constant(None), ast.Slice()
    if second.rank == 1:
        product = ast.BinOp(a.node, ast.Mult(), index_array(b.node, [every, none]))
        return sum_axis(product, -1, (first.shape[0],))
    if first.rank == 1:
        product = ast.BinOp(index_array(a.node, [every, every, none]), ast.Mult(), b.node)
        return sum_axis(product, -2, (second.shape[1],))
    left = index_array(a.node, [every, every, every, none])
    product = ast.BinOp(left, ast.Mult(), index_array(b.node, [every, none]))
    return sum_axis(product, -2, (first.shape[0], second.shape[1]))
