"""Rewrites indices of one world, `x[2]`, for the batch, `x[:, 2]`."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from robo_reward.language.published.frames import Environment
from robo_reward.language.published.values import (
    UNKNOWN,
    ArrayValue,
    DictionaryValue,
    PythonValue,
    SequenceValue,
    TypedExpression,
    index_array,
    make_number,
)

if TYPE_CHECKING:
    from robo_reward.language.published.expressions import ExpressionRewriter

Part = int | slice | ast.Name | None
"""One index: a component, a slice, the counter of a loop, or a new axis."""


def rewrite_subscript(rewriter: ExpressionRewriter, node: ast.Subscript, env: Environment) -> TypedExpression | None:
    """Returns an item of a dictionary or list, or components of an array."""
    held = rewriter.rewrite(node.value, env)
    if isinstance(held.value, DictionaryValue):
        key = rewriter.rewrite(node.slice, env).const
        return held.value.items.get(key) if isinstance(key, str | int) else None
    if isinstance(held.value, SequenceValue):
        return _pick_items(rewriter, node, held.value, env)
    value = held.array
    parts = _read_parts(rewriter, node.slice, env)
    unchanged = TypedExpression(ast.Subscript(held.node, node.slice, ast.Load()), UNKNOWN)
    if value is None:
        if isinstance(node.slice, ast.Tuple) and not rewriter.context.batched:
            reason = f"the shape of {ast.unparse(node.value)[:60]} is not known"
            rewriter.context.doubt(node.lineno, reason, "index fields and local variables of the state")
        return TypedExpression(ast.Subscript(held.node, _rewrite_index(rewriter, node.slice, env), ast.Load()), UNKNOWN)
    if parts is None:
        return _pick_listed(rewriter, node, held, env) or unchanged
    result = _index_shape(rewriter, value, parts)
    if result is None:
        if not rewriter.context.batched:
            reason = f"{ast.unparse(node)[:60]} does not fit an array of shape {value.shape} in one world"
            remedy = "index every field as in one world, or every field for the batch with axis=-1 in reductions"
            rewriter.context.doubt(node.lineno, reason, remedy)
        return unchanged
    shape, kept = result
    dropped_rows = value.batch and not rewriter.context.batched
    if dropped_rows:
        if all(part == slice(None) for part in kept):
            return TypedExpression(held.node, value)  # x[:] of one world
        rewriter.note(
            f"{ast.unparse(node)[:40]} is indexed behind the batch", "the first axis of an array is the batch"
        )
    if not value.batch and len(kept) == 1 and type(kept[0]) is int and value.rank == 1:
        return rewriter.pick(held, [kept[0] % value.shape[0]])
    nodes = ([ast.Slice()] if value.batch else []) + [_write_part(part) for part in kept]
    return TypedExpression(index_array(held.node, nodes), rewriter.make_part(value, shape, value.truth))


def _pick_items(
    rewriter: ExpressionRewriter, node: ast.Subscript, value: SequenceValue, env: Environment
) -> TypedExpression | None:
    """Returns an item or a slice of a list."""
    parts = _read_parts(rewriter, node.slice, env)
    if parts is None or len(parts) != 1 or parts[0] is None or isinstance(parts[0], ast.Name):
        return None
    if isinstance(parts[0], slice):
        items = value.items[parts[0]]
        return TypedExpression(ast.Tuple([item.node for item in items], ast.Load()), SequenceValue(items))
    return value.items[parts[0]] if -len(value.items) <= parts[0] < len(value.items) else None


def _pick_listed(
    rewriter: ExpressionRewriter, node: ast.Subscript, held: TypedExpression, env: Environment
) -> TypedExpression | None:
    """Returns `x[[0, 2]]` of a vector as a new vector."""
    value = held.array
    listed = rewriter.rewrite(node.slice, env).value if isinstance(node.slice, ast.List) else None
    if not isinstance(listed, SequenceValue) or value is None or value.rank != 1:
        return None
    if rewriter.context.batched and value.batch:
        return None
    indices = [item.const for item in listed.items]
    if any(type(i) is not int or not -value.shape[0] <= i < value.shape[0] for i in indices):
        return None
    rewriter.note("a list of indices is written out", "the language has no lists")
    held = rewriter.name_value(held, "vector")
    return rewriter.make_vector([rewriter.pick(held, [i]) for i in indices])


def _read_parts(rewriter: ExpressionRewriter, node: ast.expr, env: Environment) -> list[Part] | None:
    """Returns the indices, with an ellipsis as `slice(...)`, or `None` where they are not known."""
    parts: list[Part] = []
    for part in node.elts if isinstance(node, ast.Tuple) else [node]:
        if isinstance(part, ast.Slice):
            bounds = []
            for bound in (part.lower, part.upper, part.step):
                known = rewriter.rewrite(bound, env).const if bound is not None else None
                if bound is not None and (type(known) is not int or abs(known) > 10_000):
                    return None
                bounds.append(known)
            if bounds[2] == 0:
                return None
            parts.append(slice(*bounds))
            continue
        term = rewriter.rewrite(part, env)
        known = term.const
        if known is ...:
            parts.append(slice(..., ...))
        elif isinstance(term.value, PythonValue) and known is None:
            parts.append(None)
        elif type(known) is int and abs(known) <= 10_000:
            parts.append(known)
        elif isinstance(term.node, ast.Name) and term.node.id in rewriter.frame.counters:
            parts.append(term.node)
        else:
            return None
    return parts


def _index_shape(
    rewriter: ExpressionRewriter, value: ArrayValue, parts: list[Part]
) -> tuple[tuple[int, ...], list[Part]] | None:
    """Returns the shape in one world and the indices behind the batch, or `None` if it fails or mixes rows."""
    ellipsis = [i for i, part in enumerate(parts) if part == slice(..., ...)]
    rows = int(rewriter.context.batched and value.batch)  # the first index of a batch is that of the rows
    taken = sum(part is not None and part != slice(..., ...) for part in parts)
    missing = rows + value.rank - taken
    if missing < 0 or len(ellipsis) > 1:
        return None
    at = ellipsis[0] if ellipsis else len(parts)
    parts = [*parts[:at], *[slice(None)] * missing, *parts[at + 1 :]]
    if rows:
        if not parts or parts[0] != slice(None):
            return None
        parts = parts[1:]
    shape: list[int] = []
    axes = iter(value.shape)
    for part in parts:
        if part is None:
            shape.append(1)
            continue
        size = next(axes)
        if isinstance(part, slice):
            shape.append(len(range(*part.indices(size))))
        elif isinstance(part, ast.Name):
            rounds = rewriter.frame.counters[part.id]
            if any(not -size <= i < size for i in rounds):
                return None
        elif not -size <= part < size:
            return None
    while parts and parts[-1] == slice(None):
        parts = parts[:-1]
    return tuple(shape), parts or [slice(None)]


def _write_part(part: Part) -> ast.expr:
    if isinstance(part, slice):
        bounds = [None if b is None else make_number(b).node for b in (part.start, part.stop, part.step)]
        return ast.Slice(*bounds)
    if isinstance(part, ast.Name):
        return part
    return ast.Constant(None) if part is None else make_number(part).node


def _rewrite_index(rewriter: ExpressionRewriter, node: ast.expr, env: Environment) -> ast.expr:
    """Returns an index into something unknown, with its names as they are called now."""
    if isinstance(node, ast.Tuple):
        return ast.Tuple([_rewrite_index(rewriter, part, env) for part in node.elts], ast.Load())
    if isinstance(node, ast.Slice):
        bounds = [b and rewriter.rewrite(b, env).node for b in (node.lower, node.upper, node.step)]
        return ast.Slice(*bounds)
    return rewriter.rewrite(node, env).node
