"""What a language model is told: the conversation for a request, made from the templates in `prompts/`."""

from __future__ import annotations

import ast
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from robo_reward.code import reflection
from robo_reward.code.facade import reference
from robo_reward.code.grammar import RESERVED_TERMS
from robo_reward.code.writers.writer import Feedback, Objection, RefusedProgram, WriteRequest
from robo_reward.reward import MAX_TERMS

QUOTED = 20_000
"""Longer programs are cut when they are quoted [characters]; the language refuses them anyway."""

Messages = list[dict[str, str]]


def conversation(request: WriteRequest) -> Messages:
    """The messages of a request, each with `role` and `content`.

    System and task come first; after a round the best program as if the model had just written it, with what its
    training showed. Nothing older: the context does not grow. A repair ends with the refused program and its problems.
    """
    messages = [_message("system", system_prompt(request)), _message("user", task_prompt(request))]
    if request.feedback is not None:
        messages.append(_message("assistant", _fenced(canonical(request.feedback.best.source))))
        messages.append(_message("user", reflection_prompt(request.feedback)))
    if request.repair is not None:
        if request.repair.source.strip():
            messages.append(_message("assistant", _fenced(request.repair.source[:QUOTED])))
        else:
            messages.append(_message("assistant", "(no program)"))
        messages.append(_message("user", repair_prompt(request.repair)))
    return messages


def system_prompt(request: WriteRequest) -> str:
    """The role, the language, and what good rewards do."""
    return _render(
        "system", action=request.action, functions=reference(), reserved=sorted(RESERVED_TERMS), max_terms=MAX_TERMS
    )


def task_prompt(request: WriteRequest) -> str:
    """Goal, success rule, state and action."""
    action = request.action
    components = [(n, f"{s:g}", u) for n, s, u in zip(action.names, action.scale, action.units, strict=True)]
    return _render(
        "task",
        goal=request.goal.strip(),
        success_rule=request.success_rule.strip(),
        outline=request.spec.outline(),
        action=action,
        components=components,
    )


def reflection_prompt(feedback: Feedback) -> str:
    """What training on the best program showed, and how to read it."""
    best = feedback.best
    curves = [*best.terms.values(), best.curve]
    return _render(
        "reflection",
        rows=reflection.curve_rows(best),
        snapshots=max(min(len(c), reflection.SNAPSHOTS) for c in curves),
        success=reflection.number(best.success),
        episode_length=reflection.number(best.episode_length),
        signs=reflection.signs(best),
        refused=reflection.refusal_lines(feedback.refused),
    )


def repair_prompt(refused: RefusedProgram) -> str:
    """Every objection with its line and remedy, beside the numbered program."""
    source = refused.source[:QUOTED]
    lines = source.splitlines()
    numbered = "\n".join(f"{i:>3} | {line}" for i, line in enumerate(lines, 1))
    return _render("repair", source=source.strip(), numbered=numbered, problems=[_bullet(p) for p in refused.problems])


def canonical(source: str) -> str:
    """The program without comments and docstrings, so that no text in it speaks to its next reader.

    A source that does not parse is returned as it is.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return source
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree) + "\n"


def _bullet(problem: Objection) -> str:
    where = f"line {problem.line}: " if problem.line else ""
    remedy = f" Remedy: {problem.remedy.rstrip('.')}." if problem.remedy else ""
    return f"- {where}{problem.reason.rstrip('.')}.{remedy}"


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _fenced(code: str) -> str:
    return f"```python\n{code.rstrip()}\n```"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("robo_reward.code", "prompts"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )


def _render(name: str, **values: Any) -> str:
    return _environment().get_template(f"{name}.jinja").render(**values).strip() + "\n"
