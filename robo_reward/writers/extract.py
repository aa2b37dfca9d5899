"""Extracts the program from an answer: chooses one of its code blocks, or explains why there is none.

An answer may be hostile or broken, so the work is bounded: lines are looked at once, at most `MAX_PARSES` pieces
of at most `MAX_SOURCE` characters are parsed, and longer answers than `MAX_ANSWER` are refused unread.
"""

from __future__ import annotations

import ast
import re
import textwrap
from typing import NamedTuple

from robo_reward.language.builtins import FUNCTIONS
from robo_reward.language.characters import strip_hidden_characters
from robo_reward.language.grammar import ENTRY, MAX_SOURCE, parse

MAX_ANSWER = 1 << 20
"""Maximum length of an answer [characters], reasoning included."""
MAX_PARSES = 12
"""Maximum number of pieces of an answer that are parsed."""

_REASONING = re.compile(r"<(think|thinking|reasoning|thought)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_LATE_END = re.compile(r"\A.*</(think|thinking|reasoning|thought)>", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"[ \t]*+(?P<mark>`{3,}+|~{3,}+)(?P<tag>[^`]*+)")
_DEFINES = re.compile(rf"^[ \t]*+def[ \t]++{ENTRY}\b", re.MULTILINE)
_DEFINITION = re.compile(rf"def[ \t]++{ENTRY}\b")
_BEGINNING = re.compile(r"(def|import|from)\s|#|\"\"\"")
_PYTHON = ("python", "py", "python3")


class ExtractedProgram(NamedTuple):
    """The program of an answer, or the reason why it has none.

    Attributes:
        source: the program, or `None`.
        error: why there is none, for the writer and the reader.
    """

    source: str | None
    error: str | None = None


def strip_reasoning(text: str) -> str:
    """Returns the answer without its reasoning.

    Blocks such as `<think>…</think>` are cut out; a block that never ends is cut out with all that follows. Some
    servers send only the end mark, since the prompt held the beginning: the text before it is dropped too.
    """
    answer = _REASONING.sub("", text)
    return (_LATE_END.sub("", answer).strip() or answer).strip()


def extract_program(text: str) -> ExtractedProgram:
    """Returns the program in an answer, or the reason why there is none.

    The last fenced block that defines `compute_reward` is taken: a model that corrects itself writes the better
    version later. Functions that it calls and does not define are taken from the other blocks. Without a fence, text
    that parses and defines the function counts. Hidden characters are removed.
    """
    if len(text) > MAX_ANSWER:
        return ExtractedProgram(
            None, f"the answer has more than {MAX_ANSWER} characters, so it is not read: write a shorter answer"
        )
    answer = strip_hidden_characters(strip_reasoning(text))
    if not answer:
        return ExtractedProgram(None, _explain_empty_answer(text))
    blocks, unclosed = _find_fenced_blocks(answer)
    chosen = next((i for i in reversed(range(len(blocks))) if _DEFINES.search(blocks[i])), None)
    if chosen is not None:
        others = [*blocks[:chosen], *blocks[chosen + 1 :]]
        return ExtractedProgram(_prepend_helpers(_dedent_code(blocks[chosen]), list(map(_dedent_code, others))))
    if unclosed and _DEFINES.search(unclosed):
        code = _dedent_code(unclosed)
        if _try_parse(code) is not None:
            return ExtractedProgram(_prepend_helpers(code, list(map(_dedent_code, blocks))))
        return ExtractedProgram(None, "the code block with the program is never closed: the answer was cut off")
    if not blocks:
        bare = _find_unfenced_code(answer)
        if bare:
            return ExtractedProgram(bare)
        return ExtractedProgram(None, f"no code block in the answer, which begins {_quote_beginning(answer)}")
    return ExtractedProgram(None, f"none of the {len(blocks)} code block(s) defines {ENTRY}")


def _find_fenced_blocks(text: str) -> tuple[list[str], str]:
    """Returns the contents of all fenced blocks, and of a last block that is never closed."""
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
        elif fence["tag"].strip().lower() in _PYTHON:  # a new block begins: the previous one was never closed
            start, mark = number + 1, fence["mark"]
    return blocks, "\n".join(lines[start:]) if start >= 0 else ""


def _prepend_helpers(code: str, others: list[str]) -> str:
    """Returns a program preceded by the functions that it calls and other blocks define.

    The last definition of a function counts.
    """
    tree = _try_parse(code)
    trees = [(block.split("\n"), _try_parse(block)) for block in others[-MAX_PARSES:] if "def " in block]
    if tree is None:
        return code
    offered = {
        node.name: "\n".join(lines[node.lineno - 1 : node.end_lineno])
        for lines, parsed in trees
        if parsed is not None
        for node in parsed.body
        if isinstance(node, ast.FunctionDef) and node.name != ENTRY
    }
    defined, taken, called = {*FUNCTIONS, *_get_defined_names(tree)}, [], _get_called_names(tree)
    while wanted := sorted((called & offered.keys()) - defined):
        segments = [offered[name] for name in wanted]
        taken = segments + taken
        defined |= set(wanted)
        called = set().union(*(_get_called_names(found) for s in segments if (found := _try_parse(s)) is not None))
    return "\n\n\n".join([*taken, code])


def _get_defined_names(tree: ast.Module) -> set[str]:
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def _get_called_names(tree: ast.Module) -> set[str]:
    return {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


def _find_unfenced_code(text: str) -> str | None:
    """Returns code without a fence: from a first `def` or comment to the last line up to which it parses.

    The last definition of `compute_reward` counts, up to where it stops being Python. Then the beginning moves up to
    the earliest line from which all of it is Python, so that helpers and comments above stay with it.
    """
    lines = text.split("\n")
    definitions = [i for i, line in enumerate(lines) if _DEFINITION.match(line)]
    if not definitions:
        return None
    previous, entry = ([-1, *definitions])[-2:]
    parses, first, body = MAX_PARSES, entry, lines[entry:]
    while parses and (end := _find_syntax_error_line("\n".join(body)[:MAX_SOURCE])) is not None:
        body, parses = body[: min(len(body), end) - 1], parses - 1
    if not parses or not body:
        return None
    for start in range(entry - 1, previous, -1):
        if parses and _BEGINNING.match(lines[start]):
            parses -= 1
            if _try_parse("\n".join(lines[start:entry] + body)) is not None:
                first = start
    return _dedent_code("\n".join(lines[first:entry] + body))


def _find_syntax_error_line(code: str) -> int | None:
    """Returns the line, counted from 1, at which parsing fails, or `None` when all of it is Python."""
    try:
        parse(code)
    except SyntaxError as error:
        return error.lineno or 1
    except (ValueError, RecursionError, MemoryError):
        return 1
    return None


def _try_parse(code: str) -> ast.Module | None:
    """Returns the syntax tree of a text, or `None` if it is no program."""
    if len(code) > MAX_SOURCE:
        return None
    try:
        return parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _dedent_code(code: str) -> str:
    return textwrap.dedent(code).strip("\n") + "\n"


def _explain_empty_answer(text: str) -> str:
    if text.strip():
        return "the answer is nothing but reasoning: it ended before the program; allow more tokens"
    return "the answer is empty"


def _quote_beginning(text: str, length: int = 60) -> str:
    line = " ".join(text[: 20 * length].split())
    return repr(line if len(line) <= length else line[: length - 1] + "…")
