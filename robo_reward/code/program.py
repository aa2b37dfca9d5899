"""A reward program, compiled once and evaluated on whole batches."""

from __future__ import annotations

import ast
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from robo_reward.code.facade import CONSTANTS, FUNCTIONS
from robo_reward.code.grammar import ENTRY, STATES, dotted
from robo_reward.envs.state import State, StateSpec, Transitions
from robo_reward.errors import RoboRewardError, UsageError, WrongShape
from robo_reward.reward import RewardOutput, fingerprint, validated

CHUNK = 4096
"""Longer batches are evaluated piece by piece: the numbers stay in the cache and the memory stays bounded."""
PIECE = 2**23
"""Numbers that one piece may compute, 64 MiB; programs with large arrays get shorter pieces than `CHUNK`."""


class ProgramFailed(RoboRewardError):
    """A program that passed every check and still could not be evaluated on a batch."""


class _Read(NamedTuple):
    """A field that the program reads: where it comes from and what the compiled function calls it."""

    state: str
    field: str
    columns: slice
    shape: tuple[int, ...]

    @property
    def parameter(self) -> str:
        return f"_{self.state}_{self.field}"


class RewardProgram:
    """A `StepReward` that is a program of the reward language; made by `robo_reward.code.language.compile_program`.

    The compiled code holds no attribute access and no import: fields arrive as arrays of their own, functions as names.
    It sees copies of the fields that it reads, each laid out component by component, (n, B) in memory, so that
    arithmetic on `x[:, 2]` and sums over components run over contiguous numbers.

    Args:
        source: the text of the program.
        tree: its syntax tree, which the linter and the trial have accepted.
        spec: the fields that `state.FIELD` refers to.
        action_dim: A.
        work: an upper bound of the numbers that the program computes for each transition, as the trial counted them.
    """

    def __init__(self, source: str, tree: ast.Module, spec: StateSpec, action_dim: int, work: int = 1) -> None:
        self.source, self.state_spec, self.action_dim = source, spec, action_dim
        self._rows = min(CHUNK, PIECE // max(work, 1))
        bare = _without_docstrings(tree)
        self.canonical = ast.unparse(bare) + "\n"
        self._reads = _fields_read(bare, spec)
        self._function = _compiled(bare, self._reads)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that the program reads, in the order of the state."""
        read = {read.field for read in self._reads}
        return tuple(name for name in self.state_spec.names if name in read)

    def __call__(self, batch: Transitions) -> RewardOutput:
        """Returns the reward of each transition.

        Raises:
            UsageError: the states have other fields than the program was compiled for.
            WrongShape: the action has another width.
            InvalidReward: a value is not finite.
            ProgramFailed: an operation failed on these numbers.
        """
        self._check(batch)
        starts = range(0, max(len(batch.action), 1), self._rows)
        pieces = [self._evaluated(batch.rows(slice(start, start + self._rows))) for start in starts]
        return pieces[0] if len(pieces) == 1 else _joined(pieces)

    def spec(self) -> dict[str, Any]:
        """JSON, enough to rebuild the program with `robo_reward.code.language.program_from_spec`."""
        return {
            "kind": "program",
            "source": self.source,
            "state": self.state_spec.to_json(),
            "action_dim": self.action_dim,
        }

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits; equal programs on equal states have equal ones, whatever their comments."""
        return fingerprint({**self.spec(), "source": self.canonical})

    def __repr__(self) -> str:
        return f"RewardProgram({self.fingerprint}: reads {', '.join(self.fields) or 'no field'})"

    def _evaluated(self, batch: Transitions) -> RewardOutput:
        flat = {"state": batch.state.array, "previous": batch.previous.array}
        inputs = [_components(flat[read.state], read.columns, read.shape) for read in self._reads]
        try:
            with np.errstate(all="ignore"):
                total, terms = self._function(_components(batch.action, slice(None), (self.action_dim,)), *inputs)
        except (ArithmeticError, ValueError, TypeError, IndexError, MemoryError, RecursionError) as error:
            raise ProgramFailed(f"the reward program failed: {type(error).__name__}: {error}") from error
        return validated(total, terms, len(batch.action))

    def _check(self, batch: Transitions) -> None:
        if not (_fits(batch.state, self.state_spec) and _fits(batch.previous, self.state_spec)):
            raise UsageError(f"the program reads {self.state_spec!r}, the batch holds {batch.state.spec!r}")
        expected = (len(batch.state.array), self.action_dim)
        if np.shape(batch.action) != expected or batch.state.array.shape != batch.previous.array.shape:
            raise WrongShape("action", np.shape(batch.action), f"{expected}, one row for each state before and after")


def _fits(state: State, spec: StateSpec) -> bool:
    return state.array.ndim == 2 and (state.spec is spec or state.spec == spec)


def _components(array: np.ndarray, columns: slice, shape: tuple[int, ...]) -> np.ndarray:
    """A copy (B, *shape) of some columns of (B, D), with the batch contiguous in memory."""
    copy = np.array(array[:, columns].T, dtype=np.float64, order="C")  # (n, B)
    if shape == ():
        return copy[0]
    return np.moveaxis(copy.reshape(*shape, copy.shape[1]), -1, 0)


def _joined(pieces: list[RewardOutput]) -> RewardOutput:
    terms = {name: np.concatenate([piece.terms[name] for piece in pieces]) for name in pieces[0].terms}
    return RewardOutput(np.concatenate([piece.total for piece in pieces]), terms)


def _fields_read(tree: ast.Module, spec: StateSpec) -> list[_Read]:
    found = {
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in STATES
    }
    ordered = [(state, field) for state in STATES for field in spec if (state, field.name) in found]
    return [_Read(state, field.name, spec.slice(field.name), field.shape) for state, field in ordered]


def _without_docstrings(tree: ast.Module) -> ast.Module:
    """The program without text that could speak to its next reader."""
    bare = ast.parse(ast.unparse(tree))
    for node in (bare, *bare.body):
        if isinstance(node, ast.Module | ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return bare


def _compiled(tree: ast.Module, reads: list[_Read]) -> Any:
    """The entry function, in a namespace that holds the offered functions and nothing else."""
    namespace: dict[str, Any] = {"__builtins__": {}, "range": range}
    namespace |= {_flat(name): function.call for name, function in FUNCTIONS.items()}
    namespace |= {_flat(name): value for name, value in CONSTANTS.items()}
    lowered = ast.fix_missing_locations(_Lowering(reads).visit(ast.parse(ast.unparse(tree))))
    exec(compile(lowered, "<reward program>", "exec"), namespace)
    return namespace[ENTRY]


def _flat(name: str) -> str:
    """`np.linalg.norm` as one name; a program's own names cannot start with an underscore."""
    return f"_{name.replace('.', '_')}" if "." in name else name


class _Lowering(ast.NodeTransformer):
    """Turns attributes into plain names, and `x += y` into `x = x + y`, which cannot change an array in place."""

    def __init__(self, reads: list[_Read]) -> None:
        self.reads = reads

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        if node.name == ENTRY:
            node.args.args = [ast.arg("action"), *(ast.arg(read.parameter) for read in self.reads)]
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.Name:
        return ast.Name(_flat(dotted(node)), ast.Load())

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.Assign:
        self.generic_visit(node)
        assert isinstance(node.target, ast.Name)
        total = ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value)
        return ast.Assign([node.target], total)
