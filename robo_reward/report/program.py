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
"""In longer programs, lines that come very often are not matched: the time grows with the cube of their number."""


@dataclass(frozen=True)
class Line:
    """One line of a program; `html` is escaped and highlighted."""

    sign: Literal["same", "added", "removed", "fold"]
    old: int | None
    new: int | None
    html: Markup


def highlighted(source: str, language: str = "python") -> list[Markup]:
    """The lines of a text, each highlighted on its own and escaped."""
    lexer = get_lexer_by_name(language, stripnl=False)
    html = highlight("\n".join(_split(source)), lexer, HtmlFormatter(nowrap=True))
    return [Markup(line) for line in html.removesuffix("\n").split("\n")]


def program_lines(source: str) -> list[Line]:
    """A program with line numbers."""
    return [Line("same", None, number, html) for number, html in enumerate(highlighted(source), start=1)]


def diff_lines(old: str, new: str) -> list[Line]:
    """What turned `old` into `new`; long runs of equal lines are folded into one line that counts them."""
    old_html, new_html = highlighted(old), highlighted(new)
    before, after = _split(old), _split(new)
    lines: list[Line] = []
    long = max(len(before), len(after)) > COMPARED_LINES
    codes = SequenceMatcher(None, before, after, autojunk=long).get_opcodes()
    for position, (tag, i1, i2, j1, j2) in enumerate(codes):
        if tag == "equal":
            same = [Line("same", i + 1, j + 1, new_html[j]) for i, j in zip(range(i1, i2), range(j1, j2), strict=True)]
            lines += _folded(same, first=position == 0, last=position == len(codes) - 1)
            continue
        lines += [Line("removed", i + 1, None, old_html[i]) for i in range(i1, i2)]
        lines += [Line("added", None, j + 1, new_html[j]) for j in range(j1, j2)]
    return lines


def diff_counts(lines: list[Line]) -> tuple[int, int]:
    """Lines added and removed."""
    return sum(line.sign == "added" for line in lines), sum(line.sign == "removed" for line in lines)


def _split(source: str) -> list[str]:
    # Not str.splitlines: it also splits at form feeds and U+2028, where the highlighter does not.
    return source.expandtabs(4).replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")


def _folded(same: list[Line], first: bool, last: bool) -> list[Line]:
    head = 0 if first else CONTEXT_LINES
    tail = 0 if last else CONTEXT_LINES
    hidden = len(same) - head - tail
    if hidden < 3:
        return same
    fold = Line("fold", None, None, Markup("{} unchanged lines").format(hidden))
    return [*same[:head], fold, *same[len(same) - tail :]]
