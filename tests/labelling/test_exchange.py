"""Files of preferences that strangers hand over, and answers of any form."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robo_reward.cli import main
from robo_reward.cli.rewards.align import read_preferences
from robo_reward.envs.video.files import write_video
from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.labelling.answers import Answer, BadAnswer
from robo_reward.labelling.exchange import export_preferences, import_preferences, open_preferences
from robo_reward.labelling.store import Clip, PreferenceStore, Undo, event_from_json

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = (
    "clips",
    "annotator",
    "ranking",
    "kind",
    "ratings",
    "text",
    "seconds",
    "created",
    "uuid",
    "provenance",
    "undoes",
)
GOOD: dict[str, Any] = {
    "uuid": "u1", "kind": "pair", "annotator": "ann", "clips": ["a", "b"], "ranking": [["a"], ["b"]], "ratings": {},
    "text": "", "seconds": 1.0, "created": "2026-01-01T00:00:00+00:00", "provenance": {},
}  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), json_values, max_size=4), st.booleans(), json_values)
def test_answers_of_any_form_are_answers_or_refused(changes: dict[str, Any], undo: bool, other: Any) -> None:
    for value in ({**GOOD, **changes}, {"kind": "undo", **changes} if undo else changes, other):
        try:
            event = event_from_json(value)
        except RoboRewardError:
            continue
        assert isinstance(event, Answer | Undo)
        assert event_from_json(json.loads(json.dumps(event.to_json()))) == event


@pytest.mark.parametrize(
    "change",
    [{"seconds": 10**400}, {"ratings": []}, {"provenance": [1]}, {"clips": 5}, {"ranking": [5]}, {"text": None}],
)
def test_forms_that_used_to_be_tracebacks(change: dict[str, Any]) -> None:
    with pytest.raises(BadAnswer):
        Answer.from_json({**GOOD, **change})
    with pytest.raises(RoboRewardError):
        event_from_json({"kind": "undo", "uuid": "u", "annotator": "ann", **change})


ROWS = [
    {"row": "clip", "id": "a", "path": "/a.mp4", "meta": {}},
    {"row": "clip", "id": "b", "path": "/b.mp4"},
    {"row": "event", **GOOD},
]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_mutated_files_are_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    rows = [dict(row) for row in ROWS]
    row = rows[data.draw(st.integers(0, 2))]
    row.update(
        data.draw(st.dictionaries(st.sampled_from(("row", "id", "path", "meta", *NAMES)), json_values, max_size=2))
    )
    content = bytearray("".join(json.dumps(row) + "\n" for row in rows).encode())
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(content)))
        content[place : place + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=6))
    path = tmp_path / "answers.jsonl"
    path.write_bytes(content)
    with contextlib.suppress(RoboRewardError), open_preferences(path) as store:
        assert len(store.load_answers()) <= 2 and all(isinstance(clip, Clip) for clip in store.load_clips().values())


def test_lines_that_are_no_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    good = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    for bad, message in (
        (b"\xff\xfe\n", "line 4: it is not JSON"),
        (b"[" * 100_000 + b"\n", "line 4: it is nested too deeply"),
        (b"[1]\n", "line 4: Expected `object`"),
        (b'{"row": "clip", "id": 5}\n', "row 4: not a valid clip"),
        (b'{"row": "clip", "id": "c", "path": "\\ud83d"}\n', "row 4: not a valid clip"),
        (b'{"row": "event", "clips": ["a", "b"]}\n', "row 4: not a valid answer.*annotator"),
        (b"x" * (1 << 20) + b"x", "line 4: it has more than"),
    ):
        path.write_bytes(good + bad)
        with PreferenceStore(tmp_path) as store, pytest.raises(BadAnswer, match=message):
            import_preferences(store, path)
    path.write_bytes(good.rstrip(b"\n"))  # the last line need not end
    with open_preferences(path) as store:
        assert len(store) == 1
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(UsageError, match="no file"), open_preferences(tmp_path / "folder.jsonl"):
        pass


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_an_exported_file_stands_for_its_store(tmp_path: Path, ending: str) -> None:
    with PreferenceStore(tmp_path) as store:
        store.add_clips([Clip("a", "/a.mp4", {"name": "a"}), Clip("b", "/b.mp4")])
        store.add(*(Answer(("a", "b"), who, (("b",), ("a",))) for who in ("ann", "bob")))
        path = export_preferences(store, tmp_path / f"answers{ending}")
        expected = store.load_answers(), list(store.load_clips().values())
    assert read_preferences(str(path)) == expected
    assert [answer.annotator for answer in read_preferences(str(path), "bob")[0]] == ["bob"]


@pytest.mark.slow
def test_align_learns_from_an_exported_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in "ab":
        write_video(tmp_path / f"{name}.mp4", rng.integers(0, 255, (4, 64, 64, 3), np.uint8), 10)
    rows = [{**row, "path": str(tmp_path / f"{row['id']}.mp4")} for row in ROWS[:2]]
    rows += [{**ROWS[2], "uuid": f"u{i}"} for i in range(6)]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["align", "preferences=answers.jsonl", "method=bt", "settings.steps=3", "camera=front"]
    assert main(words) == 0
    assert "6 answers, 2 clips" in capsys.readouterr().out


def test_clips_are_found_in_the_folder_that_is_given(tmp_path: Path) -> None:
    for name, colour in (("a", 20), ("b", 200)):
        write_video(tmp_path / "old" / f"{name}.mp4", np.full((4, 16, 16, 3), colour, np.uint8), fps=20)
    (tmp_path / "answers.csv").write_text("chosen,rejected\na.mp4,b.mp4\n")
    with pytest.raises(UsageError, match="give clips=FOLDER"):
        read_preferences(str(tmp_path / "answers.csv"))
    answers, clips = read_preferences(str(tmp_path / "answers.csv"), folder=str(tmp_path / "old"))
    assert len(answers) == 1 and sorted(Path(clip.path).name for clip in clips) == ["a.mp4", "b.mp4"]
    with PreferenceStore(tmp_path / "p.db") as store:
        store.add_clips(clips)
        store.add(*answers)
    (tmp_path / "old").rename(tmp_path / "new")
    _, moved = read_preferences(str(tmp_path / "p.db"), folder=str(tmp_path / "new"))
    assert all(Path(clip.path).is_file() for clip in moved) and len(moved) == 2
