"""Handles the errors of TensorBoard's own thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

WRITER = "_AsyncWriterThread"  # class name in TensorBoard


@contextmanager
def quiet_tensorboard() -> Iterator[None]:
    """Keeps Python from printing what failed in the thread that writes TensorBoard's files, such as a full disk.

    TensorBoard raises the same error in the training loop, at the next entry or when the log is closed.
    """
    original = threading.excepthook

    def ignore_writer_errors(args: threading.ExceptHookArgs) -> None:
        if not (isinstance(args.exc_value, OSError) and type(args.thread).__name__ == WRITER):
            original(args)

    threading.excepthook = ignore_writer_errors
    try:
        yield
    finally:
        threading.excepthook = original
