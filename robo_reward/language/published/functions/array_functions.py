"""Rewrites functions of array libraries, and the methods of arrays with the same names."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from robo_reward.language.published.functions.reductions import rewrite_reduction, to_number
from robo_reward.language.published.functions.special_functions import SPECIAL_FUNCTIONS
from robo_reward.language.published.names import ELEMENTWISE, REDUCTIONS, TRUTHS
from robo_reward.language.published.values import (
    ArrayValue,
    TypedExpression,
)

if TYPE_CHECKING:
    from robo_reward.language.published.operators import OperatorRewriter


def rewrite_function(
    rewriter: OperatorRewriter,
    library: str,
    name: str,
    positional: list[TypedExpression],
    named: dict[str, TypedExpression],
) -> TypedExpression | None:
    """Returns the call of a library's function in the language, or `None` if it has none.

    Args:
        rewriter: of the function in which the call stands.
        library: `numpy`, `torch`, `math`, `scipy` or `jax`.
        name: in the library, without `linalg` and the like.
        positional: the arguments by position.
        named: the arguments by name.
    """
    if library == "math" and name in ("isclose", "dist", "prod"):
        library, name = "numpy", {"isclose": ""}.get(name, name)
    if "dtype" in named and named["dtype"].const == "int":
        return None
    named = {key: term for key, term in named.items() if key not in ("device", "dtype", "requires_grad", "copy")}
    if "input" in named:
        positional, named = [named["input"], *positional], {k: v for k, v in named.items() if k != "input"}
    keepdims = named.pop("keepdim", None)
    if keepdims is not None:
        named["keepdims"] = keepdims
    dim = named.pop("dim", None)
    if dim is not None:
        named["axis"] = dim
    if name not in (
        "where",
        "stack",
        "reshape",
        "view",
        "concatenate",
        "cat",
        "hstack",
        "concat",
        "array",
        "tensor",
        "asarray",
    ):
        positional = [rewriter.pack(term) for term in positional]
    of_two = library == "torch" and name in ("max", "min") and len(positional) == 2 and "axis" not in named
    if of_two and type(positional[1].const) is not int:
        return rewriter.call("np.maximum" if name == "max" else "np.minimum", *positional)
    if name in REDUCTIONS:
        return rewrite_reduction(rewriter, library, name, positional, named)
    if name in ELEMENTWISE and not named and positional and SPECIAL_FUNCTIONS.get(name) is None:
        spelled = "np." + ELEMENTWISE[name]
        if all(isinstance(term.value, ArrayValue) or term.array is None for term in positional):
            return _call_elementwise(rewriter, spelled, positional)
    handler = SPECIAL_FUNCTIONS.get(name)
    return handler(rewriter, positional, named) if handler else None


def rewrite_method(
    rewriter: OperatorRewriter,
    name: str,
    held: TypedExpression,
    positional: list[TypedExpression],
    named: dict[str, TypedExpression],
) -> TypedExpression | None:
    """Returns the call of an array's method, or `None` if the language has none."""
    value = held.array
    if value is None:
        return None
    if name in ("copy", "clone", "detach", "cpu", "numpy", "item", "contiguous", "cuda", "double", "float", "half"):
        if name == "item" and rewriter.context.batched and value.batch:
            return None
        return (
            to_number(held)
            if value.truth
            else TypedExpression(held.node, ArrayValue(value.shape, value.batch, const=value.const))
        )
    if name in ("to", "astype", "type", "type_as"):
        kind = positional[0].const if positional else named.get("dtype", held).const
        if kind == "bool":
            return rewriter.as_truth(held)
        whole = isinstance(kind, str) and kind.startswith("int")
        return None if whole else to_number(held) if value.truth else held
    if name in ("bool",):
        return rewriter.as_truth(held)
    if name in ("long", "int"):
        return to_number(held) if value.truth else None
    if name in ("flatten", "ravel") and value.rank <= 1 and not (rewriter.context.batched and value.batch):
        return held
    if name in ("sum", "mean", "max", "min", "std", "var", "norm", "prod", "any", "all") and "dim" in named:
        return rewrite_function(rewriter, "torch", name, [held, *positional], named)
    library = "torch" if rewriter.context.torch else "numpy"
    return rewrite_function(rewriter, library, name, [held, *positional], named)


def _call_elementwise(
    rewriter: OperatorRewriter, spelled: str, positional: list[TypedExpression]
) -> TypedExpression | None:
    expected = 2 if spelled[3:] in _PAIRS else 1
    if len(positional) != expected:
        return None
    if spelled == "np.power":
        return rewriter.apply_operator(ast.Pow(), *positional)
    return rewriter.call(spelled, *positional, truth=spelled[3:] in TRUTHS)


_PAIRS = frozenset(
    [
        "add",
        "subtract",
        "multiply",
        "divide",
        "power",
        "mod",
        "minimum",
        "maximum",
        "hypot",
        "arctan2",
        "copysign",
        "less",
        "less_equal",
        "greater",
        "greater_equal",
        "equal",
        "not_equal",
        "logical_and",
        "logical_or",
        "logical_xor",
    ]
)
