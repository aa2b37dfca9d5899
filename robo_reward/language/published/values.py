"""The values that the rewriting of a published program reasons about: shapes in one world, and Python's own objects."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

MAX_EXPRESSION = 2_000
"""Largest number of nodes of one rewritten expression."""
MAX_LENGTH = 256
"""Largest number of items of a list or dictionary."""


class CannotNormalise(Exception):
    """Raised when a program is too large to be rewritten."""


@dataclass(frozen=True)
class ArrayValue:
    """A number or an array.

    Args:
        shape: in one world: `()` for a number; the array has the shape (B, *shape) if it depends on the state.
        batch: whether it depends on the state.
        truth: whether it holds truth values.
        const: the number itself, where it is written in the program.
        cell: identifies the memory of an array that `+=` would change in place; a text for memory of the state.
    """

    shape: tuple[int, ...] = ()
    batch: bool = False
    truth: bool = False
    const: float | bool | None = None
    cell: int | str | None = field(default=None, compare=False)

    @property
    def rank(self) -> int:
        return len(self.shape)


@dataclass(frozen=True)
class UnknownValue:
    """A value of unknown shape."""


@dataclass(frozen=True)
class PythonValue:
    """A text, `None` or another object that has no place in the language, known while the program is rewritten."""

    value: Any


@dataclass(frozen=True)
class StateValue:
    """The state before or after the action; `name` is `state` or `previous`."""

    name: str


@dataclass
class FunctionValue:
    """A function of the program, and the variables around it if it is defined inside another."""

    name: str
    node: ast.FunctionDef | ast.Lambda
    around: dict[str, TypedExpression] | None = None


@dataclass(frozen=True)
class SequenceValue:
    """A tuple or list of known length."""

    items: tuple[TypedExpression, ...]


@dataclass(frozen=True)
class DictionaryValue:
    """A dictionary whose keys are known."""

    items: dict[Any, TypedExpression]


Value = ArrayValue | UnknownValue | PythonValue | StateValue | FunctionValue | SequenceValue | DictionaryValue


@dataclass(frozen=True)
class TypedExpression:
    """An expression of the rewritten program and the value that it has."""

    node: ast.expr
    value: Value

    def __post_init__(self) -> None:
        if isinstance(self.value, SequenceValue | DictionaryValue) and len(self.value.items) > MAX_LENGTH:
            raise CannotNormalise(f"a list of more than {MAX_LENGTH} items")

    @property
    def array(self) -> ArrayValue | None:
        """The value if it is an array or number of known shape."""
        return self.value if isinstance(self.value, ArrayValue) else None

    @property
    def const(self) -> Any:
        """The number, text or truth value if it is known, else `None`."""
        if isinstance(self.value, ArrayValue):
            return self.value.const
        return self.value.value if isinstance(self.value, PythonValue) else None


UNKNOWN = UnknownValue()


def measure_nodes(node: ast.AST) -> int:
    """Returns the number of nodes of a tree; each node keeps its number, since trees share their parts.

    Raises:
        CannotNormalise: there are too many.
    """
    if (known := getattr(node, "measured", 0)) == 0:
        known = 1 + sum(measure_nodes(child) for child in ast.iter_child_nodes(node) if not isinstance(child, ast.Load))
        if known > MAX_EXPRESSION:
            raise CannotNormalise(f"an expression of more than {MAX_EXPRESSION} parts once it is written out")
        node.measured = known  # type: ignore[attr-defined]
    return known


def make_number(value: float | bool) -> TypedExpression:
    """Returns the term of a constant number."""
    if isinstance(value, bool) or value >= 0:
        node: ast.expr = ast.Constant(value)
    else:
        node = ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return TypedExpression(node, ArrayValue(truth=isinstance(value, bool), const=value))


def make_call(name: str, arguments: Iterable[ast.expr], **keywords: ast.expr) -> ast.Call:
    """Returns the syntax of a call such as `np.sum(x, axis=-1)`."""
    function: ast.expr = ast.Name(name.split(".")[0], ast.Load())
    for part in name.split(".")[1:]:
        function = ast.Attribute(function, part, ast.Load())
    return ast.Call(function, list(arguments), [ast.keyword(key, value) for key, value in keywords.items()])


def is_simple(node: ast.expr) -> bool:
    """Returns whether an expression may be written twice without computing anything twice."""
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    if isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name | ast.Constant)


def expand_axes(term: TypedExpression, rank: int) -> ast.expr:
    """Returns the expression with new axes behind the batch, so that it broadcasts against arrays of that rank."""
    value = term.array
    if value is None or not value.batch or value.rank >= rank:
        return term.node
    return index_array(term.node, [ast.Slice(), *[ast.Constant(None)] * (rank - value.rank)])


def index_array(node: ast.expr, parts: list[ast.expr]) -> ast.Subscript:
    """Returns the syntax of `node[parts]`."""
    index = parts[0] if len(parts) == 1 else ast.Tuple(parts, ast.Load())
    return ast.Subscript(node, index, ast.Load())


def broadcast_shapes(shapes: Iterable[tuple[int, ...]]) -> tuple[int, ...] | None:
    """Returns the shape of several arrays of one world together, or `None` if they do not fit."""
    result: tuple[int, ...] = ()
    for shape in shapes:
        rank = max(len(result), len(shape))
        pairs = zip((1,) * (rank - len(result)) + result, (1,) * (rank - len(shape)) + shape, strict=True)
        axes = [(a, b) for a, b in pairs]
        if any(a != b and 1 not in (a, b) for a, b in axes):
            return None
        result = tuple(max(a, b) for a, b in axes)
    return result


def combine(
    terms: list[TypedExpression], build: Callable[[list[ast.expr]], ast.expr], truth: bool = False, align: bool = True
) -> TypedExpression:
    """Returns an element-wise operation on terms, in which each world is computed by itself.

    Args:
        terms: the operands.
        build: makes the syntax from those of the operands.
        truth: whether the result holds truth values.
        align: whether axes are added behind the batch where the operands of one world would broadcast; without it
            such operands give an unknown value.
    """
    known = [term.array for term in terms if term.array is not None]
    shape = broadcast_shapes(array.shape for array in known) if len(known) == len(terms) else None
    if shape is None or (not align and any(array.batch and array.rank < len(shape) for array in known)):
        return TypedExpression(build([term.node for term in terms]), UNKNOWN)
    nodes = [expand_axes(term, len(shape)) for term in terms]
    return TypedExpression(build(nodes), ArrayValue(shape, any(array.batch for array in known), truth))


def join_values(a: Value, b: Value) -> Value:
    """Returns the value of a variable that has one of two values."""
    if a == b:
        return a
    if isinstance(a, ArrayValue) and isinstance(b, ArrayValue):
        shape = broadcast_shapes([a.shape, b.shape])
        if shape is not None:
            return ArrayValue(shape, a.batch or b.batch, a.truth and b.truth)
    return UNKNOWN


def without_constant(term: TypedExpression) -> TypedExpression:
    """Returns the term with its number forgotten, for variables that a loop changes."""
    return TypedExpression(term.node, replace(term.value, const=None)) if isinstance(term.value, ArrayValue) else term


def make_python(value: Any) -> TypedExpression:
    """Returns the term of a text or another object that the language does not have."""
    return make_number(value) if type(value) is int else TypedExpression(ast.Constant(str(value)), PythonValue(value))


def make_sequence(terms: list[TypedExpression]) -> TypedExpression:
    """Returns the term of a list."""
    return TypedExpression(ast.Tuple([term.node for term in terms], ast.Load()), SequenceValue(tuple(terms)))
