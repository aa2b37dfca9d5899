"""Preferences of other projects: tables, Label Studio's JSON and B-Pref's arrays."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo_reward.cli import main
from robo_reward.data.episode import EpisodeStore
from robo_reward.errors import BadArtifact, RoboRewardError, UnknownName, UsageError
from robo_reward.labelling.answers import Answer, BadAnswer, extract_pairs
from robo_reward.labelling.clips import find_clips
from robo_reward.labelling.exchange import export_preferences, import_preferences, open_preferences
from robo_reward.labelling.store import PreferenceStore
from tests.labelling.pages import write_clips


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three clips, clip00.mp4 to clip02.mp4."""
    return write_clips(tmp_path / "clips", 3)


def names_of(store: PreferenceStore) -> dict[str, str]:
    return {clip.id: Path(clip.path).name for clip in store.load_clips().values()}


def read(path: Path, **options: Any) -> list[tuple[str, str, bool, str]]:
    """The comparisons of a file, by the names of the clips."""
    with PreferenceStore(path.parent / "store.db") as store:
        counts = import_preferences(store, path, **options)
        again = import_preferences(store, path, **options)
        assert (again.new, again.known) == (0, counts.new)
        names = names_of(store)
        return [(names[p.winner], names[p.loser], p.tie, p.annotator) for p in extract_pairs(store.load_answers())]


ROWS = [
    {"chosen": "clip01.mp4", "rejected": "clip00.mp4", "annotator": "ann", "seconds": 2.5},
    {"chosen": "clip02.mp4", "rejected": "clip01.mp4", "tie": True},
    {"chosen": "clip01.mp4", "rejected": "clip00.mp4", "annotator": "ann", "seconds": 2.5},
]


def write_table(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".csv":
        columns = list(dict.fromkeys(name for row in rows for name in row))
        lines = [",".join(columns), *(",".join(str(row.get(name, "")) for name in columns) for row in rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")  # as spreadsheets write it
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        arrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(arrow.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_tables_of_chosen_and_rejected(folder: Path, tmp_path: Path, ending: str):
    first = {"tie": None} if ending == ".parquet" else {}
    path = write_table(tmp_path / f"answers{ending}", [{**ROWS[0], **first}, *ROWS[1:]])
    assert read(path, folder=folder) == [
        ("clip01.mp4", "clip00.mp4", False, "ann"),
        ("clip02.mp4", "clip01.mp4", True, "imported"),
        ("clip01.mp4", "clip00.mp4", False, "ann"),
    ]
    with PreferenceStore(tmp_path / "store.db") as store:
        assert store.load_answers()[0].seconds == 2.5
        assert {v.id for v in find_clips(folder, tmp_path / "work").videos} == set(store.load_clips())


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"chosen": "clip01.mp4", "rejected": "gone.mp4"}, r"row 2: clip 'gone\.mp4' is not in .*clips; give clips="),
        ({"chosen": "clip01.mp4", "other": "clip02.mp4"}, r"row 2: expected .* columns chosen and rejected"),
        ({"chosen": "clip01.mp4", "rejected": "clip01.mp4"}, r"row 2: .* are the same clip"),
        ({"chosen": "clip01.mp4", "rejected": "clip00.mp4", "tie": "maybe"}, r"row 2: tie is 'maybe', expected true"),
        ({"chosen": "clip01.mp4", "rejected": "clip00.mp4", "seconds": "long"}, r"row 2: seconds is 'long'"),
        (
            {"chosen": "clip01.mp4", "rejected": "clip00.mp4", "created": "noon"},
            r"row 2: created 'noon' is not an ISO 8601 time",
        ),
    ],
)
@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_rows_that_are_no_comparisons_are_named(folder: Path, tmp_path: Path, row: dict, said: str, ending: str):
    path = write_table(tmp_path / f"answers{ending}", [ROWS[0], row])
    with PreferenceStore(tmp_path / "store.db") as store:
        with pytest.raises(RoboRewardError, match=said):
            import_preferences(store, path, folder)
        assert not store.load_answers() and not store.load_clips()


