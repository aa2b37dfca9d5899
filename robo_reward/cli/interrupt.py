"""Ctrl-C, SIGTERM and the end of the terminal as a request to stop at the next safe moment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class StopRequest:
    """A request to stop: call it to learn whether a signal has asked for it."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked

    def handle_signal(self, number: int, frame: FrameType | None) -> None:
        """Handles a signal: the first requests a stop, the second interrupts at once, unless it is SIGHUP."""
        # A shell and the system both send SIGHUP when a terminal closes.
        if self.asked and number != signal.SIGHUP:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turns SIGINT, SIGTERM and SIGHUP into a request while the block runs; with `nohup`, SIGHUP stays ignored.

    Only the main thread can handle signals: in another one nothing asks to stop.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    old = {number: signal.signal(number, request.handle_signal) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextmanager
def interrupt_on_sigterm() -> Iterator[None]:
    """Lets SIGTERM end a verb as Ctrl-C does: what is open is closed, and the exit code is 130."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield  # the caller handles the signal
        return

    def raise_interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, raise_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
