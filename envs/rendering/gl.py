"""Choice of an OpenGL backend that draws without a screen: each is tried once, in a child process."""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from robo_reward.errors import RoboRewardError, UnknownName, UsageError

log = logging.getLogger(__name__)

BACKENDS = ("egl", "osmesa", "glfw", "cgl")
REMEDIES = {
    "egl": "apt-get install libegl1 libgl1 (with a GPU its driver brings the rest; without one also libegl-mesa0)",
    "osmesa": "apt-get install libosmesa6 (Debian 13 and later: libosmesa6 from the mesa packages), no GPU needed",
    "glfw": "a desktop session (DISPLAY set), or use egl or osmesa",
    "cgl": "macOS only",
}
_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "software")
_DISABLED = ("disable", "disabled", "off", "false", "0")
_ALIASES = {"glx": "glfw", "enable": "glfw", "enabled": "glfw", "on": "glfw", "true": "glfw", "1": "glfw"}
_PROBE = """
import sys, warnings
warnings.simplefilter("ignore")
import importlib
context = importlib.import_module("mujoco." + sys.argv[1]).GLContext(64, 64)
context.make_current()
name = ""
if sys.argv[1] in ("egl", "osmesa"):
    from OpenGL import GL
    name = GL.glGetString(GL.GL_RENDERER).decode()
else:
    import mujoco
    mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), 50)
print("RENDERER", name, flush=True)
context.free()
"""


_VALID = ("", "wgl", *BACKENDS, *_ALIASES, *_DISABLED)
_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
_refused: list[UsageError] = []
"""Errors for an unusable `MUJOCO_GL` setting that was ignored; empty if there was none."""


def set_aside_broken_setting() -> None:
    """Sets `MUJOCO_GL` to `disable` where `import mujoco` would fail on it, so that code without drawing works.

    `choose` then raises the error. mujoco fails on a word that it does not know and on a library that is missing.
    """
    wanted = os.environ.get("MUJOCO_GL", "").strip().lower()
    if wanted not in _VALID:
        _refused.append(UnknownName("MUJOCO_GL backend", wanted, BACKENDS, "Unset MUJOCO_GL to have one chosen."))
    elif sys.platform == "linux" and wanted in _LIBRARIES and not _has_library(_LIBRARIES[wanted]):
        problem = f"MUJOCO_GL={wanted}, but lib{_LIBRARIES[wanted]} is not installed: {REMEDIES[wanted]}"
        _refused.append(UsageError(f"{problem}; or unset MUJOCO_GL to have a backend chosen"))
    else:
        return
    os.environ["MUJOCO_GL"] = "disable"


def _has_library(name: str) -> bool:
    """Returns whether the system can load a library, under the names that PyOpenGL tries."""
    from _ctypes import dlclose, dlopen  # not on Windows; closing unloads a library that may not be needed

    for suffix in ("", *(f".{version}" for version in range(10))):
        try:
            handle = dlopen(f"lib{name}.so{suffix}", os.RTLD_LAZY | os.RTLD_LOCAL)
        except OSError:
            continue
        dlclose(handle)
        return True
    return False


@dataclass(frozen=True)
class Backend:
    """The result of trying one backend.

    Args:
        name: one of `BACKENDS`.
        works: whether a context could be made.
        renderer: what draws, in OpenGL's words, such as `llvmpipe (LLVM 15.0.6, 256 bits)`.
        problem: the last line of the error, when it does not work.
    """

    name: str
    works: bool
    renderer: str = ""
    problem: str = ""

    @property
    def is_software(self) -> bool:
        """True if the processor draws rather than a GPU."""
        return self.name == "osmesa" or any(word in self.renderer.lower() for word in _SOFTWARE)


class NoRenderer(RoboRewardError):
    """Raised when no OpenGL backend can draw; the message names what to install."""

    def __init__(self, tried: list[Backend] | tuple[Backend, ...], reason: str = "") -> None:
        self.tried = tuple(tried)
        lines = [reason or "no OpenGL backend can draw without a screen on this machine."]
        lines += [f"  {b.name}: {b.problem or 'does not work'}. Install: {REMEDIES[b.name]}" for b in self.tried]
        super().__init__("\n".join(lines))


