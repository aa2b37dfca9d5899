"""The ledger: what was paid for is never lost, whatever happens to the process that writes it."""

import json
import logging
import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo_reward.errors import UnknownName
from robo_reward.writers import ledger as ledger_module
from robo_reward.writers.ledger import Ledger, LedgerEntry, compute_entry_key
from robo_reward.writers.writer import Usage, WriterError

QUESTION = ({"role": "user", "content": "grüße\n„☃“ \u2028"},)


def entry(index: int = 0, text: str = "answer\nof two lines", **options: object) -> LedgerEntry:
    return LedgerEntry("model", QUESTION, options, index, text, "stop", Usage(3, 5, True, 0.25))


def test_entries_come_back_as_they_were(tmp_path: Path) -> None:
    written = [entry(i, f"text {i} \U0001f916") for i in range(3)]
    ledger = Ledger(tmp_path / "new" / "ledger.jsonl")
    for one in written:
        ledger.put(one)
    assert Ledger(ledger.path, "replay").load_entries() == written
    assert Ledger(ledger.path, "strict").get(written[1].key) == written[1]


def test_the_key_is_that_of_the_content_alone() -> None:
    messages, options = list(QUESTION), {"temperature": 1.0, "seed": 3}
    key = compute_entry_key("m", messages, options, 0)
    assert key == compute_entry_key(
        "m", [dict(reversed(m.items())) for m in messages], {"seed": 3, "temperature": 1.0}, 0
    )
    others = {
        compute_entry_key("n", messages, options, 0),
        compute_entry_key("m", messages, options, 1),
        compute_entry_key("m", messages, {**options, "seed": 4}, 0),
        compute_entry_key("m", [*messages, *messages], options, 0),
    }
    assert len(others | {key}) == 5


def test_a_known_answer_is_not_written_twice(tmp_path: Path) -> None:
    path = tmp_path / "l"
    Ledger(path).put(entry(text="first"))
    Ledger(path).put(entry(text="second"))
    assert [e.text for e in Ledger(path).load_entries()] == ["first"]


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
        assert Ledger(path, "replay").load_entries() == written[:survivors]
        Ledger(path).put(entry(9, "after"))
        assert [e.index for e in Ledger(path).load_entries()] == [*range(survivors), 9]
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
    assert [e.text for e in Ledger(path).load_entries()] == [*texts, entry().text]


def test_a_damaged_line_in_the_middle_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "l"
    for i in range(3):
        Ledger(path).put(entry(i))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b'{"model": 3}\n' + b"\xff\xfe\n" + lines[2])
    assert [e.index for e in Ledger(path).load_entries()] == [0, 2]


def test_a_reader_sees_what_another_appends(tmp_path: Path) -> None:
    reader = Ledger(tmp_path / "l")
    assert reader.load_entries() == []
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
    assert sorted(e.index for e in Ledger(path).load_entries()) == list(range(50))


def test_a_full_disk_loses_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "l"
    Ledger(path).put(entry(0))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(WriterError, match=r"No space left.*run the same command again"):
            Ledger(path).put(entry(1))
    Ledger(path).put(entry(2))
    assert [e.index for e in Ledger(path).load_entries()] == [0, 2]


def test_a_flipped_bit_costs_its_line_and_never_gives_another_answer(tmp_path: Path) -> None:
    path = tmp_path / "l"
    written = [entry(0, temperature=0.5), entry(1, "the second")]
    for one in written:
        Ledger(path).put(one)
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 13):  # 13: every bit of a byte has its turn
        spoiled = bytearray(whole)
        spoiled[bit // 8] ^= 1 << bit % 8
        path.write_bytes(spoiled)
        found = Ledger(path, "replay").load_entries()
        assert all(one in written for one in found), bit
        assert len(found) >= 1 or spoiled.count(b"\n") < 2, bit


def test_ledgers_of_earlier_versions_have_no_checksum(tmp_path: Path) -> None:
    path = tmp_path / "l"
    old, new = entry(3), entry(4)
    value = old.to_json()
    path.write_text(json.dumps(value) + "\n" + json.dumps({**value, "model": "another"}) + "\n")
    ledger = Ledger(path)
    assert ledger.load_entries() == [old]
    assert ledger.damaged == 1  # the key does not belong to that question
    ledger.put(new)
    assert Ledger(path).load_entries() == [old, new]
    assert "check" in json.loads(path.read_text().splitlines()[-1])


GOOD = entry(0).to_json()
FORGED = {
    "number as text": {**GOOD, "text": 5},
    "numbers as messages": {**GOOD, "messages": [5]},
    "message without content": {**GOOD, "messages": [{"role": "user"}]},
    "null": {**GOOD, "options": None},
    "endless index": {**GOOD, "index": 10**400},
    "negative index": {**GOOD, "index": -1},
    "endless cost": {**GOOD, "usage": {"cost": 1e999}},
    "endless tokens": {**GOOD, "usage": {"prompt_tokens": 10**400}},
    "another field": {**GOOD, "admin": True},
    "missing field": {k: v for k, v in GOOD.items() if k != "text"},
    "list": [],
    "number": 7,
}


@pytest.mark.parametrize("line", FORGED.values(), ids=FORGED)
def test_a_forged_line_is_left_out_with_a_warning(
    tmp_path: Path, line: object, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "l"
    Ledger(path).put(entry(1))
    path.write_bytes(json.dumps(line).encode() + b"\n" + path.read_bytes())
    ledger = Ledger(path)
    with caplog.at_level(logging.WARNING):
        assert [e.index for e in ledger.load_entries()] == [1]
    assert ledger.damaged == 1
    assert f"{path}: 1 damaged line(s) are left out, the first new one is line 1" in caplog.text
    with pytest.raises(WriterError, match=r"1 damaged line\(s\) were left out"):
        Ledger(path, "strict").get("0" * 64)


def test_deep_and_giant_lines_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_LINE", 2000)
    path = tmp_path / "l"
    deep = b'{"model": ' + b"[" * 900 + b"]" * 900 + b"}\n"
    path.write_bytes(b"[" * 1999 + b"\n" + b"x" * 10_000 + b"\n" + deep + b"y" * 1999 + b"\n")
    Ledger(path).put(entry(1))
    ledger = Ledger(path)
    assert [e.index for e in ledger.load_entries()] == [1]
    assert ledger.damaged == 4


def test_a_ledger_that_is_no_file_of_its_own_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    os.symlink(victim, tmp_path / "link")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        for action in (Ledger.load_entries, lambda ledger: ledger.put(entry())):
            with pytest.raises(WriterError, match=r"not a regular file.*Move it away"):
                action(Ledger(tmp_path / name))
    assert victim.read_text() == "precious"
    monkeypatch.setattr(ledger_module, "MAX_LEDGER", 7)
    with pytest.raises(WriterError, match="has 8 bytes, at most 7"):
        Ledger(victim).load_entries()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "x"]), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=60) | JSON.map(lambda v: json.dumps(v).encode()), max_size=5), st.data())
def test_any_lines_are_read_or_left_out(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "l"
    spoilt = {**GOOD, data.draw(st.sampled_from([*GOOD])): data.draw(JSON)}
    path.write_bytes(b"\n".join([*lines, json.dumps(spoilt).encode(), b""]))
    Ledger(path).put(entry(1))
    assert [e for e in Ledger(path).load_entries() if e.index == 1] == [
        e for e in [Ledger(path).get(entry(1).key)] if e
    ]
    for one in Ledger(path).load_entries():
        assert one.key == compute_entry_key(one.model, one.messages, one.options, one.index)
        assert isinstance(one.text, str)
