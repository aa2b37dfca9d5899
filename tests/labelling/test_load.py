"""Eight annotators at once, and a server that is killed meanwhile; `benchmarks/labels.py` measures how fast."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.labels import kill_and_restart, make_clips, measure

pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'robo-reward[label]'")


@pytest.mark.slow
def test_nothing_acknowledged_is_lost(where: str, tmp_path: Path) -> None:
    found = measure(make_clips(tmp_path / "clips"), where, 6.0, [kill_and_restart, kill_and_restart])
    assert found["acknowledged"] > 100
    assert found["lost"] == 0
    assert found["counted_twice"] == 0
    assert found["stored"] >= found["acknowledged"]
