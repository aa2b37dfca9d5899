"""The person beside the robot: asked before anything moves, told what went wrong, and who says whether it worked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Protocol

from robo_reward.errors import UsageError


class Operator(Protocol):
    """Somebody who can be asked."""

    def confirm(self, question: str) -> bool:
        """Whether to go on."""
        ...

    def success(self, question: str) -> bool | None:
        """Whether the episode succeeded; none if it cannot be told."""
        ...

    def tell(self, text: str) -> None:
        """Shows a line."""
        ...


class Unattended:
    """Nobody is asked: what needs no person goes on, what needs one ends.

    Args:
        tell: gets every line.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def confirm(self, question: str) -> bool:
        self._tell(f"{question}: yes (confirm=false)")
        return True

    def success(self, question: str) -> bool | None:
        return None

    def tell(self, text: str) -> None:
        self._tell(text)


class AtTerminal:
    """Asks in the terminal.

    Args:
        tell: gets every line.
        ask: shows a question and returns what was typed.

    Raises:
        UsageError: there is no terminal to ask in.
    """

    def __init__(self, tell: Callable[[str], None], ask: Callable[[str], str] | None = None) -> None:
        if ask is None and not sys.stdin.isatty():
            raise UsageError(
                "a person must confirm before the arm moves, but standard input is no terminal: run it in one, or give "
                "confirm=false"
            )
        self._tell, self._ask = tell, ask or input

    def confirm(self, question: str) -> bool:
        return self._typed(f"{question}? [enter: yes, n: no] ") in ("", "y", "yes")

    def success(self, question: str) -> bool | None:
        answers = {"y": True, "n": False, "": None}
        while True:
            typed = self._typed(f"{question}? [y: success, n: failure, enter: do not know] ")
            if typed in answers:
                return answers[typed]

    def tell(self, text: str) -> None:
        self._tell(text)

    def _typed(self, question: str) -> str:
        try:
            return self._ask(question).strip().lower()
        except (EOFError, OSError):  # OSError: the terminal was closed
            raise KeyboardInterrupt from None
