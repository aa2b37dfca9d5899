"""Writes the text of a rewritten program: unchanged statements and comments as they were."""

from __future__ import annotations

import ast
import io
import textwrap
import tokenize
from collections.abc import Iterator

_INDENT = "    "


class SourceWriter:
    """Writes rewritten functions with the comments and the layout of the original.

    Args:
        source: the original text.
        tree: its syntax tree.
    """

    def __init__(self, source: str, tree: ast.Module) -> None:
        self.lines = source.splitlines()
        self.comments, self.trailing = _find_comments(source)
        self.statements = {
            node.lineno: node
            for node in reversed(list(ast.walk(tree)))
            if isinstance(node, ast.stmt) and not isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        self.functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        self.used: set[int] = set()

    def write(self, tree: ast.Module) -> str:
        """Returns the text of a rewritten program."""
        parts = []
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                parts.append("\n".join(self._write_function(node)))
            else:
                parts.append(self._get_segment(node) or ast.unparse(node))
        return "\n\n\n".join(parts) + "\n"

    def _write_function(self, node: ast.FunctionDef) -> Iterator[str]:
        original = next((f for f in self.functions if f.lineno == node.lineno), None)
        start = min([node.lineno, *(d.lineno for d in original.decorator_list)]) if original else node.lineno
        above = start - 1
        held: list[str] = []
        while above > 0 and above in self.comments and above not in self.used:
            self.used.add(above)
            held.append(self.comments[above])
            above -= 1
        yield from reversed(held)
        yield f"def {node.name}({', '.join(a.arg for a in node.args.args)}):"
        yield from self._write_block(node.body, _INDENT)

    def _write_block(self, body: list[ast.stmt], indent: str) -> Iterator[str]:
        position = 0
        first = True
        while position < len(body):
            line = body[position].lineno
            group = [body[position]]
            position += 1
            while position < len(body) and body[position].lineno == line:
                group.append(body[position])
                position += 1
            above = list(self._take_comments(line))
            start = above[0][0] if above else line
            if not first and start > 1 and start - 2 < len(self.lines) and not self.lines[start - 2].strip():
                yield ""
            for _, comment in above:
                yield indent + comment
            yield from self._write_group(group, indent)
            first = False

    def _take_comments(self, line: int) -> Iterator[tuple[int, str]]:
        """Yields the comments between the statement before and this line, each once."""
        start = max((f.lineno for f in self.functions if f.lineno < line <= (f.end_lineno or 0)), default=0)
        for number in sorted(self.comments):
            if start < number < line and number not in self.used:
                self.used.add(number)
                yield number, self.comments[number]

    def _write_group(self, group: list[ast.stmt], indent: str) -> Iterator[str]:
        line = group[0].lineno
        original = self.statements.get(line)
        alone = len(group) == 1 and original is not None and not isinstance(group[0], ast.For)
        if alone and original is not None and ast.unparse(original) == ast.unparse(group[0]):
            text = self._get_segment(original)
            if text is not None:
                self.used |= set(range(line, (original.end_lineno or line) + 1))
                yield from textwrap.indent(text, indent).split("\n")
                return
        trailing = self.trailing.get(line, "") if line not in self.used else ""
        self.used.add(line)
        for node in group:
            if isinstance(node, ast.For):
                yield f"{indent}for {ast.unparse(node.target)} in {ast.unparse(node.iter)}:"
                yield from self._write_block(node.body, indent + _INDENT)
                continue
            text = textwrap.indent(_write_statement(node), indent)
            if trailing:
                text, trailing = f"{text}  {trailing}", ""
            yield from text.split("\n")

    def _get_segment(self, node: ast.stmt) -> str | None:
        """Returns the original lines of a statement that has its lines for itself, without the indentation."""
        end = node.end_lineno
        if end is None or end > len(self.lines):
            return None
        lines = self.lines[node.lineno - 1 : end]
        indent = lines[0][: node.col_offset]
        if indent.strip() or ";" in lines[0]:
            return None
        if len(lines) > 1 and any(line.strip() and not line.startswith(indent) for line in lines):
            return None
        return "\n".join(line[len(indent) :] for line in lines)


def _write_statement(node: ast.stmt) -> str:
    """Returns the text of a statement; a returned pair has no parentheses."""
    if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and len(node.value.elts) > 1:
        return f"return {', '.join(map(ast.unparse, node.value.elts))}"
    return ast.unparse(node)


def _find_comments(source: str) -> tuple[dict[int, str], dict[int, str]]:
    """Returns the comments that have a line for themselves, and those behind code, by line."""
    alone: dict[int, str] = {}
    behind: dict[int, str] = {}
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                (behind if token.line[: token.start[1]].strip() else alone)[token.start[0]] = token.string
    except (tokenize.TokenError, SyntaxError):
        return {}, {}
    return alone, behind
