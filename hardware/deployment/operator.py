"""The operator beside the robot.

They confirm before anything moves, read what went wrong, and label whether an episode succeeded.
"""

from __future__ import annotations

import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, Protocol

from robo_reward.errors import UsageError
from robo_reward.questions import read_line


@contextmanager
def interrupt_on_signals() -> Iterator[None]:
    """Makes a handled SIGINT, SIGTERM or SIGHUP interrupt the block as soon as its handler has noted it.

    Without that, `input` and a driver's slow motion go on after a handler that only notes a request to stop.

    Raises:
        KeyboardInterrupt: a signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    old = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        handler = old[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
        raise KeyboardInterrupt

    for number in old:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


class Operator(Protocol):
    """A person who can be asked.

    Attributes:
        stop: returns True once a stop was requested; a question that waits then is answered with no, or with do
            not know.
    """

    stop: Callable[[], bool]

    def confirm(self, question: str) -> bool:
        """Returns whether to go on."""
        ...

    def ask_success(self, question: str) -> bool | None:
        """Returns whether the episode succeeded, or None when that is not known."""
        ...

    def show_message(self, text: str) -> None:
        """Shows a line of text."""
        ...


class UnattendedOperator:
    """Operator for runs without a person: what needs no person goes on, what needs one ends.

    Args:
        print_line: receives every line.
    """

    def __init__(self, print_line: Callable[[str], None]) -> None:
        self._print_line = print_line
        self.stop: Callable[[], bool] = lambda: False

    def confirm(self, question: str) -> bool:
        self._print_line(f"{question}: yes (confirm=false)")
        return True

    def ask_success(self, question: str) -> bool | None:
        return None

    def show_message(self, text: str) -> None:
        self._print_line(text)


class AtTerminal:
    """Operator who is asked in the terminal.

    Args:
        print_line: receives every line.
        ask: shows a question and returns what was typed.

    Raises:
        UsageError: there is no terminal to ask in.
    """

    def __init__(self, print_line: Callable[[str], None], ask: Callable[[str], str] | None = None) -> None:
        if ask is None and not sys.stdin.isatty():
            raise UsageError(
                "a person must confirm before the arm moves, but standard input is not a terminal: run "
                "it in one, or give confirm=false"
            )
        self._print_line, self._ask = print_line, ask or self._ask_at_terminal
        self.stop: Callable[[], bool] = lambda: False

    def _ask_at_terminal(self, question: str) -> str:
        return read_line(question, lambda: self.stop(), drops_earlier=True)

    def confirm(self, question: str) -> bool:
        return self._read_answer(f"{question}? [enter: yes, n: no] ") in ("", "y", "yes")

    def ask_success(self, question: str) -> bool | None:
        answers = {"y": True, "n": False, "": None}
        while True:
            typed = self._read_answer(f"{question}? [y: success, n: failure, enter: unknown] ")
            if typed is None or typed in answers:
                return answers.get(typed or "")

    def show_message(self, text: str) -> None:
        self._print_line(text)

    def _read_answer(self, question: str) -> str | None:
        """Returns what was typed, or None when a stop was requested meanwhile."""
        try:
            with interrupt_on_signals():
                typed = None if self.stop() else self._ask(question).strip().lower()
        except (EOFError, OSError, termios.error):  # OSError: the terminal has been closed
            raise KeyboardInterrupt from None
        except KeyboardInterrupt:
            if not self.stop():
                raise
            self._print_line("")
            return None
        return None if self.stop() else typed
