"""The prompts for a language model: the conversation for a request, made from the templates in `prompts/`."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from robo_reward.language.builtins import format_function_reference
from robo_reward.language.grammar import ENTRY, RESERVED_TERMS, parse
from robo_reward.language.problems import MAX_PROBLEMS_SHOWN
from robo_reward.rewards.contract import MAX_TERMS
from robo_reward.writers import reflection
from robo_reward.writers.writer import Feedback, ProblemLike, RejectedAnswer, WriteRequest

MAX_QUOTED_CODE = 20_000
"""Longer programs are truncated in quotes [characters]; the language refuses them anyway."""

_WORDS = re.compile(
    r"""#[^\n]*|(\"{3}|'{3})[\s\S]*?(?:\1|\Z)|"(?:[^"\\\n]|\\[\s\S])*+"?|'(?:[^'\\\n]|\\[\s\S])*+'?""",
)
"""Comments and string literals in source order; an unterminated string ends with its line."""

MAX_QUOTED_PROSE = 2_000

Messages = list[dict[str, str]]


def conversation(request: WriteRequest) -> Messages:
    """Returns the messages of a request, each with `role` and `content`.

    System and task come first; after a round the best program as if the model had just written it, with the results
    of its training. Nothing older: the context does not grow. A repair ends with the refused program and its problems.
    A request for a rule has a prompt of its own.
    """
    if request.wants == "rule":
        return _build_rule_conversation(request)
    messages = [
        _make_message("system", render_system_prompt(request)),
        _make_message("user", render_task_prompt(request)),
    ]
    if request.feedback is not None:
        messages.append(_make_message("assistant", _fence_code(canonicalize_source(request.feedback.best.source))))
        messages.append(_make_message("user", render_reflection_prompt(request.feedback)))
    if request.repair is not None:
        messages.append(_make_message("assistant", _quote_refused_answer(request.repair.source)))
        messages.append(_make_message("user", render_repair_prompt(request.repair)))
    return messages


def _build_rule_conversation(request: WriteRequest) -> Messages:
    messages = [_make_message("user", render_rule_prompt(request))]
    if request.repair is not None:
        problems = [_format_problem(p) for p in request.repair.problems[:MAX_PROBLEMS_SHOWN]]
        messages.append(
            _make_message("assistant", request.repair.source.strip()[:MAX_QUOTED_PROSE] or "(no condition)")
        )
        messages.append(_make_message("user", _render_template("rule_repair", problems=problems)))
    return messages


def render_rule_prompt(request: WriteRequest) -> str:
    """Returns the prompt for a condition of success: goal, state, start values and the language of conditions."""
    start = [
        (name, ", ".join(f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}" for low, high in ranges))
        for name, ranges in request.start.items()
    ]
    return _render_template("rule", goal=request.goal.strip(), outline=request.spec.outline(), start=start)


def render_system_prompt(request: WriteRequest) -> str:
    """Returns the system prompt: the role, the language, and advice on good rewards."""
    functions, reserved = format_function_reference(), sorted(RESERVED_TERMS)
    return _render_template(
        "system", action=request.action, functions=functions, reserved=reserved, max_terms=MAX_TERMS
    )


def render_task_prompt(request: WriteRequest) -> str:
    """Returns the task prompt: goal, success rule, state and action."""
    action = request.action
    components = [(n, f"{s:g}", u) for n, s, u in zip(action.names, action.scale, action.units, strict=True)]
    return _render_template(
        "task",
        goal=request.goal.strip(),
        success_rule=request.success_rule.strip(),
        outline=request.spec.outline(),
        action=action,
        components=components,
    )


def render_reflection_prompt(feedback: Feedback) -> str:
    """Returns the prompt with the results of training on the best program, and advice on reading them."""
    best = feedback.best
    curves = [*best.terms.values(), best.curve]
    return _render_template(
        "reflection",
        rows=reflection.format_curve_rows(best),
        snapshots=max(min(len(c), reflection.SNAPSHOTS) for c in curves),
        success=reflection.format_number(best.success),
        episode_length=reflection.format_number(best.episode_length),
        signs=reflection.find_warning_signs(best),
        refused=reflection.list_refusal_reasons(feedback.refused),
    )


def render_repair_prompt(refused: RejectedAnswer) -> str:
    """Returns the prompt for a repair: every problem with its line and remedy, beside the numbered program."""
    source = blank_comments_and_strings(refused.source[:MAX_QUOTED_CODE]) if _is_code(refused.source) else ""
    lines = source.splitlines()
    numbered = "\n".join(f"{i:>3} | {line}" for i, line in enumerate(lines, 1))
    return _render_template(
        "repair",
        source=source.strip(),
        numbered=numbered,
        problems=[_format_problem(p) for p in refused.problems[:MAX_PROBLEMS_SHOWN]],
    )


def canonicalize_source(source: str) -> str:
    """Returns the program without comments and docstrings, so that no text in it instructs its next reader.

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


def blank_comments_and_strings(source: str) -> str:
    """Returns the program without its comments and without strings that are no names; every line keeps its number.

    Unlike `canonicalize_source` it takes text that is not Python, as a program that goes back for repair may be.
    """

    def blank_match(found: re.Match[str]) -> str:
        text = found[0]
        if text[0] == "#" or found[1] or "\n" in text:
            return "\n" * text.count("\n")
        return text if text[1:-1].isidentifier() else f"{text[0]}...{text[0]}"

    return "\n".join(line.rstrip() for line in _WORDS.sub(blank_match, source).split("\n"))


def _is_code(source: str) -> bool:
    return f"def {ENTRY}" in source


def _quote_refused_answer(source: str) -> str:
    """Returns the refused answer as a message: its program, or the beginning of the text that came instead of one."""
    if _is_code(source):
        return _fence_code(blank_comments_and_strings(source[:MAX_QUOTED_CODE]))
    return source.strip()[:MAX_QUOTED_PROSE] or "(no program)"


def _format_problem(problem: ProblemLike) -> str:
    where = f"line {problem.line}: " if problem.line else ""
    remedy = f" Remedy: {problem.remedy.rstrip('.')}." if problem.remedy else ""
    return f"- {where}{problem.reason.rstrip('.')}.{remedy}"


def _make_message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _fence_code(code: str) -> str:
    return f"```python\n{code.rstrip()}\n```"


@cache
def _make_environment() -> Environment:
    loader = PackageLoader("robo_reward.writers", "prompts")
    return Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)


def _render_template(name: str, **values: Any) -> str:
    return _make_environment().get_template(f"{name}.jinja").render(**values).strip() + "\n"
