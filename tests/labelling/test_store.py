"""The store on SQLite and on PostgreSQL: nothing that was acknowledged is lost, nothing counts twice."""

from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from robo_reward.errors import MissingExtra, UsageError
from robo_reward.labelling.answers import Answer, BadAnswer
from robo_reward.labelling.exchange import export_preferences, import_preferences
from robo_reward.labelling.store import Clip, PreferenceStore, SchemaMismatch, Undo, _create_engine, _parse_url
from tests.house.source import ROOT


def answer(number: int = 0, who: str = "ann") -> Answer:
    return Answer(("a", "b"), who, (("a",), ("b",)) if number % 2 else (("b",), ("a",)), seconds=float(number))


def test_answers_come_back_as_they_were(where: str) -> None:
    given = [
        Answer(("a", "b"), "ann", (("b",), ("a",)), seconds=1.25, text="größer ✓", provenance={"page": "1", "n": [1]}),
        Answer(("a", "b", "c"), "bob", (("b", "c"), ("a",))),
        Answer(("a", "b", "c", "d"), "bob"),
        Answer(("a",), "ann", kind="rating", ratings={"a": 4.5}),
        Answer((), "ann", kind="text", text="all too fast"),
    ]
    store = PreferenceStore(where)
    assert store.add(*given) == 5
    assert PreferenceStore(where).load_answers() == given
    assert store.load_answers("bob") == given[1:3]
    assert store.list_annotators() == ("ann", "bob")
    assert len(store) == 5


def test_the_same_answer_twice_counts_once(where: str) -> None:
    store, one = PreferenceStore(where), answer()
    assert store.add(one) == 1
    assert store.add(one, answer(1)) == 1
    again = Answer(**{**one.to_json(), "created": "2030-01-01T00:00:00+00:00", "provenance": {"try": 2}})
    assert store.add(again) == 0
    assert store.load_answers()[0] == one
    other = Answer(**{**one.to_json(), "ranking": (("a",), ("b",))})
    with pytest.raises(BadAnswer, match="another answer"):
        store.add(answer(), other)
    assert len(store) == 2, "a refused batch leaves nothing behind"


def test_undo_adds_a_row_and_deletes_none(where: str) -> None:
    store = PreferenceStore(where)
    first, second = answer(0), answer(1)
    store.add(first, second)
    undo = store.undo_answer(second.uuid, "ann")
    assert store.load_answers() == [first]
    assert store.load_history() == [first, second, undo]
    assert store.add(undo) == 0
    with pytest.raises(UsageError, match="undone already"):
        store.undo_answer(second.uuid, "ann")
    # Whichever arrives first: an undo may overtake its answer in a merged file.
    late = answer(2)
    store.add(Undo(late.uuid, "ann"))
    store.add(late)
    assert store.load_answers() == [first]


def test_clips_are_brought_up_to_date(where: str) -> None:
    store = PreferenceStore(where)
    store.add_clips([Clip("b", "/old/b.mp4"), Clip("a", "/a.mp4", {"seconds": 2.0})])
    store.add_clips([Clip("b", "/new/b.mp4", {"name": "b"})])
    assert store.load_clips() == {
        "a": Clip("a", "/a.mp4", {"seconds": 2.0}),
        "b": Clip("b", "/new/b.mp4", {"name": "b"}),
    }


def test_threads_lose_nothing(where: str) -> None:
    store = PreferenceStore(where)
    given = [answer(i, f"p{i % 8}") for i in range(80)]
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(store.add, given)) == 80
        assert sum(pool.map(store.add, given)) == 0
    assert sorted(a.uuid for a in store.load_answers()) == sorted(a.uuid for a in given)


def _add_many(where: str, who: str, count: int) -> None:
    store = PreferenceStore(where)
    for i in range(count):
        store.add(answer(i, who))


