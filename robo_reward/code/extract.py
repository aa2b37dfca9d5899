"""The program in an answer: which of its code blocks is meant, and why there is none."""

from __future__ import annotations

import ast
import re
import textwrap
from typing import NamedTuple

from robo_reward.code.grammar import ENTRY

_REASONING = re.compile(r"<(think|thinking|reasoning|thought)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_LATE_END = re.compile(r"\A.*</(think|thinking|reasoning|thought)>", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"^[ \t]*(?P<mark>`{3,}|~{3,})[ \t]*(?P<tag>[^\n`]*)$", re.MULTILINE)
_DEFINES = re.compile(rf"^[ \t]*def\s+{ENTRY}\b", re.MULTILINE)
_PYTHON = ("python", "py", "python3")


class Extracted(NamedTuple):
    """What was found.

    Attributes:
        source: the program, or none.
        error: why there is none, for writer and reader.
    """

    source: str | None
    error: str | None = None


def without_reasoning(text: str) -> str:
    """The answer itself: blocks such as `<think>…</think>` are cut out, one that never ends with all that follows.

    Some servers send only the end mark, since the prompt held the beginning: what stands before it is dropped too.
    """
    answer = _REASONING.sub("", text)
    return (_LATE_END.sub("", answer).strip() or answer).strip()


def extract_program(text: str) -> Extracted:
    """Finds the program in an answer.

    The last fenced block that defines `compute_reward` is it: a model that corrects itself writes the better version
    later. Helper functions in other blocks are not collected. Without a fence, text that parses and defines the
    function counts.
    """
    answer = without_reasoning(text)
    if not answer:
        return Extracted(None, _why_empty(text))
    blocks, unclosed = _fenced(answer)
    chosen = [code for code in blocks if _DEFINES.search(code)]
    if chosen:
        return Extracted(_tidy(chosen[-1]))
    if unclosed and _DEFINES.search(unclosed):
        code = _tidy(unclosed)
        if _parsing_part(code.splitlines()) == code.rstrip():
            return Extracted(code)
        return Extracted(None, "the code block with the program is never closed: the answer was cut off")
    if not blocks:
        bare = _bare(answer)
        if bare:
            return Extracted(bare)
        return Extracted(None, f"no code block in the answer, which begins {_shown(answer)}")
    return Extracted(None, f"none of the {len(blocks)} code block(s) defines {ENTRY}")


def _fenced(text: str) -> tuple[list[str], str]:
    """The insides of all fenced blocks, and of a last one that is never closed."""
    blocks: list[str] = []
    start, mark = -1, ""
    for fence in _FENCE.finditer(text):
        if start < 0:
            start, mark = fence.end() + 1, fence["mark"]
        elif fence["mark"].startswith(mark) and not fence["tag"].strip():
            blocks.append(text[start : fence.start()])
            start = -1
        elif fence["tag"].strip().lower() in _PYTHON:  # a new block begins: the one before was never closed
            start, mark = fence.end() + 1, fence["mark"]
    return blocks, text[start:] if start >= 0 else ""


def _bare(text: str) -> str | None:
    """Code without a fence: from a first `def` or comment to the last line up to which it parses."""
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if re.match(r"(def|import|from)\s|#|\"\"\"", line)]
    for start in starts[:50]:
        code = _parsing_part(lines[start:])
        if _DEFINES.search(code):
            return _tidy(code)
    return None


def _parsing_part(lines: list[str]) -> str:
    """The longest beginning that is Python: cut before each line that the parser stumbles over."""
    while lines:
        code = "\n".join(lines)
        try:
            ast.parse(code)
            return code
        except SyntaxError as error:
            lines = lines[: min(len(lines), error.lineno or 1) - 1]
        except (ValueError, RecursionError, MemoryError):
            return ""
    return ""


def _tidy(code: str) -> str:
    return textwrap.dedent(code.replace("\r\n", "\n")).strip("\n") + "\n"


def _why_empty(text: str) -> str:
    if text.strip():
        return "the answer is nothing but reasoning: it ended before the program; allow more tokens"
    return "the answer is empty"


def _shown(text: str, length: int = 60) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= length else line[: length - 1] + "…")
