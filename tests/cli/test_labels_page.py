"""The commands of docs/your_labels.md run as they stand there, one after another; a program answers in the browser."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from robo_reward.cli.app import main
from robo_reward.data.episode import EpisodeStore
from robo_reward.envs.task import make_task
from robo_reward.labelling.answers import new_uuid
from robo_reward.labelling.store import PreferenceStore
from robo_reward.language.language import compile_program
from tests.house.source import ROOT
from tests.labelling.pages import call, command, write_clips

FENCE = re.compile(r"^```(sh|text)\n(.*?)^```", re.M | re.S)
SHORTER = {"steps=100k": "steps=120", "episodes=10": "episodes=6"}
TINY = ["policy.params.worlds=2", "policy.params.batch_size=60", "episodes=2", "videos=0"]


def answer_queries(folder: Path, words: list[str], count: int) -> None:
    """Answers a page as a person would who prefers the larger expert reward."""
    store, task = EpisodeStore(folder), make_task("panda/reach")
    truth = compile_program(task.expert_reward, task.spec, task.action.dim)
    keys = list(store.keys())
    worth = {key: float(truth(store.load(key).to_transitions()).total.mean()) for key in keys}
    with command(folder.absolute(), *words) as (_, address):
        port, path = int(address.split(":")[2].split("/")[0]), "/" + address.split("/", 3)[3]
        asked = call(port, "GET", f"{path}api/queries?annotator=ann&tab=one&count={count}").json
        assert len(asked) == count
        for query in asked:
            clips = [clip["id"] for clip in query["clips"]]
            ranking = [[clip] for clip in sorted(clips, key=lambda clip: -worth[clip])]
            event = {"clips": clips, "ranking": ranking, "annotator": "ann", "uuid": new_uuid()}
            event |= {"text": "", "seconds": 1.0, "source": query["source"]}
            assert call(port, "POST", f"{path}api/events", event).status == 200


@pytest.mark.slow
def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("starlette")
    monkeypatch.chdir(tmp_path)
    write_clips(tmp_path / "videos", 3)
    blocks = FENCE.findall((ROOT / "docs" / "your_labels.md").read_text(encoding="utf-8"))
    (table,) = [text for kind, text in blocks if kind == "text"]
    Path("answers.csv").write_text(table)
    for line in "".join(text for kind, text in blocks if kind == "sh").splitlines():
        for long, short in SHORTER.items():
            line = line.replace(long, short)
        program, verb, *words = shlex.split(line)
        assert program == "robo-reward"
        if verb == "label":
            answer_queries(Path(words[0]), words[1:], 12)
        else:
            assert main([verb, *words, *(TINY if verb == "train" else [])]) == 0, f"{line}: {capsys.readouterr()}"
    said = capsys.readouterr().out
    assert "nothing in common" not in said
    assert json.loads(Path("runs/taste/result.json").read_text())["pair_accuracy_train"] > 0.8
    with PreferenceStore("answers.db") as store:
        assert [answer.annotator for answer in store.load_answers()] == ["ann", "ben"]
