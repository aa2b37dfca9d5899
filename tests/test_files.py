"""Reading files that others may have written, and writing files as a whole."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from robo_reward.errors import BadArtifact
from robo_reward.files import (
    atomic_file,
    atomic_path,
    find_folder,
    load_json,
    read_bytes,
    read_inside,
    remove_unfinished,
    write_bytes,
    write_json,
)


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
    write_bytes(tmp_path / "x", b"secret", mode=0o600)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600 and (tmp_path / "x").read_bytes() == b"secret"


def list_names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_kill_in_the_middle_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    write_bytes(path, b"old")
    script = (
        "import os, signal, sys\n"
        "from robo_reward.files import atomic_file\n"
        "with atomic_file(sys.argv[1]) as file:\n"
        "    file.write(b'new' * 100_000)\n"
        "    file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(path)])
    assert process.wait(60) == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    left = [name for name in list_names(tmp_path) if name != "weights"]
    assert len(left) == 1 and f".{process.pid}." in left[0]
    remove_unfinished(tmp_path)
    assert list_names(tmp_path) == ["weights"]


@pytest.mark.parametrize("error", [RuntimeError("encoder failed"), KeyboardInterrupt(), OSError(28, "No space left")])
def test_a_failure_keeps_the_old_file_and_leaves_no_other(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "x"
    write_bytes(path, b"old")

    def fail() -> None:
        with atomic_file(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert path.read_bytes() == b"old" and list_names(tmp_path) == ["x"]
    if isinstance(caught.value, OSError):
        assert caught.value.filename == str(path)


def test_a_writer_may_open_the_file_by_its_path(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "x.npy", mode=0o600) as temporary:
        with temporary.open("wb") as file:
            np.save(file, np.arange(3))
        assert list(tmp_path.glob("*.npy")) == []  # no reader that lists by suffix finds it
    assert np.load(tmp_path / "x.npy").tolist() == [0, 1, 2]
    assert (tmp_path / "x.npy").stat().st_mode & 0o777 == 0o600


def test_an_exclusive_write_never_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_bytes(path, b"first", exclusive=True)
    with pytest.raises(FileExistsError, match=r"'.*/x'$"):
        write_bytes(path, b"second", exclusive=True)
    assert path.read_bytes() == b"first" and list_names(tmp_path) == ["x"]


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    sync, replace = os.fsync, os.replace

    def record_sync(handle: int) -> None:
        events.append("file" if stat.S_ISREG(os.fstat(handle).st_mode) else "folder")
        sync(handle)

    def record_replace(old: Path, new: Path) -> None:
        assert old.stat().st_size == 3
        events.append("rename")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "replace", record_replace)
    write_bytes(tmp_path / "x", b"new")
    assert events == ["file", "rename", "folder"]
    events.clear()
    write_bytes(tmp_path / "x", b"new", sync=False)
    assert events == ["rename"]


def test_the_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "x", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_a_long_name_can_be_written(tmp_path: Path) -> None:
    name = "ä" * 127  # 254 bytes
    write_bytes(tmp_path / name, b"x")
    assert list_names(tmp_path) == [name]


def test_an_unwritable_folder_is_reported_with_the_name_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_bytes(tmp_path / "none" / "x", b"")
    assert caught.value.filename == str(tmp_path / "none" / "x")


def test_numpy_values_and_paths_become_json(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": np.float64(0.5), "b": np.arange(2), "c": Path("d")})
    assert load_json(tmp_path / "x.json", dict[str, object]) == {"a": 0.5, "b": [0, 1], "c": "d"}


def test_a_folder_is_found_as_it_is_or_inside_a_run(tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    assert find_folder(tmp_path, "policy", "policy.json") == tmp_path
    (tmp_path / "policy" / "policy.json").touch()
    assert find_folder(tmp_path, "policy", "policy.json") == tmp_path / "policy"
    assert find_folder(tmp_path / "policy", "policy", "policy.json") == tmp_path / "policy"
    (tmp_path / "policy.json").touch()
    assert find_folder(tmp_path, "policy", "policy.json") == tmp_path
