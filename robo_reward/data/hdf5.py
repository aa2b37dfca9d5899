"""Arrays of HDF5 files from others: only those that lie in the file itself and fit into memory are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from robo_reward.data.pictures import is_picture
from robo_reward.errors import BadArtifact, MissingExtra
from robo_reward.files import raise_as_bad_artifact

AGAIN = "Download or write the data set again"
MAX_ARRAY, MAX_EPISODE = 4 << 30, 8 << 30  # [bytes] in memory, of one array and of all arrays of an episode


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Opens an HDF5 file for reading.

    Raises:
        BadArtifact: it cannot be read, for example because it is cut off.
    """
    h5py = import_h5py()
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise BadArtifact(path, f"it is not a readable HDF5 file: {error}", AGAIN) from error
    with file, raise_as_bad_artifact(path, AGAIN):
        try:
            yield file
        except OSError as error:  # damaged in the middle
            raise BadArtifact(path, f"it cannot be read: {error}", AGAIN) from error


def get_array(group: Any, name: str) -> Any:
    """Returns an array of the file.

    Raises:
        BadArtifact: there is none, it lies in another file, which is not opened, or it is too large.
    """
    h5py = import_h5py()
    at = group
    for part in name.split("/"):
        if not isinstance(at, h5py.Group) or not isinstance(at.get(part, getlink=True), h5py.HardLink):
            raise BadArtifact(group.name, f"{name} is missing, or is a link", AGAIN)
        at = at[part]
    if not isinstance(at, h5py.Dataset):
        raise BadArtifact(group.name, f"{name} is not an array", AGAIN)
    _require_own(at, group.name, name)
    return at


def _require_own(array: Any, where: Any, name: str) -> None:
    """Raises BadArtifact for an array that lies in another file or is too large."""
    if array.external or array.is_virtual:
        raise BadArtifact(where, f"{name} is not an array of this file", AGAIN)
    require_size(where, name, count_bytes(array), MAX_ARRAY)


def count_bytes(array: Any) -> int:
    """Returns the number of bytes that an array takes in memory, numbers as float64; its file may hold fewer."""
    return (array.size or 0) * (array.dtype.itemsize if is_picture(array) else max(8, array.dtype.itemsize))


def require_size(where: Any, name: str, size: int, limit: int = MAX_EPISODE) -> None:
    """Raises BadArtifact if arrays take more memory than the limit [bytes]."""
    if size > limit:
        raise BadArtifact(where, f"{name} takes {size} bytes in memory, expected at most {limit}", AGAIN)


def require_own_arrays(path: Path) -> None:
    """Raises unless every array of a file lies in the file itself and each group at its top fits into memory.

    Raises:
        BadArtifact: a link, an array of another file, a group that holds itself, or too much; the message names it.
    """
    h5py = import_h5py()
    with open_hdf5(path) as file:
        seen = {h5py.h5o.get_info(file.id).addr}
        for top in file:
            total, waiting = 0, [(file, top)]
            while waiting:
                group, name = waiting.pop()
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise BadArtifact(path, f"{name} of {group.name} is a link", AGAIN)
                item = group[name]
                if isinstance(item, h5py.Dataset):
                    _require_own(item, path, f"{name} of {group.name}")
                    total += count_bytes(item)
                    require_size(path, top, total)
                elif isinstance(item, h5py.Group):
                    place = h5py.h5o.get_info(item.id).addr
                    if place in seen:  # a ring would be read without end
                        raise BadArtifact(path, f"{name} of {group.name} is a second name of another group", AGAIN)
                    seen.add(place)
                    waiting += [(item, part) for part in item]


def import_h5py() -> Any:
    """Returns `h5py`.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise MissingExtra("h5py", "data", "reading and writing robomimic's HDF5 files") from None
    return h5py
