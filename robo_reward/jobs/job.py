"""A job is a folder: the paths in it, and reading and writing them safely.

The parent treats everything in the folder as written by a stranger: it follows no links, opens no pipes and reads no
file of unbounded size.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robo_reward.errors import RoboRewardError, UsageError

MAX_JSON = 64 << 20  # [bytes] far above any result we write
UNFINISHED = re.compile(r"\..+\.[0-9a-f]{12}")  # the temporary names of `write_json`
TAIL_LINES = 20
TAIL_BYTES = 16 << 10


def plain(value: Any) -> Any:
    """numpy scalars and arrays, and paths, as JSON knows them (for `json.dumps(default=...)`)."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def write_json(path: Path, value: Any) -> None:
    """Writes JSON under a temporary name in the same folder, then renames: a reader sees all of it or nothing."""
    text = json.dumps(value, default=plain, indent=1)
    name = path.parent / f".{path.name}.{os.urandom(6).hex()}"
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        name.unlink(missing_ok=True)
        raise


def remove_unfinished(folder: Path) -> None:
    """Removes what `write_json` left in a folder when it was killed before the rename; nobody else may be writing."""
    for path in folder.iterdir():
        if UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)


def read_bytes(path: Path, limit: int = MAX_JSON, tail: bool = False) -> bytes | None:
    """The content of a regular file, or None where there is none; links and pipes count as none.

    Args:
        path: the file.
        limit: the most bytes to read.
        tail: read the last `limit` bytes; otherwise a longer file is an error.

    Raises:
        RoboRewardError: the file is longer than `limit`.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            return None
        if info.st_size > limit:
            if not tail:
                raise RoboRewardError(f"{path} has {info.st_size} bytes, more than the {limit} that are read")
            file.seek(-limit, os.SEEK_END)
        return file.read(limit)


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file, or None where there is no such file.

    Raises:
        RoboRewardError: the file is there but is not a JSON object.
    """
    data = read_bytes(path)
    if data is None:
        return None
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RoboRewardError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise RoboRewardError(f"{path} holds a {type(value).__name__}, expected a JSON object")
    return value


@dataclass(frozen=True)
class Job:
    """One job's folder.

    ```
    spec.json        {"entry": "package.module:function", ...}: what to do
    log.txt          everything the process printed, all attempts
    progress.jsonl   one JSON object a line, append-only
    checkpoints/     what the entry needs to go on after a kill
    result.json      what the entry returned; written by rename, once, and final
    error.json       why there is no result: kind, reason, last log lines
    STOP             its presence asks the job to end
    ```
    """

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder).absolute())

    @classmethod
    def create(cls, folder: Path | str, spec: dict[str, Any]) -> Job:
        """Makes the folder and writes `spec.json`; the same spec again changes nothing.

        Raises:
            UsageError: the spec names no entry.
            RoboRewardError: the folder holds the result of another spec.
        """
        if ":" not in str(spec.get("entry", "")):
            raise UsageError(f"job spec has entry {spec.get('entry')!r}, expected 'package.module:function'")
        job = cls(Path(folder))
        job.folder.mkdir(parents=True, exist_ok=True)
        wanted = json.loads(json.dumps(spec, default=plain))
        found = read_json(job.spec_path)
        if found != wanted:
            if found is not None and job.result() is not None:
                raise RoboRewardError(f"{job.folder} holds the result of another spec; choose another folder")
            write_json(job.spec_path, wanted)
        return job

    @property
    def spec_path(self) -> Path:
        return self.folder / "spec.json"

    @property
    def result_path(self) -> Path:
        return self.folder / "result.json"

    @property
    def error_path(self) -> Path:
        return self.folder / "error.json"

    @property
    def log_path(self) -> Path:
        return self.folder / "log.txt"

    @property
    def progress_path(self) -> Path:
        return self.folder / "progress.jsonl"

    @property
    def stop_path(self) -> Path:
        return self.folder / "STOP"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def spec(self) -> dict[str, Any]:
        """The content of `spec.json`.

        Raises:
            UsageError: there is none.
        """
        spec = read_json(self.spec_path)
        if spec is None:
            raise UsageError(f"{self.folder} is not a job folder: it has no spec.json (make one with Job.create)")
        return spec

    def result(self) -> dict[str, Any] | None:
        """What the job returned, or None as long as it has not."""
        return read_json(self.result_path)

    def error(self) -> dict[str, Any] | None:
        """Why the last attempt gave no result, or None."""
        return read_json(self.error_path)

    def stop(self) -> None:
        """Asks the job to end; one that has not started yet will not."""
        self.stop_path.touch()

    def unstop(self) -> None:
        """Takes the request back, so that the job may be run again."""
        self.stop_path.unlink(missing_ok=True)

    def log_tail(self, lines: int = TAIL_LINES) -> list[str]:
        """The last lines of the log."""
        data = read_bytes(self.log_path, TAIL_BYTES, tail=True) or b""
        return data.decode("utf-8", "replace").splitlines()[-lines:]

    def progress(self) -> list[dict[str, Any]]:
        """All progress so far; a line that a kill cut short is left out."""
        data = read_bytes(self.progress_path) or b""
        found = (_parse(line) for line in data.splitlines())
        return [entry for entry in found if entry is not None]

    @property
    def status(self) -> str:
        """`done`, `stopped`, `failed`, `started` (running, or cut off by a kill) or `new`."""
        if self.result_path.exists():
            return "done"
        if self.error_path.exists():
            return "stopped" if (self.error() or {}).get("kind") == "stopped" else "failed"
        return "started" if self.log_path.exists() else "new"


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
