"""Writers that need no network: replay and mailbox; writers by name."""

import contextlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo_reward.cli.arguments.structured import build_node, list_structured_keys
from robo_reward.errors import BadArtifact, UnknownName, UsageError
from robo_reward.writers import builtin
from robo_reward.writers.extract import MAX_ANSWER
from robo_reward.writers.ledger import Ledger
from robo_reward.writers.mailbox import MailboxWriter
from robo_reward.writers.replay import ReplayWriter
from robo_reward.writers.writer import RejectedAnswer, WriterError, make_writer, writers
from tests.language.programs import FIVE_TERMS
from tests.writers.test_prompts import REQUEST

ANSWER = f"```python\n{FIVE_TERMS}```\n"


def mailbox(folder: Path, **options: Any) -> MailboxWriter:
    return MailboxWriter(folder / "run", **{"dir": folder / "box", "poll": 0.01, "timeout": 20.0, **options})


def post(box: MailboxWriter, id_: str, text: str) -> None:
    half = box.answers / f".{id_}.tmp"
    half.write_text(text)
    half.rename(box.answers / f"{id_}.md")


class Correspondent:
    """Answers prompts as they appear, in a thread."""

    def __init__(self, box: MailboxWriter, reply: Callable[[dict[str, Any]], str]) -> None:
        self.box, self.reply, self.stop = box, reply, threading.Event()
        self.letters: dict[str, dict[str, Any]] = {}
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self.stop.wait(0.005):
            for path in self.box.prompts.glob("*.json"):
                if path.stem not in self.letters:
                    self.letters[path.stem] = json.loads(path.read_text())
                    post(self.box, path.stem, self.reply(self.letters[path.stem]))

    def __enter__(self) -> "Correspondent":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()


def test_prompts_appear_and_answers_are_read(tmp_path: Path) -> None:
    box = mailbox(tmp_path)
    with Correspondent(box, lambda letter: f"sample {letter['options']['index']}\n{ANSWER}") as correspondent:
        answers = box.write(REQUEST, 3)
    assert [a.source for a in answers] == [FIVE_TERMS] * 3
    assert [a.text.split("\n")[0] for a in answers] == ["sample 0", "sample 1", "sample 2"]
    for id_, letter in correspondent.letters.items():
        assert letter["id"] == id_
        assert letter["answer"] == f"answers/{id_}.md"
        assert [m["role"] for m in letter["messages"]] == ["system", "user"]
    assert sorted(p.suffix for p in box.prompts.iterdir()) == [".json"] * 3


def test_a_run_that_starts_again_asks_under_the_same_names(tmp_path: Path) -> None:
    box = mailbox(tmp_path, timeout=0.02)
    with pytest.raises(WriterError, match=r"no answer within.*run the same command again"):
        box.write(REQUEST, 2)
    ids = sorted(p.stem for p in box.prompts.iterdir())
    for id_ in ids:
        post(box, id_, ANSWER)
    again = mailbox(tmp_path, timeout=0.02)
    assert [a.source for a in again.write(REQUEST, 2)] == [FIVE_TERMS] * 2
    assert sorted(p.stem for p in box.prompts.iterdir()) == ids
    shutil.rmtree(box.dir)
    assert [a.cached for a in mailbox(tmp_path, ledger="strict").write(REQUEST, 2)] == [True, True]


def test_an_answer_that_came_before_a_timeout_is_kept(tmp_path: Path) -> None:
    box = mailbox(tmp_path, timeout=0.02)
    with pytest.raises(WriterError):
        box.write(REQUEST, 2)
    post(box, next(box.prompts.iterdir()).stem, ANSWER)
    with pytest.raises(WriterError):
        mailbox(tmp_path, timeout=0.02).write(REQUEST, 2)
    assert len(Ledger(tmp_path / "run" / "ledger.jsonl").load_entries()) == 1


def test_an_empty_answer_is_moved_aside_and_waited_for_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    box = mailbox(tmp_path, timeout=0.02)
    with pytest.raises(WriterError):
        box.write(REQUEST, 1)
    id_ = next(box.prompts.iterdir()).stem
    for n in (1, 2):
        post(box, id_, " \n")
        with caplog.at_level(logging.WARNING), pytest.raises(WriterError):
            box.write(REQUEST, 1)
        assert (box.answers / f"{id_}.empty-{n}").is_file()
        assert "is empty" in caplog.text
    post(box, id_, ANSWER)
    assert box.write(REQUEST, 1)[0].source == FIVE_TERMS


