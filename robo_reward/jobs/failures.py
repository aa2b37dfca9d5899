"""Errors of jobs that end without a result: one class per kind, each with the last lines of the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from robo_reward.errors import RoboRewardError


class JobFailed(RoboRewardError):
    """A job ended without a result.

    Attributes:
        kind: `failed`, `timeout`, `killed`, `memory`, `crashed` or `stopped`.
        folder: the job's folder.
        reason: what happened, in a sentence.
        log: the last lines of `log.txt`.
        partial: what the entry returned when it was stopped early, else None.
    """

    kind: ClassVar[str] = "failed"

    def __init__(
        self, folder: Path | str, reason: str, log: list[str] | None = None, partial: dict[str, Any] | None = None
    ) -> None:
        self.folder, self.reason, self.log, self.partial = Path(folder), reason, list(log or []), partial
        tail = "".join(f"\n    {line}" for line in self.log)
        shown = f" Last lines of {self.folder / 'log.txt'}:{tail}" if tail else ""
        super().__init__(f"job {self.folder.name}: {reason}.{shown}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Makes the error rebuildable from its fields: executors on other machines send it home."""
        return type(self), (self.folder, self.reason, self.log, self.partial)

    def to_json(self) -> dict[str, Any]:
        """Returns the content of `error.json`."""
        return {"kind": self.kind, "reason": self.reason, "log": self.log, "partial": self.partial}


class JobTimedOut(JobFailed):
    """The job ran longer than its wall-clock or CPU limit and was ended."""

    kind = "timeout"


class JobKilled(JobFailed):
    """Something outside (the kernel's out-of-memory killer, a person) killed the job."""

    kind = "killed"


class JobOutOfMemory(JobFailed):
    """The job asked for more memory than its limit."""

    kind = "memory"


class JobCrashed(JobFailed):
    """The process died of a signal such as SIGSEGV."""

    kind = "crashed"


class JobStopped(JobFailed):
    """The job was asked to stop; run it again to go on from its checkpoint."""

    kind = "stopped"


class JobBusy(RoboRewardError):
    """Another process is running this job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(f"job {folder} is already being run by another process; wait for it or stop it (touch STOP)")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder,)


FAILURES: dict[str, type[JobFailed]] = {
    cls.kind: cls for cls in (JobFailed, JobTimedOut, JobKilled, JobOutOfMemory, JobCrashed, JobStopped)
}
