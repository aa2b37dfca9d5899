"""Memory: how much is available, and a check before something large is allocated."""

from __future__ import annotations

from pathlib import Path

from robo_reward.errors import UsageError

LARGEST_SHARE = 0.8
"""The share of the available memory that one array may take."""


def measure_available_memory() -> int | None:
    """Returns the available memory [bytes], with the container's limit, or None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        return min(free, int(limit) - int(used)) if limit != "max" else free
    except (OSError, ValueError):
        return free


def require_memory(needed: int, what: str, remedy: str) -> None:
    """Checks that something fits into memory, before it is allocated.

    Args:
        needed: its size [bytes].
        what: a noun for the message, such as `the replay buffer`.
        remedy: what the user can do, a sentence.

    Raises:
        UsageError: it needs more than four fifths of what is available.
    """
    available = measure_available_memory()
    if available is not None and needed > LARGEST_SHARE * available:
        raise UsageError(f"{what} needs {format_bytes(needed)}, {format_bytes(available)} are available. {remedy}")


def format_bytes(count: int) -> str:
    """Returns a size as text, such as `1.3 GiB`."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{max(1, round(count / 2**20))} MiB"
