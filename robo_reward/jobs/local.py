"""Jobs on this machine: one thread per running job, each waiting for a separate process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from robo_reward.jobs.runner import STOP_GRACE, run_job

T = TypeVar("T")


class LocalExecutor(Executor):
    """A `concurrent.futures.Executor` whose `submit_job` runs job folders, `max_workers` at a time.

    A job that crashes, hangs or exhausts its memory fails its own future and no other. Leaving the `with` block by an
    exception (Ctrl-C included) stops all running jobs; they go on from their checkpoints when run again.

    Args:
        max_workers: jobs at a time; by default one per core.
        stop_grace: seconds that running jobs get to save a checkpoint when they are stopped.
    """

    def __init__(self, max_workers: int | None = None, *, stop_grace: float = STOP_GRACE) -> None:
        self._threads = ThreadPoolExecutor(max_workers or os.cpu_count() or 1, thread_name_prefix="job")
        self._stop, self._stop_grace = threading.Event(), stop_grace

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Calls a function in a thread of the pool."""
        return self._threads.submit(fn, *args, **kwargs)

    def submit_job(self, folder: Path | str, **options: Any) -> Future[dict[str, Any]]:
        """Runs a job folder with the options of `run_job`; returns a future of its result, or of its `JobFailed`."""
        options = {"stop": self._stop, "stop_grace": self._stop_grace, **options}
        return self._threads.submit(run_job, folder, **options)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stops taking jobs.

        Args:
            wait: whether to return only when everything submitted has ended.
            cancel_futures: cancel what is queued, ask running jobs to stop, and kill those that do not.
        """
        if cancel_futures:
            self._stop.set()
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self.shutdown(wait=True, cancel_futures=kind is not None)
        return False
