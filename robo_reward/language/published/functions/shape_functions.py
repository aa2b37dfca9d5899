"""Rewrites functions that make arrays or change their shapes; see `special_functions` for their arguments."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from robo_reward.language.published.values import (
    ArrayValue,
    SequenceValue,
    TypedExpression,
    index_array,
    make_call,
    make_number,
)

if TYPE_CHECKING:
    from robo_reward.language.published.operators import OperatorRewriter


def make_like_maker(value: float | None) -> Callable[..., TypedExpression | None]:
    """Returns the form of `zeros_like` and the like for a value; `None` takes it from the arguments."""

    def make(
        rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
    ) -> TypedExpression | None:
        array = positional[0].array if positional else None
        if array is None:
            return None
        fill = value
        if fill is None:
            given = positional[1] if len(positional) > 1 else named.get("fill_value")
            if given is None or given.array is None or given.array.rank:
                return None
            if not array.batch:
                return given if not array.rank else None
            return TypedExpression(
                make_call("np.full_like", [positional[0].node, given.node]), ArrayValue(array.shape, True)
            )
        if not array.batch:
            return fill_shape(rewriter, array.shape, make_number(fill))
        name = "np.zeros_like" if fill == 0 else "np.ones_like"
        return TypedExpression(make_call(name, [positional[0].node]), ArrayValue(array.shape, array.batch))

    return make


def fill_shape(rewriter: OperatorRewriter, shape: tuple[int, ...], number: TypedExpression) -> TypedExpression | None:
    """Returns a constant number or vector."""
    if len(shape) == 0:
        return number
    length = math.prod(shape)
    return rewriter.make_vector([number] * length) if len(shape) == 1 and 0 < length <= 64 else None


def make_constant_maker(value: float | None) -> Callable[..., TypedExpression | None]:
    """Returns the form of `zeros` and the like for a value; `None` takes it from the arguments."""

    def make(
        rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
    ) -> TypedExpression | None:
        shape = positional[0] if positional else named.get("shape", named.get("size"))
        if shape is None:
            return None
        number = (
            make_number(value)
            if value is not None
            else (positional[1] if len(positional) > 1 else named.get("fill_value"))
        )
        sizes = [term.const for term in shape.value.items] if isinstance(shape.value, SequenceValue) else [shape.const]
        if len(positional) > 1 and value is not None:
            sizes += [term.const for term in positional[1:]]
        if sizes and sizes[0] == "B" and rewriter.context.batched:
            sizes = sizes[1:]
        if number is None or any(type(size) is not int for size in sizes):
            return None
        return fill_shape(rewriter, tuple(sizes), number)

    return make


def make_array(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    """Returns an array of numbers that are written out."""
    if not positional or set(named) - {"ndmin"}:
        return None
    first = positional[0]
    if isinstance(first.value, SequenceValue):
        if rewriter.context.batched and any(t.array is not None and t.array.batch for t in first.value.items):
            return None
        items = [rewriter.pack(item) for item in first.value.items]
        vector = rewriter.make_vector(items) if items else None
        return vector if vector is not None and isinstance(vector.value, ArrayValue) else None
    return first if isinstance(first.value, ArrayValue) else None


def stack_values(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    """Returns numbers or vectors side by side."""
    items = positional[0].value if positional else None
    axis = named.get("axis", positional[1] if len(positional) > 1 else make_number(0)).const
    if not isinstance(items, SequenceValue) or not items.items:
        return None
    arrays = [term.array for term in items.items]
    if any(array is None for array in arrays):
        return None
    rank = max(array.rank for array in arrays if array is not None)
    if rank == 0 and axis in ((-1, 1) if rewriter.context.batched else (-1, 0)):
        return rewriter.make_vector(list(items.items))
    if rank == 1 and not rewriter.context.batched and axis in (0, -2):
        return rewriter.make_vector(list(items.items))
    return None


def join_vectors(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    """Returns vectors one behind the other."""
    items = positional[0].value if positional else None
    axis = named.get("axis", positional[1] if len(positional) > 1 else make_number(0)).const
    if not isinstance(items, SequenceValue) or not items.items:
        return None
    terms = [rewriter.pack(item) for item in items.items]
    arrays = [term.array for term in terms if term.array is not None]
    if len(arrays) < len(terms) or any(array.rank != 1 for array in arrays):
        return None
    if axis not in ((-1, 1) if rewriter.context.batched else (-1, 0)):
        return None
    size = sum(array.shape[0] for array in arrays)
    if all(array.batch for array in arrays):
        nodes: list[ast.expr] = [ast.List([term.node for term in terms], ast.Load())]
        return TypedExpression(make_call("np.concatenate", nodes, axis=make_number(-1).node), ArrayValue((size,), True))
    if size > 64:
        return None
    parts = []
    for term, array in zip(terms, arrays, strict=True):
        term = rewriter.name_value(term, "part")
        parts += [rewriter.pick(term, [i]) for i in range(array.shape[0])]
    return rewriter.make_vector(parts)


def remove_axis(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    """Returns an array without an axis of length 1."""
    array = positional[0].array if positional else None
    if array is None:
        return None
    axis = named["axis"].const if "axis" in named else positional[1].const if len(positional) > 1 else None
    front = None
    if type(axis) is int:
        rows = int(rewriter.context.batched and array.batch)
        front = (axis if axis >= 0 else axis + array.rank + rows) - rows
    elif array.shape == (1,):
        front = 0
    if front is None or not 0 <= front < array.rank or array.shape[front] != 1 or not array.batch:
        return positional[0] if array.rank == 0 or 1 not in array.shape else None
    parts: list[ast.expr] = [ast.Slice(), *[ast.Slice()] * front, ast.Constant(0)]
    shape = (*array.shape[:front], *array.shape[front + 1 :])
    return TypedExpression(index_array(positional[0].node, parts), ArrayValue(shape, True, array.truth))


def reshape_array(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    """Returns an array in a shape that differs in axes of length 1 only."""
    array = positional[0].array if positional else None
    sizes = positional[1:]
    if len(sizes) == 1 and isinstance(sizes[0].value, SequenceValue):
        sizes = list(sizes[0].value.items)
    if array is None or not array.batch or named or not sizes:
        return None
    if rewriter.context.batched:
        if sizes[0].const not in ("B", -1):
            return None
        sizes = sizes[1:]
    length = math.prod(array.shape)
    given = [term.const for term in sizes]
    known = [size for size in given if type(size) is int and size > 0]
    if len(known) < len(given):
        if len(known) + 1 < len(given) or -1 not in given or length % math.prod(known):
            return None
        given[given.index(-1)] = length // math.prod(known)
    if math.prod(known) > length or [n for n in given if n != 1] != [n for n in array.shape if n != 1]:
        return None
    taken: list[ast.expr] = [ast.Constant(0) if n == 1 else ast.Slice() for n in array.shape]
    node = index_array(positional[0].node, [ast.Slice(), *taken]) if 1 in array.shape else positional[0].node
    added: list[ast.expr] = [ast.Constant(None) if n == 1 else ast.Slice() for n in given]
    node = index_array(node, [ast.Slice(), *added]) if 1 in given else node
    return TypedExpression(node, ArrayValue(tuple(given), True, array.truth))


def append_values(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    """Returns two vectors or numbers one behind the other."""
    parts: list[TypedExpression] = []
    for term in positional:
        array = term.array
        if array is None or array.rank > 1 or (rewriter.context.batched and array.batch):
            return None
        held = rewriter.name_value(term, "part")
        parts += [rewriter.pick(held, [i]) for i in range(min(array.shape[0], 64))] if array.rank else [term]
    return rewriter.make_vector(parts) if len(positional) == 2 and not named and len(parts) <= 64 else None


def add_axis(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    """Returns an array with a new axis of length 1."""
    array = positional[0].array if positional else None
    axis = named["axis"].const if "axis" in named else positional[1].const if len(positional) > 1 else None
    if array is None or type(axis) is not int or not array.batch:
        return None
    rows = int(rewriter.context.batched)
    front = (axis if axis >= 0 else axis + array.rank + rows + 1) - rows
    if not 0 <= front <= array.rank:
        return None
    parts: list[ast.expr] = [ast.Slice(), *[ast.Slice()] * front, ast.Constant(None)]
    shape = (*array.shape[:front], 1, *array.shape[front:])
    return TypedExpression(index_array(positional[0].node, parts), ArrayValue(shape, True, array.truth))


def transpose_matrix(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    """Returns the transpose of a matrix in one world."""
    array = positional[0].array if positional else None
    if array is None or len(positional) > 1 or named or array.rank != 2 or not array.batch or array.shape[1] > 16:
        return None
    held = rewriter.name_value(positional[0], "matrix")
    every = ast.Slice()
    columns = [
        TypedExpression(index_array(held.node, [every, every, make_number(i).node]), ArrayValue(array.shape[:1], True))
        for i in range(array.shape[1])
    ]
    return rewriter.make_vector(columns)
