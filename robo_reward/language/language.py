"""The reward language: `compile_program` compiles a text to a reward, or refuses it with every problem at once.

A program is one Python function over arrays of B transitions:

    def compute_reward(state, action, previous):
        distance = np.linalg.norm(state.cube_position - state.hand_position, axis=-1)
        reach = 1.0 - np.tanh(8.0 * distance)
        effort = -0.01 * np.sum(action**2, axis=-1)
        return reach + effort, {"reach": reach, "effort": effort}

A text passes three stages: `lint` (an allow-list of syntax and names), `trial` (one supervised run: shapes, work,
memory) and the lowering in `program` (no attribute access is left). Before them `habits` rewrites two spellings
that mean something. They stop mistakes and simple misuse. They are not a security boundary: that
is the job process in which a candidate is trained.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from robo_reward.envs.state import StateSpec
from robo_reward.language.characters import find_hidden_characters
from robo_reward.language.grammar import MAX_SOURCE, find_size_problem, parse
from robo_reward.language.habits import rewrite_habits
from robo_reward.language.lint import lint
from robo_reward.language.problems import MAX_PROBLEMS_SHOWN, Problem, ProgramError
from robo_reward.language.program import RewardProgram
from robo_reward.language.validation.trial import trial

__all__ = ["Problem", "ProgramError", "RewardProgram", "compile_program", "program_from_spec"]


def compile_program(source: str, spec: StateSpec, action_dim: int) -> RewardProgram:
    """Compiles a reward program.

    Args:
        source: the text of the program.
        spec: the fields that `state.FIELD` and `previous.FIELD` may name.
        action_dim: the width A of `action` (B, A).

    Raises:
        ProgramError: the source is not in the language; `.problems` holds line, reason and remedy of each refusal.
    """
    tree = _parse_source(source)
    try:
        if problems := lint(tree, spec):
            raise ProgramError(problems)
        work = trial(tree, spec, action_dim)
        return RewardProgram(source, tree, spec, action_dim, work)
    except (SyntaxError, ValueError, ArithmeticError, MemoryError, RecursionError) as error:
        reason = f"the program cannot be compiled: {type(error).__name__}: {error}"[:200]
        raise ProgramError([Problem(0, reason, "write a plain, short program")]) from None


def program_from_spec(spec: Mapping[str, Any]) -> RewardProgram:
    """Rebuilds a program from `RewardProgram.spec()`.

    Raises:
        ProgramError: the source is not in the language.
    """
    return compile_program(spec["source"], StateSpec.from_json(spec["state"]), spec["action_dim"])


def _parse_source(source: object) -> ast.Module:
    """Returns the syntax tree of a text of bounded size.

    Raises:
        ProgramError: it is not text, too long, holds hidden characters, is not Python, or is too deep to walk.
    """
    if not isinstance(source, str):
        raise ProgramError([Problem(0, f"the program is {type(source).__name__}, not text", "pass the source")])
    if len(source) > MAX_SOURCE:
        raise ProgramError([Problem(0, f"{len(source)} characters", f"write at most {MAX_SOURCE}")])
    if hidden := find_hidden_characters(source):
        remedy = "remove it: programs are plain text"
        found = [Problem(n, f"the hidden character U+{ord(c):04X}", remedy) for n, c in hidden.items()]
        raise ProgramError(found[:MAX_PROBLEMS_SHOWN])
    try:
        tree = parse(source)
    except SyntaxError as error:
        raise ProgramError(
            [Problem(error.lineno or 0, f"not Python: {error.msg}"[:200], "correct the syntax")]
        ) from None
    except (ValueError, MemoryError, RecursionError) as error:
        reason = f"not Python: {str(error)[:150] or 'too deeply nested'}"
        raise ProgramError([Problem(0, reason, "write a plain, short program")]) from None
    if problem := find_size_problem(tree):
        raise ProgramError([problem])
    return rewrite_habits(tree)
