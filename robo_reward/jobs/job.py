"""A job is a folder: the paths in it, and reading and writing them safely.

The parent treats everything in the folder as written by a stranger: it follows no links, opens no pipes and reads no
file of unbounded size.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robo_reward.errors import BadArtifact, RoboRewardError, UsageError
from robo_reward.files import load_json, read_bytes, to_json, write_json
from robo_reward.jobs.environment import TEMPORARY

TAIL_LINES = 20
TAIL_BYTES = 16 << 10
FILES = ("spec.json", "result.json", "error.json", "log.txt", "progress.jsonl", "STOP")
FOLDERS = ("checkpoints", TEMPORARY)
REMEDY = "Delete the job's folder to run the job from its beginning"


def read_json(path: Path) -> dict[str, Any] | None:
    """Returns a JSON object from a file, or None where there is no such file.

    Raises:
        BadArtifact: the file is there but is not a JSON object.
    """
    return load_json(path, dict[str, Any])


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
        """Creates the folder and writes `spec.json`; the same spec again changes nothing.

        The job runs the copy beside the folder (`sealed_path`), where the job cannot write.

        Raises:
            UsageError: the spec names no entry.
            RoboRewardError: the folder holds the result of another spec.
        """
        if ":" not in str(spec.get("entry", "")):
            raise UsageError(f"job spec has entry {spec.get('entry')!r}, expected 'package.module:function'")
        job = cls(Path(folder))
        job.folder.mkdir(parents=True, exist_ok=True)
        wanted = json.loads(json.dumps(spec, default=to_json))
        sealed, found = read_json(job.sealed_path), read_json(job.spec_path)
        if (found if sealed is None else sealed) != wanted and found is not None and job.load_result() is not None:
            raise RoboRewardError(f"{job.folder} holds the result of another spec; choose another folder")
        if found != wanted:
            write_json(job.spec_path, wanted)
        if sealed != wanted:
            write_json(job.sealed_path, wanted)
        return job

    @property
    def spec_path(self) -> Path:
        return self.folder / "spec.json"

    @property
    def sealed_path(self) -> Path:
        """The caller's copy of the spec, beside the folder, where the job itself cannot write."""
        return self.folder.parent / f".{self.folder.name}.spec.json"

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

    def load_spec(self) -> dict[str, Any]:
        """Returns the content of `spec.json`.

        Raises:
            UsageError: there is none.
        """
        spec = read_json(self.spec_path)
        if spec is None:
            raise UsageError(f"{self.folder} is not a job folder: it has no spec.json (make one with Job.create)")
        return spec

    def load_sealed_spec(self) -> dict[str, Any]:
        """Returns the spec as the caller wrote it; the job may have rewritten `spec.json` when it ran.

        Raises:
            UsageError: the folder is no job folder, or has run before and came here without the sealed copy.
        """
        sealed = read_json(self.sealed_path)
        if sealed is None:
            sealed = self.load_spec()
            if self.log_path.exists():
                raise UsageError(
                    f"{self.folder} has run before, so the job may have rewritten its spec.json, and the copy "
                    f"{self.sealed_path.name} beside it is missing. Read spec.json, then call Job.create with it again"
                )
            write_json(self.sealed_path, sealed)
        return sealed

    def load_result(self) -> dict[str, Any] | None:
        """Returns the result of the job, or None where there is none yet."""
        return read_json(self.result_path)

    def load_error(self) -> dict[str, Any] | None:
        """Returns the error of the last attempt, or None."""
        return read_json(self.error_path)

    def require_plain(self, files: Sequence[str] = (), folders: Sequence[str] = ()) -> None:
        """Raises an error where a path that is read or written in the folder is of the wrong kind.

        Args:
            files: names of further files.
            folders: names of further folders.

        Raises:
            BadArtifact: a link, a pipe, or a folder is where a file belongs, or a file where a folder belongs.
        """
        _require_kind(self.folder, stat.S_ISDIR, "a folder")
        for name in (*FILES, *files):
            _require_kind(self.folder / name, stat.S_ISREG, "a regular file")
        for name in (*FOLDERS, *folders):
            _require_kind(self.folder / name, stat.S_ISDIR, "a folder")

    def request_stop(self) -> None:
        """Asks the job to end; one that has not started yet will not."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with suppress(OSError):  # if the job put something else there, that counts as the request
            os.close(os.open(self.stop_path, flags, 0o644))

    def withdraw_stop(self) -> None:
        """Withdraws the request to stop, so that the job may be run again."""
        with suppress(OSError):  # a folder of that name: the next `require_plain` reports it
            self.stop_path.unlink(missing_ok=True)

    def read_log_tail(self, lines: int = TAIL_LINES) -> list[str]:
        """Returns the last lines of the log."""
        data = read_bytes(self.log_path, TAIL_BYTES, tail=True) or b""
        return data.decode("utf-8", "replace").splitlines()[-lines:]

    def read_progress(self) -> list[dict[str, Any]]:
        """Returns all progress so far; a line that a kill cut short is left out."""
        data = read_bytes(self.progress_path) or b""
        found = (_parse_line(line) for line in data.splitlines())
        return [entry for entry in found if entry is not None]

    @property
    def status(self) -> str:
        """`done`, `stopped`, `failed`, `started` (running, or cut off by a kill) or `new`."""
        if self.result_path.exists():
            return "done"
        if self.error_path.exists():
            try:
                return "stopped" if (self.load_error() or {}).get("kind") == "stopped" else "failed"
            except BadArtifact:
                return "failed"
        return "started" if self.log_path.exists() else "new"


def _require_kind(path: Path, is_kind: Callable[[int], bool], wanted: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:  # the folder is a file, or lacks permissions
        raise BadArtifact(path, f"it cannot be read: {error.strerror}", REMEDY) from error
    if not is_kind(mode):
        raise BadArtifact(path, f"it is {_describe_kind(mode)}, expected {wanted}", REMEDY)


def _describe_kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFREG: "a file"}
    return kinds.get(stat.S_IFMT(mode), "a device or a socket")


def _parse_line(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
