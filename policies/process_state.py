"""Keeps what training changes in its process from reaching the caller: torch's state, and errors of TensorBoard."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

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


@contextmanager
def keep_torch_state(threads: int) -> Iterator[None]:
    """Runs a block with a number of torch threads; afterwards threads and global random state are the caller's again.

    Args:
        threads: of torch in the block.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before)
