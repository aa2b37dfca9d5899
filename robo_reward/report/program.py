"""Program text as HTML: highlighted lines, and the difference of two programs."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

CONTEXT_LINES = 3
COMPARED_LINES = 400
"""Longer programs are compared without their most frequent lines, as the time is cubic in the number of lines."""


@dataclass(frozen=True)
class DiffLine:
    """One line of a program; `html` is escaped and highlighted."""

    sign: Literal["same", "added", "removed", "fold"]
    old: int | None
    new: int | None
    html: Markup


def highlight_lines(source: str, language: str = "python") -> list[Markup]:
    """Returns the lines of a text, each highlighted separately and escaped."""
    lexer = get_lexer_by_name(language, stripnl=False)
    html = highlight("\n".join(_split_lines(source)), lexer, HtmlFormatter(nowrap=True))
    return [Markup(line) for line in html.removesuffix("\n").split("\n")]


def program_lines(source: str) -> list[DiffLine]:
    """Returns the numbered lines of a program."""
    return [DiffLine("same", None, number, html) for number, html in enumerate(highlight_lines(source), start=1)]


def diff_lines(old: str, new: str) -> list[DiffLine]:
    """Returns the line difference from `old` to `new`.

    Long runs of equal lines are folded into one line with their count.
    """
    old_html, new_html = highlight_lines(old), highlight_lines(new)
    before, after = _split_lines(old), _split_lines(new)
    lines: list[DiffLine] = []
    long = max(len(before), len(after)) > COMPARED_LINES
    codes = SequenceMatcher(None, before, after, autojunk=long).get_opcodes()
    for position, (tag, i1, i2, j1, j2) in enumerate(codes):
        if tag == "equal":
            same = [
                DiffLine("same", i + 1, j + 1, new_html[j]) for i, j in zip(range(i1, i2), range(j1, j2), strict=True)
            ]
            lines += _fold_unchanged(same, first=position == 0, last=position == len(codes) - 1)
            continue
        lines += [DiffLine("removed", i + 1, None, old_html[i]) for i in range(i1, i2)]
        lines += [DiffLine("added", None, j + 1, new_html[j]) for j in range(j1, j2)]
    return lines


def count_changes(lines: list[DiffLine]) -> tuple[int, int]:
    """Returns the numbers of added and removed lines."""
    return sum(line.sign == "added" for line in lines), sum(line.sign == "removed" for line in lines)


def _split_lines(source: str) -> list[str]:
    # Not str.splitlines, which also splits at form feeds and U+2028; the highlighter does not.
    return source.expandtabs(4).replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")


def _fold_unchanged(same: list[DiffLine], first: bool, last: bool) -> list[DiffLine]:
    head = 0 if first else CONTEXT_LINES
    tail = 0 if last else CONTEXT_LINES
    hidden = len(same) - head - tail
    if hidden < 3:
        return same
    fold = DiffLine("fold", None, None, Markup("{} unchanged lines").format(hidden))
    return [*same[:head], fold, *same[len(same) - tail :]]
