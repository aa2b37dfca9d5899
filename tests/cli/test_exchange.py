"""`robo-reward import` and `export`, as typed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robo_reward.cli import main
from robo_reward.data.episode import EpisodeStore
from robo_reward.data.formats import FORMATS
from tests.data.test_lerobot import filmed, foreign

pytest.importorskip("pyarrow")
pytest.importorskip("h5py")
pytest.importorskip("minari")


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    store = EpisodeStore(tmp_path / "demos", frames="exact")
    for i in range(3):
        store.append(filmed(4 + i, i, **({"success_known": False} if i == 2 else {})), f"{i:06d}")
    return store


@pytest.mark.parametrize("to", FORMATS)
def test_out_and_in(store: EpisodeStore, tmp_path: Path, to: str, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / to
    assert main(["export", str(store.folder), f"to={to}", f"out={out}"]) == 0
    said = capsys.readouterr().out
    assert "3 episodes, 15 steps at 20 Hz, cameras front, wrist (35 x 31 pixels each)" in said
    assert "1 succeed, 1 fail, 1 unknown" in said and f"exported to {out}" in said and "open it with: " in said
    assert main(["import", str(out), f"out={tmp_path / 'again'}", "frames=exact", "cameras=[wrist]"]) == 0
    said = capsys.readouterr().out
    assert "3 episodes" in said and "cameras wrist" in said and f"discover demos={tmp_path / 'again'}" in said
    for before, after in zip(store, EpisodeStore(tmp_path / "again"), strict=True):
        np.testing.assert_array_equal(before.state, after.state)
        assert after.frames is not None and after.frames.shape[1:3] == (31, 35)
    assert main(["export", str(store.folder), f"to={to}", f"out={out}"]) == 2
    assert "nothing is overwritten" in capsys.readouterr().err


def test_a_store_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    foreign(tmp_path / "pick place")
    monkeypatch.chdir(tmp_path)
    assert main(["import", "pick place"]) == 0
    assert len(EpisodeStore(tmp_path / "demos" / "pick-place")) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["import", "gone"], "no episodes at gone: there is no such file or folder"),
        (["import", "DATA", "task=panda/lift"], "does not fit task panda/lift: its rate is 10 Hz, expected 25 Hz"),
        (["import", "DATA", "task=panda/lfit"], "panda/lift"),
        (["import", "DATA", "cameras=[tpo]"], "Did you mean 'top'"),
        (["import", "DATA", "frames=jpeg"], "value of frames"),
        (["export", "DATA", "to=lerobott", "out=x"], "Did you mean 'lerobot'"),
        (["export", "DATA", "to=lerobot"], "out=... is missing"),
        (["export", "DATA", "to=lerobot", "out=x", "frames=mp4"], "keep"),
        (["preferences", "exprt", "x.csv"], "is one path too many. Such as: robo-reward preferences import"),
    ],
)
def test_wrong_words(tmp_path: Path, words: list[str], said: str, monkeypatch, capsys: pytest.CaptureFixture[str]):
    foreign(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    assert main([word.replace("DATA", "data") for word in words]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