def annotation(number: int, result: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    about = {"id": number, "completed_by": 7, "created_at": "2026-03-09T22:16:08.728353Z", "lead_time": 4.25}
    return {**about, "was_cancelled": False, "result": result, **more}


def test_label_studio(folder: Path, tmp_path: Path):
    def select(side: str) -> list[dict[str, Any]]:
        return [{"type": "pairwise", "from_name": "pw", "to_name": "pw", "value": {"selected": side}}]

    def choose(side: str) -> list[dict[str, Any]]:
        return [{"type": "choices", "from_name": "c", "to_name": "left", "value": {"choices": [side]}}]

    videos = {"video2": "/data/local-files/?d=clips/clip01.mp4", "video1": "/data/upload/3/clip00.mp4"}
    tasks = [
        {"id": 1, "data": {"goal": "Lift it.", **videos}, "annotations": [annotation(1, select("right"))]},
        {
            "id": 2,
            "data": {"left": "http://host/clip01.mp4?x=1", "right": "clip02.mp4", "number": 3},
            "annotations": [
                annotation(2, choose("Left"), completed_by={"id": 3, "email": "ann@lab"}),
                annotation(3, choose("Equal")),
                annotation(4, choose("Right"), was_cancelled=True),
                annotation(5, []),
            ],
        },
    ]
    path = tmp_path / "project.json"
    path.write_text(json.dumps(tasks))
    assert read(path, folder=folder) == [
        ("clip01.mp4", "clip00.mp4", False, "7"),
        ("clip01.mp4", "clip02.mp4", False, "ann@lab"),
        ("clip01.mp4", "clip02.mp4", True, "7"),
    ]
    with PreferenceStore(tmp_path / "store.db") as store:
        last = store.load_answers()[-1]
        assert last.is_skipped and last.seconds == 4.25 and last.created == "2026-03-09T22:16:08.728353+00:00"


def pairwise(data: dict[str, str], side: str = "left", to: str = "pw") -> list[dict[str, Any]]:
    result = [{"type": "pairwise", "from_name": "pw", "to_name": to, "value": {"selected": side}}]
    return [{"id": 1, "data": data, "annotations": [annotation(1, result)]}]


@pytest.mark.parametrize(
    ("names", "sides"),
    [
        (("video2", "video10"), None),
        (("clip_a", "clip_b"), None),
        (("clipA", "clipB"), None),
        (("leftVideo", "rightVideo"), None),
        (("new", "baseline"), ("new", "baseline")),
    ],
)
@pytest.mark.parametrize("swap", [False, True])
def test_the_left_clip_follows_from_names_not_from_their_order(
    folder: Path, tmp_path: Path, names: tuple[str, str], sides: tuple[str, str] | None, swap: bool
):
    data = {names[0]: "/data/upload/1/clip00.mp4", names[1]: "s3://bucket/clip01.mp4", "goal": "Lift it."}
    path = tmp_path / "project.json"
    path.write_text(json.dumps(pairwise(dict(reversed(data.items())) if swap else data)))
    assert read(path, folder=folder, sides=sides) == [("clip00.mp4", "clip01.mp4", False, "7")]


def test_sides_that_are_not_known_are_asked_for(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "project.json"
    path.write_text(json.dumps(pairwise({"new": "clip00.mp4", "baseline": "clip01.mp4"}, "right")))
    words = ["preferences", "import", str(path), f"clips={folder}", f"to={tmp_path / 'store.db'}"]
    assert main(words) == 2
    assert "new and baseline do not say which clip was on the left; give left=NAME" in capsys.readouterr().err
    assert main([*words, "left=new", "right=bseline"]) == 2
    assert "texts new, baseline, not new and bseline" in capsys.readouterr().err
    assert main([*words, "left=new", "right=baseline"]) == 0
    with PreferenceStore(tmp_path / "store.db") as store:
        (pair,) = extract_pairs(store.load_answers())
        assert names_of(store)[pair.winner] == "clip01.mp4"


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ({}, "array"),
        ([{"id": 1, "data": {"a": "x"}}], "task 1 has no data or no annotations"),
        ([{"id": 1, "data": {"a": "x"}, "annotations": [annotation(2, [])]}], "has the texts a, expected those of two"),
        (
            [{"id": 1, "data": {"a": "clip00.mp4", "b": "clip01.mp4"}, "annotations": [
                annotation(2, [{"type": "choices", "value": {"choices": ["Blue"]}}])]}],
            "annotation 2 of task 1 chose 'Blue', expected left, right or equal",
        ),
        ([], "holds no comparisons"),
    ],
)  # fmt: skip
def test_damaged_label_studio_exports_are_named(folder: Path, tmp_path: Path, tasks: Any, said: str):
    path = tmp_path / "project.json"
    path.write_text(json.dumps(tasks))
    with PreferenceStore(tmp_path / "store.db") as store, pytest.raises(RoboRewardError, match=said):
        import_preferences(store, path, folder)


def arrays(count: int = 4, pictures: bool = False) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    found = {f"sa_t_{side}": rng.normal(size=(count, 6, 5)) for side in (1, 2)}
    if pictures:
        found |= {f"frames_{side}": rng.integers(0, 255, (count, 6, 16, 16, 3), np.uint8) for side in (1, 2)}
    return {**found, "labels": np.array([[0], [1], [-1], [1]])[:count]}


