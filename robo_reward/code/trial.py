"""A supervised first run: what the linter cannot see, found before the program is ever compiled.

Nothing in the language branches on data, so the shape of every value is a function of the batch size alone. One walk
over the syntax tree with a small batch therefore decides for all batches whether shapes fit, rows stay apart, and work
and memory stay bounded. A value is either a constant or has the batch as its first axis; every result is checked
against that before it is used, and its size is bounded from the shapes of the arguments before it is computed.

A problem does not end the walk: the value in question becomes `UNKNOWN`, and so does all that follows from it, so that
the writer learns of every problem at once. Exhausted limits end it.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, Final

import numpy as np

from robo_reward.code.facade import CONSTANTS, FUNCTIONS, MAX_CONSTANTS
from robo_reward.code.grammar import ENTRY, STATES, dotted
from robo_reward.code.problems import SHOWN, Problem, ProgramRefused, closest
from robo_reward.code.samples import typical_transitions
from robo_reward.envs.state import StateSpec, Transitions

MAX_OPERATIONS = 4_096
MAX_WORK = 16_384
"""Numbers that may be read or computed for each transition, each times the cost of its function: some 0.02 ms."""
MAX_NUMBER = 1e15
MAX_AXES = 4
MAX_STATE = 2**23
"""Numbers in the batch of states that the trial runs on: 64 MiB."""

_NUMBERS = (int, float, np.bool_, np.integer, np.floating)
_FAILURES = (ValueError, TypeError, ArithmeticError, IndexError, KeyError, MemoryError)
_JOINS = frozenset(FUNCTIONS[name].call for name in ("np.stack", "np.concatenate", "np.array"))
_COSTS = {function.call: function.cost for function in FUNCTIONS.values()} | {
    operator.pow: FUNCTIONS["np.power"].cost,
    operator.mod: FUNCTIONS["np.mod"].cost,
    operator.floordiv: FUNCTIONS["np.mod"].cost,
}


class _Unknown:
    """The value of an expression with a problem."""


UNKNOWN: Final = _Unknown()


class _Exhausted(ProgramRefused):
    """A limit is used up: there is no point in going on."""


_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}

_NO_LOOPS = "use whole arrays in place of loops"

Scope = dict[str, Any]


def trial(tree: ast.Module, spec: StateSpec, action_dim: int) -> int:
    """Runs a linted program once on typical states.

    Returns:
        The work: an upper bound of the numbers that it computes for each transition.

    Raises:
        ProgramRefused: with every problem that was met.
    """
    widest = max([MAX_CONSTANTS, action_dim, *(n for field in spec for n in field.shape)])
    size = 2 * widest + 1  # no constant is as long as the batch
    if size * max(spec.dim, action_dim) > MAX_STATE:
        reason = f"the state has {spec.dim} numbers, up to {widest} along one axis"
        raise ProgramRefused([Problem(0, reason, "describe a state with fewer and smaller fields")])
    walk = _Trial(tree, typical_transitions(spec, action_dim, size))
    try:
        with np.errstate(all="ignore"):
            walk.run()
    except _Exhausted as exhausted:
        walk.problems += exhausted.problems
    except RecursionError:
        walk.problems.append(Problem(0, "calls and expressions nest too deeply", "use local variables"))
    if walk.problems:
        raise ProgramRefused(walk.problems)
    return walk.work


class _Trial:
    def __init__(self, tree: ast.Module, batch: Transitions) -> None:
        self.functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        self.states = {"state": batch.state, "previous": batch.previous}
        self.action = batch.action
        self.batch = len(batch.action)
        self.widest = (self.batch - 1) // 2
        self.operations = 0
        self.work = 0
        self.problems: list[Problem] = []

    def run(self) -> None:
        """Runs the entry function and checks what it returns."""
        entry = self.functions[ENTRY]
        scope: Scope = {"action": self.action}
        last = self.body(entry, scope)
        total, terms = last.elts  # type: ignore[attr-defined]  # the linter has seen to the form
        self.returned(total, "the total", scope)
        for key, value in zip(terms.keys, terms.values, strict=True):
            self.returned(value, f"the term {key.value!r}", scope)

    def returned(self, node: ast.expr, what: str, scope: Scope) -> None:
        """Checks that a returned value is one number for each transition."""
        value = self.value(node, scope)
        if value is not UNKNOWN and np.shape(value) not in ((), (self.batch,)):
            remedy = "return one number for each transition, such as np.sum(x, axis=-1)"
            self.note(node, f"{what} has shape {self.shown(np.shape(value))}, expected (B,)", remedy)

    def body(self, function: ast.FunctionDef, scope: Scope) -> ast.expr:
        """Runs a function up to its return and gives the expression that it returns."""
        *statements, last = function.body
        self.statements(statements, scope)
        return last.value  # type: ignore[attr-defined]  # the linter has seen that it is a return

    def statements(self, statements: Sequence[ast.stmt], scope: Scope) -> None:
        for node in statements:
            self.count(node)
            match node:
                case ast.Assign(targets=targets, value=value):
                    result = self.assigned(value, scope)
                    for target in targets:
                        self.bind(target, result, scope)
                case ast.AugAssign(target=ast.Name(id=name) as target, op=op, value=value):
                    old = self.variable(target, scope)
                    scope[name] = self.apply(node, _OPERATORS[type(op)], old, self.value(value, scope))
                case ast.For(target=ast.Name(id=name), iter=ast.Call(args=bounds), body=body):
                    for i in range(*(ast.literal_eval(bound) for bound in bounds)):
                        self.count(node)
                        scope[name] = i
                        self.statements(body, scope)

    def assigned(self, node: ast.expr, scope: Scope) -> Any:
        """The right side of an assignment: a value, or a tuple of values."""
        return (
            tuple(self.value(e, scope) for e in node.elts)
            if isinstance(node, ast.Tuple)
            else self.evaluated(node, scope)
        )

    def bind(self, target: ast.expr, value: Any, scope: Scope) -> None:
        """Gives a value to a name, or a tuple of values to as many names."""
        names = [name.id for name in (target.elts if isinstance(target, ast.Tuple | ast.List) else [target])]  # type: ignore[attr-defined]
        values = value if isinstance(value, tuple) else (value,)
        if len(names) != len(values):
            if value is not UNKNOWN:
                remedy = "unpack as many values as the helper returns; take components with x[:, 0]"
                self.note(target, f"{len(values)} values for {len(names)} names", remedy)
            values = (UNKNOWN,) * len(names)
        scope.update(zip(names, values, strict=True))

    def value(self, node: ast.expr, scope: Scope) -> Any:
        """An array or a number."""
        result = self.evaluated(node, scope)
        if isinstance(result, tuple):
            return self.note(node, "a helper's several values used as one", "unpack them first: a, b = helper(x)")
        return result

    def evaluated(self, node: ast.expr, scope: Scope) -> Any:
        """An array, a number, or the several values that a helper returns."""
        match node:
            case ast.Constant(value=constant):
                return constant
            case ast.Name():
                return self.variable(node, scope)
            case ast.Attribute(value=ast.Name(id=name), attr=field) if name in STATES:
                return self.states[name][field]
            case ast.Attribute():
                return CONSTANTS[dotted(node)]
            case ast.BinOp(left=left, op=op, right=right) | ast.Compare(left=left, ops=[op], comparators=[right]):
                return self.apply(node, _OPERATORS[type(op)], self.value(left, scope), self.value(right, scope))
            case ast.UnaryOp(op=op, operand=operand):
                return self.apply(node, _OPERATORS[type(op)], self.value(operand, scope))
            case ast.Subscript(value=array, slice=index):
                return self.subscript(node, self.value(array, scope), self.index(index, scope))
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return [self.value(element, scope) for element in elements]
            case ast.Call():
                return self.call(node, scope)
        return self.note(node, f"{type(node).__name__} is not in the language", "use arithmetic and np functions")

    def variable(self, node: ast.Name, scope: Scope) -> Any:
        if node.id not in scope:
            return self.note(node, f"{node.id!r} is used before it has a value", closest(node.id, scope))
        return scope[node.id]

    def call(self, node: ast.Call, scope: Scope) -> Any:
        arguments = [self.value(argument, scope) for argument in node.args]
        name = dotted(node.func)
        if helper := self.functions.get(name):
            self.count(node)
            inner = {parameter.arg: value for parameter, value in zip(helper.args.args, arguments, strict=True)}
            return self.assigned(self.body(helper, inner), inner)
        keywords = {str(keyword.arg): self.value(keyword.value, scope) for keyword in node.keywords}
        return self.apply(node, FUNCTIONS[name].call, *arguments, **keywords)

    def index(self, node: ast.expr, scope: Scope) -> tuple[Any, ...]:
        """What stands between the brackets."""

        def part(node: ast.expr | None) -> Any:
            if isinstance(node, ast.Slice):
                return slice(part(node.lower), part(node.upper), part(node.step))
            index = None if node is None else self.value(node, scope)
            if index is not None and index is not ... and index is not UNKNOWN and type(index) is not int:
                return self.note(node or ast.Constant(None), "an index that is not a whole number", "use np.where")
            return index

        return tuple(part(n) for n in (node.elts if isinstance(node, ast.Tuple) else [node]))

    def subscript(self, node: ast.Subscript, value: Any, index: tuple[Any, ...]) -> Any:
        """Components of an array; every row stays where it is."""
        if self.is_batch(value) and not any(part is UNKNOWN for part in _parts(index)):
            taken = sum(part is not None and part is not ... for part in index)
            if index[0] != slice(None) and not (index[0] is ... and taken < value.ndim):
                return self.note(
                    node,
                    f"`{_code(node)}` picks worlds, because the first axis of {self.shown(value.shape)} is the batch",
                    "keep every row: x[:, 0] for a component, x alone for a number",
                )
        return self.apply(node, operator.getitem, value, index)

    def apply(self, node: ast.AST, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Runs one operation and checks its result; a problem is noted, and the value is unknown from then on."""
        self.count(node)
        if any(part is UNKNOWN for part in _parts([*arguments, *keywords.values()])):
            return UNKNOWN
        try:
            return self.applied(node, function, arguments, keywords)
        except _Exhausted:
            raise
        except ProgramRefused as refused:
            problem = refused.problems[0]
            return self.note(node, problem.reason, problem.remedy)

    def applied(
        self, node: ast.AST, function: Callable[..., Any], arguments: Sequence[Any], keywords: dict[str, Any]
    ) -> Any:
        """The checked result of one operation on known values."""
        self.foresee(node, function, [*arguments, *keywords.values()])
        try:
            if function is operator.pow and not self.has_array(arguments):
                result = float(arguments[0]) ** float(arguments[1])  # whole powers of whole numbers have no bound
            elif function is operator.invert and not self.has_array(arguments):
                raise TypeError("~ turns truth values of arrays round")  # Python advises against ~True
            else:
                result = function(*arguments, **keywords)
        except _FAILURES as error:
            shapes = ", ".join(self.shown(np.shape(a)) for a in arguments if isinstance(a, np.ndarray))
            reason = f"`{_code(node)}` fails" + (f" on arrays of shape {shapes}" if shapes else "")
            raise self.refused(node, f"{reason}: {self.explained(error)}", _remedy(error, node, arguments)) from None
        return self.checked(node, result)

    def count(self, node: ast.AST) -> None:
        """Counts one operation, statement, call or round of a loop."""
        self.operations += 1
        if self.operations > MAX_OPERATIONS:
            problem = Problem(getattr(node, "lineno", 0), f"more than {MAX_OPERATIONS} operations", _NO_LOOPS)
            raise _Exhausted([problem])

    def foresee(self, node: ast.AST, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
        """Adds the work of an operation, and refuses it before it runs when that is too much.

        No function of the language makes anything larger than its arguments together: what it joins, or what it
        broadcasts against each other. Axes that do not fit count as the larger of the two, since a function may broadcast
        some of its arguments before it fails on others.
        """
        shapes = [part.shape for part in _parts(arguments) if isinstance(part, np.ndarray)]
        if not shapes or function is operator.getitem:
            return
        if function in _JOINS:
            size = sum(map(math.prod, shapes))
        else:
            aligned = zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1)
            size = math.prod(max(axis) for axis in aligned)
        self.work += _COSTS.get(function, 1) * size // self.batch
        if size > self.batch * MAX_WORK:
            reason = f"`{_code(node)}` would compute {size // self.batch} numbers for each transition"
            raise self.refused(node, reason, f"use smaller arrays: at most {MAX_WORK} numbers")
        self.check_work(node)

    def check_work(self, node: ast.AST) -> None:
        """Checks that the work so far stays within the limit."""
        if self.work > MAX_WORK:
            reason = f"the program computes more than {MAX_WORK} numbers for each transition"
            raise _Exhausted([Problem(getattr(node, "lineno", 0), reason, "compute less, with smaller arrays")])

    def checked(self, node: ast.AST, value: Any) -> Any:
        """Checks one intermediate value: its kind, its magnitude, its shape and the work done so far."""
        if isinstance(value, np.ndarray):
            self.work += value.size // self.batch + 1
            self.check_work(node)
            self.check_shape(node, value.shape)
        elif not isinstance(value, _NUMBERS) or not abs(value) <= MAX_NUMBER:
            raise self.refused(node, f"`{_code(node)}` is {_digits(value)}", "keep constants real and below 1e15")
        return value

    def check_shape(self, node: ast.AST, shape: tuple[int, ...]) -> None:
        """Checks that a value is a constant or has the batch first, and is narrow."""
        components = shape[1:] if shape[:1] == (self.batch,) else shape
        if self.batch in components or max(components, default=0) > self.widest:
            remedy = (
                "the batch stays the first axis: write x[:, None] to multiply (B,) with (B, 3), and join with axis=-1"
            )
            raise self.refused(node, f"`{_code(node)}` has shape {self.shown(shape)}", remedy)
        if 0 in shape:
            raise self.refused(node, f"`{_code(node)}` is empty", "pick at least one component")
        if len(shape) > MAX_AXES:
            raise self.refused(node, f"`{_code(node)}` has {len(shape)} axes", f"use at most {MAX_AXES}")

    def is_batch(self, value: Any) -> bool:
        return np.shape(value)[:1] == (self.batch,)

    @staticmethod
    def has_array(values: Sequence[Any]) -> bool:
        return any(isinstance(value, np.ndarray) for value in values)

    def shown(self, shape: tuple[int, ...]) -> str:
        """A shape as the writer knows it, with B for the batch."""
        names = ["B" if n == self.batch else "B+" if n > self.widest else str(n) for n in shape]
        return f"({', '.join(names)}{',' if len(names) == 1 else ''})"

    def explained(self, error: Exception) -> str:
        """The first sentence of an error of numpy, with B for the batch."""
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        return text.replace(f"({self.batch},", "(B,")[:200]

    def refused(self, node: ast.AST, reason: str, remedy: str) -> ProgramRefused:
        return ProgramRefused([Problem(getattr(node, "lineno", 0), reason, remedy)])

    def note(self, node: ast.AST, reason: str, remedy: str) -> _Unknown:
        """Notes a problem, for the walk to go on with an unknown value."""
        problem = Problem(getattr(node, "lineno", 0), reason, remedy)
        if problem not in self.problems:
            self.problems.append(problem)
        if len(self.problems) >= SHOWN:
            raise _Exhausted([])
        return UNKNOWN


