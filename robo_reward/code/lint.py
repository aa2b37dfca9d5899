"""The grammar of the reward language: an allow-list of syntax, names and attributes, checked before anything runs.

A `visit_` method below exists for each piece of Python that belongs to the language; everything else reaches
`generic_visit` and is refused with the remedy from `REMEDIES`. The linter never stops at the first problem.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from robo_reward.code.facade import CONSTANTS, FUNCTIONS
from robo_reward.code.problems import Problem, closest
from robo_reward.code.remedies import BUILTINS, METHODS, NUMPY, REMEDIES
from robo_reward.code.tolerance import SIGMOIDS
from robo_reward.envs.state import StateSpec
from robo_reward.reward import MAX_TERMS

ENTRY = "compute_reward"
PARAMETERS = ("state", "action", "previous")
STATES = ("state", "previous")
RESERVED_TERMS = frozenset({"task_score", "consecutive_successes", "gt_reward", "success", "total", "return"})
"""Names that a report or a log uses for what the reward must not claim to be."""
RESERVED_NAMES = frozenset({*PARAMETERS, "np", "range", *(name for name in FUNCTIONS if "." not in name)})

MAX_SOURCE = 20_000
MAX_NODES = 4_000
MAX_NESTING = 60
MAX_LOOP = 256
MAX_CONSTANT = 1e12
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)

_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.BitAnd, ast.BitOr, ast.BitXor)
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)


def lint(tree: ast.Module, spec: StateSpec) -> list[Problem]:
    """Every problem of a parsed program that can be seen without running it."""
    if problem := _size_problem(tree):
        return [problem]
    linter = _Linter(spec)
    linter.program(tree)
    return linter.problems


def _size_problem(tree: ast.Module) -> Problem | None:
    """A problem when the tree is too large or too deep to walk recursively."""
    layer: list[ast.AST] = [tree]
    nodes = 0
    for depth in range(MAX_NESTING + 1):
        nodes += len(layer)
        if nodes > MAX_NODES:
            return Problem(0, f"the program has more than {MAX_NODES} syntax nodes", "write a shorter program")
        deeper = [child for node in layer for child in ast.iter_child_nodes(node)]
        if not deeper:
            return None
        if depth == MAX_NESTING:
            line = next((node.lineno for node in deeper if isinstance(node, ast.expr | ast.stmt)), 0)
            return Problem(line, f"expressions nest deeper than {MAX_NESTING}", "use local variables for the parts")
        layer = deeper
    return None


class _Scope(NamedTuple):
    """What names mean inside one function."""

    function: str
    parameters: frozenset[str]
    variables: frozenset[str]


class _Linter(ast.NodeVisitor):
    def __init__(self, spec: StateSpec) -> None:
        self.spec = spec
        self.problems: list[Problem] = []
        self.helpers: dict[str, int] = {}  # name -> number of parameters, of the functions above the current one
        self.functions: frozenset[str] = frozenset()
        self.scope = _Scope("", frozenset(), frozenset())

    def refuse(self, node: ast.AST, reason: str, remedy: str) -> None:
        self.problems.append(Problem(getattr(node, "lineno", 0), reason, remedy))

    def generic_visit(self, node: ast.AST) -> None:
        reason, remedy = REMEDIES.get(
            type(node).__name__, (f"{type(node).__name__} is not in the language", "use arithmetic and np functions")
        )
        self.refuse(node, reason, remedy)
        for statement in _statements_within(node):
            self.visit(statement)

    # The program and its functions -----------------------------------------------------------------------------

    def program(self, tree: ast.Module) -> None:
        """Checks the whole program."""
        body = _without_docstring(tree.body)
        functions = [node for node in body if isinstance(node, ast.FunctionDef)]
        self.functions = frozenset(node.name for node in functions)
        for node in body:
            if isinstance(node, ast.FunctionDef):
                self.function(node)
            elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
                self.refuse(node, "a variable outside a function", f"move it into {ENTRY}")
            else:
                self.visit(node)
        if [node.name for node in functions].count(ENTRY) != 1:
            remedy = f'define once: def {ENTRY}(state, action, previous): ... return total, {{"name": term}}'
            self.problems.append(Problem(0, f"the program must define {ENTRY} exactly once", remedy))

    def function(self, node: ast.FunctionDef) -> None:
        """Checks one top-level function."""
        self.public_name(node, node.name)
        if node.name in RESERVED_NAMES or (node.name in self.helpers):
            self.refuse(node, f"the name {node.name!r} is taken", "give the helper a name of its own")
        if node.decorator_list:
            self.refuse(node, "a decorator", "remove it")
        if node.returns is not None:
            self.refuse(node, "an annotation", "remove it: everything is an array")
        parameters = self.parameters(node)
        body = _without_docstring(node.body)
        stored = {n.id for s in body for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        self.scope = _Scope(node.name, frozenset(parameters), frozenset(stored))
        for statement in body[:-1]:
            self.visit(statement)
        self.final_return(node, body)
        self.helpers[node.name] = len(parameters)

    def parameters(self, node: ast.FunctionDef) -> list[str]:
        """Checks the parameters of a function and returns their names."""
        arguments = node.args
        if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs:
            self.refuse(node, "star, keyword-only or positional-only parameters", "use plain parameters")
        if arguments.defaults or any(arguments.kw_defaults):
            self.refuse(node, "a default value of a parameter", "pass every argument at the call")
        names = [argument.arg for argument in arguments.args]
        for argument in arguments.args:
            self.public_name(argument, argument.arg)
            if argument.annotation is not None:
                self.refuse(argument, "an annotation", "remove it: everything is an array")
            if node.name != ENTRY and argument.arg in RESERVED_NAMES | self.functions:
                remedy = "give the parameter another name and pass arrays, such as distance(state.hand_position, ...)"
                self.refuse(argument, f"a helper's parameter named {argument.arg!r}", remedy)
        if node.name == ENTRY and tuple(names) != PARAMETERS:
            self.refuse(node, f"the parameters of {ENTRY} are ({', '.join(names)})", f"def {ENTRY}{PARAMETERS}:")
        return names

    def final_return(self, node: ast.FunctionDef, body: list[ast.stmt]) -> None:
        """Checks that a function ends in its only `return`, in the right form."""
        if not body or not isinstance(body[-1], ast.Return):
            self.refuse(node, f"{node.name} does not end with return", "end the function with one return")
            if body:
                self.visit(body[-1])
            return
        value = body[-1].value
        if node.name == ENTRY:
            self.reward_pair(body[-1])
        elif isinstance(value, ast.Tuple):
            self.visit_all(value.elts)
        elif value is None:
            self.refuse(body[-1], "return without a value", "return an array")
        else:
            self.visit(value)

    def reward_pair(self, node: ast.Return) -> None:
        """Checks `return total, {"name": term, ...}`."""
        pair = node.value.elts if isinstance(node.value, ast.Tuple) else []
        if len(pair) != 2 or not isinstance(pair[1], ast.Dict):
            remedy = 'return total, {"reach": reach, "effort": effort} with the dictionary written out'
            self.refuse(node, f"{ENTRY} must return the total and a dictionary of terms", remedy)
            return
        self.visit(pair[0])
        terms = pair[1]
        if not 1 <= len(terms.keys) <= MAX_TERMS:
            self.refuse(node, f"{len(terms.keys)} terms", f"name between 1 and {MAX_TERMS} terms")
        names = [key.value if isinstance(key, ast.Constant) else None for key in terms.keys]
        for key, name in zip(terms.keys, names, strict=True):
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                self.refuse(key or node, "a term's name is not a plain string", 'use a short name such as "reach"')
            elif name.lower() in RESERVED_TERMS:
                self.refuse(key or node, f"the term name {name!r} is reserved", "name what the term rewards")
            elif names.count(name) > 1:
                self.refuse(key or node, f"the term name {name!r} is used twice", "give each term its own name")
        self.visit_all(terms.values)

    # Statements ------------------------------------------------------------------------------------------------

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            names = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
            for name in names:
                self.target(name)
            if len(names) > 1 and isinstance(node.value, ast.Tuple) and len(names) != len(node.value.elts):
                self.refuse(node, f"{len(node.value.elts)} values for {len(names)} names", "make the numbers equal")
        self.visit_all(node.value.elts if isinstance(node.value, ast.Tuple) else [node.value])

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.target(node.target)
        self.operator(node, node.op)
        self.visit(node.value)

    def visit_For(self, node: ast.For) -> None:
        self.target(node.target)
        if (count := self.loop_count(node.iter)) is None:
            self.refuse(node, "a loop over something other than a constant range", "for i in range(3):, or no loop")
        elif count > MAX_LOOP:
            self.refuse(
                node, f"a loop of {count} rounds", f"at most {MAX_LOOP} rounds; arrays need no loop over worlds"
            )
        if node.orelse:
            self.refuse(node, "else after a loop", "remove it")
        self.visit_all(node.body)

    def loop_count(self, node: ast.expr) -> int | None:
        """The rounds of `range(...)` of whole constants; None for anything else."""
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"):
            return None
        bounds = [_whole_number(argument) for argument in node.args]
        if node.keywords or not 1 <= len(bounds) <= 3 or None in bounds or bounds[2:] == [0]:
            return None
        bounds = [bound for bound in bounds if bound is not None]
        return len(range(*bounds)) if max(map(abs, bounds)) <= MAX_CONSTANT else int(MAX_CONSTANT)

    def target(self, node: ast.expr) -> None:
        """Checks what an assignment binds: a local name that means nothing else."""
        if isinstance(node, ast.Subscript):
            self.refuse(node, "assignment to a part of an array", "build a new array with np.where or np.stack")
        elif not isinstance(node, ast.Name):
            self.refuse(node, "assignment to something other than a name", "use a local variable")
        elif node.id in RESERVED_NAMES | self.functions:
            self.refuse(node, f"{node.id!r} is given another meaning", "use another name for the variable")
        else:
            self.public_name(node, node.id)

    def visit_Pass(self, node: ast.Pass) -> None:
        """Does nothing, as in Python."""

    # Expressions -----------------------------------------------------------------------------------------------

    def visit_all(self, nodes: list[ast.expr] | list[ast.stmt]) -> None:
        for node in nodes:
            self.visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self.operator(node, node.op)
        self.visit(node.left)
        self.visit(node.right)

    def operator(self, node: ast.AST, operator: ast.operator) -> None:
        """Checks an arithmetic operator."""
        if not isinstance(operator, _OPERATORS):
            remedy = "np.dot(a, b) multiplies row by row" if isinstance(operator, ast.MatMult) else "use arithmetic"
            self.refuse(node, f"the operator {type(operator).__name__}", remedy)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self.refuse(node, "not of an array", "use np.logical_not(x) or ~x")
        self.visit(node.operand)

    def visit_Compare(self, node: ast.Compare) -> None:
        if len(node.ops) > 1:
            self.refuse(node, "a chained comparison of arrays", "write (low < x) & (x < high)")
        elif not isinstance(node.ops[0], _COMPARISONS):
            self.refuse(node, f"the comparison {type(node.ops[0]).__name__}", "compare with <, <=, >, >=, == or !=")
        self.visit_all([node.left, *node.comparators])

    def visit_Constant(self, node: ast.Constant) -> None:
        if type(node.value) not in (int, float, bool):
            kind = "text" if isinstance(node.value, str) else repr(node.value)
            self.refuse(node, f"the constant {kind}", "use numbers; strings may only name terms")
        elif not abs(node.value) <= MAX_CONSTANT:
            self.refuse(node, f"a constant beyond {MAX_CONSTANT:g}", "use numbers of a sensible size")

    def visit_Name(self, node: ast.Name) -> None:
        name, scope = node.id, self.scope
        if name in scope.variables or (name in scope.parameters and name not in STATES):
            return
        if name in scope.parameters:
            remedy = f"read one field, such as {name}.{self.spec.names[0] if self.spec.names else 'FIELD'}"
            self.refuse(node, f"{name} without a field", remedy)
        elif name in FUNCTIONS or name in self.functions:
            self.refuse(node, f"the function {name} without a call", f"call it: {name}(...)")
        elif name in BUILTINS:
            self.refuse(node, f"{name} is not in the language", BUILTINS[name])
        elif self.public_name(node, name):
            self.refuse(node, f"the name {name!r} is not known here", closest(name, scope.variables | scope.parameters))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        path = _dotted(node)
        if path in CONSTANTS:
            return
        if path in FUNCTIONS:
            self.refuse(node, f"the function {path} without a call", f"call it: {FUNCTIONS[path].usage}")
        elif path.startswith("np."):
            self.refuse(node, f"{path} is not in the language", _numpy_remedy(path))
        elif isinstance(node.value, ast.Name) and node.value.id in STATES and self.scope.function == ENTRY:
            self.field(node, node.value.id)
        elif isinstance(node.value, ast.Name) and node.value.id in STATES:
            self.refuse(node, f"{path} is not visible in a helper", f"pass it as an argument from {ENTRY}")
        else:
            remedy = METHODS.get(node.attr, "only state, previous and np have attributes")
            self.refuse(node, f"the attribute .{node.attr}", remedy)
            if not isinstance(node.value, ast.Name):
                self.visit(node.value)

    def field(self, node: ast.Attribute, state: str) -> None:
        """Checks `state.FIELD`."""
        if node.attr not in self.spec:
            remedy = closest(node.attr, self.spec.names, prefix=f"{state}.")
            self.refuse(node, f"the state has no field {node.attr!r}", remedy)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.value, ast.Constant | ast.Tuple | ast.List | ast.Dict):
            self.refuse(node, "an index into something that is not an array", "index arrays only")
        else:
            self.visit(node.value)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        for part in parts:
            bounds = [part.lower, part.upper, part.step] if isinstance(part, ast.Slice) else [part]
            for bound in bounds:
                if not (bound is None or (isinstance(bound, ast.Constant) and bound.value in (None, ...))):
                    self.visit(bound)

    # Calls -----------------------------------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:
        name = _dotted(node.func)
        if name in FUNCTIONS:
            self.facade_call(node, name)
        elif name in self.functions and name not in self.scope.variables:
            self.helper_call(node, name)
        elif name.startswith("np."):
            self.refuse(node, f"{name} is not in the language", _numpy_remedy(name))
            self.visit_all([argument for argument in node.args if not isinstance(argument, ast.Constant)])
        elif isinstance(node.func, ast.Attribute):
            self.visit(node.func)
            self.visit_all(node.args)
        else:
            self.refuse(node, f"a call of {name or 'an expression'}", self.call_remedy(name))
            self.visit_all([argument for argument in node.args if not isinstance(argument, ast.Constant)])

    def call_remedy(self, name: str) -> str:
        """What to write instead of calling an unknown name."""
        known = [function for function in FUNCTIONS if "." not in function] + list(self.helpers)
        spelled = f"np.{name}"
        return BUILTINS.get(name) or (f"write {spelled}" if spelled in FUNCTIONS else closest(name, known))

    def helper_call(self, node: ast.Call, name: str) -> None:
        """Checks a call of one of the program's own functions."""
        if name not in self.helpers:
            self.refuse(node, f"{name} is called at or above its own definition", "no recursion; define helpers first")
        elif node.keywords or len(node.args) != self.helpers[name]:
            remedy = f"pass {self.helpers[name]} arguments by position"
            self.refuse(node, f"{name} is called with {len(node.args) + len(node.keywords)} arguments", remedy)
        self.visit_all([*node.args, *(keyword.value for keyword in node.keywords)])

    def facade_call(self, node: ast.Call, name: str) -> None:
        """Checks the arguments of an offered function against its signature."""
        function = FUNCTIONS[name]
        given = dict(zip(function.parameters, node.args, strict=False))
        if len(node.args) > len(function.parameters):
            self.refuse(node, f"{name} with {len(node.args)} arguments", f"write {function.usage}")
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg in given or keyword.arg not in function.parameters:
                self.refuse(node, f"{name} with the argument {keyword.arg or '**'}", f"write {function.usage}")
            elif not function.keywords:
                self.refuse(node, f"{name} with arguments by name", f"write {function.usage}")
            else:
                given[keyword.arg] = keyword.value
        if missing := [parameter for parameter in function.required if parameter not in given]:
            self.refuse(node, f"{name} without {' and '.join(missing)}", f"write {function.usage}")
        for parameter, value in given.items():
            self.argument(function.usage, parameter, value)

    def argument(self, usage: str, parameter: str, value: ast.expr) -> None:
        """Checks one argument; a few parameters take something other than an array."""
        match parameter:
            case "arrays" if isinstance(value, ast.List | ast.Tuple) and value.elts:
                self.visit_all(value.elts)
            case "arrays":
                self.refuse(value, "a join of something other than a written-out list", f"write {usage} with [a, b]")
            case "axis" | "index" if _whole_number(value) is None:
                self.refuse(value, f"{parameter} is not a whole constant", f"write {usage}")
            case "keepdims" if not (isinstance(value, ast.Constant) and isinstance(value.value, bool)):
                self.refuse(value, "keepdims is not True or False", "keepdims=True")
            case "sigmoid" if not (isinstance(value, ast.Constant) and value.value in SIGMOIDS):
                self.refuse(value, "an unknown sigmoid", f"choose from {', '.join(SIGMOIDS)}")
            case "bounds" if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == 2:
                self.visit_all(value.elts)
            case "bounds":
                self.refuse(value, "bounds is not a pair", "bounds=(lower, upper)")
            case "axis" | "index" | "keepdims" | "sigmoid":
                pass
            case _:
                self.visit(value)

    def public_name(self, node: ast.AST, name: str) -> bool:
        """Checks that a name is short, ASCII and does not start with an underscore."""
        if _NAME.fullmatch(name):
            return True
        self.refuse(node, f"the name {name[:64]!r}", "names are at most 64 ASCII letters, digits and inner underscores")
        return False


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    is_text = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return body[1:] if is_text else body


def _statements_within(node: ast.AST) -> Iterator[ast.stmt]:
    """The statements that a refused compound statement holds, so that their problems are found, too."""
    if isinstance(node, ast.If | ast.While | ast.With | ast.Try):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt) and not isinstance(child, ast.Return):
                yield child


def _dotted(node: ast.expr) -> str:
    """`np.linalg.norm` of nested attributes; empty when the root is not a name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _whole_number(node: ast.expr) -> int | None:
    sign = 1
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        sign, node = -1, node.operand
    return sign * node.value if isinstance(node, ast.Constant) and type(node.value) is int else None


def _numpy_remedy(path: str) -> str:
    name = path.rpartition(".")[2]
    return NUMPY.get(path) or NUMPY.get(f"np.{name}") or closest(path, [*FUNCTIONS, *CONSTANTS])
