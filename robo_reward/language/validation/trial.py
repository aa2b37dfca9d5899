"""A supervised first run: finds the problems that the linter cannot see, before the program is ever compiled.

Nothing in the language branches on data, so the shape of every value is a function of the batch size alone. One
walk over the syntax tree with a small batch therefore decides for all batches whether shapes fit, rows stay apart,
and work and memory stay bounded. A value is either a constant or has the batch as its first axis; every result is
checked against that before it is used, and its size is bounded from the shapes of the arguments before it is
computed.

A problem does not end the walk: the value in question becomes `UNKNOWN`, and so does all that follows from it, so
that the writer learns of every problem at once. What the linter refuses is not run either and is `UNKNOWN`. Exhausted
limits end the walk.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from robo_reward.envs.state import StateSpec, Transitions
from robo_reward.language.builtins import CONSTANTS, FUNCTIONS, MAX_CONSTANTS
from robo_reward.language.grammar import ENTRY, STATES, get_dotted_name
from robo_reward.language.problems import MAX_PROBLEMS_SHOWN, Problem, ProgramError, suggest_closest_name
from robo_reward.language.validation.samples import sample_typical_transitions
from robo_reward.language.validation.workload import LimitExceeded, Workload, flatten_values, quote_code

MAX_NUMBER = 1e15
MAX_AXES = 4
MAX_STATE = 2**23
"""Maximum numbers in the batch of states on which the trial runs (64 MiB)."""

_NUMBERS = (int, float, np.bool_, np.integer, np.floating)
_FAILURES = (ValueError, TypeError, ArithmeticError, IndexError, KeyError, MemoryError)


class _UnknownValue:
    """The value of an expression with a problem."""


UNKNOWN: Final = _UnknownValue()


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

Variables = dict[str, Any]


def trial(tree: ast.Module, spec: StateSpec, action_dim: int, refused: frozenset[int] = frozenset()) -> int:
    """Runs a linted program once on typical states.

    Args:
        tree: the program.
        spec: the fields of the state.
        action_dim: A.
        refused: the nodes that the linter refuses, by their `id`; they are not run, and their values are unknown.

    Returns:
        The work: an upper bound of the numbers that it computes for each transition.

    Raises:
        ProgramError: with every problem that was met.
    """
    widest = max([MAX_CONSTANTS, action_dim, *(n for field in spec for n in field.shape)])
    size = 2 * widest + 1  # longer than any constant, so that the length identifies the batch axis
    if size * max(spec.dim, action_dim) > MAX_STATE:
        reason = f"the state has {spec.dim} numbers, up to {widest} along one axis"
        raise ProgramError([Problem(0, reason, "describe a state with fewer and smaller fields")])
    walk = _Trial(tree, sample_typical_transitions(spec, action_dim, size), refused)
    try:
        with np.errstate(all="ignore"):
            walk.run()
    except LimitExceeded as exhausted:
        walk.problems += exhausted.problems
    except RecursionError:
        walk.problems.append(Problem(0, "calls and expressions nest too deeply", "use local variables"))
    if walk.problems:
        raise ProgramError(walk.problems)
    return walk.workload.work


class _Trial:
    def __init__(self, tree: ast.Module, batch: Transitions, refused: frozenset[int]) -> None:
        self.refused = refused
        self.functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        self.states = {"state": batch.state, "previous": batch.previous}
        self.action = batch.action
        self.batch = len(batch.action)
        self.widest = (self.batch - 1) // 2
        self.workload = Workload(self.batch)
        self.problems: list[Problem] = []

    def run(self) -> None:
        """Runs the entry function and checks the values that it returns."""
        entry = self.functions[ENTRY]
        scope: Variables = {parameter.arg: UNKNOWN for parameter in entry.args.args}
        scope["action"] = self.action
        last = self.run_body(entry, scope)
        if not isinstance(last, ast.Tuple):
            return  # the linter refuses this return
        total, terms = last.elts
        self.check_returned_value(total, "the total", scope)
        for key, value in zip(terms.keys, terms.values, strict=True):  # type: ignore[attr-defined]
            self.check_returned_value(value, f"the term {getattr(key, 'value', None)!r}", scope)

    def check_returned_value(self, node: ast.expr, what: str, scope: Variables) -> None:
        """Checks that a returned value is one number for each transition."""
        value = self.evaluate_single(node, scope)
        if value is not UNKNOWN and np.shape(value) not in ((), (self.batch,)):
            remedy = "return one number for each transition, such as np.sum(x, axis=-1)"
            self.record_problem(node, f"{what} has shape {self.format_shape(np.shape(value))}, expected (B,)", remedy)

    def run_body(self, function: ast.FunctionDef, scope: Variables) -> ast.expr | None:
        """Runs a function up to its return and returns the expression of that statement; `None` if it is refused."""
        *statements, last = function.body
        self.run_statements(statements, scope)
        if isinstance(last, ast.Return) and id(last) not in self.refused:
            return last.value
        self.run_statements([last], scope)
        return None

    def run_statements(self, statements: Sequence[ast.stmt], scope: Variables) -> None:
        for node in statements:
            self.workload.count_operation(node)
            match node:
                case _ if id(node) in self.refused:
                    self.forget_variables(node, scope)
                case ast.Assign(targets=targets, value=value):
                    result = self.evaluate_right_side(value, scope)
                    for target in targets:
                        self.bind_names(target, result, scope)
                case ast.AugAssign(target=ast.Name(id=name) as target, op=op, value=value):
                    old = self.look_up_variable(target, scope)
                    scope[name] = self.apply_operation(
                        node, _OPERATORS[type(op)], old, self.evaluate_single(value, scope)
                    )
                case ast.For(target=ast.Name(id=name), iter=ast.Call(args=bounds), body=body):
                    for i in range(*(ast.literal_eval(bound) for bound in bounds)):
                        self.workload.count_operation(node)
                        scope[name] = i
                        self.run_statements(body, scope)
                case _:
                    self.forget_variables(node, scope)

    def forget_variables(self, node: ast.stmt, scope: Variables) -> None:
        """Makes the value of every variable unknown that a refused statement assigns to."""
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                scope[inner.id] = UNKNOWN

    def evaluate_right_side(self, node: ast.expr, scope: Variables) -> Any:
        """Returns the right side of an assignment: a value, or a tuple of values."""
        return (
            tuple(self.evaluate_single(e, scope) for e in node.elts)
            if isinstance(node, ast.Tuple)
            else self.evaluate(node, scope)
        )

    def bind_names(self, target: ast.expr, value: Any, scope: Variables) -> None:
        """Assigns a value to a name, or a tuple of values to as many names."""
        targets = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
        names = [name.id if isinstance(name, ast.Name) else "" for name in targets]  # "": the linter refuses the target
        values = value if isinstance(value, tuple) else (value,)
        if len(names) != len(values):
            if value is not UNKNOWN:
                remedy = "unpack as many values as the helper returns; take components with x[:, 0]"
                self.record_problem(target, f"{len(values)} values for {len(names)} names", remedy)
            values = (UNKNOWN,) * len(names)
        scope.update(zip(names, values, strict=True))

    def evaluate_single(self, node: ast.expr, scope: Variables) -> Any:
        """Returns the value of an expression: an array or a number."""
        result = self.evaluate(node, scope)
        if isinstance(result, tuple):
            return self.record_problem(
                node, "a helper's several values used as one", "unpack them first: a, b = helper(x)"
            )
        return result

    def evaluate(self, node: ast.expr, scope: Variables) -> Any:
        """Returns the value of an expression: an array, a number, or the several values that a helper returns."""
        if id(node) in self.refused:
            return UNKNOWN
        match node:
            case ast.Constant(value=constant):
                return constant
            case ast.Name():
                return self.look_up_variable(node, scope)
            case ast.Attribute(value=ast.Name(id=name), attr=field) if name in STATES:
                return self.states[name][field]
            case ast.Attribute():
                return CONSTANTS[get_dotted_name(node)]
            case ast.BinOp(left=left, op=op, right=right) | ast.Compare(left=left, ops=[op], comparators=[right]):
                return self.apply_operation(
                    node, _OPERATORS[type(op)], self.evaluate_single(left, scope), self.evaluate_single(right, scope)
                )
            case ast.UnaryOp(op=op, operand=operand):
                return self.apply_operation(node, _OPERATORS[type(op)], self.evaluate_single(operand, scope))
            case ast.Subscript(value=array, slice=index):
                return self.evaluate_subscript(
                    node, self.evaluate_single(array, scope), self.evaluate_index(index, scope)
                )
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return [self.evaluate_single(element, scope) for element in elements]
            case ast.Call():
                return self.evaluate_call(node, scope)
        return self.record_problem(
            node, f"{type(node).__name__} is not in the language", "use arithmetic and np functions"
        )

    def look_up_variable(self, node: ast.Name, scope: Variables) -> Any:
        if node.id not in scope:
            return self.record_problem(
                node, f"{node.id!r} is used before it has a value", suggest_closest_name(node.id, scope)
            )
        return scope[node.id]

    def evaluate_call(self, node: ast.Call, scope: Variables) -> Any:
        arguments = [self.evaluate_single(argument, scope) for argument in node.args]
        name = get_dotted_name(node.func)
        if helper := self.functions.get(name):
            self.workload.count_operation(node)
            if id(helper) in self.refused:
                return UNKNOWN
            inner = {parameter.arg: value for parameter, value in zip(helper.args.args, arguments, strict=True)}
            result = self.run_body(helper, inner)
            return UNKNOWN if result is None else self.evaluate_right_side(result, inner)
        if id(node.func) in self.refused:
            return UNKNOWN
        keywords = {str(keyword.arg): self.evaluate_single(keyword.value, scope) for keyword in node.keywords}
        return self.apply_operation(node, FUNCTIONS[name].call, *arguments, **keywords)

    def evaluate_index(self, node: ast.expr, scope: Variables) -> tuple[Any, ...]:
        """Returns the indices and slices between the brackets of a subscript."""

        def evaluate_part(node: ast.expr | None) -> Any:
            if isinstance(node, ast.Slice):
                return slice(evaluate_part(node.lower), evaluate_part(node.upper), evaluate_part(node.step))
            index = None if node is None else self.evaluate_single(node, scope)
            if index is not None and index is not ... and index is not UNKNOWN and type(index) is not int:
                return self.record_problem(
                    node or ast.Constant(None), "an index that is not a whole number", "use np.where"
                )
            return index

        return tuple(evaluate_part(n) for n in (node.elts if isinstance(node, ast.Tuple) else [node]))

    def evaluate_subscript(self, node: ast.Subscript, value: Any, index: tuple[Any, ...]) -> Any:
        """Returns components of an array; a subscript that picks rows of the batch is a problem."""
        if self.is_batch(value) and not any(part is UNKNOWN for part in flatten_values(index)):
            taken = sum(part is not None and part is not ... for part in index)
            if index[0] != slice(None) and not (index[0] is ... and taken < value.ndim):
                because = f"because the first axis of {self.format_shape(value.shape)} is the batch"
                remedy = "keep every row: x[:, 0] for a component, x alone for a number"
                return self.record_problem(node, f"`{quote_code(node)}` picks worlds, {because}", remedy)
        return self.apply_operation(node, operator.getitem, value, index)

    def apply_operation(self, node: ast.AST, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Runs one operation and checks its result.

        A problem is recorded, and the value is `UNKNOWN` from then on.
        """
        self.workload.count_operation(node)
        if any(part is UNKNOWN for part in flatten_values([*arguments, *keywords.values()])):
            return UNKNOWN
        try:
            return self.compute_result(node, function, arguments, keywords)
        except LimitExceeded:
            raise
        except ProgramError as refused:
            problem = refused.problems[0]
            return self.record_problem(node, problem.reason, problem.remedy)

    def compute_result(
        self, node: ast.AST, function: Callable[..., Any], arguments: Sequence[Any], keywords: dict[str, Any]
    ) -> Any:
        """Returns the checked result of one operation on known values.

        Raises:
            ProgramError: the operation fails, or its result breaks a rule of the language.
            LimitExceeded: the program computes too much.
        """
        self.workload.add_operation(node, function, [*arguments, *keywords.values()])
        try:
            if function is operator.pow and not self.has_array(arguments):
                result = float(arguments[0]) ** float(arguments[1])  # as floats: integer powers are unbounded
            elif function is operator.invert and not self.has_array(arguments):
                raise TypeError("~ negates arrays of truth values")  # ~True is deprecated in Python
            else:
                result = function(*arguments, **keywords)
        except _FAILURES as error:
            shapes = ", ".join(self.format_shape(np.shape(a)) for a in arguments if isinstance(a, np.ndarray))
            reason = f"`{quote_code(node)}` fails" + (f" on arrays of shape {shapes}" if shapes else "")
            raise self.make_error(
                node, f"{reason}: {self.explain_error(error)}", _suggest_remedy(error, node, arguments)
            ) from None
        return self.check_value(node, result)

    def check_value(self, node: ast.AST, value: Any) -> Any:
        """Returns an intermediate value after checks of its kind, its magnitude, its shape and the work so far."""
        if isinstance(value, np.ndarray):
            self.workload.add_numbers(node, value.size + self.batch)
            self.check_shape(node, value.shape)
        elif not isinstance(value, _NUMBERS) or not abs(value) <= MAX_NUMBER:
            raise self.make_error(
                node, f"`{quote_code(node)}` is {_format_value(value)}", "keep constants real and below 1e15"
            )
        return value

    def check_shape(self, node: ast.AST, shape: tuple[int, ...]) -> None:
        """Checks that a value is a constant or has the batch first, and is narrow."""
        components = shape[1:] if shape[:1] == (self.batch,) else shape
        if self.batch in components or max(components, default=0) > self.widest:
            remedy = (
                "the batch stays the first axis: write x[:, None] to multiply (B,) with (B, 3), and join with axis=-1"
            )
            raise self.make_error(node, f"`{quote_code(node)}` has shape {self.format_shape(shape)}", remedy)
        if 0 in shape:
            raise self.make_error(node, f"`{quote_code(node)}` is empty", "pick at least one component")
        if len(shape) > MAX_AXES:
            raise self.make_error(node, f"`{quote_code(node)}` has {len(shape)} axes", f"use at most {MAX_AXES}")

    def is_batch(self, value: Any) -> bool:
        return np.shape(value)[:1] == (self.batch,)

    @staticmethod
    def has_array(values: Sequence[Any]) -> bool:
        return any(isinstance(value, np.ndarray) for value in values)

    def format_shape(self, shape: tuple[int, ...]) -> str:
        """Returns a shape in the writer's terms, with B for the batch."""
        names = ["B" if n == self.batch else "B+" if n > self.widest else str(n) for n in shape]
        return f"({', '.join(names)}{',' if len(names) == 1 else ''})"

    def explain_error(self, error: Exception) -> str:
        """Returns the first sentence of an error of numpy, with B for the batch."""
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        return text.replace(f"({self.batch},", "(B,")[:200]

    def make_error(self, node: ast.AST, reason: str, remedy: str) -> ProgramError:
        return ProgramError([Problem(getattr(node, "lineno", 0), reason, remedy)])

    def record_problem(self, node: ast.AST, reason: str, remedy: str) -> _UnknownValue:
        """Records a problem and returns `UNKNOWN`, so that the walk can go on.

        Raises:
            LimitExceeded: as many problems were found as are shown.
        """
        problem = Problem(getattr(node, "lineno", 0), reason, remedy)
        if problem not in self.problems:
            self.problems.append(problem)
        if len(self.problems) >= MAX_PROBLEMS_SHOWN:
            raise LimitExceeded([])
        return UNKNOWN


def _format_value(value: object) -> str:
    try:
        return str(value)[:20]
    except ValueError:
        return "a number of more than 4300 digits"


def _suggest_remedy(error: Exception, node: ast.AST, arguments: Sequence[Any]) -> str:
    if isinstance(node, ast.Call) and (function := FUNCTIONS.get(get_dotted_name(node.func))):
        if function.required == ("x", "axis") and arguments and np.ndim(arguments[0]) < 2:
            return f"remove {function.name}: its argument is one number for each transition already"
        return f"write {function.usage}"
    if isinstance(error, TypeError):
        return "put comparisons in parentheses: (a < b) & (c < d); turn them into numbers with np.where(x, 1.0, 0.0)"
    if isinstance(error, ArithmeticError):
        return "keep divisors away from 0, as in x / np.maximum(y, 1e-6)"
    if isinstance(error, IndexError):
        return "look at the shapes in the outline of the state"
    return "write x[:, None] to multiply (B,) with (B, 3), or reduce vectors with np.sum(x, axis=-1)"
