"""A permanent record of every paid completion: an append-only file that survives a kill at any byte.

Each line carries a checksum, so that a damaged answer is never taken for another one. Lines without one are read as
well: earlier versions wrote none. Any line that is not an answer is skipped with a warning.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import stat
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec

from robo_reward.errors import BadArtifact, UnknownName
from robo_reward.files import Count, Finite, convert_json, parse_json
from robo_reward.writers.writer import Usage, WriterError

log = logging.getLogger(__name__)

MAX_LINE = 16 << 20
"""Maximum size of one line [bytes]: fits an answer of `extract.MAX_ANSWER` characters, in any escaping."""
MAX_LEDGER = 1 << 30
"""Maximum size of a ledger [bytes]."""
MODES = ("record", "off", "replay", "strict")
"""`record` reads and appends; `off` does neither; `replay` only reads; `strict` only reads, and a miss is an error."""

Message = Mapping[str, str]


def compute_entry_key(model: str, messages: Sequence[Message], options: Mapping[str, Any], index: int) -> str:
    """Returns the sha256, in hex, of all that determines a completion: model, messages, options and sample index."""
    content = {"model": model, "messages": list(messages), "options": dict(options), "index": index}
    return hashlib.sha256(_encode_canonically(content)).hexdigest()


def compute_checksum(line: Mapping[str, Any]) -> str:
    """Returns the first 16 hex digits of the sha256 of a line's fields, without the field `check`."""
    return hashlib.sha256(_encode_canonically({k: v for k, v in line.items() if k != "check"})).hexdigest()[:16]


