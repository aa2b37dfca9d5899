"""Waiting for things that other threads, processes and machines do."""

import time
from collections.abc import Callable
from typing import Any


def eventually(what: Callable[[], Any], seconds: float = 20.0) -> bool:
    """Whether something becomes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.005)
    return False


def repeated(*calls: Callable[[], Any], times: int = 1500, pause: float = 0.004) -> None:
    """Calls in turn, again and again, until one of them raises or there were enough."""
    for _ in range(times):
        for call in calls:
            call()
        time.sleep(pause)