def test_what_is_no_text_is_moved_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    box = mailbox(tmp_path, timeout=0.02)
    with pytest.raises(WriterError):
        box.write(REQUEST, 1)
    id_ = next(box.prompts.iterdir()).stem
    (box.answers / f"{id_}.md").write_bytes(ANSWER.encode("utf-16"))
    with caplog.at_level(logging.WARNING), pytest.raises(WriterError):
        box.write(REQUEST, 1)
    assert (box.answers / f"{id_}.garbled-1").read_bytes() == ANSWER.encode("utf-16")
    assert "UTF-8" in caplog.text
    (box.answers / f"{id_}.md").write_bytes(b"\xef\xbb\xbf" + ANSWER.encode())  # a mark that some editors write
    assert box.write(REQUEST, 1)[0].source == FIVE_TERMS


def _special(path: Path) -> None:
    os.symlink("/etc/passwd", path)


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 20 << 30)


@pytest.mark.parametrize(
    ("spoil", "fault", "said"),
    [
        (_special, "special", "a link, a folder"),
        (os.mkfifo, "special", "a pipe"),
        (Path.mkdir, "special", "a folder"),
        (lambda path: os.symlink("nowhere", path), "special", "a link"),
        (_sparse, "long", "longer than 1048576 bytes"),
        (lambda path: path.write_text("a" * (MAX_ANSWER + 1)), "long", "longer than"),
    ],
    ids=["link", "pipe", "folder", "dangling link", "sparse", "long"],
)
def test_what_is_no_file_of_text_is_moved_aside_unread(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], object], fault: str, said: str
) -> None:
    box = mailbox(tmp_path, timeout=0.02)
    with pytest.raises(WriterError):
        box.write(REQUEST, 1)
    id_ = next(box.prompts.iterdir()).stem
    spoil(box.answers / f"{id_}.md")
    with caplog.at_level(logging.WARNING), pytest.raises(WriterError, match="no answer within"):
        box.write(REQUEST, 1)
    assert os.path.lexists(box.answers / f"{id_}.{fault}-1")
    assert said in caplog.text
    assert "root:" not in "".join(p.read_text() for p in (tmp_path / "run").rglob("*.jsonl"))
    post(box, id_, ANSWER)
    assert box.write(REQUEST, 1)[0].source == FIVE_TERMS


def test_a_planted_link_is_not_written_through(tmp_path: Path) -> None:
    box = mailbox(tmp_path, timeout=0.02)
    with pytest.raises(WriterError):
        box.write(REQUEST, 1)
    prompt = next(box.prompts.iterdir())
    victim = tmp_path / "victim"
    victim.write_text("precious")
    prompt.unlink()
    os.symlink(victim, prompt)
    with pytest.raises(WriterError):
        box.write(REQUEST, 1)
    assert victim.read_text() == "precious"
    assert json.loads(prompt.read_text())["id"] == prompt.stem


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=80) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_an_answer_or_moved_aside(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    box = mailbox(tmp_path_factory.mktemp("fuzz"), timeout=0.001, poll=0.0005)
    with contextlib.suppress(WriterError):
        box.write(REQUEST, 1)
    id_ = next(box.prompts.iterdir()).stem
    (box.answers / f"{id_}.md").write_bytes(data)
    try:
        answer = box.write(REQUEST, 1)[0]
        assert (answer.source is None) == (answer.error is not None)
    except WriterError:
        assert [path.read_bytes() for path in box.answers.iterdir()] == [data]


def test_an_answer_in_another_encoding_is_read_as_far_as_possible(tmp_path: Path) -> None:
    box = mailbox(tmp_path, timeout=0.02)
    with pytest.raises(WriterError):
        box.write(REQUEST, 1)
    path = box.answers / f"{next(box.prompts.iterdir()).stem}.md"
    path.write_bytes("für dich:\n".encode("latin-1") + ANSWER.encode())
    assert box.write(REQUEST, 1)[0].source == FIVE_TERMS


def test_what_is_awaited_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    box = mailbox(tmp_path, timeout=0.02)
    with pytest.raises(WriterError):
        box.write(REQUEST, 1)
    assert str(box.answers) in caplog.text
    assert next(box.prompts.iterdir()).stem in caplog.text


def test_a_mailbox_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "box").write_text("a file")
    with pytest.raises(UsageError, match=r"writer\.dir"):
        mailbox(tmp_path)
    with pytest.raises(UsageError, match=r"writer\.poll"):
        mailbox(tmp_path, poll=0.0)
    assert MailboxWriter(tmp_path / "run").dir == tmp_path / "run" / "mailbox"


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    box = mailbox(tmp_path)
    with Correspondent(box, lambda letter: f"{letter['options']['index']}{ANSWER}"):
        box.write(REQUEST, 3)
        box.write(replace(REQUEST, repair=RejectedAnswer("x", ())), 1)
    return tmp_path / "run"


