"""The reward language: `compile_program` compiles a text to a reward, or refuses it with every problem at once.

A program is one Python function over arrays of B transitions:

    def compute_reward(state, action, previous):
        distance = np.linalg.norm(state.cube_position - state.hand_position, axis=-1)
        reach = 1.0 - np.tanh(8.0 * distance)
        effort = -0.01 * np.sum(action**2, axis=-1)
        return reach + effort, {"reach": reach, "effort": effort}

A text passes three stages: `lint` (an allow-list of syntax and names), `trial` (one supervised run: shapes, work,
memory) and the lowering in `program` (no attribute access is left). Before them `habits` rewrites two spellings
that mean something, and on request `normalise` rewrites programs in published styles. They stop mistakes and simple
misuse. They are not a security boundary: that is the job process in which a candidate is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robo_reward.envs.state import StateSpec
from robo_reward.language.normalise import normalise_program
from robo_reward.language.problems import Problem, ProgramError
from robo_reward.language.program import RewardProgram
from robo_reward.language.validation.check import check_program, parse_program

__all__ = ["Problem", "ProgramError", "RewardProgram", "compile_program", "program_from_spec"]


def compile_program(source: str, spec: StateSpec, action_dim: int, normalise: bool = False) -> RewardProgram:
    """Compiles a reward program.

    Args:
        source: the text of the program.
        spec: the fields that `state.FIELD` and `previous.FIELD` may name.
        action_dim: the width A of `action` (B, A).
        normalise: whether a program that is not in the language is first rewritten, as far as its meaning is certain
            (see `robo_reward.language.normalise`); `.source` is then the rewritten text, and `.changes` says what was
            changed.

    Raises:
        ProgramError: the source is not in the language; `.problems` holds line, reason and remedy of each refusal.
    """
    try:
        changes = ()
        if normalise:
            normalised = normalise_program(source, spec, action_dim)
            if normalised.problems:
                raise ProgramError(normalised.problems)
            source, changes = normalised.source, normalised.changes
        tree = parse_program(source)
        return RewardProgram(source, tree, spec, action_dim, check_program(tree, spec, action_dim), changes)
    except (SyntaxError, ValueError, ArithmeticError, MemoryError, RecursionError) as error:
        reason = f"the program cannot be compiled: {type(error).__name__}: {error}"[:200]
        raise ProgramError([Problem(0, reason, "write a plain, short program")]) from None


def program_from_spec(spec: Mapping[str, Any]) -> RewardProgram:
    """Rebuilds a program from `RewardProgram.spec()`.

    Raises:
        ProgramError: the source is not in the language.
    """
    return compile_program(spec["source"], StateSpec.from_json(spec["state"]), spec["action_dim"])
