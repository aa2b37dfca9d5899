"""Runs one job in a separate process and returns its result or raises a named error."""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from robo_reward.errors import BadArtifact, RoboRewardError
from robo_reward.files import write_json
from robo_reward.jobs.environment import TEMPORARY, build_job_environment
from robo_reward.jobs.failures import (
    FAILURES,
    JobBusy,
    JobCrashed,
    JobFailed,
    JobKilled,
    JobOutOfMemory,
    JobStopped,
    JobTimedOut,
)
from robo_reward.jobs.job import Job
from robo_reward.jobs.plugin_paths import find_plugin_paths
from robo_reward.jobs.sandbox.limits import Limits
from robo_reward.jobs.sandbox.watcher import find_excess

TICK = 0.1  # [s] between two checks of `stop` and of the resource usage
TERM_GRACE = 1.0  # [s] between SIGTERM and SIGKILL
STOP_GRACE = 10.0  # [s] for a job to save its checkpoint after a stop request
DAY = 86400.0  # [s] default time limit of an attempt
LOCK_PATIENCE = 5.0  # [s] wait for an attempt whose parent was killed to end

logger = logging.getLogger(__name__)


def run_job(
    folder: Path | str,
    *,
    timeout: float | None = DAY,
    limits: Limits | None = None,
    threads: int = 1,
    read: Iterable[Path | str] = (),
    env: Mapping[str, str] | None = None,
    confined: bool = True,
    stop: threading.Event | None = None,
    stop_grace: float = STOP_GRACE,
) -> dict[str, Any]:
    """Runs the job in a folder, or returns its result at once where it has one.

    Rights of a job (`read`, `env`, `limits`) are arguments and never read from the folder, which the job can
    rewrite; the spec comes from the sealed copy beside the folder, which it cannot.

    Args:
        folder: a folder with `spec.json`, see `Job`.
        timeout: wall-clock limit of this attempt [s]; None lifts it.
        limits: memory, files and processor time.
        threads: thread cap of the numerical libraries.
        read: files and folders that the job may read besides Python, its package and its own folder.
        env: further environment variables; names that look like secrets are refused.
        confined: whether to confine the process; off only for debugging trusted code.
        stop: when set, the job is asked to stop and killed after `stop_grace`.
        stop_grace: seconds between STOP and the kill.

    Returns:
        The return value of the entry.

    Raises:
        JobFailed: one of its subclasses says how the job ended without a result; `error.json` says the same.
        JobBusy: another process is running this job.
        UsageError: the folder is not a job folder.
    """
    job = Job(Path(folder))
    result = _load_result(job)
    if result is not None:
        return result
    spec = _load_spec(job)
    limits = limits or Limits()
    with _lock_log(job) as log:
        result = _load_result(job)
        if result is not None:  # another runner finished it while we waited for the lock
            return result
        job.error_path.unlink(missing_ok=True)
        if job.stop_path.exists() or (stop is not None and stop.is_set()):
            raise _record_failure(job, JobStopped(job.folder, "stopped before it started"))
        settings = _build_settings(spec, limits, read, confined)
        environment = build_job_environment(job.folder, threads, env)
        (job.folder / TEMPORARY).mkdir(exist_ok=True)
        process, control = _start_worker(job, environment, log, settings)
        with _clean_up_afterwards(process, control, job):
            ended = _wait_for_worker(process, job, limits, timeout, stop, stop_grace)
        return _resolve_outcome(job, process.returncode, ended)


def _build_settings(spec: dict[str, Any], limits: Limits, read: Iterable[Path | str], confined: bool) -> dict[str, Any]:
    """Returns what the worker receives through its control pipe."""
    paths = [str(Path(path).absolute()) for path in (*find_plugin_paths(), *read)]
    return {"limits": limits.to_json(), "read": paths, "spec": spec, "confine": confined}


@contextmanager
def _clean_up_afterwards(process: subprocess.Popen, control: int, job: Job) -> Iterator[None]:
    """Ends all processes of a job and removes its temporary files at the end of the block, however it ends."""
    try:
        yield
    finally:  # runs on KeyboardInterrupt too
        _kill_group(process)
        os.close(control)
        shutil.rmtree(job.folder / TEMPORARY, ignore_errors=True)  # follows no links


def _load_spec(job: Job) -> dict[str, Any]:
    """Returns the spec as the caller wrote it, after checking that the folder's content is safe to read.

    Raises:
        JobFailed: something in it is of the wrong kind, or `spec.json` is damaged.
        UsageError: it has no `spec.json`.
    """
    try:
        job.require_plain()
        job.load_spec()
        return job.load_sealed_spec()
    except BadArtifact as error:
        raise JobFailed(job.folder, str(error).rstrip(".")) from error


