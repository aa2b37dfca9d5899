"""Folders and files that appear under their name only when they are complete, and never replace another."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robo_reward.errors import UsageError
from robo_reward.files import synchronise_folder


@contextmanager
def create_folder(path: Path) -> Iterator[Path]:
    """Yields an empty temporary folder beside the path, and renames it to the path when all went well.

    Raises:
        UsageError: there is something under that name.
    """
    require_absent(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{os.urandom(4).hex()}.part"
    temporary.mkdir()
    try:
        yield temporary
        require_absent(path)  # another process may have made it meanwhile
        temporary.rename(path)
        synchronise_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_absent(path: Path) -> None:
    """Raises UsageError if there is a file or folder of that name."""
    if os.path.lexists(path):
        raise UsageError(f"out={path} exists already, and nothing is overwritten; give another name or delete it")
