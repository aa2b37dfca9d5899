"""Text in Hydra's grammar of overrides."""

from __future__ import annotations

import re

_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)


def quote_text(text: str) -> str:
    """Returns text as a quoted string, which Hydra reads as the same text."""
    text = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)$", r"\1\1", text) + "'"


def unquote_text(value: str) -> str:
    """Returns the text that Hydra reads where the whole value is one quoted string; any other value as it is."""
    if not _QUOTED.fullmatch(value):
        return value
    mark, inner = value[0], value[1:-1]
    inner = re.sub(r"(\\+)" + mark, lambda m: m[1][: len(m[1]) // 2] + mark, inner)
    return re.sub(r"(\\+)$", lambda m: m[1][: len(m[1]) // 2], inner)
