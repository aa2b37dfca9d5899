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
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""The beginning of a cell that spreadsheets read as a formula, with apostrophes before it or without."""


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


def to_cell(text: str) -> str:
    """Returns a text for a CSV file that a spreadsheet does not run: a leading apostrophe keeps it from a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def from_cell(cell: str) -> str:
    """Returns the text that `to_cell` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
