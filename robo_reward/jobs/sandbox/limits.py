"""Resource limits of a job process."""

from __future__ import annotations

import resource
from dataclasses import asdict, dataclass

GIB = 1 << 30
LIBRARIES = 8 * GIB  # [bytes] address space for mapped libraries (torch with CUDA maps some 5 GiB)


@dataclass(frozen=True)
class Limits:
    """The resources that one job may use; None lifts a limit.

    The kernel limits private memory, address space, files and processor time of a process (`apply_limits`). It
    has no limit for one process on memory shared between mappings, on memory behind a descriptor
    (`memfd_create`), or on threads (it counts those per user): the parent watches them
    (`robo_reward.jobs.sandbox.watcher`) and ends the job. New processes are refused by the system call filter.

    Attributes:
        memory: writable memory [bytes], private and shared; mapped libraries do not count.
        threads: threads at a time; numerical libraries start a handful, GPU drivers some dozens.
        cpu: processor time over all threads [s]; the wall-clock timeout belongs to `run_job`.
        open_files: open file descriptors.
        file_size: the largest file it may write [bytes], the log included.
        address_space: whether to limit the address space too (memory + 8 GiB); off for CUDA, which reserves far
            more.
    """

    memory: int | None = 8 * GIB
    threads: int | None = 512
    cpu: int | None = None
    open_files: int | None = 512
    file_size: int | None = 2 * GIB
    address_space: bool = True

    def to_json(self) -> dict[str, int | bool | None]:
        return asdict(self)

    def apply_limits(self) -> None:
        """Limits the calling process, irrevocably; a limit that is already lower stays."""
        space = self.memory + LIBRARIES if self.memory is not None and self.address_space else None
        wanted = {
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_DATA: self.memory,
            resource.RLIMIT_AS: space,
            resource.RLIMIT_CPU: self.cpu,
            resource.RLIMIT_NOFILE: self.open_files,
            resource.RLIMIT_FSIZE: self.file_size,
        }
        for which, value in wanted.items():
            if value is not None:
                _lower_limit(which, value)


def _lower_limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    # RLIMIT_CPU sends SIGXCPU at the soft limit and SIGKILL at the hard one, 5 s later.
    resource.setrlimit(which, (value, value + 5 if which == resource.RLIMIT_CPU else value))