@pytest.mark.parametrize("form", ["numbers", "shares"])
@pytest.mark.parametrize("pictures", [True, False])
def test_arrays_in_the_manner_of_b_pref(tmp_path: Path, form: str, pictures: bool):
    content = arrays(pictures=pictures)
    if form == "shares":
        content["labels"] = np.array([[1, 0], [0, 1], [0.5, 0.5], [0.2, 0.8]])
    np.savez(tmp_path / "pairs.npz", allow_pickle=False, **content)
    with PreferenceStore(tmp_path / "store.db") as store:
        assert import_preferences(store, tmp_path / "pairs.npz") == (4, 0, 8)
        assert import_preferences(store, tmp_path / "pairs.npz") == (0, 4, 8)
        answers, clips = store.load_answers(), store.load_clips()
    segments = EpisodeStore(tmp_path / "pairs-segments")
    for number, answer in enumerate(answers):
        for side, key in enumerate(answer.clips, 1):
            episode = segments.load(key)
            np.testing.assert_array_equal(episode.state, content[f"sa_t_{side}"][number])
            assert (episode.frames is not None) == pictures and clips[key].path == str(segments.folder)
    first, second = (answers[0].clips[0], answers[1].clips[1])
    assert answers[0].ranking[0] == (first,) and answers[1].ranking[0] == (second,) and answers[2].is_all_tied
    assert answers[3].ranking[0] == (answers[3].clips[1],)


def test_the_buffers_of_b_pref(tmp_path: Path):
    content = arrays()
    named = {"buffer_seg1": content["sa_t_1"], "buffer_seg2": content["sa_t_2"], "buffer_label": content["labels"]}
    np.savez(tmp_path / "one.npz", allow_pickle=False, **content)
    np.savez(tmp_path / "other.npz", allow_pickle=False, **named)
    found = []
    for name in ("one.npz", "other.npz"):
        with open_preferences(tmp_path / name) as store:
            found.append([answer.ranking for answer in store.load_answers()])
    assert found[0] == found[1]


def test_offline_data_sets_with_observations_and_actions(tmp_path: Path):
    rng = np.random.default_rng(0)
    content = {name: rng.normal(size=(2, 5, n)) for name, n in (("observations", 3), ("actions", 2))}
    content |= {f"{name}_2": rng.normal(size=values.shape) for name, values in content.items()}
    np.savez(tmp_path / "pairs.npz", allow_pickle=False, **content, labels=np.array([1, 0]))
    with open_preferences(tmp_path / "pairs.npz") as store:
        (first, _) = store.load_answers()
    episode = EpisodeStore(tmp_path / "pairs-segments").load(first.clips[1])
    np.testing.assert_array_equal(episode.action, content["actions_2"][0, :-1])
    assert first.ranking[0] == (first.clips[1],)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": np.array([0, 1, 2, 0])}, "a label is 2, expected 0, 1 or -1"),
        ({"labels": np.array([0, 1])}, r"labels are int64 \(2,\), expected numbers \(N,\), \(N, 1\) or \(N, 2\)"),
        ({"sa_t_2": np.zeros((4, 7, 5))}, ""),
        ({"sa_t_1": np.zeros(3)}, "expected sa_t_1, sa_t_2 and labels"),
    ],
)
def test_arrays_of_another_form_are_refused(tmp_path: Path, change: dict[str, np.ndarray], said: str):
    np.savez(tmp_path / "pairs.npz", allow_pickle=False, **{**arrays(), **change})
    with PreferenceStore(tmp_path / "store.db") as store:
        if not said:  # segments of different lengths are fine
            assert import_preferences(store, tmp_path / "pairs.npz").new == 4
            return
        with pytest.raises(BadAnswer, match=said):
            import_preferences(store, tmp_path / "pairs.npz")
    assert not (tmp_path / "pairs-segments").exists()