def test_a_ledger_of_another_writer_is_replayed(recorded: Path, tmp_path: Path) -> None:
    original = mailbox(tmp_path, ledger="strict").write(REQUEST, 3)
    for path in (recorded, recorded / "ledger.jsonl"):
        writer = ReplayWriter(tmp_path / "new", path)
        assert writer.write(REQUEST, 3) == original
        assert writer.write(replace(REQUEST, first=1), 2) == original[1:]
        assert len(writer.write(replace(REQUEST, repair=RejectedAnswer("x", ())), 1)) == 1


@pytest.mark.parametrize("change", [{"goal": "Another."}, {"seed": 7}, {"round": 1}, {"first": 3}])
def test_a_question_that_was_never_asked_is_named(recorded: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(WriterError, match=r"holds no answer .* differ from the recorded run"):
        ReplayWriter(tmp_path, recorded).write(replace(REQUEST, **change), 1)


def test_a_folder_of_answers_is_dealt_out_in_order(tmp_path: Path) -> None:
    (tmp_path / "2.py").write_text(FIVE_TERMS)
    (tmp_path / "1.md").write_text("nothing")
    (tmp_path / "3.md").write_text("the last\n" + ANSWER)
    (tmp_path / "notes.json").write_text("{}")
    writer = ReplayWriter(tmp_path / "run", tmp_path)
    first = writer.write(REQUEST, 2)
    assert [a.source for a in first] == [None, FIVE_TERMS]
    assert writer.write(REQUEST, 2) == first
    assert writer.write(replace(REQUEST, round=1), 1)[0].text.startswith("the last")
    with pytest.raises(WriterError, match=r"all 3 answers .* used up"):
        writer.write(replace(REQUEST, round=2), 1)


def test_a_folder_of_answers_holds_no_links(tmp_path: Path) -> None:
    os.symlink("/etc/passwd", tmp_path / "1.md")
    with pytest.raises(WriterError, match=r"1\.md: it is a link"):
        ReplayWriter(tmp_path / "run", tmp_path).write(REQUEST, 1)
    (tmp_path / "1.md").unlink()
    _sparse(tmp_path / "1.md")
    with pytest.raises(BadArtifact, match="at most 1048576 are read"):
        ReplayWriter(tmp_path / "run", tmp_path).write(REQUEST, 1)


def test_a_damaged_recording_says_so(recorded: Path, tmp_path: Path) -> None:
    path = recorded / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b"Approach", b"Avoid me", 1))
    with pytest.raises(WriterError, match=r"no answer to sample\(s\) \d.*1 damaged line\(s\) were left out"):
        ReplayWriter(tmp_path, recorded).write(REQUEST, 3)


def test_nothing_to_replay(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"writer\.ledger=PATH"):
        ReplayWriter(tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        ReplayWriter(tmp_path, tmp_path / "none")
    with pytest.raises(UsageError, match="holds no answers"):
        ReplayWriter(tmp_path, tmp_path)
    (tmp_path / "ledger.jsonl").write_text('{"torn')
    with pytest.raises(UsageError, match="holds no answers"):
        ReplayWriter(tmp_path, tmp_path)


def test_writers_by_name(tmp_path: Path) -> None:
    builtin.register_writers()
    builtin.register_writers()
    assert set(writers.list_names()) >= {"offline", "openai", "replay", "mailbox"}
    assert make_writer({"name": "mailbox", "dir": str(tmp_path)}, tmp_path).name == "mailbox"
    with pytest.raises(UnknownName, match="mailbox"):
        make_writer({"name": "mailbux"}, tmp_path)
    with pytest.raises(UnknownName, match=r"option of writer 'mailbox'.*timeout"):
        make_writer({"name": "mailbox", "timeuot": 3}, tmp_path)


@pytest.mark.parametrize("name", ["openai", "mailbox"])
def test_the_configured_defaults_are_those_of_the_class(name: str, tmp_path: Path) -> None:
    config = build_node(list_structured_keys("writer", name))
    extra = {"model": "m", "base_url": "http://127.0.0.1:9/v1"} if name == "openai" else {}
    by_config = make_writer({**config, **extra}, tmp_path)
    by_class = make_writer({"name": name, **extra}, tmp_path)
    skip = ("ledger", "_budget")
    assert {k: v for k, v in vars(by_config).items() if k not in skip} == {
        k: v for k, v in vars(by_class).items() if k not in skip
    }
