"""What a person sees while a search runs: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.live import Live
from rich.table import Table
from rich.text import Text

from robo_reward.cli.terminal import Terminal
from robo_reward.code.search.candidate import Candidate
from robo_reward.errors import BadArtifact
from robo_reward.files import Count, Share, load_json, parse_json, read_bytes

STYLE = {
    "finished": "green",
    "failed": "red",
    "refused": "red",
    "stopped": "dim",
    "duplicate": "dim",
    "training": "cyan",
}
TAIL = 64 << 10  # [bytes] the last line of a job's progress file lies in them


class _Progress(msgspec.Struct):
    """A line of a job's progress file."""

    steps: Count
    success: Share


class _Spec(msgspec.Struct):
    """What the table needs of a job's spec."""

    until: Count


@dataclass
class _Row:
    candidate: Candidate
    job: Path | None = None
    steps: int = 0
    success: float | None = None
    begun: float = 0.0
    first: int = 0
    final: bool = False


class SearchView:
    """Follows a search: `observe` takes its events, `shown` draws while a block runs.

    Args:
        console: where to write.
        jobs: folder of the jobs, whose progress is read from their files.
    """

    def __init__(self, console: Terminal, jobs: Path) -> None:
        self.console, self.jobs = console, jobs
        self.rows: dict[str, _Row] = {}
        self.started = time.monotonic()
        self.lock = threading.Lock()

    def observe(self, candidate: Candidate, event: str) -> None:
        """Takes one event of the search, from any thread."""
        with self.lock:
            self._take(candidate, event)

    def _take(self, candidate: Candidate, event: str) -> None:
        if event.startswith("job "):
            name = event.removeprefix("job ")
            key = name.rpartition("-")[0] if name.startswith("final") else candidate.id
            row = self.rows.setdefault(key, _Row(candidate, final=name.startswith("final")))
            row.job, row.begun, row.first = self.jobs / name, time.monotonic(), row.steps
            self._say(f"{key}: training ({name})")
            return
        row = self.rows.setdefault(candidate.id, _Row(candidate))
        if event == "rung" and candidate.rungs:
            result = candidate.rungs[-1]
            row.steps, row.success = result["steps"], result["evaluation"]["success"]
            self._say(f"{candidate.id}: success {row.success:.2f} after {row.steps:,} steps")
        elif event == "final":
            self._say("a training with a fresh seed is done")
        elif event in STYLE and event != "training":
            self._say(f"{candidate.id}: {event}{'; ' + candidate.note if candidate.note else ''}")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Redraws the table twice a second in a terminal; elsewhere lines come as things happen."""
        if not self.console.is_terminal:
            yield
            return
        done = threading.Event()
        with Live(self._table(), console=self.console, refresh_per_second=4) as live:

            def redraw() -> None:
                while not done.wait(0.5):
                    live.update(self._table())

            thread = threading.Thread(target=redraw, daemon=True)
            thread.start()
            try:
                yield
            finally:
                done.set()
                thread.join()
                live.update(self._table())

    def _say(self, text: str) -> None:
        if not self.console.is_terminal:
            self.console.print(f"[{time.monotonic() - self.started:6.1f} s] {text}", markup=False, highlight=False)

    def _table(self) -> Table:
        with self.lock:
            table = Table(
                title=f"{time.monotonic() - self.started:.0f} s", title_justify="right", box=None, pad_edge=False
            )
            for name in ("candidate", "from", "stage", "steps", "success", "time left"):
                table.add_column(name, justify="right" if name in ("steps", "success", "time left") else "left")
            for key, row in self.rows.items():
                table.add_row(key, row.candidate.parent or "", *self._cells(row))
            return table

    def _cells(self, row: _Row) -> tuple[Text, str, str, str]:
        """Stage, steps, success and time left of a row, fresh from its job's progress file."""
        status = "training" if row.final else row.candidate.status
        left = ""
        if row.job is not None and (status == "training"):
            steps, success = _last_progress(row.job)
            row.steps, row.success = steps or row.steps, success if success is not None else row.success
            left = _time_left(row)
            if (row.job / "result.json").exists() and row.final:
                status, left = "finished", ""
        style = STYLE.get(status, "")
        stage = Text(status, style)
        shown = "" if row.success is None else f"{row.success:.2f}"
        return stage, f"{row.steps:,}" if row.steps else "", shown, left


def _last_progress(job: Path) -> tuple[int | None, float | None]:
    """Steps and success of the last whole line of a job's progress file."""
    path = job / "progress.jsonl"
    try:
        whole, _, _ = (read_bytes(path, TAIL, tail=True) or b"").rpartition(b"\n")
        point = parse_json(whole.rpartition(b"\n")[2], _Progress, path)
    except BadArtifact:
        return None, None
    return point.steps, point.success


def _time_left(row: _Row) -> str:
    done = row.steps - row.first
    if done <= 0 or row.job is None:
        return ""
    try:
        spec = load_json(row.job / "spec.json", _Spec)
    except BadArtifact:
        return ""
    if spec is None:
        return ""
    seconds = (spec.until - row.steps) * (time.monotonic() - row.begun) / done
    return f"{max(seconds, 0):.0f} s"
