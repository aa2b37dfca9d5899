"""The linter of the expressions of the reward language: all that an assignment may have on its right side."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import NamedTuple

from robo_reward.envs.state import StateSpec
from robo_reward.language.builtins import CONSTANTS, FUNCTIONS
from robo_reward.language.grammar import (
    ENTRY,
    MAX_CONSTANT,
    MAX_ELEMENTS,
    MAX_INDEX,
    NAME,
    STATES,
    get_dotted_name,
    parse_integer_literal,
)
from robo_reward.language.problems import MAX_PROBLEMS_SHOWN, Problem, suggest_closest_name
from robo_reward.language.remedies import (
    BUILTINS,
    LIBRARIES,
    MEMORY,
    METHODS,
    NUMPY,
    OUTSIDE,
    OUTSIDE_FUNCTIONS,
    REMEDIES,
    TORCH,
)
from robo_reward.language.tolerance import SIGMOIDS

_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.BitAnd, ast.BitOr, ast.BitXor)
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)


class Scope(NamedTuple):
    """The meaning of names inside one function."""

    function: str
    parameters: frozenset[str]
    variables: frozenset[str]


class ExpressionLinter(ast.NodeVisitor):
    """Collects the problems of expressions inside one function's `scope`; refuses all other syntax.

    Args:
        spec: the fields that `state.FIELD` may name.
    """

    def __init__(self, spec: StateSpec) -> None:
        self.spec = spec
        self.problems: list[Problem] = []
        self.refused: set[int] = set()
        self.helpers: dict[str, int] = {}  # name -> number of parameters, of the functions defined so far
        self.functions: frozenset[str] = frozenset()  # all functions of the program
        self.scope = Scope("", frozenset(), frozenset())

    def report_problem(self, node: ast.AST, reason: str, remedy: str) -> None:
        """Records a problem at the line of `node`, which is refused."""
        self.refused.add(id(node))
        self.problems.append(Problem(getattr(node, "lineno", 0), reason[:200], remedy))

    def suggest_name(self, name: str, valid: Iterable[str], prefix: str = "") -> str:
        """Returns a remedy for an unknown name; a plain one when more problems have been found than are shown."""
        return (
            suggest_closest_name(name, valid, prefix) if len(self.problems) < MAX_PROBLEMS_SHOWN else "use a known name"
        )

    def generic_visit(self, node: ast.AST) -> None:
        """Refuses every kind of syntax that has no method here."""
        name = type(node).__name__
        reason, remedy = REMEDIES.get(name, (f"{name} is not in the language", "use arithmetic and np functions"))
        self.report_problem(node, reason, remedy)

    def check_name(self, node: ast.AST, name: str) -> bool:
        """Returns whether a name is short, ASCII and without a leading underscore; records a problem if it is not."""
        if NAME.fullmatch(name):
            return True
        self.report_problem(
            node, f"the name {name[:64]!r}", "names are at most 64 ASCII letters, digits and inner underscores"
        )
        return False

    def visit_all(self, nodes: list[ast.expr] | list[ast.stmt]) -> None:
        for node in nodes:
            self.visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self.check_operator(node, node.op)
        self.visit(node.left)
        self.visit(node.right)

    def check_operator(self, node: ast.AST, operator: ast.operator) -> None:
        """Checks an arithmetic operator."""
        if not isinstance(operator, _OPERATORS):
            remedy = "np.dot(a, b) multiplies row by row" if isinstance(operator, ast.MatMult) else "use arithmetic"
            self.report_problem(node, f"the operator {type(operator).__name__}", remedy)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self.report_problem(node, "not of an array", "use np.logical_not(x) or ~x")
        self.visit(node.operand)

    def visit_Compare(self, node: ast.Compare) -> None:
        if len(node.ops) > 1:
            self.report_problem(node, "a chained comparison of arrays", "write (low < x) & (x < high)")
        elif not isinstance(node.ops[0], _COMPARISONS):
            self.report_problem(
                node, f"the comparison {type(node.ops[0]).__name__}", "compare with <, <=, >, >=, == or !="
            )
        self.visit_all([node.left, *node.comparators])

    def visit_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, int | float):
            kind = "text" if isinstance(node.value, str | bytes) else repr(node.value)
            self.report_problem(node, f"the constant {kind}", "use numbers; strings may only name terms")
        elif not abs(node.value) <= MAX_CONSTANT:
            self.report_problem(node, f"a constant beyond {MAX_CONSTANT:g}", "use a smaller constant")

    def visit_Name(self, node: ast.Name) -> None:
        name, scope = node.id, self.scope
        if name in scope.variables or (name in scope.parameters and name not in STATES):
            return
        if name in scope.parameters:
            remedy = f"read one field, such as {name}.{self.spec.names[0] if self.spec.names else 'FIELD'}"
            self.report_problem(node, f"{name} without a field", remedy)
        elif name in FUNCTIONS or name in self.functions:
            self.report_problem(node, f"the function {name} without a call", f"call it: {name}(...)")
        elif name in BUILTINS:
            self.report_problem(node, f"{name} is not in the language", BUILTINS[name])
        elif self.check_name(node, name):
            self.report_problem(
                node,
                f"the name {name!r} is not defined here",
                self.suggest_name(name, (scope.variables | scope.parameters) - {*STATES}),
            )

    def visit_Attribute(self, node: ast.Attribute) -> None:
        path = get_dotted_name(node)
        if path in CONSTANTS:
            return
        if path in FUNCTIONS:
            self.report_problem(node, f"the function {path} without a call", f"call it: {FUNCTIONS[path].usage}")
        elif self.is_library(path):
            self.report_problem(node, f"{path[:80]} is not in the language", self.suggest_library_remedy(path))
        elif path.startswith("self."):
            self.report_problem(node, "memory between calls", MEMORY)
        elif isinstance(node.value, ast.Name) and node.value.id in STATES and self.scope.function == ENTRY:
            self.check_field(node, node.value.id)
        elif isinstance(node.value, ast.Name) and node.value.id in STATES:
            self.report_problem(node, f"{path} is not visible in a helper", f"pass it as an argument from {ENTRY}")
        else:
            remedy = METHODS.get(node.attr, "only state, previous and np have attributes")
            self.report_problem(node, f"the attribute .{node.attr}", remedy)
            if not isinstance(node.value, ast.Name):
                self.visit(node.value)

    def check_field(self, node: ast.Attribute, state: str) -> None:
        """Checks `state.FIELD`."""
        if node.attr not in self.spec:
            remedy = self.suggest_name(node.attr, self.spec.names, prefix=f"{state}.")
            self.report_problem(node, f"the state has no field {node.attr!r}", remedy)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.value, ast.Constant | ast.Tuple | ast.List | ast.Dict):
            self.report_problem(node, "an index into something that is not an array", "index arrays only")
        else:
            self.visit(node.value)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        for part in parts:
            bounds = [part.lower, part.upper, part.step] if isinstance(part, ast.Slice) else [part]
            for bound in bounds:
                if not (bound is None or (isinstance(bound, ast.Constant) and bound.value in (None, ...))):
                    self.visit(bound)

    def visit_Call(self, node: ast.Call) -> None:
        name = get_dotted_name(node.func)
        if name in FUNCTIONS:
            self.check_builtin_call(node, name)
        elif name in self.functions and name not in self.scope.variables:
            self.check_helper_call(node, name)
        elif self.is_library(name):
            self.report_problem(node, f"{name[:80]} is not in the language", self.suggest_library_remedy(name))
            self.visit_all([argument for argument in node.args if not isinstance(argument, ast.Constant)])
        elif isinstance(node.func, ast.Attribute):
            self.visit(node.func)
            self.visit_all(node.args)
        else:
            self.report_problem(node, f"a call of {name or 'an expression'}", self.suggest_call_remedy(name))
            self.visit_all([argument for argument in node.args if not isinstance(argument, ast.Constant)])

    def is_library(self, path: str) -> bool:
        """Returns whether a dotted name belongs to np or to a library with similar functions."""
        root, _, rest = path.partition(".")
        return bool(rest) and (
            root == "np"
            or (root in LIBRARIES | OUTSIDE.keys() and root not in self.scope.variables | self.scope.parameters)
        )

    def suggest_library_remedy(self, path: str) -> str:
        """Returns a remedy for a name of numpy, torch, math or the like that is not in the language."""
        root, _, rest = path.partition(".")
        name = path.rpartition(".")[2]
        if root in OUTSIDE:
            return OUTSIDE[root]
        if path.startswith("np.random.") or name in OUTSIDE_FUNCTIONS:
            return OUTSIDE_FUNCTIONS.get(name, NUMPY["np.random"])
        if root != "np" and name in TORCH:
            return TORCH[name]
        for spelled in (f"np.{rest}", f"np.{name}", *(["np.linalg.norm"] if name == "norm" else [])):
            if root != "np" and spelled in FUNCTIONS:
                return f"write {FUNCTIONS[spelled].usage}"
            if root != "np" and spelled in CONSTANTS:
                return f"write {spelled}"
            if spelled in NUMPY:
                return NUMPY[spelled]
        return self.suggest_name(f"np.{rest}", [*FUNCTIONS, *CONSTANTS])

    def suggest_call_remedy(self, name: str) -> str:
        """Returns a remedy for the call of an unknown name."""
        known = [function for function in FUNCTIONS if "." not in function] + list(self.helpers)
        spelled = f"np.{name}"
        return BUILTINS.get(name) or (f"write {spelled}" if spelled in FUNCTIONS else self.suggest_name(name, known))

    def check_helper_call(self, node: ast.Call, name: str) -> None:
        """Checks a call of one of the program's own functions."""
        if name not in self.helpers:
            self.report_problem(
                node, f"{name} is called at or above its own definition", "no recursion; define helpers first"
            )
        elif node.keywords or len(node.args) != self.helpers[name]:
            remedy = f"pass {self.helpers[name]} arguments by position"
            self.report_problem(node, f"{name} is called with {len(node.args) + len(node.keywords)} arguments", remedy)
        self.visit_all([*node.args, *(keyword.value for keyword in node.keywords)])

    def check_builtin_call(self, node: ast.Call, name: str) -> None:
        """Checks the arguments of a function of the language against its signature."""
        function = FUNCTIONS[name]
        given = dict(zip(function.parameters, node.args, strict=False))
        if len(node.args) > len(function.parameters):
            self.report_problem(node, f"{name} with {len(node.args)} arguments", f"write {function.usage}")
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg in given or keyword.arg not in function.parameters:
                self.report_problem(
                    node, f"{name} with the argument {keyword.arg or '**'}", f"write {function.signature}"
                )
            elif not function.keywords:
                self.report_problem(node, f"{name} with arguments by name", f"write {function.usage}")
            else:
                given[keyword.arg] = keyword.value
        if missing := [parameter for parameter in function.required if parameter not in given]:
            self.report_problem(node, f"{name} without {' and '.join(missing)}", f"write {function.usage}")
        for parameter, value in given.items():
            self.check_argument(function.usage, parameter, value)

    def check_argument(self, usage: str, parameter: str, value: ast.expr) -> None:
        """Checks one argument; a few parameters take something other than an array."""
        match parameter:
            case "arrays" if isinstance(value, ast.List | ast.Tuple) and value.elts:
                if len(value.elts) > MAX_ELEMENTS:
                    self.report_problem(value, f"a list of {len(value.elts)} elements", f"join at most {MAX_ELEMENTS}")
                self.visit_all(value.elts)
            case "arrays":
                self.report_problem(value, "a join of something other than a written-out list", f"write {usage}")
            case "axis" | "index" if (number := parse_integer_literal(value)) is None:
                self.report_problem(value, f"{parameter} is not a whole constant", f"write {usage}")
            case "axis" | "index" if abs(number) > MAX_INDEX:
                self.report_problem(value, f"{parameter} is beyond {MAX_INDEX}", f"write {usage}")
            case "keepdims" if not (isinstance(value, ast.Constant) and isinstance(value.value, bool)):
                self.report_problem(value, "keepdims is not True or False", "keepdims=True")
            case "sigmoid" if not (isinstance(value, ast.Constant) and value.value in SIGMOIDS):
                self.report_problem(value, "an unknown sigmoid", f"choose from {', '.join(SIGMOIDS)}")
            case "bounds" if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == 2:
                self.visit_all(value.elts)
            case "bounds":
                self.report_problem(value, "bounds is not a pair", "bounds=(lower, upper)")
            case "axis" | "index" | "keepdims" | "sigmoid":
                pass
            case _:
                self.visit(value)
