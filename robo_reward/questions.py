"""A line that a person types after a question, without the race of `input` with signals."""

from __future__ import annotations

import select
import sys
import termios
from collections.abc import Callable


def read_line(question: str, stop: Callable[[], bool] = lambda: False, *, drops_earlier: bool = False) -> str:
    """Returns the line typed at the terminal after a question, with its line end.

    A signal between the prompt and the read of `input` is noted only when the read ends; here it is noted within 0.1 s,
    and so is a stop request from another thread.

    Args:
        question: is printed first.
        stop: returns True when the answer is no longer needed.
        drops_earlier: whether to drop what was typed before the question, so that an Enter pressed earlier confirms
            nothing.

    Raises:
        EOFError: standard input was closed.
        KeyboardInterrupt: a signal, or a stop was requested.
    """
    if drops_earlier:
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
    sys.stdout.write(question)
    sys.stdout.flush()
    while not select.select([sys.stdin], [], [], 0.1)[0]:
        if stop():
            raise KeyboardInterrupt
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line
