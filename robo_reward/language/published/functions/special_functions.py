"""Rewrites the functions of array libraries that have a form of their own.

Each function here takes the rewriter, the arguments by position and those by name, and returns `None` where the
language has no such form.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from robo_reward.language.published.functions.reductions import (
    multiply_matrices,
    reduce_array,
    reduce_constant,
    to_number,
)
from robo_reward.language.published.functions.shape_functions import (
    add_axis,
    append_values,
    join_vectors,
    make_array,
    make_constant_maker,
    make_like_maker,
    remove_axis,
    reshape_array,
    stack_values,
    transpose_matrix,
)
from robo_reward.language.published.names import NUMBER_TYPES
from robo_reward.language.published.values import (
    ArrayValue,
    PythonValue,
    TypedExpression,
    combine,
    index_array,
    make_call,
    make_number,
)

if TYPE_CHECKING:
    from robo_reward.language.published.operators import OperatorRewriter


def _clip_values(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    names = {"min": "low", "max": "high", "a_min": "low", "a_max": "high"}
    given = {names.get(key, key): term for key, term in named.items()}
    if not positional or len(positional) > 3 or not set(given) <= {"low", "high"}:
        return None
    given |= dict(zip(("low", "high"), positional[1:], strict=False))
    array, truth = positional[0], positional[0].array
    if truth is not None and truth.truth:
        array = to_number(array)
    bounds = {key: None if _is_no_bound(term) else term for key, term in given.items()}
    low, high = bounds.get("low"), bounds.get("high")
    if low is not None and high is not None:
        return rewriter.call("np.clip", array, low, high)
    if low is not None:
        return rewriter.call("np.maximum", array, low)
    return rewriter.call("np.minimum", array, high) if high is not None else array


def _is_no_bound(term: TypedExpression) -> bool:
    if not isinstance(term.value, PythonValue):
        return False
    return term.value.value is None or (isinstance(term.value.value, float) and math.isinf(term.value.value))


def _choose_values(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    if len(positional) != 3 or named:
        return None
    condition, chosen, other = (rewriter.pack(term) for term in positional)
    term = rewriter.combine([condition, chosen, other], lambda nodes: make_call("np.where", nodes))
    if isinstance(term.value, ArrayValue):
        truth = all(t.array is not None and t.array.truth for t in (chosen, other))
        return TypedExpression(term.node, ArrayValue(term.value.shape, term.value.batch, truth))
    return term


def _multiply_vectors(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    if len(positional) != 2 or set(named) - {"axis"}:
        return None
    a, b = positional
    ranks = [term.array.rank for term in (a, b) if term.array is not None]
    if len(ranks) == 2 and 0 in ranks:
        return rewriter.apply_operator(ast.Mult(), a, b)
    if len(ranks) == 2 and ranks == [1, 1] and not any(t.array is not None and t.array.batch for t in (a, b)):
        product = rewriter.apply_operator(ast.Mult(), a, b)
        return reduce_constant(rewriter, "sum", product, None) if product.array else None
    if rewriter.context.batched and ranks == [1, 1]:
        return TypedExpression(
            make_call("np.dot", [a.node, b.node]), ArrayValue((), True)
        )  # row by row, as in the language
    return multiply_matrices(rewriter, a, b)


def _write_cross_product(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    arrays = [term.array for term in positional]
    if len(positional) != 2 or any(a is None or a.shape != (3,) for a in arrays):
        return None
    batch = any(array is not None and array.batch for array in arrays)
    return TypedExpression(make_call("np.cross", [term.node for term in positional]), ArrayValue((3,), batch))


def _measure_distance(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    if len(positional) != 2:
        return None
    difference = rewriter.apply_operator(ast.Sub(), *positional)
    if difference.array is None or difference.array.rank != 1:
        return None
    return reduce_array(rewriter, "norm", difference, 0)


def _measure_pair_distance(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    if len(positional) != 2 or set(named) - {"axis"}:
        return None
    difference = rewriter.apply_operator(ast.Add(), rewriter.apply_operator(ast.Sub(), *positional), make_number(1e-6))
    if difference.array is None or difference.array.rank != 1:
        return None
    return reduce_array(rewriter, "norm", difference, 0)


def _measure_all_distances(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    """Returns `cdist` of two sets of points, (n, 3) and (m, 3) in one world: distances (n, m)."""
    if len(positional) != 2 or named:
        return None
    first, second = (term.array for term in positional)
    if first is None or second is None or first.rank != 2 or second.rank != 2 or not (first.batch and second.batch):
        return None
    if first.shape[1] != second.shape[1]:
        return None
    every, none = ast.Slice(), ast.Constant(None)
    left = index_array(positional[0].node, [every, every, none])
    difference = ast.BinOp(left, ast.Sub(), index_array(positional[1].node, [every, none]))
    node = make_call("np.linalg.norm", [difference], axis=make_number(-1).node)
    return TypedExpression(node, ArrayValue((first.shape[0], second.shape[0]), True))


def _compute_cosine(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    if len(positional) != 2 or set(named) - {"axis", "eps"}:
        return None
    a, b = (rewriter.name_value(term, name) for term, name in zip(positional, ("left", "right"), strict=True))
    if any(t.array is None or t.array.rank != 1 or not t.array.batch for t in (a, b)):
        return None
    eps = named.get("eps", make_number(1e-8))
    lengths = [reduce_array(rewriter, "norm", term, 0) for term in (a, b)]
    bounded = [rewriter.call("np.maximum", length, eps) for length in lengths if length is not None]
    product = TypedExpression(make_call("np.dot", [a.node, b.node]), ArrayValue((), True))
    return rewriter.apply_operator(ast.Div(), product, rewriter.apply_operator(ast.Mult(), *bounded))


def _normalise_vector(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    if len(positional) != 1 or set(named) - {"axis", "p"}:
        return None
    array = positional[0].array
    if array is None or array.rank != 1 or not array.batch or named.get("p", make_number(2)).const not in (2, 2.0):
        return None
    held = rewriter.name_value(positional[0], "vector")
    length = reduce_array(rewriter, "norm", held, 0, keepdims=True)
    if length is None:
        return None
    return rewriter.apply_operator(ast.Div(), held, rewriter.call("np.maximum", length, make_number(1e-12)))


def _write_sigmoid(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    if len(positional) != 1 or named:
        return None
    power = rewriter.call("np.exp", _negate_value(positional[0]))
    return rewriter.apply_operator(
        ast.Div(), make_number(1.0), rewriter.apply_operator(ast.Add(), make_number(1.0), power)
    )


def _negate_value(term: TypedExpression) -> TypedExpression:
    return combine([term], lambda nodes: ast.UnaryOp(ast.USub(), nodes[0]))


def _write_relu(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    return rewriter.call("np.maximum", positional[0], make_number(0.0)) if len(positional) == 1 else None


def _write_softplus(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    if len(positional) != 1 or named:
        return None
    term = rewriter.name_value(positional[0], "number")
    tail = rewriter.call("np.log1p", rewriter.call("np.exp", _negate_value(rewriter.call("np.abs", term))))
    return rewriter.apply_operator(ast.Add(), rewriter.call("np.maximum", term, make_number(0.0)), tail)


def _write_rsqrt(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    if len(positional) != 1:
        return None
    return rewriter.apply_operator(ast.Div(), make_number(1.0), rewriter.call("np.sqrt", positional[0]))


def _truncate_value(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    if len(positional) != 1:
        return None
    term = rewriter.name_value(positional[0], "number")
    return rewriter.apply_operator(
        ast.Mult(), rewriter.call("np.sign", term), rewriter.call("np.floor", rewriter.call("np.abs", term))
    )


def _write_lerp(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    if len(positional) != 3:
        return None
    start, end, weight = positional
    start = rewriter.name_value(start, "start")
    step = rewriter.apply_operator(ast.Mult(), weight, rewriter.apply_operator(ast.Sub(), end, start))
    return rewriter.apply_operator(ast.Add(), start, step)


def _compare_closely(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    if len(positional) != 2 or set(named) - {"rtol", "atol"}:
        return None
    a, b = positional
    b = rewriter.name_value(b, "expected")
    rtol, atol = named.get("rtol", make_number(1e-5)), named.get("atol", make_number(1e-8))
    gap = rewriter.call("np.abs", rewriter.apply_operator(ast.Sub(), a, b))
    scaled = rewriter.apply_operator(ast.Mult(), rtol, rewriter.call("np.abs", b))
    return rewriter.compare(ast.LtE(), gap, rewriter.apply_operator(ast.Add(), atol, scaled))


def _compare_all_closely(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    close = _compare_closely(rewriter, positional, named)
    if close is None or close.array is None or (rewriter.context.batched and close.array.batch):
        return None
    return reduce_array(rewriter, "all", close, None)


def _write_log(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    if named or not 1 <= len(positional) <= 2:
        return None
    result = rewriter.call("np.log", positional[0])
    if len(positional) == 1:
        return result
    return rewriter.apply_operator(ast.Div(), result, rewriter.call("np.log", positional[1]))


def _write_difference(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    array = positional[0].array if len(positional) == 1 and not named else None
    if array is None or array.rank != 1 or array.shape[0] < 2:
        return None
    held = rewriter.name_value(positional[0], "numbers")
    rows: list[ast.expr] = [ast.Slice()] if array.batch else []
    later = index_array(held.node, [*rows, ast.Slice(ast.Constant(1))])
    earlier = index_array(held.node, [*rows, ast.Slice(None, make_number(-1).node)])
    return TypedExpression(ast.BinOp(later, ast.Sub(), earlier), ArrayValue((array.shape[0] - 1,), array.batch))


def _multiply_batches(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    ranks = [term.array.rank for term in positional if term.array is not None]
    if ranks != [2, 2] or named or not rewriter.context.batched:
        return None
    product = multiply_matrices(rewriter, *positional)
    return product if product.array is not None else None


def _keep_value(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    if len(positional) != 1 or named or positional[0].array is None:
        return None
    return to_number(positional[0]) if positional[0].array.truth else positional[0]


def _compute_square_error(
    rewriter: OperatorRewriter, positional: list[TypedExpression], named: dict[str, TypedExpression]
) -> TypedExpression | None:
    if len(positional) != 2 or named:
        return None
    square = rewriter.call("np.square", rewriter.apply_operator(ast.Sub(), *positional))
    if square.array is None or (rewriter.context.batched and square.array.batch):
        return None
    return reduce_array(rewriter, "mean", square, None)


SPECIAL_FUNCTIONS: dict[str, Callable[..., TypedExpression | None]] = {
    "append": append_values,
    "bmm": _multiply_batches,
    "reshape": reshape_array,
    "view": reshape_array,
    "allclose": _compare_all_closely,
    "array": make_array,
    "asarray": make_array,
    "as_tensor": make_array,
    "tensor": make_array,
    "from_numpy": make_array,
    "cat": join_vectors,
    "concat": join_vectors,
    "concatenate": join_vectors,
    "hstack": join_vectors,
    "cdist": _measure_all_distances,
    "clamp": _clip_values,
    "clip": _clip_values,
    "cosine_similarity": _compute_cosine,
    "cross": _write_cross_product,
    "diff": _write_difference,
    "dist": _measure_distance,
    "dot": _multiply_vectors,
    "euclidean": _measure_distance,
    "inner": _multiply_vectors,
    "matmul": _multiply_vectors,
    "vdot": _multiply_vectors,
    "expand_dims": add_axis,
    "unsqueeze": add_axis,
    "squeeze": remove_axis,
    "full": make_constant_maker(None),
    "zeros": make_constant_maker(0.0),
    "ones": make_constant_maker(1.0),
    "full_like": make_like_maker(None),
    "zeros_like": make_like_maker(0.0),
    "ones_like": make_like_maker(1.0),
    "isclose": _compare_closely,
    "lerp": _write_lerp,
    "log": _write_log,
    "mse_loss": _compute_square_error,
    "normalize": _normalise_vector,
    "pairwise_distance": _measure_pair_distance,
    "relu": _write_relu,
    "rsqrt": _write_rsqrt,
    "sigmoid": _write_sigmoid,
    "expit": _write_sigmoid,
    "softplus": _write_softplus,
    "stack": stack_values,
    "transpose": transpose_matrix,
    "trunc": _truncate_value,
    "fix": _truncate_value,
    "where": _choose_values,
    **dict.fromkeys(sorted(NUMBER_TYPES - {"int", "int32", "int64", "long"}), _keep_value),
}
"""Last part of a function's name -> its form in the language."""
