"""Keeps what training changes in torch from reaching the caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
