"""Renders a recipe as the text of a program."""

from __future__ import annotations

import textwrap

from robo_reward.writers.offline.terms import Recipe

_WIDTH = 110


def render_program(recipe: Recipe) -> str:
    """Returns the program of a recipe: assignments, each once, the sum of the terms, and their dictionary."""
    lines = ["def compute_reward(state, action, previous):"]
    lines += _render_docstring(recipe.summary)
    written: set[str] = set()
    for term in recipe.terms:
        block = [f"    {line.local} = {line.code}" for line in term.lines if line.local not in written]
        written |= {line.local for line in term.lines}
        if term.note and block:
            lines += textwrap.wrap(term.note, _WIDTH, initial_indent="    # ", subsequent_indent="    # ")
        lines += block
    lines.append(f"    total = {' + '.join(recipe.names)}")
    lines.append("    return total, {" + ", ".join(f'"{name}": {name}' for name in recipe.names) + "}")
    return "\n".join(lines) + "\n"


def _render_docstring(summary: str) -> list[str]:
    """Returns the lines of a docstring, wrapped; none for an empty summary."""
    safe = "".join(c if c.isprintable() else " " for c in summary).replace("\\", "/").replace('"', "'").strip()
    if not safe:
        return []
    return textwrap.wrap(f'"""{safe[:600]}"""', _WIDTH, initial_indent="    ", subsequent_indent="    ")