def _parts(values: Sequence[Any]) -> Iterator[Any]:
    """Values, and what lists, indices and slices among them hold."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _parts(value)
        elif isinstance(value, slice):
            yield from (value.start, value.stop, value.step)
        else:
            yield value


def _code(node: ast.AST) -> str:
    try:
        text = ast.unparse(node)
    except (ValueError, RecursionError, MemoryError):  # ValueError: a whole number of more than 4,300 digits
        return "this expression"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _digits(value: object) -> str:
    try:
        return str(value)[:20]
    except ValueError:
        return "a number of more than 4300 digits"


def _remedy(error: Exception, node: ast.AST, arguments: Sequence[Any]) -> str:
    if isinstance(node, ast.Call) and (function := FUNCTIONS.get(dotted(node.func))):
        if function.required == ("x", "axis") and arguments and np.ndim(arguments[0]) < 2:
            return f"remove {function.name}: its argument is one number for each transition already"
        return f"write {function.usage}"
    if isinstance(error, TypeError):
        return "put comparisons in parentheses: (a < b) & (c < d); turn them into numbers with np.where(x, 1.0, 0.0)"
    if isinstance(error, IndexError):
        return "look at the shapes in the outline of the state"
    return "write x[:, None] to multiply (B,) with (B, 3), or reduce vectors with np.sum(x, axis=-1)"
