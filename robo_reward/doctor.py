"""Checks what works on this machine, and says what to install where something does not."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

import numpy as np
from packaging.requirements import Requirement

from robo_reward.envs.suites.packages import OLDEST, VersionClash, check_versions
from robo_reward.errors import RoboRewardError
from robo_reward.finding import Finding
from robo_reward.memory import measure_available_memory

PACKAGES = ("numpy", "mujoco", "gymnasium", "torch", "stable-baselines3", "sb3-contrib", "opencv-python-headless")
EXTRAS = {
    "llm": ("openai",),
    "data": ("pyarrow", "h5py"),
    "minari": ("minari", "pyarrow", "h5py"),
    "metaworld": ("metaworld",),
    "robotics": ("gymnasium-robotics",),
    "dm_control": ("dm-control",),
    "label": ("starlette", "uvicorn"),
    "postgres": ("psycopg",),
    "parquet": ("pyarrow",),
}
OPENCV = ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")
"""Other builds of OpenCV: each writes the same folder `cv2` as the headless one."""
_LAYERS = """
import json, sys
from pathlib import Path
from robo_reward.jobs.sandbox.confine import confine
print(json.dumps(confine(Path(sys.argv[1]), "robo_reward.doctor:diagnose")))
"""
_LAYER_NAMES = {
    "capabilities": "drops root's powers",
    "files": "narrows the file system to the job's folder",
    "calls": "filters system calls",
    "network": "cuts the network off",
}


def diagnose(folder: Path | str = ".") -> list[Finding]:
    """Checks everything that a run needs; takes a few seconds, writes to a temporary folder only.

    Args:
        folder: where runs will be written, for the free disk.
    """
    checks: list[Callable[[], Iterable[Finding]]] = [
        _check_python,
        _check_packages,
        _check_opencv,
        lambda: _check_machine(Path(folder)),
        _check_rendering,
        _check_video,
        _check_sandbox,
        _check_extras,
    ]
    return [finding for check in checks for finding in check()]


def _check_python() -> Iterable[Finding]:
    found = f"{platform.python_version()} on {platform.system()} {platform.release()} ({platform.machine()})"
    yield Finding(
        "python", sys.version_info >= (3, 11), found, "" if sys.version_info >= (3, 11) else "use 3.11 or later"
    )


def _check_packages() -> Iterable[Finding]:
    for name in PACKAGES:
        found = _installed_version(name)
        yield Finding(name, bool(found), found or "not installed", "" if found else "pip install robo-reward")


def _check_opencv() -> Iterable[Finding]:
    """Finds a second build of OpenCV, which overwrites files of the first, and the packages that brought it."""
    second = [name for name in OPENCV if _installed_version(name)]
    if not second:
        return
    users = sorted(
        package.metadata["Name"]
        for package in distributions()
        if any(need.name in second and need.marker is None for need in map(Requirement, package.requires or ()))
    )
    brought = f", brought by {', '.join(users)}" if users else ""
    yield Finding(
        "one OpenCV",
        False,
        f"{', '.join(second)} writes into the same folder cv2 as opencv-python-headless{brought}",
        f"pip uninstall -y {' '.join(second)}; pip install --force-reinstall --no-deps opencv-python-headless"
        + (f"; install {users[0]} with --no-deps, and what else it needs by name" if users else ""),
    )


def _check_machine(folder: Path) -> Iterable[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("cores", cores >= 2, str(cores), "" if cores >= 2 else "a search is slow on one core")
    available = measure_available_memory()
    memory = None if available is None else available / 2**30  # [GiB]
    if memory is not None:
        few = "close other programs, or search with fewer jobs at once" if memory < 2 else ""
        yield Finding("memory", memory >= 2, f"{memory:.1f} GiB available", few)
    free = shutil.disk_usage(folder).free / 2**30
    yield Finding(
        "disk", free >= 2, f"{free:.1f} GiB free in {folder.resolve()}", "" if free >= 2 else "free at least 2 GiB"
    )
    yield _check_gpu()


def _check_gpu() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding("gpu", True, "not checked: torch is not installed")
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Finding("gpu", True, ", ".join(names) or "none; nothing here needs one")


def _check_rendering() -> Iterable[Finding]:
    from robo_reward.envs.rendering import gl

    tried = [gl.probe(name) for name in gl.candidates()]
    any_works = any(backend.works for backend in tried)
    for backend in tried:
        found = backend.renderer or "works" if backend.works else backend.problem
        # One working backend is enough: no remedy for the others.
        remedy = "" if backend.works or any_works else gl.REMEDIES[backend.name]
        yield Finding(f"drawing with {backend.name}", backend.works, found, remedy)
    try:
        yield Finding("drawing", any_works, f"uses {gl.choose()}")
    except RoboRewardError as error:
        yield Finding("drawing", False, str(error).splitlines()[0], "install one of the backends above")


def _check_video() -> Iterable[Finding]:
    from robo_reward.envs.video.files import read_video, write_video
    from robo_reward.envs.video.reader import import_av

    frames = np.zeros((3, 16, 16, 3), np.uint8)
    remedy = "pip install av (the wheel from PyPI, which has libx264)"
    with tempfile.TemporaryDirectory() as folder:
        try:
            same = read_video(write_video(Path(folder) / "try.mp4", frames, fps=10)).shape == frames.shape
        except (RoboRewardError, OSError) as error:
            yield Finding("H.264 video", False, str(error), remedy)
            return
    yield Finding(
        "H.264 video", same, f"written and read back with PyAV {import_av().__version__}", "" if same else remedy
    )


def _check_sandbox() -> Iterable[Finding]:
    held = _probe_confinement()
    if isinstance(held, str):
        yield Finding("sandbox", False, held, "candidates run in a separate but unconfined process")
        return
    for layer, problem in held.items():
        remedy = (
            "the other layers still apply; if none applies, run untrusted programs in a container" if problem else ""
        )
        what = f"{_LAYER_NAMES.get(layer, layer)}: {problem or 'holds'}"
        yield Finding(f"sandbox {layer}", not problem, what, remedy)


def _probe_confinement() -> dict[str, str] | str:
    """Returns the sandbox layers, tried on a child process since they cannot be lifted again, or why that failed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _LAYERS, folder]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            return json.loads(done.stdout)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"could not be tried: {error}"
        except ValueError:
            lines = done.stderr.strip().splitlines()
            return f"could not be tried: {lines[-1] if lines else f'exit code {done.returncode}'}"


def _check_extras() -> Iterable[Finding]:
    for extra, names in EXTRAS.items():
        found = {name: _installed_version(name) for name in names}
        complete = all(found.values())
        value = ", ".join(f"{name} {number or 'not installed'}" for name, number in found.items())
        if clash := _find_clash(names):
            yield Finding(f"extra [{extra}]", False, value, clash)
            continue
        yield Finding(
            f"extra [{extra}]", complete, value, "" if complete else f"pip install 'robo-reward[{extra}]', if wanted"
        )


def _find_clash(names: Iterable[str]) -> str:
    """Returns why an installed suite does not work with the installed MuJoCo; empty if it does."""
    try:
        for name in names:
            if name in OLDEST:
                check_versions(name)
    except VersionClash as clash:
        return str(clash)
    return ""


def _installed_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
