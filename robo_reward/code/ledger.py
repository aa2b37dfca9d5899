"""Every paid completion, kept for good: an append-only file that survives a kill at any byte."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from robo_reward.code.writers.writer import Usage, WriterError
from robo_reward.errors import UnknownName

MODES = ("record", "off", "replay", "strict")
"""`record` reads and appends; `off` does neither; `replay` only reads; `strict` only reads, and a miss is an error."""

Message = Mapping[str, str]


def entry_key(model: str, messages: Sequence[Message], options: Mapping[str, Any], index: int) -> str:
    """The sha256 of what determines a completion, in hex: model, messages, options and sample index."""
    content = {"model": model, "messages": list(messages), "options": dict(options), "index": index}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True)
class Entry:
    """One completion and what it answers.

    Args:
        model: who was asked.
        messages: the conversation, each with `role` and `content`.
        options: temperature, limits and the like, as JSON.
        index: which sample of these messages.
        text: the answer as it came.
        finish_reason: why it ended.
        usage: what it cost.
        created: when it was answered [s since 1970]; no part of the key.
        key: of its content; computed when empty.
    """

    model: str
    messages: tuple[Message, ...]
    options: Mapping[str, Any]
    index: int
    text: str
    finish_reason: str = "stop"
    usage: Usage = field(default_factory=Usage)
    created: float = field(default_factory=time.time)
    key: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", tuple(self.messages))
        if not self.key:
            object.__setattr__(self, "key", entry_key(self.model, self.messages, self.options, self.index))

    def to_json(self) -> dict[str, Any]:
        """A JSON value from which `from_json` rebuilds the same entry."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Entry:
        """The inverse of `to_json`."""
        return cls(**{**value, "messages": tuple(value["messages"]), "usage": Usage(**value["usage"])})


class Ledger:
    """JSON lines, one completion each, found by the content of the question.

    A line counts once its newline is on the disk. A torn last line, left by a kill or a full disk, is passed over by
    readers and cut off by the next append. Appends take a lock on the file, so processes can share it.

    Args:
        path: of the file; it and its folder are made by the first append.
        mode: one of `MODES`.

    Raises:
        UnknownName: no such mode.
    """

    def __init__(self, path: Path | str, mode: str = "record") -> None:
        if mode not in MODES:
            raise UnknownName("ledger mode", mode, MODES)
        self.path, self.mode = Path(path), mode
        self._known: dict[str, Entry] = {}
        self._read_to = 0
        self._lock = threading.RLock()  # writers put from several threads

    def get(self, key: str) -> Entry | None:
        """The completion of that key, or none.

        Raises:
            WriterError: the mode is `strict` and there is none.
        """
        if self.mode == "off":
            return None
        if key not in self._known:
            self._refresh()
        found = self._known.get(key)
        if found is None and self.mode == "strict":
            raise WriterError(
                f"{self.path} holds no answer {key[:12]} to this question ({len(self._known)} answers to others): "
                "goal, state, prompts, seed, model or options differ from the recorded run. Use its settings and its "
                "version of robo-reward, or write with ledger=record"
            )
        return found

    def put(self, entry: Entry) -> None:
        """Appends a completion and waits until it is on the disk; one that is known is not written again.

        Raises:
            WriterError: the file cannot be written.
        """
        if self.mode != "record":
            return
        line = json.dumps(entry.to_json(), ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock, _locked(self.path) as file:
                self._refresh()
                if entry.key not in self._known:
                    _append(file, line)
                    self._refresh()
        except OSError as error:
            raise WriterError(
                f"cannot write the ledger {self.path}: {error.strerror or error}. Free space or fix its permissions, "
                "then start the same command again: what it holds is not asked for twice"
            ) from error

    def entries(self) -> list[Entry]:
        """All completions in the order in which they came; an unreadable line is passed over."""
        self._refresh()
        return list(self._known.values())

    def _refresh(self) -> None:
        """Reads what was appended since the last look; the first of two equal keys counts."""
        if not self.path.is_file():
            return
        with self._lock, self.path.open("rb") as file:
            file.seek(self._read_to)
            fresh = file.read()
            whole = fresh[: fresh.rfind(b"\n") + 1]
            self._read_to += len(whole)
            for line in whole.splitlines():
                entry = _parsed(line)
                if entry is not None:
                    self._known.setdefault(entry.key, entry)


def _parsed(line: bytes) -> Entry | None:
    """The entry of a line, or none if it is damaged: one bad line must not take the others with it."""
    try:
        return Entry.from_json(json.loads(line))
    except (ValueError, TypeError, KeyError):
        return None


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
        yield file


def _append(file: BinaryIO, line: bytes) -> None:
    """Cuts off a torn last line, writes the new one whole, and flushes it to the disk."""
    end = _end_of_whole_lines(file)
    try:
        os.ftruncate(file.fileno(), end)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    except OSError:
        os.ftruncate(file.fileno(), end)  # a full disk: what lies before stays readable
        raise


def _end_of_whole_lines(file: BinaryIO, block: int = 65536) -> int:
    """The offset behind the last newline [bytes]."""
    position = file.seek(0, os.SEEK_END)
    while position > 0:
        start = max(0, position - block)
        file.seek(start)
        found = file.read(position - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0
