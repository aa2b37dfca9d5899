"""Executors that run jobs, by name, from here and from the entry point group `robo_reward.executors`."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from robo_reward.jobs.local import LocalExecutor
from robo_reward.registry import Registry


@runtime_checkable
class JobExecutor(Protocol):
    """The executor of a search: a `concurrent.futures.Executor` that also takes job folders."""

    def submit_job(self, folder: Path | str, **options: Any) -> Future[dict[str, Any]]:
        """Runs a job folder with the options of `run_job`."""
        ...

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stops taking jobs; with `cancel_futures`, stops those that run."""
        ...

    def __enter__(self) -> Any: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...


EXECUTORS: Registry[JobExecutor] = Registry("executor", "robo_reward.executors")
EXECUTORS.register("local", LocalExecutor)
