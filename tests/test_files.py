"""Reading files that somebody else may have written."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from robo_reward.errors import BadArtifact
from robo_reward.files import read_bytes, read_inside, replace_file


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_file_that_cannot_be_opened_is_not_taken_for_missing() -> None:
    with no_more_descriptors(), pytest.raises(OSError, match="Too many open files"):
        read_bytes(__file__)


def test_links_pipes_folders_and_nothing_count_as_none(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(__file__)
    os.mkfifo(tmp_path / "pipe")
    assert [read_bytes(tmp_path / name) for name in ("link", "pipe", "", "none", "a\0b")] == [None] * 5
    with pytest.raises(BadArtifact, match="no such file in the folder"):
        read_inside(tmp_path, "link", 100)


def test_a_private_file_is_for_the_user_alone(tmp_path: Path) -> None:
    replace_file(tmp_path / "x", b"secret", 0o600)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600 and (tmp_path / "x").read_bytes() == b"secret"
