"""The commands and the Python of docs/data.md run as they stand there, one after another."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from robo_reward.cli import main
from robo_reward.data.formats import open_episodes
from robo_reward.data.summary import summarise_episodes
from robo_reward.labelling.store import PreferenceStore
from tests.house.source import ROOT
from tests.labelling.pages import write_clips

BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.M | re.S)


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    for module in ("pyarrow", "h5py", "minari"):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    write_clips(tmp_path / "FOLDER", 3)
    (tmp_path / "answers.csv").write_text("chosen,rejected\nclip00.mp4,clip01.mp4\nclip02.mp4,clip01.mp4\n")
    blocks = BLOCK.findall((ROOT / "docs" / "data.md").read_text(encoding="utf-8"))
    assert [kind for kind, _ in blocks] == ["sh", "python", "sh"]
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, "docs/data.md", "exec"), {})
            continue
        for line in text.splitlines():
            program, *words = shlex.split(line)
            assert program == "robo-reward" and main(words) == 0, f"{line}: {capsys.readouterr()}"
    first = summarise_episodes(open_episodes("demos/reach"))
    for place in ("demos/again", "demos/second", "exported/lerobot", "exported/robomimic", "exported/minari"):
        found = summarise_episodes(open_episodes(place))
        assert (found.episodes, found.steps, found.cameras) == (3, first.steps, ("front", "wrist"))
        assert found.success == first.success == (3, 0, 0)
    with PreferenceStore("answers.db") as store:
        assert len(store.load_answers()) == 2
