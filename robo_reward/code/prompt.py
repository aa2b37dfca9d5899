"""What a language model is told: the conversation for a request, made from the templates in `prompts/`."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from robo_reward.code import reflection
from robo_reward.code.facade import reference
from robo_reward.code.grammar import ENTRY, RESERVED_TERMS, parse
from robo_reward.code.problems import SHOWN
from robo_reward.code.writers.writer import Feedback, Objection, RefusedProgram, WriteRequest
from robo_reward.reward import MAX_TERMS

QUOTED = 20_000
"""Longer programs are cut when they are quoted [characters]; the language refuses them anyway."""

_WORDS = re.compile(
    r"""#[^\n]*|(\"{3}|'{3})[\s\S]*?(?:\1|\Z)|"(?:[^"\\\n]|\\[\s\S])*+"?|'(?:[^'\\\n]|\\[\s\S])*+'?""",
)
"""Comments and strings, in the order in which Python would meet them; a string that never ends goes on to the line's end."""

QUOTED_PROSE = 2_000

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
        messages.append(_message("assistant", _refused(request.repair.source)))
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
    source = without_words(refused.source[:QUOTED]) if _is_code(refused.source) else ""
    lines = source.splitlines()
    numbered = "\n".join(f"{i:>3} | {line}" for i, line in enumerate(lines, 1))
    return _render(
        "repair", source=source.strip(), numbered=numbered, problems=[_bullet(p) for p in refused.problems[:SHOWN]]
    )


def canonical(source: str) -> str:
    """The program without comments and docstrings, so that no text in it speaks to its next reader.

    A source that does not parse or cannot be written again is returned as it is.
    """
    try:
        tree = parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        return ast.unparse(tree) + "\n"
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return source


def without_words(source: str) -> str:
    """The program with comments blanked, and strings that are no names; every line keeps its number.

    Unlike `canonical` it takes what is not Python, as a program that goes back for repair may be.
    """

    def blank(found: re.Match[str]) -> str:
        text = found[0]
        if text[0] == "#" or found[1] or "\n" in text:
            return "\n" * text.count("\n")
        return text if text[1:-1].isidentifier() else f"{text[0]}...{text[0]}"

    return "\n".join(line.rstrip() for line in _WORDS.sub(blank, source).split("\n"))


def _is_code(source: str) -> bool:
    return f"def {ENTRY}" in source


def _refused(source: str) -> str:
    """What stands for the refused answer: its program, or the beginning of what came instead of one."""
    if _is_code(source):
        return _fenced(without_words(source[:QUOTED]))
    return source.strip()[:QUOTED_PROSE] or "(no program)"


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
