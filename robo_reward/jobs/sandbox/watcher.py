"""Watches the use of shared memory and threads, for which the kernel has no limit per process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from robo_reward.jobs.sandbox.limits import GIB, Limits

BLOCK = 512  # [bytes] unit of `st_blocks`
KIB = 1024


class LimitExcess(NamedTuple):
    """The reason why a job is ended; `memory` is True where it used too much memory."""

    reason: str
    memory: bool


class ResourceUsage(NamedTuple):
    """The resources that a process holds.

    Attributes:
        memory: anonymous, shared and swapped memory, and files in memory behind its descriptors [bytes].
        threads: number of threads.
    """

    memory: int
    threads: int


def find_excess(pid: int, limits: Limits) -> LimitExcess | None:
    """Returns the limit that a process exceeds, or None; also None where the system does not report usage (macOS)."""
    usage = read_usage(pid)
    if usage is None:
        return None
    if limits.memory is not None and usage.memory > limits.memory:
        text = f"used {usage.memory / GIB:.1f} GiB of memory, shared memory included"
        return LimitExcess(f"{text}; its limit is {limits.memory / GIB:.1f} GiB", memory=True)
    if limits.threads is not None and usage.threads > limits.threads:
        return LimitExcess(f"ran {usage.threads} threads; its limit is {limits.threads}", memory=False)
    return None


def read_usage(pid: int) -> ResourceUsage | None:
    """Returns the resources that a process holds now, or None where /proc does not report them."""
    place = Path("/proc") / str(pid)
    try:
        lines = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
    except (OSError, ValueError):
        return None
    if "VmRSS" not in lines:  # the process has ended
        return None
    shared = _read_kib(lines, "RssShmem")
    # RssShmem counts the pages of a memfd only while they are mapped; this adds those that are not.
    behind = max(0, _measure_memory_files(place / "fd") - shared)
    return ResourceUsage(
        _read_kib(lines, "RssAnon") + shared + _read_kib(lines, "VmSwap") + behind, int(lines["Threads"])
    )


def _read_kib(lines: dict[str, str], name: str) -> int:
    return int(lines[name].split()[0]) * KIB if name in lines else 0


def _measure_memory_files(folder: Path) -> int:
    """Returns the size of the files in memory (`memfd_create`) behind a process's descriptors [bytes]."""
    sizes: dict[tuple[int, int], int] = {}
    try:
        handles = list(folder.iterdir())
    except OSError:
        return 0
    for handle in handles:
        try:
            if os.readlink(handle).startswith("/memfd:"):
                info = handle.stat()
                # Keyed by inode: several descriptors of one file count once.
                sizes[info.st_dev, info.st_ino] = info.st_blocks * BLOCK
        except OSError:  # closed meanwhile
            continue
    return sum(sizes.values())
