"""The program in an answer: which of its code blocks is meant, and why there is none.

An answer may be hostile or broken, so the work is bounded: lines are looked at once, at most `MAX_PARSES` pieces of at
most `MAX_SOURCE` characters are parsed, and longer answers than `MAX_ANSWER` are refused unread.
"""

from __future__ import annotations

import ast
import re
import textwrap
from typing import NamedTuple

from robo_reward.code.characters import without_hidden
from robo_reward.code.facade import FUNCTIONS
from robo_reward.code.grammar import ENTRY, MAX_SOURCE, parse

MAX_ANSWER = 1 << 20
"""Characters of an answer that is read, reasoning included."""
MAX_PARSES = 12
"""Pieces of an answer that are parsed."""

_REASONING = re.compile(r"<(think|thinking|reasoning|thought)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_LATE_END = re.compile(r"\A.*</(think|thinking|reasoning|thought)>", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"[ \t]*+(?P<mark>`{3,}+|~{3,}+)(?P<tag>[^`]*+)")
_DEFINES = re.compile(rf"^[ \t]*+def[ \t]++{ENTRY}\b", re.MULTILINE)
_DEFINITION = re.compile(rf"def[ \t]++{ENTRY}\b")
_BEGINNING = re.compile(r"(def|import|from)\s|#|\"\"\"")
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
    later. Functions that it calls and does not define are taken from the other blocks. Without a fence, text that
    parses and defines the function counts. Hidden characters are removed.
    """
    if len(text) > MAX_ANSWER:
        return Extracted(None, f"the answer has more than {MAX_ANSWER} characters, so it is not read: write less")
    answer = without_hidden(without_reasoning(text))
    if not answer:
        return Extracted(None, _why_empty(text))
    blocks, unclosed = _fenced(answer)
    chosen = next((i for i in reversed(range(len(blocks))) if _DEFINES.search(blocks[i])), None)
    if chosen is not None:
        others = [*blocks[:chosen], *blocks[chosen + 1 :]]
        return Extracted(_with_helpers(_tidy(blocks[chosen]), list(map(_tidy, others))))
    if unclosed and _DEFINES.search(unclosed):
        code = _tidy(unclosed)
        if _parsed(code) is not None:
            return Extracted(_with_helpers(code, list(map(_tidy, blocks))))
        return Extracted(None, "the code block with the program is never closed: the answer was cut off")
    if not blocks:
        bare = _bare(answer)
        if bare:
            return Extracted(bare)
        return Extracted(None, f"no code block in the answer, which begins {_shown(answer)}")
    return Extracted(None, f"none of the {len(blocks)} code block(s) defines {ENTRY}")


def _fenced(text: str) -> tuple[list[str], str]:
    """The insides of all fenced blocks, and of a last one that is never closed."""
    lines = text.split("\n")
    blocks: list[str] = []
    start, mark = -1, ""
    for number, line in enumerate(lines):
        fence = _FENCE.fullmatch(line)
        if fence is None:
            continue
        if start < 0:
            start, mark = number + 1, fence["mark"]
        elif fence["mark"].startswith(mark) and not fence["tag"].strip():
            blocks.append("\n".join(lines[start:number]))
            start = -1
        elif fence["tag"].strip().lower() in _PYTHON:  # a new block begins: the one before was never closed
            start, mark = number + 1, fence["mark"]
    return blocks, "\n".join(lines[start:]) if start >= 0 else ""


def _with_helpers(code: str, others: list[str]) -> str:
    """A program with the functions in front that it calls and other blocks define; the last definition counts."""
    tree = _parsed(code)
    trees = [(block.split("\n"), _parsed(block)) for block in others[-MAX_PARSES:] if "def " in block]
    if tree is None:
        return code
    offered = {
        node.name: "\n".join(lines[node.lineno - 1 : node.end_lineno])
        for lines, parsed in trees
        if parsed is not None
        for node in parsed.body
        if isinstance(node, ast.FunctionDef) and node.name != ENTRY
    }
    defined, taken, called = {*FUNCTIONS, *_defined(tree)}, [], _called(tree)
    while wanted := sorted((called & offered.keys()) - defined):
        segments = [offered[name] for name in wanted]
        taken = segments + taken
        defined |= set(wanted)
        called = set().union(*(_called(found) for s in segments if (found := _parsed(s)) is not None))
    return "\n\n\n".join([*taken, code])


def _defined(tree: ast.Module) -> set[str]:
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def _called(tree: ast.Module) -> set[str]:
    return {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


def _bare(text: str) -> str | None:
    """Code without a fence: from a first `def` or comment to the last line up to which it parses.

    The last definition of `compute_reward` counts, up to where it stops being Python. Then the beginning moves up to
    the earliest line from which all of it is Python, so that helpers and comments above stay with it.
    """
    lines = text.split("\n")
    definitions = [i for i, line in enumerate(lines) if _DEFINITION.match(line)]
    if not definitions:
        return None
    previous, entry = ([-1, *definitions])[-2:]
    parses, first, body = MAX_PARSES, entry, lines[entry:]
    while parses and (end := _stumbles("\n".join(body)[:MAX_SOURCE])) is not None:
        body, parses = body[: min(len(body), end) - 1], parses - 1
    if not parses or not body:
        return None
    for start in range(entry - 1, previous, -1):
        if parses and _BEGINNING.match(lines[start]):
            parses -= 1
            if _parsed("\n".join(lines[start:entry] + body)) is not None:
                first = start
    return _tidy("\n".join(lines[first:entry] + body))


def _stumbles(code: str) -> int | None:
    """The line that the parser stumbles over, from 1; none when all of it is Python."""
    try:
        parse(code)
    except SyntaxError as error:
        return error.lineno or 1
    except (ValueError, RecursionError, MemoryError):
        return 1
    return None


def _parsed(code: str) -> ast.Module | None:
    """The syntax tree of a text, or none if it is no program."""
    if len(code) > MAX_SOURCE:
        return None
    try:
        return parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _tidy(code: str) -> str:
    return textwrap.dedent(code).strip("\n") + "\n"


def _why_empty(text: str) -> str:
    if text.strip():
        return "the answer is nothing but reasoning: it ended before the program; allow more tokens"
    return "the answer is empty"


def _shown(text: str, length: int = 60) -> str:
    line = " ".join(text[: 20 * length].split())
    return repr(line if len(line) <= length else line[: length - 1] + "…")
