"""The process of one job: `python -m robo_reward.jobs.worker DIR`.

It limits and confines itself before it imports the entry. Nothing heavy is imported here: dozens of jobs are started
in one search.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import importlib
import json
import os
import re
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from robo_reward.errors import UsageError
from robo_reward.files import write_json
from robo_reward.jobs.context import JobContext
from robo_reward.jobs.failures import JobFailed, JobOutOfMemory, JobStopped
from robo_reward.jobs.job import Job
from robo_reward.jobs.sandbox.confine import confine
from robo_reward.jobs.sandbox.limits import Limits

CONTROL = "--control"
PR_SET_PDEATHSIG = 1
REFUSAL = (
    ". The job's sandbox may have refused this: a job reads Python, installed packages, plug-ins and its own folder, "
    "writes only in its folder, opens no network and starts no program (docs/sandbox.md). Files it needs besides are "
    "opened with run_job(read=[...])"
)


def main(arguments: list[str]) -> int:
    """Runs the job in a folder; returns the exit status.

    Args:
        arguments: the folder, and behind `--control` the number of an inherited pipe: its first line holds the settings
            as JSON, its end means that the parent is gone.
    """
    folder = Path(arguments[0]).absolute()
    control = int(arguments[arguments.index(CONTROL) + 1]) if CONTROL in arguments else None
    settings = _read_settings(control)
    faulthandler.enable()
    # Limits and sandbox come before the entry's module is imported: importing already runs candidate code.
    Limits(**settings.get("limits", {})).apply_limits()
    job = Job(folder)
    spec = settings["spec"] if "spec" in settings else job.load_spec()
    entry = str(spec.get("entry", ""))
    held: dict[str, str] = {}
    if settings.get("confine", True):
        held = confine(folder, entry, settings.get("read", ()))
    if control is not None:
        threading.Thread(target=_end_with_parent, args=(control,), daemon=True).start()
    return _run_entry(JobContext(folder, spec), entry, held)


def _read_settings(control: int | None) -> dict[str, Any]:
    """Returns the settings from the parent.

    They come through a pipe, since the job can rewrite its own folder.
    """
    if control is None:
        return {}
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # killed by the kernel when the parent dies
    line = b""
    while not line.endswith(b"\n"):  # the parent writes exactly one line
        piece = os.read(control, 1 << 16)
        if not piece:
            os._exit(1)
        line += piece
    return json.loads(line)


def _end_with_parent(control: int) -> None:
    """Ends this process when the pipe closes: a second way to notice that the parent died."""
    os.read(control, 1)
    os._exit(1)


def load_entry(name: str) -> Any:
    """Returns the function that `package.module:function` names.

    Raises:
        UsageError: there is no such function.
    """
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (AttributeError, ValueError) as error:
        raise UsageError(f"job entry {name!r} is not a 'package.module:function': {error}") from error


def _run_entry(context: JobContext, entry: str, held: dict[str, str]) -> int:
    folder = context.folder
    context.layers = held
    try:
        value = load_entry(entry)(context)
        if not isinstance(value, dict):
            raise TypeError(f"entry {entry} returned {type(value).__name__}, expected a JSON dict")
        if context.has_seen_stop:
            return _write_failure(JobStopped(folder, "stopped as asked", partial=value))
        write_json(Job(folder).result_path, value)
    except MemoryError:
        traceback.print_exc()
        return _write_failure(JobOutOfMemory(folder, "ran out of memory (MemoryError)"))
    except Exception as error:  # noqa: BLE001 - candidate code may raise anything; reported to the parent
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}{explain_refusal(error) if held else ''}"
        return _write_failure((JobOutOfMemory if _is_memory_error(error) else JobFailed)(folder, reason))
    return 0


def explain_refusal(error: BaseException) -> str:
    """Returns a hint if an error, or one of its causes, looks like a refusal by the sandbox; else an empty string."""
    seen: BaseException | None = error
    for _ in range(16):  # bounded, in case the chain is cyclic
        if seen is None:
            break
        if _is_refusal(seen):
            return REFUSAL
        seen = seen.__cause__ or seen.__context__
    return ""


def _is_refusal(error: BaseException) -> bool:
    """Returns whether one error looks like a refused system call, or names a file that may not be read."""
    import socket

    numbers = (errno.EPERM, errno.EACCES)
    if isinstance(error, OSError) and error.errno in numbers:
        return True
    if isinstance(error, socket.gaierror):  # the resolver does not report that its socket was refused
        return True
    # The loader of shared libraries reports the cause in its text only.
    if isinstance(error, ImportError | OSError) and any(os.strerror(n) in str(error) for n in numbers):
        return True
    return any(_is_unreadable(path) for path in re.findall(r"['\"](/[^'\"\n]+)['\"]", str(error)[:4000])[:8])


def _is_unreadable(path: str) -> bool:
    """Returns whether a file exists but may not be read; MuJoCo says of such a file that it is empty."""
    try:
        if Path(path).is_file():
            Path(path).open("rb").close()
    except OSError as error:
        return error.errno in (errno.EPERM, errno.EACCES)
    return False


def _is_memory_error(error: BaseException) -> bool:
    """Returns whether an error of torch, numpy or the system means that memory is exhausted."""
    text = str(error)
    return any(
        sign in text for sign in ("can't allocate memory", "Cannot allocate memory", "out of memory", "bad_alloc")
    )


def _write_failure(failure: JobFailed) -> int:
    write_json(failure.folder / "error.json", failure.to_json())
    return 1


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # the result is on disk; the teardown of torch and MuJoCo is slow and can crash
