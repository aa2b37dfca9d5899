"""A reward program, compiled once and evaluated on whole batches."""

from __future__ import annotations

import ast
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from robo_reward.envs.state import State, StateSpec, Transitions
from robo_reward.errors import RoboRewardError, UsageError, WrongShape
from robo_reward.language.builtins import CONSTANTS, FUNCTIONS
from robo_reward.language.grammar import ENTRY, STATES, get_dotted_name
from robo_reward.language.problems import Change
from robo_reward.rewards.contract import RewardOutput, fingerprint_spec, validate_output

CHUNK = 4096
"""Maximum number of transitions per piece: intermediate arrays stay in the CPU cache and memory is bounded."""
PIECE = 2**23
"""Maximum numbers computed per piece (64 MiB); programs with large arrays get pieces shorter than `CHUNK`."""


class ProgramRuntimeError(RoboRewardError):
    """Raised when a program that passed every check cannot be evaluated on a batch."""


class _FieldRead(NamedTuple):
    """A field that the program reads: its state, its columns and its parameter of the compiled function."""

    state: str
    field: str
    columns: slice
    shape: tuple[int, ...]

    @property
    def parameter(self) -> str:
        return f"_{self.state}_{self.field}"


class RewardProgram:
    """A `StepReward` that is a program of the reward language; made by `robo_reward.language.language.compile_program`.

    The compiled code holds no attribute access and no import: fields arrive as arrays of their own, functions as names.
    It sees copies of the fields that it reads, each laid out component by component, (n, B) in memory, so that
    arithmetic on `x[:, 2]` and sums over components run over contiguous numbers.

    Args:
        source: the text of the program.
        tree: its syntax tree, which the linter and the trial have accepted.
        spec: the fields that `state.FIELD` refers to.
        action_dim: A.
        work: an upper bound of the numbers that the program computes for each transition, as the trial counted them.
        changes: what was rewritten in the text that the user gave, to make it this source.
    """

    def __init__(
        self,
        source: str,
        tree: ast.Module,
        spec: StateSpec,
        action_dim: int,
        work: int = 1,
        changes: tuple[Change, ...] = (),
    ) -> None:
        self.source, self.state_spec, self.action_dim, self.changes = source, spec, action_dim, changes
        self._rows = min(CHUNK, PIECE // max(work, 1))
        bare = _strip_docstrings(tree)
        self.canonical = ast.unparse(bare) + "\n"
        self._reads = _find_fields_read(bare, spec)
        self._function = _compile_function(bare, self._reads)

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
            ProgramRuntimeError: an operation failed on these numbers.
        """
        self._check_batch(batch)
        starts = range(0, max(len(batch.action), 1), self._rows)
        pieces = [self._evaluate_piece(batch.rows(slice(start, start + self._rows))) for start in starts]
        return pieces[0] if len(pieces) == 1 else _join_outputs(pieces)

    def spec(self) -> dict[str, Any]:
        """Returns JSON from which `robo_reward.language.language.program_from_spec` rebuilds the program."""
        return {
            "kind": "program",
            "source": self.source,
            "state": self.state_spec.to_json(),
            "action_dim": self.action_dim,
        }

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits; the same for equal programs on equal states, regardless of comments."""
        return fingerprint_spec({**self.spec(), "source": self.canonical})

    def __repr__(self) -> str:
        return f"RewardProgram({self.fingerprint}: reads {', '.join(self.fields) or 'no field'})"

    def _evaluate_piece(self, batch: Transitions) -> RewardOutput:
        flat = {"state": batch.state.array, "previous": batch.previous.array}
        inputs = [_copy_columns(flat[read.state], read.columns, read.shape) for read in self._reads]
        try:
            with np.errstate(all="ignore"):
                total, terms = self._function(_copy_columns(batch.action, slice(None), (self.action_dim,)), *inputs)
        except (ArithmeticError, ValueError, TypeError, IndexError, MemoryError, RecursionError) as error:
            raise ProgramRuntimeError(f"the reward program failed: {type(error).__name__}: {error}") from error
        return validate_output(total, terms, len(batch.action))

    def _check_batch(self, batch: Transitions) -> None:
        if not (_is_compatible(batch.state, self.state_spec) and _is_compatible(batch.previous, self.state_spec)):
            raise UsageError(f"the program reads {self.state_spec!r}, the batch holds {batch.state.spec!r}")
        expected = (len(batch.state.array), self.action_dim)
        if np.shape(batch.action) != expected or batch.state.array.shape != batch.previous.array.shape:
            raise WrongShape("action", np.shape(batch.action), f"{expected}, one row for each state before and after")


def _is_compatible(state: State, spec: StateSpec) -> bool:
    return state.array.ndim == 2 and (state.spec is spec or state.spec == spec)


def _copy_columns(array: np.ndarray, columns: slice, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a copy (B, *shape) of some columns of (B, D), with the batch contiguous in memory."""
    copy = np.array(array[:, columns].T, dtype=np.float64, order="C")  # (n, B)
    if shape == ():
        return copy[0]
    return np.moveaxis(copy.reshape(*shape, copy.shape[1]), -1, 0)


def _join_outputs(pieces: list[RewardOutput]) -> RewardOutput:
    terms = {name: np.concatenate([piece.terms[name] for piece in pieces]) for name in pieces[0].terms}
    return RewardOutput(np.concatenate([piece.total for piece in pieces]), terms)


def _find_fields_read(tree: ast.Module, spec: StateSpec) -> list[_FieldRead]:
    found = {
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in STATES
    }
    ordered = [(state, field) for state in STATES for field in spec if (state, field.name) in found]
    return [_FieldRead(state, field.name, spec.slice(field.name), field.shape) for state, field in ordered]


def _strip_docstrings(tree: ast.Module) -> ast.Module:
    """Returns the program without docstrings, since their text could instruct its next reader."""
    bare = ast.parse(ast.unparse(tree))
    for node in (bare, *bare.body):
        if isinstance(node, ast.Module | ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return bare


def _compile_function(tree: ast.Module, reads: list[_FieldRead]) -> Any:
    """Returns the compiled entry function; its namespace holds the functions of the language and nothing else."""
    namespace: dict[str, Any] = {"__builtins__": {}, "range": range}
    namespace |= {_flatten_name(name): function.call for name, function in FUNCTIONS.items()}
    namespace |= {_flatten_name(name): value for name, value in CONSTANTS.items()}
    lowered = ast.fix_missing_locations(_Lowering(reads).visit(ast.parse(ast.unparse(tree))))
    exec(compile(lowered, "<reward program>", "exec"), namespace)
    return namespace[ENTRY]


def _flatten_name(name: str) -> str:
    """Returns a dotted name such as `np.linalg.norm` as one name.

    It starts with an underscore, with which a program's own names cannot start.
    """
    return f"_{name.replace('.', '_')}" if "." in name else name


class _Lowering(ast.NodeTransformer):
    """Turns attributes into plain names, and `x += y` into `x = x + y`, which cannot change an array in place."""

    def __init__(self, reads: list[_FieldRead]) -> None:
        self.reads = reads

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        if node.name == ENTRY:
            node.args.args = [ast.arg("action"), *(ast.arg(read.parameter) for read in self.reads)]
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.Name:
        return ast.Name(_flatten_name(get_dotted_name(node)), ast.Load())

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.Assign:
        self.generic_visit(node)
        assert isinstance(node.target, ast.Name)
        total = ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value)
        return ast.Assign([node.target], total)
