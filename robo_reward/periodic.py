"""An action that is repeated in a thread of its own while a block runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeat_in_thread(action: Callable[[], object], period: float) -> Iterator[None]:
    """Calls an action every `period` seconds [s] while the block runs; the thread has ended when the block has."""
    done = threading.Event()

    def repeat() -> None:
        while not done.wait(period):
            action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
