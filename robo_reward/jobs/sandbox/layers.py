"""Probes which layers of the sandbox hold on this machine."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robo_reward.jobs.context import JobContext
from robo_reward.jobs.job import Job
from robo_reward.jobs.runner import run_job
from robo_reward.jobs.sandbox.limits import Limits

PROBE = "robo_reward.jobs.sandbox.layers:attempt"
MEMORY = 1 << 30  # [bytes] limit of the probe


def probe_layers() -> dict[str, str]:
    """Runs a job that tries to break out of the sandbox.

    Returns:
        Layer to "holds", or to "does not hold: …": `process`, `environment`, `memory`, `files`, `network`,
        `programs` (no other program or process is started) and `signals` (no other process is reached).
    """
    with tempfile.TemporaryDirectory(prefix="robo-reward-layers-") as name:
        outside = Path(name) / "outside.txt"
        outside.write_text("secret")
        spec = {"entry": PROBE, "outside": outside, "parent": os.getpid()}
        job = Job.create(Path(name) / "job", spec)
        tried = run_job(job.folder, timeout=60, limits=Limits(memory=MEMORY))
    verdicts = {layer: _describe_verdict(found, tried["reasons"]) for layer, found in tried["got"].items()}
    return {"process": "holds"} | verdicts


def _describe_verdict(got: list[str], reasons: dict[str, str]) -> str:
    if not got:
        return "holds"
    why = [reasons.get(name, "") for name in ("files", "calls", "network")]
    detail = "; ".join(reason for reason in why if reason)
    return f"does not hold: a job could {', '.join(got)}" + (f" ({detail})" if detail else "")


def attempt(job: JobContext) -> dict[str, Any]:
    """Tries to break out, layer by layer, and returns what succeeded; the entry of the probe's job."""
    import socket

    outside, parent = Path(job.spec["outside"]), int(job.spec["parent"])
    tries: dict[str, dict[str, Callable[[], Any]]] = {
        "environment": {"see a key": lambda: next(name for name in os.environ if "KEY" in name or "TOKEN" in name)},
        "memory": {"use twice its memory limit": lambda: bytearray(2 * MEMORY)},
        "files": {
            "read outside its folder": outside.read_bytes,
            "write outside its folder": lambda: outside.open("a").close(),
            "delete a file outside its folder": outside.unlink,
        },
        "network": {
            "open a TCP socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).close(),
            "open a UDP socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(),
            "open a UNIX socket": lambda: socket.socket(socket.AF_UNIX).close(),
        },
        "programs": {"start a program": lambda: subprocess.run(["/bin/true"], check=False)},
        "signals": {"signal its parent": lambda: os.kill(parent, 0)},
    }
    # A layer holds if none of its attempts succeeded.
    got = {
        layer: [what for what, action in actions.items() if _is_permitted(action)] for layer, actions in tries.items()
    }
    _start_thread()  # training needs threads, so these must still work
    return {"got": got, "reasons": job.layers}


def _is_permitted(action: Callable[[], Any]) -> bool:
    try:
        action()
    except (OSError, MemoryError, StopIteration):
        return False
    return True


def _start_thread() -> None:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
