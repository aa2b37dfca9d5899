"""Display of a running search: a live table in a terminal, plain lines elsewhere."""

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
from robo_reward.errors import BadArtifact
from robo_reward.files import Count, Share, load_json, parse_json, read_bytes
from robo_reward.periodic import repeat_in_thread
from robo_reward.reward_search.candidate import Candidate

STYLE = {
    "finished": "green",
    "failed": "red",
    "refused": "red",
    "stopped": "dim",
    "duplicate": "dim",
    "training": "cyan",
}
TAIL = 64 << 10  # [bytes] read from the end of a progress file, enough for its last line


class _ProgressLine(msgspec.Struct):
    """A line of a job's progress file."""

    steps: Count
    success: Share


class _JobSpec(msgspec.Struct):
    """The part of a job's spec that the table needs."""

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
    """Follows a search: `handle_event` takes its events, `live_display` draws while a block runs.

    Args:
        console: where to write.
        jobs: folder of the jobs, whose progress is read from their files.
    """

    def __init__(self, console: Terminal, jobs: Path) -> None:
        self.console, self.jobs = console, jobs
        self.rows: dict[str, _Row] = {}
        self.started = time.monotonic()
        self.lock = threading.Lock()

    def handle_event(self, candidate: Candidate, event: str) -> None:
        """Handles one event of the search, from any thread."""
        with self.lock:
            self._apply_event(candidate, event)

    def _apply_event(self, candidate: Candidate, event: str) -> None:
        if event.startswith("job "):
            name = event.removeprefix("job ")
            final = "final-" in name
            key = name.rpartition("-")[0] if final else candidate.id
            row = self.rows.setdefault(key, _Row(candidate, final=final))
            row.job, row.begun, row.first = self.jobs / name, time.monotonic(), row.steps
            self._print_event(f"{key}: training ({name})")
            return
        row = self.rows.setdefault(candidate.id, _Row(candidate))
        if event == "rung" and candidate.rungs:
            result = candidate.rungs[-1]
            row.steps, row.success = result["steps"], result["evaluation"]["success"]
            self._print_event(f"{candidate.id}: success {row.success:.2f} after {row.steps:,} steps")
        elif event == "final":
            self._print_event("a training run with a new seed has ended")
        elif event in STYLE and event != "training":
            self._print_event(f"{candidate.id}: {event}{'; ' + candidate.note if candidate.note else ''}")

    @contextmanager
    def live_display(self) -> Iterator[None]:
        """Redraws the table twice a second in a terminal; elsewhere a line is printed per event."""
        if not self.console.is_terminal:
            yield
            return
        with Live(self._build_table(), console=self.console, refresh_per_second=4) as live:
            try:
                with repeat_in_thread(lambda: live.update(self._build_table()), 0.5):
                    yield
            finally:
                live.update(self._build_table())

    def _print_event(self, text: str) -> None:
        if not self.console.is_terminal:
            self.console.print(f"[{time.monotonic() - self.started:6.1f} s] {text}", markup=False, highlight=False)

    def _build_table(self) -> Table:
        with self.lock:
            table = Table(
                title=f"{time.monotonic() - self.started:.0f} s", title_justify="right", box=None, pad_edge=False
            )
            for name in ("candidate", "from", "stage", "steps", "success", "time left"):
                table.add_column(name, justify="right" if name in ("steps", "success", "time left") else "left")
            for key, row in self.rows.items():
                table.add_row(key, row.candidate.parent or "", *self._format_cells(row))
            return table

    def _format_cells(self, row: _Row) -> tuple[Text, str, str, str]:
        """Returns stage, steps, success and time left of a row, fresh from its job's progress file."""
        status = "training" if row.final else row.candidate.status
        left = ""
        if row.job is not None and (status == "training"):
            steps, success = _read_last_progress(row.job)
            row.steps, row.success = steps or row.steps, success if success is not None else row.success
            left = _estimate_time_left(row)
            if (row.job / "result.json").exists() and row.final:
                status, left = "finished", ""
        style = STYLE.get(status, "")
        stage = Text(status, style)
        shown = "" if row.success is None else f"{row.success:.2f}"
        return stage, f"{row.steps:,}" if row.steps else "", shown, left


def _read_last_progress(job: Path) -> tuple[int | None, float | None]:
    """Returns steps and success of the last whole line of a job's progress file."""
    path = job / "progress.jsonl"
    try:
        whole, _, _ = (read_bytes(path, TAIL, tail=True) or b"").rpartition(b"\n")
        point = parse_json(whole.rpartition(b"\n")[2], _ProgressLine, path)
    except BadArtifact:
        return None, None
    return point.steps, point.success


def _estimate_time_left(row: _Row) -> str:
    done = row.steps - row.first
    if done <= 0 or row.job is None:
        return ""
    try:
        spec = load_json(row.job / "spec.json", _JobSpec)
    except BadArtifact:
        return ""
    if spec is None:
        return ""
    seconds = (spec.until - row.steps) * (time.monotonic() - row.begun) / done
    return f"{max(seconds, 0):.0f} s"
