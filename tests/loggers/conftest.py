from __future__ import annotations

from pathlib import Path

import pytest

from tests.loggers.recorder import ENTRY_POINTS


@pytest.fixture
def recorder_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package is installed whose entry point makes the logger `recorder`."""
    folder = tmp_path / "packages" / "recorder-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: recorder\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(folder.parent))
