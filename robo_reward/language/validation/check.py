"""Checks a program before it is compiled: its text, its syntax and its first run, with every problem at once."""

from __future__ import annotations

import ast

from robo_reward.envs.state import StateSpec
from robo_reward.language.characters import find_hidden_characters
from robo_reward.language.grammar import MAX_SOURCE, find_size_problem, parse
from robo_reward.language.habits import rewrite_habits
from robo_reward.language.lint import lint
from robo_reward.language.problems import MAX_PROBLEMS_SHOWN, Problem, ProgramError
from robo_reward.language.validation.trial import trial


def parse_program(source: object, habits: bool = True) -> ast.Module:
    """Returns the syntax tree of a text of bounded size.

    Args:
        source: the text.
        habits: whether the habits of `robo_reward.language.habits` are rewritten.

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
    return rewrite_habits(tree) if habits else tree


def check_program(tree: ast.Module, spec: StateSpec, action_dim: int) -> int:
    """Returns the work of a program: an upper bound of the numbers that it computes for each transition.

    Raises:
        ProgramError: with the problems of the linter and of the trial; the trial runs what the linter accepts.
    """
    linted = lint(tree, spec)
    if linted.problems and not linted.can_run:
        raise ProgramError(linted.problems)
    try:
        work = trial(tree, spec, action_dim, linted.refused)
    except ProgramError as refused:
        raise ProgramError([*linted.problems, *refused.problems]) from None
    if linted.problems:
        raise ProgramError(linted.problems)
    return work
