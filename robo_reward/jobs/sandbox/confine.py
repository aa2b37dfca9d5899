"""Confines a job process: what it may read, write and call, applied once and never lifted."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import site
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from robo_reward.jobs.sandbox import landlock
from robo_reward.jobs.sandbox.seccomp import forbid_system_calls

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
CAP_DAC_OVERRIDE = 1 << 1  # lets root write job folders of other users; Landlock limits which
CAPABILITY_VERSION_3 = 0x20080522

SYSTEM = (
    "/usr", "/lib", "/lib64", "/bin", "/opt", "/nix/store", "/run/opengl-driver", "/run/nvidia-persistenced",
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/mime.types", "/etc/glvnd",
    "/etc/egl", "/etc/vulkan", "/etc/drirc", "/etc/fonts", "/etc/OpenCL", "/sys/devices", "/sys/fs/cgroup",
    "/sys/kernel/mm", "/sys/bus/pci", "/sys/class/drm", "/sys/dev/char", "/sys/module/nvidia", "/proc/self",
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version", "/proc/filesystems", "/proc/driver",
    "/proc/devices", "/proc/modules", "/proc/sys/vm", "/proc/sys/kernel",
)  # fmt: skip
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/dri")


def confine(folder: Path, entry: str, read: Iterable[Path | str] = ()) -> dict[str, str]:
    """Applies every layer that the kernel offers; call it before any other thread is started.

    Args:
        folder: the job's folder, the only place it may write.
        entry: `package.module:function`; the package's sources stay readable.
        read: further files and folders to read.

    Returns:
        Layer to "" where it holds, or to the reason why not: `capabilities`, `files`, `calls`, `network`.
    """
    if sys.platform != "linux":
        return dict.fromkeys(("capabilities", "files", "calls", "network"), f"not on {sys.platform}")
    # The rules need `find_spec` and directory listings, so they are built before any restriction.
    rules = build_file_rules(folder, entry, read)
    capabilities = _drop_capabilities()
    files = landlock.restrict_paths(rules)
    # The filter already refuses sockets. The user name space is only a fallback, as it hides the user's identity.
    calls = forbid_system_calls()
    network = _leave_network() if calls else ""
    if network and landlock.query_abi_version() >= 4 and not files:
        network = "TCP is refused (Landlock), UDP and UNIX sockets are not"
    return {"capabilities": capabilities, "files": files, "calls": calls, "network": network}


def build_file_rules(folder: Path, entry: str, read: Iterable[Path | str] = ()) -> dict[Path, int]:
    """Returns the paths that a job may use, each with its rights."""
    nvidia = (path for path in Path("/dev").glob("nvidia*"))
    return landlock.merge_rules(
        ((Path(path) for path in SYSTEM), landlock.READ),
        ((Path(path) for path in DEVICES), landlock.DEVICE),
        (nvidia, landlock.DEVICE),
        (_find_interpreter_paths(), landlock.READ),
        (_find_package_paths("robo_reward", entry.split(".")[0].split(":")[0]), landlock.READ),
        ((Path(path).absolute() for path in read), landlock.READ),
        # The import system lists these folders. Their files stay unreadable: other candidates' jobs may be there.
        ((Path(path) for path in sys.path if path and Path(path).is_dir()), landlock.LIST),
        ([folder], landlock.OWN),
    )


def _find_interpreter_paths() -> set[Path]:
    """Returns the paths of the interpreter, its library and what is installed into it."""
    paths = {sys.prefix, sys.exec_prefix, *sysconfig.get_paths().values(), *site.getsitepackages()}
    # The base interpreter of a virtual environment. "/" would open everything; "/usr" is in SYSTEM anyway.
    paths |= {sys.base_prefix, sys.base_exec_prefix, site.getusersitepackages()}
    # Packages of another environment, which a .pth file or PYTHONPATH adds (stacked environments, cluster modules).
    paths |= {path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")}
    return {Path(path) for path in paths if path != "/"}


def _find_package_paths(*names: str) -> set[Path]:
    """Returns the source folders of packages, and the folders that symbolic links in them lead to."""
    found: set[Path] = set()
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None:
            continue
        for place in spec.submodule_search_locations or ([spec.origin] if spec.origin else []):
            path = Path(place)
            found.add(path)
            if path.is_dir():
                found |= {child.resolve() for child in path.iterdir() if child.is_symlink()}
    return found


def _drop_capabilities() -> str:
    """Drops all capabilities but one of root's; other users have none to drop."""
    libc = ctypes.CDLL(None, use_errno=True)
    kept = CAP_DAC_OVERRIDE if os.geteuid() == 0 else 0
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)  # version, pid 0: this thread
    data = (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)  # effective, permitted, inheritable: low and high words
    if libc.capset(header, data):
        return f"capset: {os.strerror(ctypes.get_errno())}"
    return ""


def _leave_network() -> str:
    """Moves the process into an empty network name space."""
    libc = ctypes.CDLL(None, use_errno=True)
    # Only root may create a network name space alone; others need a user name space with it.
    if libc.unshare(CLONE_NEWNET) and libc.unshare(CLONE_NEWUSER | CLONE_NEWNET):
        return f"network name space: {os.strerror(ctypes.get_errno())}"
    return ""
