"""Characters that show a reader something other than what a program says.

Control characters drive terminals, bidirectional controls reorder the text around them, invisible ones hide, and half
a surrogate pair cannot be written to a file. None has a place in a program or in a message.
"""

from __future__ import annotations

import re

_HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls other than tab and newline
    "\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # invisible, bidirectional, separators
    "\ud800-\udfff\U000e0000-\U000e007f"  # surrogates, tags
)
HIDDEN = re.compile(f"[{_HIDDEN}]")
"""One character that is not shown as what it is."""


def printable(text: str) -> str:
    """Returns a text with plain newlines and without hidden characters."""
    return HIDDEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def hidden_characters(source: str) -> dict[int, str]:
    """Returns the first hidden character of each line that has one, by line number; `\\r\\n` is a newline."""
    lines = source.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    found = {number: HIDDEN.search(line) for number, line in enumerate(lines, 1)}
    return {number: match[0] for number, match in found.items() if match}