@cache
def probe(name: str) -> Backend:
    """Tries one backend in a child process, because a broken GL driver can end the process that loads it."""
    # PyOpenGL binds to one platform per process; the child must not inherit the parent's choice.
    environment = {k: v for k, v in os.environ.items() if k not in ("PYOPENGL_PLATFORM", "MUJOCO_GL")}
    environment["MUJOCO_GL"] = "disable"  # `import mujoco` must not load another GL library first
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, name],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Backend(name, False, problem=f"trying it failed: {error}")
    for line in done.stdout.splitlines():
        if line.startswith("RENDERER"):
            return Backend(name, True, line.removeprefix("RENDERER").strip())
    lines = done.stderr.strip().splitlines()
    return Backend(name, False, problem=lines[-1][:200] if lines else f"the process ended with {done.returncode}")


def candidates() -> tuple[str, ...]:
    """Returns the backends worth trying on this system, in order."""
    # EGL first: it uses a GPU if there is one, and is as fast as OSMesa otherwise.
    return {"darwin": ("cgl",), "win32": ("glfw",)}.get(sys.platform, ("egl", "osmesa", "glfw"))


@cache
def choose() -> str:
    """Returns the backend of this process: `MUJOCO_GL` if set, else the first of `candidates` that works.

    The answer is put in `MUJOCO_GL`, so that child processes need not search again.

    Raises:
        NoRenderer: none works, or `MUJOCO_GL` switches drawing off or names a library that is missing.
        UnknownName: `MUJOCO_GL` is no backend.
    """
    for problem in _refused:
        raise NoRenderer((), str(problem)) if type(problem) is UsageError else problem
    wanted = os.environ.get("MUJOCO_GL", "").strip().lower()
    if wanted in _DISABLED:
        raise NoRenderer((), f"drawing is switched off by MUJOCO_GL={wanted}; unset it to draw")
    if wanted:
        name = _ALIASES.get(wanted, wanted)
        if name not in BACKENDS:
            raise UnknownName("MUJOCO_GL backend", wanted, BACKENDS)
        return name
    tried = []
    for name in candidates():
        found = probe(name)
        tried.append(found)
        if found.works:
            log.debug("drawing with %s (%s)", name, found.renderer)
            os.environ["MUJOCO_GL"] = name
            return name
    raise NoRenderer(tried)


def block_triton_import() -> None:
    """Blocks the import of triton, caused by parts of torch and torchvision, if this process drew in software."""
    # Both bring an LLVM of their own; the process crashes when triton's comes second. Nothing here needs triton.
    if "OpenGL" in sys.modules and "triton" not in sys.modules:
        sys.modules["triton"] = None  # type: ignore[assignment]


def make_context(width: int, height: int) -> Any:
    """Makes a GL context, current in this thread.

    `mujoco.GLContext` was chosen when mujoco was imported, perhaps long before anything is drawn; the
    class of the chosen backend is therefore taken directly.

    Raises:
        NoRenderer: the backend does not work.
    """
    name = choose()
    try:
        context = importlib.import_module(f"mujoco.{name}").GLContext(width, height)
        context.make_current()
    except Exception as error:  # PyOpenGL and ctypes raise many types, from AttributeError to ImportError
        problem = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise NoRenderer([Backend(name, False, problem=problem)], f"the OpenGL backend {name!r} failed") from error
    _block_triton_if_software(name)
    return context


def _block_triton_if_software(name: str) -> None:
    """Blocks the import of triton, caused by torchvision and optimisers, if this process draws in software.

    Both bring an LLVM of their own; the process crashes when triton's comes second. Nothing here needs triton.
    """
    if name not in ("egl", "osmesa") or "triton" in sys.modules:
        return
    renderer = importlib.import_module("OpenGL.GL").glGetString(0x1F01).decode()  # GL_RENDERER
    if Backend(name, True, renderer).is_software:
        sys.modules["triton"] = None  # type: ignore[assignment]  `import triton` then raises ImportError


_open: set[Callable[[], None]] = set()


def close_at_exit(close: Callable[[], None]) -> None:
    """Calls `close` before the GL library shuts down, unless `cancel_close_at_exit` is called first."""
    # Again after every context: atexit runs in reverse order, and mujoco.egl registers its shutdown with the first.
    atexit.unregister(_close_all)
    atexit.register(_close_all)
    _open.add(close)


def cancel_close_at_exit(close: Callable[[], None]) -> None:
    """Cancels `close_at_exit`."""
    _open.discard(close)


def _close_all() -> None:
    for close in list(_open):
        close()
