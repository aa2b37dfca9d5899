from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robo_reward.jobs.job import Job


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    """Makes a job of one of `tests.jobs.entries`."""

    def make(entry: str, name: str = "", **params: Any) -> Job:
        return Job.create(tmp_path / (name or entry), {"entry": f"tests.jobs.entries:{entry}", **params})

    return make