def test_files_of_other_kinds(tmp_path: Path):
    with PreferenceStore(tmp_path / "store.db") as store:
        (tmp_path / "answers.txt").write_text("")
        with pytest.raises(UnknownName, match=r"\.csv"):
            import_preferences(store, tmp_path / "answers.txt")
        (tmp_path / "pairs.npz").write_text("no arrays")
        with pytest.raises(BadArtifact, match=r"pairs\.npz"):
            import_preferences(store, tmp_path / "pairs.npz")
        (tmp_path / "answers.csv").write_bytes(b"chosen,rejected\n\xff,b\n")
        with pytest.raises(BadAnswer, match="not UTF-8"):
            import_preferences(store, tmp_path / "answers.csv")
        with pytest.raises(UsageError, match="no file"):
            import_preferences(store, tmp_path / "gone.csv")


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "- slower", "'=quoted", "it's", "+1", "@ann", "'plain'"])
def test_comments_in_csv_are_no_formulas_and_come_back(folder: Path, tmp_path: Path, text: str):
    path = write_table(tmp_path / "answers.jsonl", [{**ROWS[0], "annotator": text, "text": text}])
    with PreferenceStore(tmp_path / "store.db") as store:
        import_preferences(store, path, folder)
        export_preferences(store, tmp_path / "ours.csv")
    with (tmp_path / "ours.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert cells and not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@")]
    with open_preferences(tmp_path / "ours.csv", folder) as store:
        (answer,) = store.load_answers()
    assert (answer.annotator, answer.text) == (text, text)


def test_our_parquet_names_chosen_and_rejected(folder: Path, tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = write_table(tmp_path / "answers.jsonl", ROWS)
    with PreferenceStore(tmp_path / "store.db") as store:
        import_preferences(store, path, folder)
        export_preferences(store, tmp_path / "ours.parquet")
        answers = store.load_answers()
    rows = [row for row in parquet.read_table(tmp_path / "ours.parquet").to_pylist() if row["row"] == "event"]
    assert [(row["chosen"], row["rejected"]) for row in rows[:2]] == [
        (str(folder / "clip01.mp4"), str(folder / "clip00.mp4")),
        (None, None),
    ]
    with open_preferences(tmp_path / "ours.parquet") as store:
        back: list[Answer] = store.load_answers()
    assert [answer.to_json() for answer in back] == [answer.to_json() for answer in answers]


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = write_table(tmp_path / "answers.csv", ROWS)
    words = ["preferences", "import", str(path), f"clips={folder}", f"to={tmp_path / 'store.db'}"]
    assert main(words) == 0
    assert "3 answers added, 0 already there, about 3 clips" in capsys.readouterr().out
    assert main(words) == 0
    assert "0 answers added, 3 already there" in capsys.readouterr().out
    assert main(["preferences", "import", str(tmp_path / "gone.csv")]) == 2
    assert main(["preferences", "import", str(path), "clips=gone"]) == 2
    assert main(["preferences", "import", str(path), "left=a"]) == 2
    np.savez(tmp_path / "pairs.npz", allow_pickle=False, **arrays())
    assert main(["preferences", "import", str(tmp_path / "pairs.npz"), f"to={tmp_path / 'other.db'}"]) == 0
    assert "no pictures" in capsys.readouterr().out


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_a_store_goes_out_and_comes_back(folder: Path, tmp_path: Path, ending: str, capsys: pytest.CaptureFixture[str]):
    path = write_table(tmp_path / "answers.csv", ROWS)
    rows = [{"chosen": "clip00.mp4", "rejected": "clip02.mp4", "text": "Smoother, «quieter».", "seconds": 1.25}]
    more = write_table(tmp_path / "more.jsonl", rows)
    with PreferenceStore(tmp_path / "store.db") as store:
        for file in (path, more):
            import_preferences(store, file, folder)
        before = store.load_answers()
    out = tmp_path / "new" / f"ours{ending}"
    words = ["preferences", "export", str(tmp_path / "store.db"), f"to={out}"]
    assert main(words) == 0
    assert "4 answers about 3 clips; exported to" in capsys.readouterr().out
    assert main(["preferences", "import", str(out), f"to={tmp_path / 'again.db'}"]) == 0
    assert "4 answers added" in capsys.readouterr().out
    with PreferenceStore(tmp_path / "again.db") as store:
        after = store.load_answers()
    assert [(a.clips, a.ranking, a.annotator, a.seconds, a.created, a.text) for a in after] == [
        (tuple(clip for group in a.ranking for clip in group), a.ranking, a.annotator, a.seconds, a.created, a.text)
        if ending == ".csv"
        else (a.clips, a.ranking, a.annotator, a.seconds, a.created, a.text)
        for a in before
    ]
    assert main(words) == 2
    assert "nothing is overwritten" in capsys.readouterr().err


def test_what_cannot_be_exported_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for words, said in (
        ([str(tmp_path / "gone.db"), "to=a.csv"], "there is no store of preferences at"),
        ([str(tmp_path)], "to=... is missing"),
        ([str(tmp_path), f"to={tmp_path / 'a.txt'}"], "format of preferences"),
    ):
        assert main(["preferences", "export", *words]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "a.txt").exists()
