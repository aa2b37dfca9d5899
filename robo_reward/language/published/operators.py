"""Operators of arrays in one world, written for the batch: arithmetic, comparison, choice and conditions."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from robo_reward.language.grammar import MAX_CONSTANT, get_dotted_name
from robo_reward.language.published.frames import Environment, FunctionFrame
from robo_reward.language.published.values import (
    UNKNOWN,
    ArrayValue,
    DictionaryValue,
    FunctionValue,
    PythonValue,
    SequenceValue,
    StateValue,
    TypedExpression,
    UnknownValue,
    combine,
    index_array,
    is_simple,
    join_values,
    make_call,
    make_number,
    make_python,
    make_sequence,
    measure_nodes,
)

if TYPE_CHECKING:
    from robo_reward.language.published.context import Context

_FOLDED: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_TRUTH_OPERATORS = (ast.BitAnd, ast.BitOr, ast.BitXor)


class OperatorRewriter:
    """Writes operations on values inside one function.

    Args:
        context: of the whole program.
        frame: the function that is being written.
    """

    def __init__(self, context: Context, frame: FunctionFrame) -> None:
        self.context = context
        self.frame = frame
        self.line = 0

    def note(self, what: str, why: str, node: ast.AST | None = None) -> None:
        """Records a change at the line of `node`, or of the current statement."""
        self.context.note(getattr(node, "lineno", 0) or self.line, what, why)

    def emit(self, statement: ast.stmt) -> None:
        """Adds a statement to the rewritten function."""
        statement.lineno = self.line
        self.context.count_nodes(sum(map(measure_nodes, ast.iter_child_nodes(statement))))
        self.frame.statements.append(statement)

    def name_value(self, term: TypedExpression, wished: str) -> TypedExpression:
        """Returns the term as a variable, so that it may be written several times."""
        if is_simple(term.node) or not isinstance(term.value, ArrayValue | UnknownValue):
            return term
        return self.write_variable(term, wished)

    def write_variable(self, term: TypedExpression, wished: str) -> TypedExpression:
        """Returns the term in a new variable."""
        name = self.frame.make_name(wished)
        self.frame.made.add(name)
        self.frame.frozen.add(name)
        self.emit(ast.Assign([ast.Name(name, ast.Store())], term.node))
        return TypedExpression(ast.Name(name, ast.Load()), term.value)

    def combine(
        self, terms: list[TypedExpression], build: Callable[[list[ast.expr]], ast.expr], truth: bool = False
    ) -> TypedExpression:
        """Returns an element-wise operation that the program itself writes."""
        terms = [self.pack(term) for term in terms]
        return combine(terms, build, truth, align=not self.context.batched)

    def call(self, name: str, *terms: TypedExpression, truth: bool = False) -> TypedExpression:
        """Returns the call of an element-wise function of the language."""
        return self.combine(list(terms), lambda nodes: make_call(name, nodes), truth)

    def choose(self, condition: TypedExpression, chosen: TypedExpression, other: TypedExpression) -> TypedExpression:
        """Returns `np.where(condition, chosen, other)`, with the axes that its parts need."""
        if condition.const is not None:
            return chosen if condition.const else other
        if isinstance(chosen.value, SequenceValue) and isinstance(other.value, SequenceValue):
            pairs = list(zip(chosen.value.items, other.value.items, strict=False))
            if len(pairs) == len(chosen.value.items) == len(other.value.items):
                condition = self.name_value(condition, "condition")
                return make_sequence([self.choose(condition, a, b) for a, b in pairs])
        if chosen.value == other.value and not isinstance(chosen.value, ArrayValue | UnknownValue):
            return chosen
        if is_simple(chosen.node) and ast.dump(chosen.node) == ast.dump(other.node):
            return chosen
        chosen, other = self.pack(chosen), self.pack(other)
        if not all(isinstance(t.value, ArrayValue | UnknownValue) for t in (chosen, other)):
            return TypedExpression(make_call("np.where", [condition.node, chosen.node, other.node]), UNKNOWN)
        term = combine([condition, chosen, other], lambda nodes: make_call("np.where", nodes))
        value = join_values(chosen.value, other.value)
        if isinstance(term.value, ArrayValue) and isinstance(value, ArrayValue):
            return TypedExpression(term.node, ArrayValue(term.value.shape, term.value.batch, value.truth))
        return term

    def as_truth(self, term: TypedExpression) -> TypedExpression:
        """Returns the truth of a value, as Python's `if` sees it."""
        value = term.value
        if isinstance(value, ArrayValue) and value.const is not None:
            return make_number(bool(value.const))
        if isinstance(value, PythonValue):
            return make_number(bool(value.value))
        if isinstance(value, SequenceValue | DictionaryValue):
            return make_number(bool(value.items))
        if isinstance(value, FunctionValue | StateValue):
            return make_number(True)
        if isinstance(value, ArrayValue) and not value.truth:
            return combine([term, make_number(0)], lambda n: ast.Compare(n[0], [ast.NotEq()], n[1:]), truth=True)
        return term

    def pack(self, term: TypedExpression) -> TypedExpression:
        """Returns a list of numbers as an array, and anything else as it is."""
        return self.make_vector(list(term.value.items)) if isinstance(term.value, SequenceValue) else term

    def make_vector(self, terms: list[TypedExpression]) -> TypedExpression:
        """Returns numbers, or vectors of one length, side by side as one array."""
        arrays = [term.array for term in terms]
        shapes = {array.shape for array in arrays if array is not None}
        unknown = TypedExpression(ast.List([t.node for t in terms], ast.Load()), UNKNOWN)
        if None in arrays or len(shapes) != 1:
            return unknown
        shape = next(iter(shapes))
        batched = [term for term in terms if term.array is not None and term.array.batch]
        elements: ast.expr = ast.List([term.node for term in terms], ast.Load())
        if not batched:
            if shape != ():
                return unknown
            whole = all(type(term.const) is int for term in terms)
            value = ArrayValue((len(terms),), cell="an array of whole numbers" if whole else None)
            return TypedExpression(make_call("np.array", [elements]), value)
        if shape == ():
            like = self.name_value(batched[0], "number")
            nodes = []
            for term in terms:
                node = like.node if term is batched[0] else term.node
                if not (term.array and term.array.batch):
                    node = ast.BinOp(make_call("np.zeros_like", [like.node]), ast.Add(), node)
                elif term.array.truth:
                    node = make_call("np.where", [node, ast.Constant(1.0), ast.Constant(0.0)])
                nodes.append(node)
        elif len(batched) < len(terms):
            return unknown
        else:
            rows: list[ast.expr] = [index_array(t.node, [ast.Slice(), ast.Constant(None)]) for t in terms]
            node = make_call("np.concatenate", [ast.List(rows, ast.Load())], axis=make_number(-1 - len(shape)).node)
            return TypedExpression(node, ArrayValue((len(terms), *shape), True))
        node = make_call("np.stack", [ast.List(nodes, ast.Load())], axis=make_number(-1).node)
        return TypedExpression(node, ArrayValue((len(terms),), True))

    def list_items(self, term: TypedExpression) -> list[TypedExpression] | None:
        """Returns what a loop over a value would meet, or `None` if that is not known."""
        value = term.value
        if isinstance(value, SequenceValue):
            return list(value.items)
        if isinstance(value, DictionaryValue):
            return [make_python(key) for key in value.items]
        if isinstance(value, ArrayValue) and value.rank > 0 and not (self.context.batched and value.batch):
            self.context.count_step(value.shape[0])
            held = self.name_value(term, "vector")
            return [self.pick(held, [i]) for i in range(min(value.shape[0], 64))] if value.shape[0] <= 64 else None
        return None

    def pick(self, term: TypedExpression, index: list[int]) -> TypedExpression:
        """Returns components of an array of known shape, by their indices in one world."""
        value = term.array
        assert value is not None
        if not value.batch and isinstance(term.node, ast.Call) and get_dotted_name(term.node.func) == "np.array":
            elements = term.node.args[0]
            if isinstance(elements, ast.List) and len(index) == 1:
                element = elements.elts[index[0]]
                number = element.value if isinstance(element, ast.Constant) else None
                return TypedExpression(element, ArrayValue(const=number if isinstance(number, int | float) else None))
        parts: list[ast.expr] = [make_number(i).node for i in index]
        node = index_array(term.node, [ast.Slice(), *parts] if value.batch else parts)
        return TypedExpression(node, self.make_part(value, value.shape[len(index) :], value.truth))

    def make_part(self, value: ArrayValue, shape: tuple[int, ...], truth: bool) -> ArrayValue:
        """Returns components of an array, which share its memory unless they are one number."""
        shared = bool(shape) or (self.context.batched and value.batch)
        return ArrayValue(shape, value.batch, truth, cell=f"a part of {value.cell}" if shared else None)

    def is_shadowed(self, name: str, env: Environment) -> bool:
        """Returns whether the program gives a name a meaning of its own."""
        return name in env or name in self.context.functions or name in self.context.constants

    def apply_operator(self, op: ast.operator, left: TypedExpression, right: TypedExpression) -> TypedExpression:
        """Returns `left op right`."""
        if isinstance(op, ast.MatMult):
            self.note("@ is written out", "the language multiplies row by row")
            return self.context.multiply_matrices(self, left, right)
        lists = [t.value for t in (left, right) if isinstance(t.value, SequenceValue)]
        if len(lists) == 2 and isinstance(op, ast.Add):
            return make_sequence([*lists[0].items, *lists[1].items])
        if len(lists) == 1 and isinstance(op, ast.Mult):
            count = right.const if lists[0] is left.value else left.const
            if type(count) is int and 0 <= count * len(lists[0].items) <= 64:
                return make_sequence([*lists[0].items] * count)
        if lists and not any(t.array is not None and t.array.rank for t in (left, right)):
            return TypedExpression(ast.BinOp(left.node, op, right.node), UNKNOWN)  # Python's operators of lists
        if isinstance(op, ast.Add) and all(t.array is not None and t.array.truth for t in (left, right)):
            remedy = "turn each into a number first, as in np.where(a < b, 1.0, 0.0)"
            self.context.doubt(self.line, "a sum of truth values: 1 in numpy and 2 in Python", remedy)
        truth = isinstance(op, _TRUTH_OPERATORS) and all(t.array is not None and t.array.truth for t in (left, right))
        term = self.combine([left, right], lambda nodes: ast.BinOp(nodes[0], op, nodes[1]), truth)
        return fold(term, op, left, right)

    def join_conditions(self, terms: list[TypedExpression], both: bool) -> TypedExpression:
        """Returns `a and b`, or `a or b`, with Python's meaning: the first value that decides, or the last."""
        kept: list[TypedExpression] = []
        for position, term in enumerate(terms):
            known = self.as_truth(term).const
            if known is None:
                kept.append(term)
            elif bool(known) != both:  # this one decides
                kept.append(term)
                break
            elif position == len(terms) - 1:
                kept.append(term)
        if len(kept) == 1:
            return kept[0]
        if all(term.array is not None and term.array.truth for term in kept):
            self.note("and / or are np.logical_and / np.logical_or", "arrays hold many worlds")
            result = kept[0]
            for term in kept[1:]:
                name = "np.logical_and" if both else "np.logical_or"
                result = combine([result, term], lambda nodes, name=name: make_call(name, nodes), truth=True)
            return result
        self.note("and / or choose with np.where", "arrays hold many worlds")
        result = kept[-1]
        for term in reversed(kept[:-1]):
            term = self.name_value(term, "first")
            truth = self.as_truth(term)
            result = self.choose(truth, result, term) if both else self.choose(truth, term, result)
        return result

    def compare(self, op: ast.cmpop, left: TypedExpression, right: TypedExpression) -> TypedExpression:
        """Returns one comparison."""
        if isinstance(op, ast.Is | ast.IsNot) and "None" in (repr_python(left), repr_python(right)):
            same = repr_python(left) == repr_python(right)
            if not any(isinstance(t.value, UnknownValue) for t in (left, right)):
                return make_number(same == isinstance(op, ast.Is))
        if isinstance(op, ast.In | ast.NotIn):
            return self.find_in(left, right, isinstance(op, ast.In))
        if isinstance(left.value, SequenceValue) and isinstance(right.value, SequenceValue):
            known = [[item.const for item in t.value.items] for t in (left, right)]  # type: ignore[union-attr]
            if None not in [*known[0], *known[1]] and isinstance(op, ast.Eq | ast.NotEq):
                return make_number((known[0] == known[1]) == isinstance(op, ast.Eq))
        if isinstance(left.value, PythonValue) or isinstance(right.value, PythonValue):
            a, b = left.const, right.const
            if isinstance(op, ast.Eq | ast.NotEq) and a is not None and b is not None:
                return make_number((a == b) == isinstance(op, ast.Eq))
        lists = any(isinstance(t.value, SequenceValue) for t in (left, right))
        if lists and not any(t.array is not None and t.array.rank for t in (left, right)):
            return TypedExpression(ast.Compare(left.node, [op], [right.node]), UNKNOWN)
        term = self.combine([left, right], lambda n: ast.Compare(n[0], [op], n[1:]), truth=True)
        return fold(term, op, left, right)

    def find_in(self, item: TypedExpression, held: TypedExpression, inside: bool) -> TypedExpression:
        """Returns `item in held` for lists and dictionaries that are known."""
        items = self.list_items(held) if not isinstance(held.value, ArrayValue) else None
        if items is None:
            op = ast.In() if inside else ast.NotIn()
            return TypedExpression(ast.Compare(item.node, [op], [held.node]), UNKNOWN)
        if item.const is not None and all(other.const is not None for other in items):
            return make_number((item.const in [other.const for other in items]) == inside)
        self.note("in is written as comparisons", "the language has no lists")
        item = self.name_value(item, "item")
        found = self.join_conditions(
            [self.compare(ast.Eq(), item, other) for other in items] or [make_number(False)], both=False
        )
        return found if inside else self.negate(found)

    def negate(self, condition: TypedExpression) -> TypedExpression:
        """Returns `not condition`."""
        if condition.const is not None:
            return make_number(not condition.const)
        self.note("not is np.logical_not", "arrays hold many worlds")
        return combine([condition], lambda nodes: make_call("np.logical_not", nodes), truth=True)


def repr_python(term: TypedExpression) -> str:
    """Returns `None` for the value None and another text for any other."""
    return "None" if isinstance(term.value, PythonValue) and term.value.value is None else "something"


def fold(term: TypedExpression, op: ast.AST, left: TypedExpression, right: TypedExpression) -> TypedExpression:
    """Returns the term with its number, where both operands are known numbers of a sensible size."""
    a, b = left.const, right.const
    numbers = all(isinstance(x, int | float) and abs(x) <= MAX_CONSTANT for x in (a, b))
    if type(op) not in _FOLDED or not numbers or not isinstance(term.value, ArrayValue):
        return term
    if isinstance(op, ast.Div) and b == 0:
        return term
    return TypedExpression(term.node, ArrayValue(truth=term.value.truth, const=_FOLDED[type(op)](a, b)))