def test_processes_that_make_the_store_together_lose_nothing(where: str) -> None:
    context = multiprocessing.get_context("fork")
    mine = PreferenceStore(where) if "://" in where else None  # one that children inherit, and must not speak on
    workers = [context.Process(target=_add_many, args=(where, f"p{i}", 15)) for i in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 6
    assert len(mine or PreferenceStore(where)) == 90


KILLED = """
import sys
from robo_reward.labelling.answers import Answer
from robo_reward.labelling.store import PreferenceStore
store = PreferenceStore(sys.argv[1])
while True:
    one = Answer(("a", "b"), "ann", (("a",), ("b",)))
    store.add(one)
    sys.stdout.write(one.uuid + "\\n")
    sys.stdout.flush()
"""


def test_what_was_acknowledged_survives_kill_9(where: str) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, where], cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(20)]
        writer.kill()
        said += writer.stdout.readlines()
    acknowledged = {line.strip() for line in said if line.endswith("\n")}
    stored = {a.uuid for a in PreferenceStore(where).load_answers()}
    assert len(acknowledged) >= 20
    assert acknowledged <= stored
    assert len(stored) <= len(acknowledged) + 1


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_export_and_import_merge_by_uuid(where: str, tmp_path: Path, format: str) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    store = PreferenceStore(where)
    store.add_clips([Clip("a", "/a.mp4", {"name": "ä"}), Clip("b", "/b.mp4")])
    store.add(answer(1), answer(2), Answer(("a", "b", "c"), "bob", text="hm", provenance={"x": 1}))
    store.undo_answer(store.load_answers()[0].uuid, "ann")
    path = export_preferences(store, tmp_path / f"out.{format}")
    other = PreferenceStore(tmp_path / "other.db")
    other.add(store.load_answers()[0])
    assert import_preferences(other, path) == (3, 1, 2)
    assert import_preferences(other, path) == (0, 4, 2)
    assert {a.uuid: a for a in other.load_answers()} == {a.uuid: a for a in store.load_answers()}
    assert other.load_clips() == store.load_clips()
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".part")] == []


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    store = PreferenceStore(tmp_path / "s.db")
    path = tmp_path / "in.jsonl"
    path.write_text('{"row": "event", "kind": "pair", "clips": ["a"], "annotator": "x"}\n')
    with pytest.raises(BadAnswer, match="row 1: a pair of 1 clips"):
        import_preferences(store, path)
    path.write_text("\n{nonsense\n")
    with pytest.raises(BadAnswer, match="line 2"):
        import_preferences(store, path)
    with pytest.raises(UsageError, match="jsonl"):
        import_preferences(store, tmp_path / "in.xml")
    (tmp_path / "in.parquet").write_text("nonsense")
    with pytest.raises(UsageError, match="not a Parquet file"):
        import_preferences(store, tmp_path / "in.parquet")


@pytest.mark.parametrize(("version", "remedy"), [("2", "update robo-reward"), ("0", "export it")])
def test_another_schema_is_refused_and_left_alone(where: str, version: str, remedy: str) -> None:
    PreferenceStore(where).close()
    engine = _create_engine(_parse_url(where))
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE preference_meta SET value = '{version}'"))
    engine.dispose()
    with pytest.raises(SchemaMismatch, match=f"version {version}, this is 1: {remedy}"):
        PreferenceStore(where)


def test_what_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database, but long enough to be taken for one at first sight" * 20)
    with pytest.raises(UsageError, match="not a database"):
        PreferenceStore(tmp_path / "text.db")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE songs (title)")
    other.commit()
    other.close()
    with pytest.raises(UsageError, match=r"another program \(tables songs"):
        PreferenceStore(tmp_path / "other.db")
    with pytest.raises(UsageError, match="no folder"):
        PreferenceStore(tmp_path / "nowhere" / "p.db")
    with pytest.raises(UsageError, match=r"make the folder, or give a file such as .*nowhere\.db"):
        PreferenceStore(tmp_path / "nowhere")
    assert not list(tmp_path.glob("nowhere*"))
    with pytest.raises(UsageError, match="postgresql://"):
        PreferenceStore("mysql://host/database")
    with pytest.raises(UsageError, match="not a database URL"):
        PreferenceStore("nonsense ://")
    assert PreferenceStore(tmp_path).where == str(tmp_path / "preferences.db")


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    try:
        with pytest.raises(UsageError, match=r"127\.0\.0\.1:1/p") as caught:
            PreferenceStore("postgresql://me:secret@127.0.0.1:1/p")
        assert "secret" not in str(caught.value)
    except MissingExtra:
        pytest.skip("psycopg is not installed")


def test_sqlite_commits_reach_the_disk(tmp_path: Path) -> None:
    """WAL with synchronous=FULL (2): a commit returns after its fsync."""
    store = PreferenceStore(tmp_path / "s.db")
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000