def _start_worker(
    job: Job, environment: dict[str, str], log: Any, settings: dict[str, Any]
) -> tuple[subprocess.Popen, int]:
    """Starts the worker.

    The calling thread must live as long as the worker: PR_SET_PDEATHSIG is tied to it.
    """
    theirs, ours = os.pipe()  # the write end stays open until the job ends; its closing ends the worker
    # -P keeps the current directory, the job's folder, out of sys.path.
    command = [sys.executable, "-P", "-m", "robo_reward.jobs.worker", str(job.folder), "--control", str(theirs)]
    try:
        process = subprocess.Popen(
            command,
            cwd=job.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=(theirs,),
            start_new_session=True,
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    with (
        suppress(BrokenPipeError),
        os.fdopen(ours, "wb", closefd=False) as pipe,
    ):  # it ended at once: its exit status says why
        pipe.write(json.dumps(settings).encode() + b"\n")
    return process, ours


def _wait_for_worker(
    process: subprocess.Popen,
    job: Job,
    limits: Limits,
    timeout: float | None,
    stop: threading.Event | None,
    grace: float,
) -> JobFailed | None:
    """Waits for the end of the worker; returns the failure if it had to be ended from here, else None."""
    start = time.monotonic()
    deadline, asked = start + (math.inf if timeout is None else timeout), math.inf
    try:
        while not _wait_until_ended(process, min(TICK, max(0.0, deadline - time.monotonic()))):
            now = time.monotonic()
            if excess := find_excess(process.pid, limits):
                return (JobOutOfMemory if excess.memory else JobFailed)(job.folder, excess.reason)
            if now >= deadline:
                return JobTimedOut(job.folder, f"ran longer than its limit of {timeout:g} s")
            if now >= asked + grace:
                return JobStopped(job.folder, f"did not stop within {grace:g} s and was killed")
            if asked == math.inf and stop is not None and stop.is_set():
                job.request_stop()
                asked = now
    finally:
        if asked < math.inf:
            job.withdraw_stop()  # the request was for this attempt only
    return None


def _wait_until_ended(process: subprocess.Popen, seconds: float) -> bool:
    """Waits up to `seconds` for the end of a process and returns whether it has ended.

    The process is left unreaped where the system can report that.
    """
    if not hasattr(os, "pidfd_open"):
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return process.returncode is not None
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        time.sleep(min(seconds, 0.02))
        return process.poll() is not None
    try:
        return bool(select.select([handle], [], [], seconds)[0])  # readable once the process has ended
    finally:
        os.close(handle)


def _kill_group(process: subprocess.Popen) -> None:
    """Ends the worker and all processes that it started."""
    if process.returncode is None and not _wait_until_ended(process, 0):
        _signal_group(process, signal.SIGTERM)
        _wait_until_ended(process, TERM_GRACE)
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
        os.killpg(process.pid, number)


def _lock_log(job: Job) -> Any:
    """Opens the log and locks it.

    The worker inherits the lock, so that it holds while the worker lives.
    """
    handle = os.open(  # `require_plain` has rejected links and pipes
        job.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644
    )
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            # Belongs to the open file description, so the worker that inherits the descriptor holds it too.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(handle)
                raise JobBusy(job.folder) from None
            time.sleep(0.05)
        except OSError:
            logger.debug("no file locks on the file system of %s", job.folder)
            break
        else:
            break
    return os.fdopen(handle, "ab", buffering=0)


def _load_result(job: Job) -> dict[str, Any] | None:
    try:
        return job.load_result()
    except RoboRewardError as error:
        failure = JobFailed(job.folder, f"its result is unusable ({error}); delete it to run again")
        raise _record_failure(job, failure) from error


def _resolve_outcome(job: Job, code: int, ended: JobFailed | None) -> dict[str, Any]:
    result = _load_result(job)
    if result is not None:
        return result
    failure = ended or _load_reported_failure(job) or _failure_from_status(job, code)
    raise _record_failure(job, failure)


def _load_reported_failure(job: Job) -> JobFailed | None:
    """Returns the failure that the worker itself reported, or None."""
    try:
        reported = job.load_error()
    except RoboRewardError:
        return None
    if reported is None:
        return None
    kind, partial = FAILURES.get(str(reported.get("kind")), JobFailed), reported.get("partial")
    return kind(job.folder, str(reported.get("reason"))[:2000], partial=partial if isinstance(partial, dict) else None)


def _failure_from_status(job: Job, code: int) -> JobFailed:
    """Returns the failure of a worker that ended without a report, by its exit status."""
    if code >= 0:
        return JobFailed(job.folder, f"ended with status {code} and without a result")
    name = signal.Signals(-code).name if -code in {*signal.Signals} else f"signal {-code}"
    if -code == signal.SIGKILL:
        return JobKilled(job.folder, "was killed from outside (SIGKILL; the system may have run out of memory)")
    if -code == signal.SIGXCPU:
        return JobTimedOut(job.folder, "used up its processor time (SIGXCPU)")
    if -code == signal.SIGABRT and any("bad_alloc" in line for line in job.read_log_tail()):
        return JobOutOfMemory(job.folder, "ran out of memory (std::bad_alloc)")
    return JobCrashed(job.folder, f"crashed with {name}")


def _record_failure(job: Job, failure: JobFailed) -> JobFailed:
    """Writes the failure with the last log lines to `error.json` and returns it."""
    full = type(failure)(job.folder, failure.reason, job.read_log_tail(), failure.partial)
    try:
        write_json(job.error_path, full.to_json())
    except OSError as error:  # a full disk must not hide why the job failed
        logger.warning("cannot write %s: %s", job.error_path, error)
    return full
