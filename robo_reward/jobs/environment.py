"""The environment of a job process: an allow-list, so that no key or token ever reaches it."""

from __future__ import annotations

import ctypes.util
import functools
import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import robo_reward
from robo_reward.errors import UsageError

PASSED = (
    "PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH",
    "MUJOCO_GL", "EGL_PLATFORM", "MUJOCO_EGL_DEVICE_ID", "LIBGL_ALWAYS_SOFTWARE",
    "ROS_PACKAGE_PATH", "AMENT_PREFIX_PATH", "GZ_SIM_RESOURCE_PATH",
    "GALLIUM_DRIVER", "__EGL_VENDOR_LIBRARY_FILENAMES", "__EGL_VENDOR_LIBRARY_DIRS",
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES",
    "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE",
)  # fmt: skip
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "GALLIUM_THREADS")
TEMPORARY = "tmp"  # folder of temporary files in the job's folder, removed afterwards
SECRET = re.compile(r"(?i)key|token|secret|passw|credential|auth")


def build_job_environment(folder: Path, threads: int, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Returns the environment variables of a job.

    Args:
        folder: the job's folder; home and temporary files lie in it.
        threads: for every numerical library.
        extra: further variables.

    Raises:
        UsageError: an extra variable looks like a secret.
    """
    secret = [name for name in extra or {} if SECRET.search(name)]
    if secret:
        raise UsageError(
            f"{', '.join(secret)} would expose a secret to candidate code; remove it from the job's environment"
        )
    environment = {name: os.environ[name] for name in PASSED if name in os.environ}
    environment |= dict.fromkeys(THREADS, str(threads))
    environment |= {
        "HOME": str(folder),
        "TMPDIR": str(folder / TEMPORARY),
        "USER": "job",  # so that getpass does not read /etc/passwd
        "MUJOCO_GL": environment.get("MUJOCO_GL") or choose_offscreen_backend(),
        "PYTHONPATH": os.pathsep.join(_find_import_roots()),
        "PYTHONHASHSEED": "0",  # reproducible hashes: same seed, same bits
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",  # keeps the last lines before a crash
    }
    if glfw := find_glfw_library():
        environment["PYGLFW_LIBRARY"] = glfw
    return environment | dict(extra or {})


@functools.cache
def find_glfw_library() -> str:
    """Returns the library inside the glfw wheel, or "": without the path glfw starts a process to look for it.

    gymnasium's and dm_control's MuJoCo modules import glfw, and a job starts no processes.
    """
    spec = importlib.util.find_spec("glfw")
    places = spec.submodule_search_locations if spec else None
    found = [path for place in places or () for path in sorted(Path(place).glob("x11/libglfw.so*"))]
    return str(found[0]) if found else ""


@functools.cache
def choose_offscreen_backend() -> str:
    """Returns the default GL backend of a job: never glfw, which needs a screen and starts processes."""
    if sys.platform != "linux":
        return ""
    for backend, library in (("egl", "EGL"), ("osmesa", "OSMesa")):
        if ctypes.util.find_library(library):
            return backend
    return "disabled"


def _find_import_roots() -> list[str]:
    """Returns the folders that robo_reward and the parent's PYTHONPATH are imported from, as absolute paths."""
    root = str(Path(robo_reward.__file__).absolute().parent.parent)
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(path)]
    return list(dict.fromkeys([root, *given]))
