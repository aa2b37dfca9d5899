"""Characters that show a reader something other than what a text says, and how to print a text that may hold them.

Control characters drive terminals, bidirectional controls reorder the text around them, invisible ones hide, and half
a surrogate pair cannot be written to a file.
"""

from __future__ import annotations

import re

_HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls other than tab and newline
    "\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # invisible, bidirectional, separators
    "\ud800-\udfff\U000e0000-\U000e007f"  # surrogates, tags
)
HIDDEN = re.compile(f"[{_HIDDEN}]")
"""Matches one character that a terminal or browser does not display as itself."""


def to_printable(text: str) -> str:
    r"""Returns text with hidden characters written as escapes, such as `\x1b`; tab and newline stay."""
    return HIDDEN.sub(lambda match: _escape_character(match[0]), text)


def _escape_character(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # surrogateescape: a byte of a file name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode()


def to_printable_name(name: str) -> str:
    """Returns the name of a file on one line: `to_printable`, with tab and newline escaped as well."""
    return to_printable(name).replace("\n", "\\n").replace("\t", "\\t")
