"""Finds and removes hidden characters, which are not allowed in programs and answers."""

from __future__ import annotations

from robo_reward.printable import HIDDEN


def strip_hidden_characters(text: str) -> str:
    """Returns the text with plain newlines and without hidden characters."""
    return HIDDEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def find_hidden_characters(source: str) -> dict[int, str]:
    """Returns the first hidden character of each line that has one, by line number; CR LF is one newline."""
    lines = source.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    found = {number: HIDDEN.search(line) for number, line in enumerate(lines, 1)}
    return {number: match[0] for number, match in found.items() if match}
