"""The linter of the reward language: an allow-list of syntax, names and attributes, checked before anything runs.

A `visit_` method exists for each piece of Python that belongs to the language; everything else reaches `generic_visit`
and is refused with a remedy. The linter never stops at the first problem.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from robo_reward.envs.state import StateSpec
from robo_reward.language.grammar import (
    ENTRY,
    MAX_CONSTANT,
    MAX_LOOP,
    MAX_LOOPS,
    NAME,
    PARAMETERS,
    RESERVED_NAMES,
    RESERVED_TERMS,
    find_size_problem,
    get_dotted_name,
    parse_integer_literal,
    skip_docstring,
)
from robo_reward.language.lint_expressions import ExpressionLinter, Scope
from robo_reward.language.problems import Problem
from robo_reward.language.remedies import MEMORY, OUTSIDE
from robo_reward.rewards.contract import MAX_TERMS


class LintedProgram(NamedTuple):
    """The findings of the linter.

    Attributes:
        problems: every problem that can be seen without running the program.
        refused: the nodes with a problem, by their `id`; everything else may be run.
        can_run: whether there is an entry of the right form.
    """

    problems: list[Problem]
    refused: frozenset[int]
    can_run: bool


def lint(tree: ast.Module, spec: StateSpec) -> LintedProgram:
    """Returns the problems of a parsed program, and which of its nodes have them."""
    if problem := find_size_problem(tree):
        return LintedProgram([problem], frozenset(), False)  # checked again after rewriting, which adds nodes
    linter = _ProgramLinter(spec)
    linter.check_program(tree)
    return LintedProgram(linter.problems, frozenset(linter.refused), linter.entries == 1)


class _ProgramLinter(ExpressionLinter):
    """Lints functions and statements in addition to the expressions."""

    loops = 0
    """Number of loops around the current statement."""
    entries = 0
    """Number of functions with the name of the entry."""

    def generic_visit(self, node: ast.AST) -> None:
        super().generic_visit(node)
        for statement in _iterate_statements(node):
            self.visit(statement)

    def check_program(self, tree: ast.Module) -> None:
        """Checks the whole program."""
        body = skip_docstring(tree.body)
        functions = [node for node in body if isinstance(node, ast.FunctionDef)]
        self.functions = frozenset(node.name for node in functions)
        for node in body:
            if isinstance(node, ast.FunctionDef):
                self.check_function(node)
            elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
                self.report_problem(node, "a variable outside a function", f"move it into {ENTRY}")
            else:
                self.visit(node)
        self.entries = [node.name for node in functions].count(ENTRY)
        if self.entries != 1:
            remedy = f'define once: def {ENTRY}(state, action, previous): ... return total, {{"name": term}}'
            self.problems.append(Problem(0, f"the program must define {ENTRY} exactly once", remedy))

    def check_function(self, node: ast.FunctionDef) -> None:
        """Checks one top-level function."""
        self.check_name(node, node.name)
        if node.name in RESERVED_NAMES or node.name in self.helpers:
            self.report_problem(node, f"the name {node.name!r} is taken", "give the helper a name of its own")
        if node.decorator_list:
            self.report_problem(node, "a decorator", "remove it")
        if getattr(node, "type_params", []):  # Python 3.12
            self.report_problem(node, "type parameters", "remove them: everything is an array")
        if node.returns is not None:
            self.report_problem(node, "an annotation", "remove it: everything is an array")
        parameters = self.check_parameters(node)
        body = skip_docstring(node.body)
        stored = {n.id for s in body for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        self.scope = Scope(node.name, frozenset(parameters), frozenset(stored))
        for statement in body[:-1]:
            self.visit(statement)
        self.check_final_return(node, body)
        if node.name != ENTRY:
            self.helpers[node.name] = len(parameters)

    def check_parameters(self, node: ast.FunctionDef) -> list[str]:
        """Checks the parameters of a function and returns their names."""
        arguments = node.args
        if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs:
            self.report_problem(node, "star, keyword-only or positional-only parameters", "use plain parameters")
        if arguments.defaults or any(arguments.kw_defaults):
            self.report_problem(node, "a default value of a parameter", "pass every argument at the call")
        names = [argument.arg for argument in arguments.args]
        if len(set(names)) < len(names):
            self.report_problem(node, "two parameters of one name", "give each parameter its own name")
        for argument in arguments.args:
            self.check_name(argument, argument.arg)
            if argument.annotation is not None:
                self.report_problem(argument, "an annotation", "remove it: everything is an array")
            if node.name != ENTRY and argument.arg in (RESERVED_NAMES - {"action"}) | self.functions:
                remedy = "give the parameter another name and pass arrays, such as distance(state.hand_position, ...)"
                self.report_problem(argument, f"a helper's parameter named {argument.arg!r}", remedy)
        if node.name == ENTRY and tuple(names) != PARAMETERS:
            self.report_problem(
                node, f"the parameters of {ENTRY} are ({', '.join(names)})", f"def {ENTRY}({', '.join(PARAMETERS)}):"
            )
        return names

    def check_final_return(self, node: ast.FunctionDef, body: list[ast.stmt]) -> None:
        """Checks that a function ends in its only `return`, in the right form."""
        if not body or not isinstance(body[-1], ast.Return):
            self.report_problem(node, f"{node.name} does not end with return", "end the function with one return")
            if body:
                self.visit(body[-1])
            return
        value = body[-1].value
        if node.name == ENTRY:
            self.check_reward_pair(body[-1])
        elif isinstance(value, ast.Tuple):
            self.visit_all(value.elts)
        elif value is None:
            self.report_problem(body[-1], "return without a value", "return an array")
        else:
            self.visit(value)

    def check_reward_pair(self, node: ast.Return) -> None:
        """Checks `return total, {"name": term, ...}`."""
        pair = node.value.elts if isinstance(node.value, ast.Tuple) else []
        if len(pair) != 2 or not isinstance(pair[1], ast.Dict):
            remedy = 'return total, {"reach": reach, "effort": effort} with the dictionary written out'
            if len(pair) == 2 and isinstance(pair[1], ast.Name):
                remedy += ', or assigned once, as terms = {"reach": reach}, and used as terms["reach"] only'
            self.report_problem(node, f"{ENTRY} must return the total and a dictionary of terms", remedy)
            return
        self.visit(pair[0])
        terms = pair[1]
        if not 1 <= len(terms.keys) <= MAX_TERMS:
            self.report_problem(node, f"{len(terms.keys)} terms", f"name between 1 and {MAX_TERMS} terms")
        names = [key.value if isinstance(key, ast.Constant) else None for key in terms.keys]
        for key, name in zip(terms.keys, names, strict=True):
            if not isinstance(name, str) or not NAME.fullmatch(name):
                self.report_problem(
                    key or node, "a term's name is not a plain string", 'use a short name such as "reach"'
                )
            elif name.lower() in RESERVED_TERMS:
                self.report_problem(key or node, f"the term name {name!r} is reserved", "name what the term rewards")
            elif names.count(name) > 1:
                self.report_problem(key or node, f"the term name {name!r} is used twice", "give each term its own name")
        self.visit_all(terms.values)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            names = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
            for name in names:
                self.check_target(name)
            if len(names) > 1 and isinstance(node.value, ast.Tuple) and len(names) != len(node.value.elts):
                self.report_problem(
                    node, f"{len(node.value.elts)} values for {len(names)} names", "make the numbers equal"
                )
        self.visit_all(node.value.elts if isinstance(node.value, ast.Tuple) else [node.value])

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.check_target(node.target)
        self.check_operator(node, node.op)
        self.visit(node.value)

    def visit_For(self, node: ast.For) -> None:
        self.check_target(node.target)
        self.loops += 1
        if self.loops > MAX_LOOPS:
            self.report_problem(node, f"loops nest deeper than {MAX_LOOPS}", "use whole arrays in place of loops")
        if (count := self.count_loop_rounds(node.iter)) is None:
            self.report_problem(
                node, "a loop over something other than a constant range", "for i in range(3):, or no loop"
            )
        elif count > MAX_LOOP:
            self.report_problem(
                node, f"a loop of {count} rounds", f"at most {MAX_LOOP} rounds; arrays need no loop over worlds"
            )
        if node.orelse:
            self.report_problem(node, "else after a loop", "remove it")
        self.visit_all(node.body)
        self.loops -= 1

    def count_loop_rounds(self, node: ast.expr) -> int | None:
        """Returns the number of rounds of `range(...)` of whole constants, or `None` for anything else."""
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"):
            return None
        bounds = [parse_integer_literal(argument) for argument in node.args]
        if node.keywords or not 1 <= len(bounds) <= 3 or None in bounds or bounds[2:] == [0]:
            return None
        bounds = [bound for bound in bounds if bound is not None]
        return len(range(*bounds)) if max(map(abs, bounds)) <= MAX_CONSTANT else int(MAX_CONSTANT)

    def check_target(self, node: ast.expr) -> None:
        """Checks the target of an assignment: a local name that has no other meaning."""
        if isinstance(node, ast.Subscript):
            self.report_problem(node, "assignment to a part of an array", "build a new array with np.where or np.stack")
        elif isinstance(node, ast.Attribute) and get_dotted_name(node).startswith("self."):
            self.report_problem(node, "memory between calls", MEMORY)
        elif not isinstance(node, ast.Name):
            self.report_problem(node, "assignment to something other than a name", "use a local variable")
        elif node.id in RESERVED_NAMES | self.functions:
            self.report_problem(node, f"{node.id!r} is redefined", "use another name for the variable")
        else:
            self.check_name(node, node.id)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        module = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        remedy = OUTSIDE.get((module or "").partition(".")[0], "np is already there; delete the line")
        self.report_problem(node, "import", remedy)

    visit_ImportFrom = visit_Import

    def visit_With(self, node: ast.With) -> None:
        self.generic_visit(node)
        self.visit_all([item.context_expr for item in node.items])

    def visit_Pass(self, node: ast.Pass) -> None:
        """Does nothing, as in Python."""


def _iterate_statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Yields the statements inside a refused compound statement, so that their problems are found, too."""
    if isinstance(node, ast.If | ast.While | ast.With | ast.Try):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt) and not isinstance(child, ast.Return):
                yield child
