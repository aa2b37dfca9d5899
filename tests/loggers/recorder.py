"""A logger of another package, for tests: it writes what it gets into a file of the run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robo_reward.loggers.logger import LoggedRun

ENTRY_POINTS = "[robo_reward.loggers]\nrecorder = tests.loggers.recorder:Recorder\n"


class Recorder:
    def __init__(self, run: LoggedRun, file: str = "recorded.jsonl", fails: bool = False) -> None:
        self.path, self.fails, self.place = run.folder / file, fails, file
        self._write("start", id=run.id, sitting=run.sitting, config=dict(run.config))

    def log_scalars(self, curve: str, step: int, values: Mapping[str, float]) -> None:
        if self.fails:
            raise ConnectionError("the server is gone")
        self._write("point", curve=curve, step=step, values=dict(values))

    def log_video(self, name: str, path: Path) -> None:
        self._write("video", name=name, size=path.stat().st_size)

    def finish(self, result: Mapping[str, Any]) -> None:
        self._write("finish", result=dict(result))

    def _write(self, kind: str, **content: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"kind": kind, **content}) + "\n")


def read_records(path: Path, kind: str = "") -> list[dict[str, Any]]:
    """All entries of a file, or those of one kind."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return [entry for entry in entries if kind in ("", entry["kind"])]
