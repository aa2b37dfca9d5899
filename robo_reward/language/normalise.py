"""Rewrites reward programs as they are published into the reward language, each change with its reason.

Programs in papers and repositories are written for one world or for torch, keep their terms in a dictionary, choose
with `if` and return early. What such a program means for a batch follows from the shapes of the state, so it can be
rewritten without a guess: `x[2]` is `x[:, 2]`, `np.linalg.norm(x)` gets `axis=-1`, and `if` becomes `np.where`.

The result passes the linter and the trial like any other program: rewriting makes neither of them more lenient. What
has no form in the language, such as memory on `self`, randomness or files, stays as it is and is refused there.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from robo_reward.envs.state import StateSpec
from robo_reward.language.grammar import find_size_problem
from robo_reward.language.problems import Change, Problem, ProgramError
from robo_reward.language.published.program import rewrite_program
from robo_reward.language.published.source import SourceWriter
from robo_reward.language.published.values import CannotNormalise
from robo_reward.language.validation.check import check_program, parse_program

__all__ = ["Change", "NormalisedProgram", "normalise_program"]

_FAILURES = (SyntaxError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, MemoryError)
"""Errors that an odd program may cause in the rewriting; it is then refused as it stands."""


@dataclass(frozen=True)
class NormalisedProgram:
    """A program in the reward language, or what is in its way.

    Args:
        source: the text, unchanged if it was in the language or has no form in it.
        changes: what was changed, by line of the original.
        problems: why the program is refused, by line of the original; empty for a program in the language.
    """

    source: str
    changes: tuple[Change, ...] = ()
    problems: tuple[Problem, ...] = ()


def normalise_program(source: str, spec: StateSpec, action_dim: int) -> NormalisedProgram:
    """Returns the program in the reward language, with the changes, or with all its problems.

    A program in the language stays as it is, byte for byte.

    Args:
        source: the text of the program.
        spec: the fields of the state.
        action_dim: A.

    Raises:
        ProgramError: the source is not Python, or too large.
    """
    problems = _find_problems(parse_program(source), spec, action_dim)
    if not problems:
        return NormalisedProgram(source)
    original = parse_program(source, habits=False)
    accepted: list[NormalisedProgram] = []
    attempts: list[list[Problem]] = []
    evidence = _find_evidence(original)
    for batched in (evidence >= 0, evidence < 0):
        try:
            rewritten, changes, doubts = rewrite_program(original, spec, action_dim, batched)
            if find_size_problem(rewritten):
                continue
            found = _find_problems(rewritten, spec, action_dim) or doubts
            if found:
                attempts.append(found)
                continue
            text = _write_text(source, rewritten, spec, action_dim)
            accepted.append(NormalisedProgram(text, tuple(changes)))
        except CannotNormalise as error:
            problems = [*problems, Problem(0, f"too long to be rewritten: {error}", "write a shorter program")]
            break
        except (ProgramError, RecursionError, *_FAILURES):
            continue
        if not _reads_matrix(original, spec):
            break  # only an index into a matrix can mean two things
    if len(accepted) == 2 and evidence == 0 and not _is_same(accepted[0].source, accepted[1].source):
        reason = "an index into a matrix means one thing in one world and another in a batch"
        return NormalisedProgram(source, problems=(Problem(0, reason, "write every index as for a batch: x[:, i, j]"),))
    if accepted:
        return accepted[0]
    return NormalisedProgram(source, problems=tuple(min(attempts, key=len) if attempts else problems))


def _find_evidence(tree: ast.Module) -> int:
    """Returns 1 for a program that is written for a batch, -1 for one world, and 0 where there is no sign, or both."""
    batch = world = False
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=ast.Name(), slice=ast.Tuple(elts=[ast.Slice(lower=None, upper=None), *_])):
                batch = True
            case ast.keyword(arg="dim" | "axis" | "keepdim"):
                batch = True
            case ast.If() | ast.IfExp() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                world = True
            case ast.Call(func=ast.Attribute(value=ast.Name(id="math"))):
                world = True
            case ast.Call(func=ast.Name(id="max" | "min" | "float" | "int" | "bool")):
                world = True
    return int(batch) - int(world)


def _reads_matrix(tree: ast.Module, spec: StateSpec) -> bool:
    """Returns whether a program names a field with two axes or more in one world."""
    matrices = {field.name for field in spec if len(field.shape) > 1}
    return any(
        (node.attr if isinstance(node, ast.Attribute) else node.arg) in matrices
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.arg)
    )


def _is_same(first: str, second: str) -> bool:
    """Returns whether two programs differ in comments and layout only."""
    return ast.dump(ast.parse(first)) == ast.dump(ast.parse(second))


def _find_problems(tree: ast.Module, spec: StateSpec, action_dim: int) -> list[Problem]:
    """Returns every problem that the linter and the trial find."""
    try:
        check_program(tree, spec, action_dim)
    except ProgramError as refused:
        return refused.problems
    return []


def _write_text(source: str, rewritten: ast.Module, spec: StateSpec, action_dim: int) -> str:
    """Returns the text of a rewritten program, with its comments and layout where they can be kept.

    Raises:
        ProgramError: the text is too long.
    """
    text = SourceWriter(source, parse_program(source, habits=False)).write(rewritten)
    try:
        if ast.dump(ast.parse(text)) == ast.dump(ast.parse(ast.unparse(rewritten))):
            check_program(parse_program(text), spec, action_dim)
            return text
    except (ProgramError, SyntaxError):
        pass
    plain = ast.unparse(rewritten) + "\n"
    check_program(parse_program(plain), spec, action_dim)
    return plain
