"""The grammar of the reward language: an allow-list of syntax, names and attributes, checked before anything runs.

A `visit_` method exists for each piece of Python that belongs to the language; everything else reaches `generic_visit`
and is refused with a remedy. The linter never stops at the first problem.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from robo_reward.code.expressions import ExpressionLinter, Scope
from robo_reward.code.grammar import (
    ENTRY,
    MAX_CONSTANT,
    MAX_LOOP,
    MAX_LOOPS,
    NAME,
    PARAMETERS,
    RESERVED_NAMES,
    RESERVED_TERMS,
    dotted,
    size_problem,
    whole_number,
    without_docstring,
)
from robo_reward.code.problems import Problem
from robo_reward.code.remedies import MEMORY
from robo_reward.envs.state import StateSpec
from robo_reward.reward import MAX_TERMS


def lint(tree: ast.Module, spec: StateSpec) -> list[Problem]:
    """Every problem of a parsed program that can be seen without running it."""
    if problem := size_problem(tree):
        return [problem]  # also after habits were rewritten: that adds nodes
    linter = _ProgramLinter(spec)
    linter.program(tree)
    return linter.problems


class _ProgramLinter(ExpressionLinter):
    """Adds functions and statements to the expressions."""

    loops = 0
    """How many loops enclose the current statement."""

    def generic_visit(self, node: ast.AST) -> None:
        super().generic_visit(node)
        for statement in _statements_within(node):
            self.visit(statement)

    def program(self, tree: ast.Module) -> None:
        """Checks the whole program."""
        body = without_docstring(tree.body)
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
        if node.name in RESERVED_NAMES or node.name in self.helpers:
            self.refuse(node, f"the name {node.name!r} is taken", "give the helper a name of its own")
        if node.decorator_list:
            self.refuse(node, "a decorator", "remove it")
        if getattr(node, "type_params", []):  # Python 3.12
            self.refuse(node, "type parameters", "remove them: everything is an array")
        if node.returns is not None:
            self.refuse(node, "an annotation", "remove it: everything is an array")
        parameters = self.parameters(node)
        body = without_docstring(node.body)
        stored = {n.id for s in body for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        self.scope = Scope(node.name, frozenset(parameters), frozenset(stored))
        for statement in body[:-1]:
            self.visit(statement)
        self.final_return(node, body)
        if node.name != ENTRY:
            self.helpers[node.name] = len(parameters)

    def parameters(self, node: ast.FunctionDef) -> list[str]:
        """Checks the parameters of a function and returns their names."""
        arguments = node.args
        if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs:
            self.refuse(node, "star, keyword-only or positional-only parameters", "use plain parameters")
        if arguments.defaults or any(arguments.kw_defaults):
            self.refuse(node, "a default value of a parameter", "pass every argument at the call")
        names = [argument.arg for argument in arguments.args]
        if len(set(names)) < len(names):
            self.refuse(node, "two parameters of one name", "give each parameter its own name")
        for argument in arguments.args:
            self.public_name(argument, argument.arg)
            if argument.annotation is not None:
                self.refuse(argument, "an annotation", "remove it: everything is an array")
            if node.name != ENTRY and argument.arg in (RESERVED_NAMES - {"action"}) | self.functions:
                remedy = "give the parameter another name and pass arrays, such as distance(state.hand_position, ...)"
                self.refuse(argument, f"a helper's parameter named {argument.arg!r}", remedy)
        if node.name == ENTRY and tuple(names) != PARAMETERS:
            self.refuse(
                node, f"the parameters of {ENTRY} are ({', '.join(names)})", f"def {ENTRY}({', '.join(PARAMETERS)}):"
            )
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
            if len(pair) == 2 and isinstance(pair[1], ast.Name):
                remedy += ', or assigned once, as terms = {"reach": reach}, and used as terms["reach"] only'
            self.refuse(node, f"{ENTRY} must return the total and a dictionary of terms", remedy)
            return
        self.visit(pair[0])
        terms = pair[1]
        if not 1 <= len(terms.keys) <= MAX_TERMS:
            self.refuse(node, f"{len(terms.keys)} terms", f"name between 1 and {MAX_TERMS} terms")
        names = [key.value if isinstance(key, ast.Constant) else None for key in terms.keys]
        for key, name in zip(terms.keys, names, strict=True):
            if not isinstance(name, str) or not NAME.fullmatch(name):
                self.refuse(key or node, "a term's name is not a plain string", 'use a short name such as "reach"')
            elif name.lower() in RESERVED_TERMS:
                self.refuse(key or node, f"the term name {name!r} is reserved", "name what the term rewards")
            elif names.count(name) > 1:
                self.refuse(key or node, f"the term name {name!r} is used twice", "give each term its own name")
        self.visit_all(terms.values)

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
        self.loops += 1
        if self.loops > MAX_LOOPS:
            self.refuse(node, f"loops nest deeper than {MAX_LOOPS}", "use whole arrays in place of loops")
        if (count := self.loop_count(node.iter)) is None:
            self.refuse(node, "a loop over something other than a constant range", "for i in range(3):, or no loop")
        elif count > MAX_LOOP:
            self.refuse(
                node, f"a loop of {count} rounds", f"at most {MAX_LOOP} rounds; arrays need no loop over worlds"
            )
        if node.orelse:
            self.refuse(node, "else after a loop", "remove it")
        self.visit_all(node.body)
        self.loops -= 1

    def loop_count(self, node: ast.expr) -> int | None:
        """The rounds of `range(...)` of whole constants; None for anything else."""
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"):
            return None
        bounds = [whole_number(argument) for argument in node.args]
        if node.keywords or not 1 <= len(bounds) <= 3 or None in bounds or bounds[2:] == [0]:
            return None
        bounds = [bound for bound in bounds if bound is not None]
        return len(range(*bounds)) if max(map(abs, bounds)) <= MAX_CONSTANT else int(MAX_CONSTANT)

    def target(self, node: ast.expr) -> None:
        """Checks what an assignment binds: a local name that means nothing else."""
        if isinstance(node, ast.Subscript):
            self.refuse(node, "assignment to a part of an array", "build a new array with np.where or np.stack")
        elif isinstance(node, ast.Attribute) and dotted(node).startswith("self."):
            self.refuse(node, "memory between calls", MEMORY)
        elif not isinstance(node, ast.Name):
            self.refuse(node, "assignment to something other than a name", "use a local variable")
        elif node.id in RESERVED_NAMES | self.functions:
            self.refuse(node, f"{node.id!r} is given another meaning", "use another name for the variable")
        else:
            self.public_name(node, node.id)

    def visit_Pass(self, node: ast.Pass) -> None:
        """Does nothing, as in Python."""


def _statements_within(node: ast.AST) -> Iterator[ast.stmt]:
    """The statements that a refused compound statement holds, so that their problems are found, too."""
    if isinstance(node, ast.If | ast.While | ast.With | ast.Try):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt) and not isinstance(child, ast.Return):
                yield child
