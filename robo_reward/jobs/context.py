"""The view of a job that its entry gets, inside the worker."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from robo_reward.files import remove_unfinished, to_json, write_json
from robo_reward.jobs.job import Job

STOP_INTERVAL = 0.2  # [s] between two checks of the file system


class JobContext:
    """The argument of an entry: `def entry(job: JobContext) -> dict`.

    Attributes:
        folder: the job's folder, also the current directory.
        spec: the caller's settings.
        checkpoints: a folder that survives a kill; write into it by rename (`save` does).
        layers: what confines this process, layer to "" or to the reason why it does not hold.
    """

    def __init__(self, folder: Path | str, spec: dict[str, Any] | None = None) -> None:
        self._job = Job(Path(folder))
        self.folder = self._job.folder
        self.spec: dict[str, Any] = self._job.load_spec() if spec is None else spec
        self.checkpoints = self._job.checkpoints
        self.checkpoints.mkdir(exist_ok=True)
        for place in (self.folder, self.checkpoints):
            remove_unfinished(place)
        self.layers: dict[str, str] = {}
        self._stopped, self._next_look = False, 0.0
        self._progress: int | None = None

    def is_stop_requested(self) -> bool:
        """Returns whether a STOP file asks the job to end; cheap enough for an inner loop."""
        if not self._stopped and (now := time.monotonic()) >= self._next_look:
            self._stopped, self._next_look = self._job.stop_path.exists(), now + STOP_INTERVAL
        return self._stopped

    @property
    def has_seen_stop(self) -> bool:
        """True once `is_stop_requested` has returned True: the entry's return value is then a partial result."""
        return self._stopped

    def report_progress(self, point: dict[str, Any]) -> None:
        """Appends one JSON object to `progress.jsonl`, in one write."""
        if self._progress is None:
            self._progress = self._open_progress()
        os.write(self._progress, json.dumps(point, default=to_json).encode() + b"\n")

    def save(self, name: str, value: Any) -> None:
        """Writes a JSON checkpoint by rename."""
        write_json(self.checkpoints / name, value)

    def load(self, name: str) -> Any:
        """Returns a JSON checkpoint, or None where there is none."""
        path = self.checkpoints / name
        return json.loads(path.read_bytes()) if path.exists() else None

    def _open_progress(self) -> int:
        handle = os.open(self._job.progress_path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            os.write(handle, b"\n")  # the previous attempt was killed while writing a line
        return handle