def _encode_canonically(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


class _UsageForm(msgspec.Struct, forbid_unknown_fields=True):
    """The form of an entry's usage in a line."""

    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    estimated: bool = False
    cost: Finite = 0.0


class _MessageForm(msgspec.Struct, forbid_unknown_fields=True):
    """The form of a message in a line."""

    role: str
    content: str


class _LineForm(msgspec.Struct, forbid_unknown_fields=True):
    """The form of a line."""

    model: str
    messages: Annotated[list[_MessageForm], msgspec.Meta(max_length=1000)]
    options: dict[str, Any]
    index: Count
    text: str
    finish_reason: str
    usage: _UsageForm
    created: Finite
    key: str
    check: str = ""


@dataclass(frozen=True)
class LedgerEntry:
    """One completion and the question that it answers.

    Args:
        model: the model that was asked.
        messages: the conversation, each with `role` and `content`.
        options: temperature, limits and the like, as JSON.
        index: the number of the sample of these messages.
        text: the answer as it came.
        finish_reason: why it ended.
        usage: tokens and cost.
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
            object.__setattr__(self, "key", compute_entry_key(self.model, self.messages, self.options, self.index))

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON value from which `from_json` rebuilds the same entry."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LedgerEntry:
        """Rebuilds an entry from the value of `to_json`."""
        return cls(**{**value, "messages": tuple(value["messages"]), "usage": Usage(**value["usage"])})


class Ledger:
    """JSON lines, one completion each, found by the content of the question.

    A line counts once its newline is on the disk. A torn last line, left by a kill or a full disk, is passed over by
    readers and cut off by the next append. Appends take a lock on the file, so processes can share it. A link is not
    followed, and a pipe or a device is not opened.

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
        self._known: dict[str, LedgerEntry] = {}
        self._read_to = self._lines = 0
        self.damaged = 0
        """Number of damaged lines that were skipped."""
        self._lock = threading.RLock()  # `put` is called from several threads

    def get(self, key: str) -> LedgerEntry | None:
        """Returns the completion of that key, or `None`.

        Raises:
            WriterError: the mode is `strict` and there is none, or the file cannot be read.
        """
        if self.mode == "off":
            return None
        if key not in self._known:
            self._read_new_lines()
        found = self._known.get(key)
        if found is None and self.mode == "strict":
            raise WriterError(
                f"{self.path} holds no answer {key[:12]} to this question ({self.summary}): "
                "goal, state, prompts, seed, model or options differ from the recorded run. Use its settings and its "
                "version of robo-reward, or write with ledger=record"
            )
        return found

    def put(self, entry: LedgerEntry) -> None:
        """Appends a completion and waits until it is on the disk; one that is known is not written again.

        Raises:
            WriterError: the file cannot be written.
        """
        if self.mode != "record":
            return
        value = entry.to_json()
        value["check"] = compute_checksum(json.loads(json.dumps(value)))  # of the value as it will be read
        line = json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock, _open_locked(self.path) as file:
                self._read_new_lines()
                if entry.key not in self._known:
                    _append_line(file, line)
                    self._read_new_lines()
        except OSError as error:
            raise WriterError(
                f"cannot write the ledger {self.path}: {error.strerror or error}. Free space or fix its permissions, "
                "then run the same command again: the answers in it are not requested again"
            ) from error

    def load_entries(self) -> list[LedgerEntry]:
        """Returns all completions in the order in which they came; a damaged line is skipped with a warning.

        Raises:
            WriterError: the file cannot be read.
        """
        self._read_new_lines()
        return list(self._known.values())

    @property
    def summary(self) -> str:
        """A summary of the ledger for a message: the number of its answers and of damaged lines."""
        damaged = f"; {self.damaged} damaged line(s) were left out" if self.damaged else ""
        return f"{len(self._known)} answers to others{damaged}"

    def _read_new_lines(self) -> None:
        """Reads the lines that were appended since the last call; the first of two equal keys counts."""
        first = ""
        with self._lock, _open_file(self.path, os.O_RDONLY) as file:
            if file is None:
                return
            file.seek(self._read_to)
            for line, length in _read_whole_lines(file):
                self._read_to += length
                self._lines += 1
                try:
                    entry = _parse_line(line)
                    self._known.setdefault(entry.key, entry)
                except ValueError as error:
                    self.damaged += 1
                    first = first or f"line {self._lines}: {error}"
        if first:
            log.warning("%s: %d damaged line(s) are left out, the first new one is %s", self.path, self.damaged, first)


def _parse_line(line: bytes | None) -> LedgerEntry:
    """Returns the entry of a line.

    Raises:
        ValueError: it is damaged; the message is for the user. One bad line must not take the others with it.
    """
    if line is None:
        raise ValueError(f"it is longer than {MAX_LINE} bytes")
    try:
        fields = parse_json(line, dict[str, Any], "the line")
        form = convert_json(fields, _LineForm, "the line")
        if form.check and form.check != compute_checksum(fields):
            raise ValueError("its checksum is wrong")
        value = {name: fields[name] for name in fields.keys() - {"check"}}
        entry = LedgerEntry.from_json(value)
        if entry.key != compute_entry_key(entry.model, entry.messages, entry.options, entry.index):
            raise ValueError("its key does not belong to its question")
        return entry
    except BadArtifact as error:
        raise ValueError(error.problem) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _read_whole_lines(file: BinaryIO) -> Iterator[tuple[bytes | None, int]]:
    """Yields each line that ends in a newline and its length [bytes]; `None` in the place of one that is too long."""
    while piece := file.readline(MAX_LINE):
        length, short = len(piece), len(piece) < MAX_LINE
        while not piece.endswith(b"\n"):
            if not (piece := file.readline(MAX_LINE)):
                return
            length, short = length + len(piece), False
        yield (piece[:-1] if short else None), length


@contextmanager
def _open_file(path: Path, flags: int) -> Iterator[BinaryIO | None]:
    """Opens a regular file; yields `None` where there is no file.

    Raises:
        WriterError: it is a link, a folder, a pipe or a device, or too large.
    """
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise WriterError(f"the ledger {path} is not a regular file. Move it away, or name another run") from error
        raise WriterError(f"cannot open the ledger {path}: {error.strerror}. Fix its permissions") from error
    info = os.fstat(handle)
    if not stat.S_ISREG(info.st_mode):
        os.close(handle)
        raise WriterError(f"the ledger {path} is not a regular file. Move it away, or name another run")
    with os.fdopen(handle, "rb" if flags == os.O_RDONLY else "r+b") as file:
        if info.st_size > MAX_LEDGER:
            size = f"{info.st_size} bytes, at most {MAX_LEDGER} are read"
            raise WriterError(f"the ledger {path} has {size}. Move it away")
        yield file


@contextmanager
def _open_locked(path: Path) -> Iterator[BinaryIO]:
    """Opens the file for appending, makes it if there is none, and holds a lock on it."""
    with _open_file(path, os.O_RDWR | os.O_APPEND | os.O_CREAT) as file:
        assert file is not None  # O_CREAT
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
        yield file


def _append_line(file: BinaryIO, line: bytes) -> None:
    """Cuts off a torn last line, writes the new one whole, and flushes it to the disk."""
    end = _find_end_of_lines(file)
    try:
        os.ftruncate(file.fileno(), end)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    except OSError:
        os.ftruncate(file.fileno(), end)  # such as a full disk: keep the lines before readable
        raise


def _find_end_of_lines(file: BinaryIO, block: int = 65536) -> int:
    """Returns the offset behind the last newline [bytes]."""
    position = file.seek(0, os.SEEK_END)
    while position > 0:
        start = max(0, position - block)
        file.seek(start)
        found = file.read(position - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0
