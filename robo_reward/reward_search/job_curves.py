"""Forwards the learning curves of training jobs: a job is confined and has no network, so it cannot log itself."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from robo_reward.errors import BadArtifact
from robo_reward.files import convert_json, is_regular
from robo_reward.jobs.job import Job
from robo_reward.periodic import repeat_in_thread
from robo_reward.printable import to_printable_name
from robo_reward.reward_search.job_validation import MAX_POINTS, CurvePointForm

MAX_NAME = 64  # characters of a term's name
_JOB = re.compile(r"(?P<curve>.+?)(?:-rung\d+)?-[0-9a-f]{8}")

log = logging.getLogger(__name__)


class JobCurves:
    """Reads the progress files of all jobs of a search and forwards each new point once.

    Args:
        jobs: folder of the jobs.
        log_point: gets a point and the name of its curve: that of the candidate, or `final-1` and so on.
    """

    def __init__(self, jobs: Path, log_point: Callable[[Mapping[str, Any], str], None]) -> None:
        self.jobs, self.log_point = jobs, log_point
        self._seen: dict[Path, int] = {}  # size of each progress file when it was last read
        self._counts: dict[Path, int] = {}  # number of its points that were forwarded
        self._damaged: set[Path] = set()

    def forward_new_points(self) -> None:
        """Forwards the points that were written since the last call; a job with a damaged file is left out."""
        folders = sorted(self.jobs.iterdir()) if self.jobs.is_dir() else []
        for folder in folders:
            match = _JOB.fullmatch(folder.name)
            if match and folder not in self._damaged and is_regular(Job(folder).progress_path):
                try:
                    self._forward_job(folder, match["curve"])
                except BadArtifact as problem:
                    self._damaged.add(folder)
                    log.warning("%s; the loggers get nothing more of this job", problem)

    def _forward_job(self, folder: Path, curve: str) -> None:
        path = Job(folder).progress_path
        size = path.stat().st_size
        if size == self._seen.get(folder):
            return
        points = Job(folder).read_progress()[:MAX_POINTS]
        for entry in points[self._counts.get(folder, 0) :]:
            point = msgspec.to_builtins(convert_json(entry, CurvePointForm, path))
            point["terms"] = {to_printable_name(name)[:MAX_NAME]: value for name, value in point["terms"].items()}
            self.log_point(point, curve)
        self._seen[folder], self._counts[folder] = size, len(points)


@contextmanager
def forward_job_curves(
    jobs: Path, log_point: Callable[[Mapping[str, Any], str], None], period: float = 2.0
) -> Iterator[None]:
    """Forwards the curves of jobs while the block runs, every `period` seconds and once after it."""
    curves = JobCurves(jobs, log_point)
    try:
        with repeat_in_thread(curves.forward_new_points, period):
            yield
    finally:
        curves.forward_new_points()
