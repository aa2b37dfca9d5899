"""The whole program while it is rewritten: its functions, imports and constants, and the limits."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from robo_reward.envs.state import StateSpec
from robo_reward.language.grammar import RESERVED_NAMES
from robo_reward.language.problems import Change, Problem
from robo_reward.language.published.functions.library import CallRewriter
from robo_reward.language.published.functions.reductions import multiply_matrices
from robo_reward.language.published.functions.shape_functions import transpose_matrix
from robo_reward.language.published.values import ArrayValue, CannotNormalise, TypedExpression, Value

if TYPE_CHECKING:
    from robo_reward.language.published.expressions import ExpressionRewriter

MAX_STEPS = 10_000
"""Expressions and statements that are rewritten before the program counts as too large, at about 0.1 ms each."""
MAX_WRITTEN = 12_000
"""Nodes that are written before the program counts as too large."""
MAX_CHANGES = 400


class WrittenHelper(NamedTuple):
    """A helper function of the rewritten program, for arguments of certain shapes."""

    name: str
    value: Value


class Context:
    """The program around the functions.

    Args:
        spec: the fields of the state.
        action_dim: A.
        batched: whether the program is written for arrays of the batch, or for one world.
        functions: the top-level functions.
        constants: the values of variables on the top level.
        imported: name -> what it was imported from.
        remembers: whether the program assigns to attributes of `self`.
        torch: whether the program's arrays are those of torch.
    """

    def __init__(
        self,
        spec: StateSpec,
        action_dim: int,
        batched: bool,
        functions: Mapping[str, ast.FunctionDef],
        constants: Mapping[str, ast.expr],
        imported: dict[str, str],
        remembers: bool,
        torch: bool,
    ) -> None:
        self.spec, self.action_dim, self.batched = spec, action_dim, batched
        self.functions, self.constants, self.imported = functions, constants, imported
        self.remembers, self.torch = remembers, torch
        self.library = CallRewriter()
        self.multiply_matrices = multiply_matrices
        self.transpose_matrix = transpose_matrix
        self.changes: dict[Change, None] = {}
        self.doubts: list[Problem] = []
        self.helpers: list[ast.FunctionDef] = []
        self.written: dict[object, WrittenHelper | None] = {}
        self.calls: list[str] = []
        self.steps = 0
        self.nodes = 0
        self.cells = 0
        self.reserved = RESERVED_NAMES | set(functions)
        self.local_names = {
            node.id if isinstance(node, ast.Name) else node.arg
            for function in functions.values()
            for node in ast.walk(function)
            if isinstance(node, ast.Name | ast.arg)
        }

    def count_step(self, steps: int = 1) -> None:
        """Counts work.

        Raises:
            CannotNormalise: it is too much.
        """
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise CannotNormalise(f"the program is longer than {MAX_STEPS} steps once it is written out")

    def count_nodes(self, nodes: int) -> None:
        """Counts what is written.

        Raises:
            CannotNormalise: it is too much.
        """
        self.nodes += nodes
        if self.nodes > MAX_WRITTEN:
            raise CannotNormalise(f"the program has more than {MAX_WRITTEN} nodes once it is written out")

    def note(self, line: int, what: str, why: str) -> None:
        """Records a change."""
        if len(self.changes) < MAX_CHANGES:
            self.changes[Change(line, what[:120], why)] = None

    def doubt(self, line: int, reason: str, remedy: str) -> None:
        """Records that a part of the program may mean something else in the language, so that it is refused."""
        self.doubts.append(Problem(line, reason[:200], remedy))

    def doubt_if(self, doubtful: bool, line: int, reason: str, remedy: str) -> None:
        """Records a doubt if there is one."""
        if doubtful:
            self.doubt(line, reason, remedy)

    def make_cell(self) -> int:
        """Returns the mark of a new array in memory."""
        self.cells += 1
        return self.cells

    def read_field(self, state: str, field: str) -> TypedExpression:
        """Returns `state.FIELD`."""
        value = ArrayValue(self.spec[field].shape, True, cell="the state")
        return TypedExpression(ast.Attribute(ast.Name(state, ast.Load()), field, ast.Load()), value)

    def read_constant(self, rewriter: ExpressionRewriter, name: str) -> TypedExpression:
        """Returns a variable of the top level, written into the function that reads it."""
        frame = rewriter.frame
        if name not in frame.constants:
            frame.constants[name] = TypedExpression(
                ast.Name(name, ast.Load()), ArrayValue()
            )  # in its own value: not known
            node = self.constants[name]
            outer, frame.statements = frame.statements, frame.prologue
            line, branches, conditions = rewriter.line, frame.branches, frame.conditions
            branch = self.make_cell() if name in frame.local_names else 0
            rewriter.line, frame.branches, frame.conditions = node.lineno, [branch], []
            env = {name: rewriter.rewrite(node, {})}
            env[name] = rewriter.bind(name, env[name], {})
            frame.statements, rewriter.line, frame.branches, frame.conditions = outer, line, branches, conditions
            frame.constants[name] = env[name]
            frame.frozen |= {node.id for node in ast.walk(env[name].node) if isinstance(node, ast.Name)}
            self.note(node.lineno, f"{name} is moved into the function", "the language has no variables outside")
        term = frame.constants[name]
        return TypedExpression(term.node, term.value)
