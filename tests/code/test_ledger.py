"""The ledger: what was paid for is never lost, whatever happens to the process that writes it."""

import json
import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo_reward.code.ledger import Entry, Ledger, entry_key
from robo_reward.code.writers.writer import Usage, WriterError
from robo_reward.errors import UnknownName

QUESTION = ({"role": "user", "content": "grüße\n„☃“ \u2028"},)


def entry(index: int = 0, text: str = "answer\nof two lines", **options: object) -> Entry:
    return Entry("model", QUESTION, options, index, text, "stop", Usage(3, 5, True, 0.25))


def test_entries_come_back_as_they_were(tmp_path: Path) -> None:
    written = [entry(i, f"text {i} \U0001f916") for i in range(3)]
    ledger = Ledger(tmp_path / "new" / "ledger.jsonl")
    for one in written:
        ledger.put(one)
    assert Ledger(ledger.path, "replay").entries() == written
    assert Ledger(ledger.path, "strict").get(written[1].key) == written[1]


def test_the_key_is_that_of_the_content_alone() -> None:
    messages, options = list(QUESTION), {"temperature": 1.0, "seed": 3}
    key = entry_key("m", messages, options, 0)
    assert key == entry_key("m", [dict(reversed(m.items())) for m in messages], {"seed": 3, "temperature": 1.0}, 0)
    others = {
        entry_key("n", messages, options, 0),
        entry_key("m", messages, options, 1),
        entry_key("m", messages, {**options, "seed": 4}, 0),
        entry_key("m", [*messages, *messages], options, 0),
    }
    assert len(others | {key}) == 5


def test_a_known_answer_is_not_written_twice(tmp_path: Path) -> None:
    path = tmp_path / "l"
    Ledger(path).put(entry(text="first"))
    Ledger(path).put(entry(text="second"))
    assert [e.text for e in Ledger(path).entries()] == ["first"]


@pytest.mark.parametrize("mode", ["off", "replay", "strict"])
def test_only_record_writes(tmp_path: Path, mode: str) -> None:
    Ledger(tmp_path / "l", mode).put(entry())
    assert not (tmp_path / "l").exists()


def test_a_strict_miss_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WriterError, match=r"no answer .* ledger=record"):
        Ledger(tmp_path / "l", "strict").get("0" * 64)
    assert Ledger(tmp_path / "l", "replay").get("0" * 64) is None


def test_an_unknown_mode_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="strict"):
        Ledger(tmp_path / "l", "strickt")


def test_cut_off_at_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "l"
    written = [entry(i) for i in range(3)]
    for one in written:
        Ledger(path).put(one)
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        survivors = whole[:cut].count(b"\n")
        assert Ledger(path, "replay").entries() == written[:survivors]
        Ledger(path).put(entry(9, "after"))
        assert [e.index for e in Ledger(path).entries()] == [*range(survivors), 9]
        assert all(json.loads(line) for line in path.read_bytes().splitlines())


@settings(max_examples=50)
@given(st.lists(st.text(), max_size=5), st.binary(max_size=40))
def test_any_text_and_any_torn_tail(tmp_path_factory: pytest.TempPathFactory, texts: list[str], tail: bytes) -> None:
    path = tmp_path_factory.mktemp("ledger") / "l"
    ledger = Ledger(path)
    for i, text in enumerate(texts):
        ledger.put(entry(i, text))
    with path.open("ab") as file:
        file.write(tail.replace(b"\n", b""))
    Ledger(path).put(entry(99))
    assert [e.text for e in Ledger(path).entries()] == [*texts, entry().text]


def test_a_damaged_line_in_the_middle_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "l"
    for i in range(3):
        Ledger(path).put(entry(i))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b'{"model": 3}\n' + b"\xff\xfe\n" + lines[2])
    assert [e.index for e in Ledger(path).entries()] == [0, 2]


def test_a_reader_sees_what_another_appends(tmp_path: Path) -> None:
    reader = Ledger(tmp_path / "l")
    assert reader.entries() == []
    Ledger(tmp_path / "l").put(entry(1))
    found = reader.get(entry(1).key)
    assert found is not None and found.text == entry(1).text


def _put_many(path: Path, start: int) -> None:
    ledger = Ledger(path)
    for i in range(start, start + 20):
        ledger.put(entry(i, "x" * 5000))


def test_processes_share_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "l"
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    workers = [context.Process(target=_put_many, args=(path, 10 * i)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(e.index for e in Ledger(path).entries()) == list(range(50))


def test_a_full_disk_loses_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "l"
    Ledger(path).put(entry(0))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(WriterError, match=r"No space left.*start the same command again"):
            Ledger(path).put(entry(1))
    Ledger(path).put(entry(2))
    assert [e.index for e in Ledger(path).entries()] == [0, 2]
