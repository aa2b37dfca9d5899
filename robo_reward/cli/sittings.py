"""Wall time of a run over all of its sittings: a run that is started again has several."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from robo_reward.files import Finite, load_json, write_json
from robo_reward.periodic import repeat_in_thread

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

    def write_times() -> None:
        write_json(path, [*earlier, round(time.monotonic() - begun, 3)])

    def write_or_skip() -> None:
        with suppress(OSError):  # the run's own writes report a full disk
            write_times()

    write_times()
    try:
        with repeat_in_thread(write_or_skip, period):
            yield
    finally:
        write_times()
