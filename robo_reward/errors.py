"""The errors a user can meet. Each builds its own message: the value, what was expected, the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

SYSTEM_LIBRARIES = {"libusb-1.0": "libusb-1.0-0", "libhidapi": "libhidapi-hidraw0"}
"""System libraries that the wheels of extras need -> the Debian package that provides them."""


class RoboRewardError(Exception):
    """Base of every error that robo-reward raises on purpose; the CLI prints it without a traceback."""

    exit_code = 1


class UsageError(RoboRewardError):
    """An input of the user is wrong; the CLI exits with 2."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that is not in a closed set, answered with the nearest valid ones."""

    def __init__(self, kind: str, name: str, valid: Iterable[str], remedy: str = "") -> None:
        self.kind, self.name, self.valid = kind, name, tuple(sorted(valid))
        close = difflib.get_close_matches(name, self.valid, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
        few = len(self.valid) <= 16 or not close
        shown = f" Available: {', '.join(self.valid) or 'none'}." if few else ""
        super().__init__(f"unknown {kind} {name!r}.{hint}{shown}{' ' + remedy if remedy else ''}")


class MissingExtra(UsageError):
    """A dependency is not installed: an optional one of an extra, or one of the base where `extra` is empty.

    With `error`, the message quotes the error of the import: the package is installed but lacks a system library.
    """

    def __init__(self, module: str, extra: str, purpose: str, error: ImportError | None = None) -> None:
        command = f"pip install 'robo-reward[{extra}]'" if extra else "pip install robo-reward"
        problem = f"which is not installed: {command}"
        if error is not None and not isinstance(error, ModuleNotFoundError):
            package = next((name for library, name in SYSTEM_LIBRARIES.items() if library in str(error)), "")
            problem = f"which does not load: {error}" + (f". On Debian: apt-get install {package}" if package else "")
        super().__init__(f"{purpose} needs {module!r}, {problem}")


class BadArtifact(RoboRewardError):
    """A file or folder that cannot be used as it is: missing, damaged, of another format, or not what it claims.

    Args:
        path: the file or folder.
        problem: what is wrong with it.
        remedy: what the user can do.
    """

    def __init__(self, path: Path | str, problem: str, remedy: str = "") -> None:
        self.path, self.problem = path, problem
        remedy = remedy or "Restore the file or create it again"
        super().__init__(f"{path}: {problem.rstrip('.')}. {remedy}")


class WrongShape(RoboRewardError):
    """An array whose shape does not match its contract."""

    def __init__(self, what: str, got: tuple[int, ...], expected: str) -> None:
        super().__init__(f"{what} has shape {got}, expected {expected}")
