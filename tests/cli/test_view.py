"""The table of a running search reads files that jobs write."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from robo_reward.cli.robot.view import SearchView, _read_last_progress
from robo_reward.cli.terminal import Terminal
from robo_reward.reward_search.candidate import Candidate
from tests.tampering import JSON

GOOD = b'{"steps": 40, "success": 0.25}\n'


def view_of(folder: Path) -> SearchView:
    """A view that follows one job, half a minute old."""
    view = SearchView(Terminal(), folder)
    view.handle_event(Candidate("1.1", 0, 0, status="training"), "job j")
    view.rows["1.1"].begun = time.monotonic() - 30
    return view


def test_the_last_whole_line_counts(tmp_path: Path) -> None:
    (tmp_path / "j").mkdir()
    (tmp_path / "j" / "spec.json").write_text('{"until": 80}')
    (tmp_path / "j" / "progress.jsonl").write_bytes(b'{"steps": 1, "success": 0}\n' + GOOD + b'{"steps": 70, "suc')
    assert _read_last_progress(tmp_path / "j") == (40, 0.25)
    view = view_of(tmp_path)
    assert view._format_cells(view.rows["1.1"])[1:3] == ("40", "0.25")


ODD: dict[str, Callable[[Path], Any]] = {
    "a list": lambda path: path.write_bytes(b"[]\n"),
    "null": lambda path: path.write_bytes(b"null\n"),
    "other keys": lambda path: path.write_bytes(b'{"steps": 5}\n'),
    "other types": lambda path: path.write_bytes(b'{"steps": [], "success": "x", "until": {}}\n'),
    "infinite": lambda path: path.write_bytes(b'{"steps": 1e999, "success": NaN, "until": -1}\n'),
    "deep": lambda path: path.write_bytes(b"[" * 100_000 + b"\n"),
    "not text": lambda path: path.write_bytes(b"\xff\xfe\n"),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a sparse terabyte": lambda path: os.truncate(path, 1 << 40),
}


@pytest.mark.parametrize("name", ["progress.jsonl", "spec.json"])
@pytest.mark.parametrize("spoil", ODD.values(), ids=ODD)
def test_odd_files_leave_cells_empty(tmp_path: Path, name: str, spoil: Callable[[Path], Any]) -> None:
    folder = tmp_path / "j"
    folder.mkdir()
    (folder / "spec.json").write_text('{"until": 80}')
    (folder / "progress.jsonl").write_bytes(GOOD)
    spoil(folder / name)
    view = view_of(tmp_path)
    cells = view._format_cells(view.rows["1.1"])
    assert cells[1:3] == (("", "") if name == "progress.jsonl" else ("40", "0.25"))
    assert cells[3] == "" and view._build_table().row_count == 1


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=JSON, success=JSON, until=JSON)
def test_any_progress_can_be_drawn(tmp_path: Path, steps: Any, success: Any, until: Any) -> None:
    import json

    folder = tmp_path / "j"
    folder.mkdir(exist_ok=True)
    (folder / "spec.json").write_text(json.dumps({"until": until}))
    (folder / "progress.jsonl").write_text(json.dumps({"steps": steps, "success": success}) + "\n")
    assert view_of(tmp_path)._build_table().row_count == 1
