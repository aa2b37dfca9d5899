"""SIGTERM ends every verb as Ctrl-C does, and a killed sitting still counts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robo_reward.cli.app import main
from robo_reward.cli.sittings import recorded_sitting
from robo_reward.cli.verbs import VERBS
from robo_reward.errors import BadArtifact


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_verb_with_130(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed: list[bool] = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it

    def run(config: object, arguments: list[str]) -> int:
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        finally:
            closed.append(True)
        return 0

    monkeypatch.setattr("robo_reward.cli.training.tasks.run", run)
    try:
        assert main(["tasks"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert closed
    assert "interrupted" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_killed_sitting_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "sittings.json"
    path.write_text("[12.5]")
    script = (
        "import os, signal, time; from pathlib import Path; from robo_reward.cli.sittings import recorded_sitting\n"
        f"with recorded_sitting(Path({str(path)!r}), time.monotonic() - 7, period=0.05):\n"
        "    time.sleep(0.3); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    first, second = json.loads(path.read_text())
    assert first == 12.5
    assert second > 7.05


def test_sittings_add_up_and_a_damaged_list_is_told(tmp_path: Path) -> None:
    path = tmp_path / "sittings.json"
    for _ in range(2):
        with recorded_sitting(path, time.monotonic()):
            pass
    assert len(json.loads(path.read_text())) == 2
    path.write_text('["x"]')
    with pytest.raises(BadArtifact, match="sittings"), recorded_sitting(path, time.monotonic()):
        pass


@pytest.mark.slow
def test_a_search_ends_cleanly_on_sigterm(tmp_path: Path) -> None:
    assert "search" in VERBS
    words = ["search", "task=panda/reach", "search.steps=400000", "run=it", "videos=0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "robo_reward.cli", *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/it/jobs/*/progress.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said
    assert len(json.loads((tmp_path / "runs" / "it" / "sittings.json").read_text())) == 1
