"""Wall time of a run over all of its sittings: a run that is started again has several."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from robo_reward.files import Finite, load_json, write_json

PERIOD = 10.0
"""Interval at which the time of a running sitting is written [s], the most that a kill can lose."""


@contextmanager
def recorded_sitting(path: Path, begun: float, period: float = PERIOD) -> Iterator[None]:
    """Keeps the wall time of this sitting in a list of all of them, from its start on.

    The file is written every `period`, so that a kill loses little.

    Args:
        path: `sittings.json`, a list of seconds.
        begun: when the sitting began, by `time.monotonic()` [s].
        period: how often the file is written [s].

    Raises:
        BadArtifact: the file is not such a list.
    """
    earlier = load_json(path, list[Finite], remedy="Delete the file: it only stores how long the run took") or []
    done = threading.Event()

    def write_times() -> None:
        write_json(path, [*earlier, round(time.monotonic() - begun, 3)])

    def write_periodically() -> None:
        while not done.wait(period):
            with suppress(OSError):  # the run's own writes report a full disk
                write_times()

    write_times()
    thread = threading.Thread(target=write_periodically, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        write_times()
