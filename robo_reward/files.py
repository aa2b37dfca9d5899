"""Reads and writes files that others may have written or that a kill may cut short.

Everything that comes from a writer, a job, a ledger, an artifact, a run folder or the network is untrusted. The
rules are in this one place: no link is followed, no pipe or device is opened, the size is checked before anything
is loaded, and the content is checked against a schema (a `msgspec.Struct`, a type, or a typed dictionary) before
it is used. For every problem the caller gets one error, `BadArtifact`, that says which file, what was found and
what to do.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec

from robo_reward.errors import BadArtifact, MissingExtra, UsageError, WrongShape

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")

MAX_JSON = 64 << 20  # [bytes] far above any document this project writes
MAX_LINE = 1 << 20  # [bytes] one line of a JSON-lines file
MAX_YAML = 256 << 10  # [bytes] far above any configuration; PyYAML is slow
MAX_DEPTH = 32  # nesting levels of a YAML file
MAX_TENSORS = 1 << 30  # [bytes] of a safetensors file
MAX_ARRAYS = 64 << 30  # [bytes] of an npz file
ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG, errno.ENODEV}
"""Error numbers of `open` that mean that there is no regular file of that name."""
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
UNFIT = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError, MemoryError)
"""Exceptions that content of the wrong form can raise; RecursionError is a RuntimeError."""
UNFINISHED = re.compile(r"\..+\.[0-9a-f]{12}")  # the temporary names of `atomic_file`

Finite = Annotated[float, msgspec.Meta(ge=-1.7e308, le=1.7e308)]
"""A finite float: msgspec's bounds reject NaN as well."""
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""A non-negative integer that a float represents exactly."""
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
"""A float in [0, 1]."""


def read_bytes(path: Path | str, limit: int = MAX_JSON, tail: bool = False, follow: bool = False) -> bytes | None:
    """Returns the content of a regular file, or None where there is none.

    Folders, pipes and devices count as none, and so do links unless they are followed.

    Args:
        path: the file.
        limit: the most bytes to read.
        tail: read the last `limit` bytes of a longer file; otherwise a longer file is an error.
        follow: read what a link points to.

    Raises:
        BadArtifact: the file is longer than `limit`, or the disk cannot read it.
        OSError: a file that cannot be opened: no permission, or too many files are open.
    """
    handle = _open_descriptor(path, follow)
    return None if handle is None else _read_descriptor(handle, path, limit, tail)


def is_regular(path: Path | str) -> bool:
    """Returns whether there is a regular file; a link does not count."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def _open_descriptor(path: Path | str, follow: bool = False) -> int | None:
    """Returns a descriptor of a regular file, or None.

    Nothing else is opened, since opening a device can have effects.

    Raises:
        OSError: there may be one, but it cannot be opened: no permission, or too many files are open.
    """
    try:
        if not stat.S_ISREG(os.stat(path, follow_symlinks=follow).st_mode):
            return None
        handle = os.open(path, FLAGS & ~os.O_NOFOLLOW if follow else FLAGS)
    except ValueError:  # the name contains a NUL
        return None
    except OSError as error:
        if error.errno in ABSENT:
            return None
        raise
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)  # the file was replaced between the two calls
    return None


def _read_descriptor(handle: int, path: Path | str, limit: int, tail: bool = False) -> bytes | None:
    """Returns the content of an open descriptor and closes it; None where it is not of a regular file."""
    try:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode):
            return None
        with os.fdopen(handle, "rb", closefd=False) as file:
            if info.st_size > limit:
                if not tail:
                    raise BadArtifact(path, f"it has {info.st_size} bytes, at most {limit} are read")
                file.seek(-limit, os.SEEK_END)
            data, step = b"", min(limit, info.st_size) + 1  # `read` allocates the requested size at once
            while len(data) <= limit and (piece := file.read(min(step, limit + 1 - len(data)))):
                data, step = data + piece if data else piece, 1 << 20
    except OSError as error:
        raise BadArtifact(path, f"it cannot be read: {error.strerror}") from error
    finally:
        os.close(handle)
    if len(data) > limit and not tail:  # it grew meanwhile, or it is in /proc, where sizes are 0
        raise BadArtifact(path, f"it has more than {limit} bytes, the most that are read")
    return data[:limit]


def parse_json(data: bytes | str, schema: type[T], source: Path | str, remedy: str = "") -> T:
    """Returns JSON text as a value that matches the schema.

    Args:
        data: the text; its size is the caller's to bound.
        schema: a `msgspec.Struct`, or any type that msgspec can check, such as `dict[str, Finite]`.
        source: the file or the address that the text came from, for the message.
        remedy: what the user can do; a default is given.

    Raises:
        BadArtifact: the text is no JSON, is nested too deeply, or does not match the schema.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:  # ValueError: also bad UTF-8 and over 4,300 digits
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else f"it is not JSON: {error}"
        raise BadArtifact(source, reason, remedy) from error
    return convert_json(value, schema, source, remedy)


def convert_json(value: Any, schema: type[T], source: Path | str, remedy: str = "") -> T:
    """Returns a decoded JSON value as the type that the schema describes.

    Raises:
        BadArtifact: it does not match; the message names the place in the document.
    """
    try:
        return msgspec.convert(value, schema)
    except (msgspec.ValidationError, RecursionError, UnicodeError) as error:
        problem = "it holds half of a surrogate pair" if isinstance(error, UnicodeError) else str(error)
        raise BadArtifact(source, problem, remedy) from error


def load_json(
    path: Path | str, schema: type[T], limit: int = MAX_JSON, remedy: str = "", follow: bool = False
) -> T | None:
    """Returns the content of a JSON file, checked against the schema; None where there is no regular file.

    A link counts as none unless it is followed, as in the cache of Hugging Face, where all files are links.

    Raises:
        BadArtifact: the file is too long, is no JSON, or does not match the schema.
    """
    data = read_bytes(path, limit, follow=follow)
    return None if data is None else parse_json(data, schema, path, remedy)


@contextmanager
def raise_as_bad_artifact(source: Path | str, remedy: str = "") -> Iterator[None]:
    """Turns errors of building something from checked content into a `BadArtifact` that names the source.

    Raises:
        BadArtifact: the block raised one; a `UsageError` or `WrongShape`; or a LookupError, TypeError,
            ValueError, ArithmeticError, AttributeError, RuntimeError (torch), MemoryError or RecursionError.
        MissingExtra: the block raised one.
    """
    try:
        yield
    except BadArtifact as error:
        if str(error.path).startswith(str(source)):
            raise
        raise BadArtifact(source, f"{error.path}: {error.problem}", remedy) from error
    except MissingExtra:
        raise
    except KeyError as error:
        raise BadArtifact(source, f"{error.args[0] if error.args else ''!r:.80} is missing", remedy) from error
    except RecursionError as error:
        raise BadArtifact(source, "it is nested too deeply", remedy) from error
    except MemoryError as error:
        raise BadArtifact(source, "it needs more memory than is available", remedy) from error
    except (*UNFIT, UsageError, WrongShape) as error:
        raise BadArtifact(source, " ".join(str(error).split())[:300] or type(error).__name__, remedy) from error


def load_tensors(path: Path | str, limit: int = MAX_TENSORS, remedy: str = "") -> dict[str, np.ndarray]:
    """Returns the arrays of a safetensors file by name, each with memory of its own.

    Raises:
        BadArtifact: there is no regular file, it is longer than `limit` bytes, or it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    data = read_bytes(path, limit)
    if data is None:
        raise BadArtifact(path, "there is no such file", remedy)
    try:
        return {name: array.copy() for name, array in load(data).items()}
    except (SafetensorError, *UNFIT) as error:  # KeyError: a data type that numpy lacks
        raise BadArtifact(path, f"it is not a complete safetensors file: {error}", remedy) from error


@contextmanager
def open_arrays(path: Path | str, limit: int = MAX_ARRAYS, remedy: str = "") -> Iterator[Mapping[str, np.ndarray]]:
    """Opens an npz file, whose arrays are read when they are asked for; nothing in it is unpickled.

    Any error of the file or of the block becomes a `BadArtifact`, see `raise_as_bad_artifact`.

    Raises:
        BadArtifact: there is no regular file, it unpacks to more than `limit` bytes, or it is damaged.
    """
    import numpy as np

    handle = _open_descriptor(path)
    if handle is None:
        raise BadArtifact(path, "there is no such file", remedy)
    with os.fdopen(handle, "rb") as file, raise_as_bad_artifact(path, remedy):
        try:
            with zipfile.ZipFile(file) as archive:
                size = sum(member.file_size for member in archive.infolist())
            if size > limit:
                raise BadArtifact(path, f"it unpacks to {size} bytes, at most {limit} are read", remedy)
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                yield arrays
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, SyntaxError, tokenize.TokenError) as error:
            raise BadArtifact(path, f"it cannot be read: {error}", remedy) from error


def load_yaml(path: Path | str, schema: type[T], limit: int = MAX_YAML, remedy: str = "") -> T | None:
    """Returns the content of a YAML file, checked against the schema; None where there is no regular file.

    `${...}` stays as it is written: a file from others must not read our environment variables.

    Raises:
        BadArtifact: the file is too long, is no YAML, uses aliases, or does not match the schema.
    """
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    data = read_bytes(path, limit)
    if data is None:
        return None
    try:
        text = data.decode()
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent):  # aliases can expand exponentially
                raise BadArtifact(path, "it uses YAML aliases, which are not read", remedy)
            if depth > MAX_DEPTH:  # PyYAML's time grows with the square of the depth
                raise BadArtifact(path, "it is nested too deeply", remedy)
        value = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException, AssertionError, *UNFIT) as error:
        raise BadArtifact(
            path, f"it cannot be read as YAML: {' '.join(str(error).split())[:300] or 'no mapping'}", remedy
        ) from error
    return convert_json(value, schema, path, remedy)


def read_inside(folder: Path | str, name: str, limit: int) -> bytes:
    """Returns the content of a regular file inside a folder; no link is followed on the way.

    Args:
        folder: where it must lie.
        name: a relative path of plain names.
        limit: the most bytes to read.

    Raises:
        BadArtifact: the path leads out of the folder, there is no regular file, or it is longer than `limit`.
    """
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts or "\0" in name:
        raise BadArtifact(name, "it is not a path inside the folder")
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    handle = -1
    try:
        handle = os.open(folder, flags)
        for part in parts[:-1]:
            below = os.open(part, flags | os.O_NOFOLLOW, dir_fd=handle)
            os.close(handle)
            handle = below
        data = _read_descriptor(os.open(parts[-1], FLAGS, dir_fd=handle), name, limit)
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        data = None
    finally:
        if handle >= 0:
            os.close(handle)
    if data is None:
        raise BadArtifact(name, "there is no such file in the folder")
    return data


@contextmanager
def atomic_file(
    path: Path | str, *, mode: int = 0o666, sync: bool = True, exclusive: bool = False
) -> Iterator[BufferedWriter]:
    """Yields a new binary file under a temporary name in the same folder, which becomes `path` when the block ends.

    A reader sees all of the file or nothing. If the block raises, the temporary file is removed and `path` stays as
    it was; after a kill, `path` stays as it was as well. The temporary name has no suffix, so that no reader which
    lists a folder by suffix finds it.

    Args:
        path: the file to make.
        mode: permissions, less the bits of the umask.
        sync: wait until the content and its name are on the disk, so that the same holds after a power cut.
        exclusive: fail if `path` exists, instead of replacing it.

    Raises:
        FileExistsError: `path` exists, and `exclusive` is set.
        OSError: the file cannot be written; the error names `path`.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name[:50]}.{os.getpid()}.{os.urandom(6).hex()}")  # 255 bytes at most
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, mode)) as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        if exclusive:
            _link_new_file(temporary, path)
        else:
            os.replace(temporary, path)
    except OSError as error:
        with_file_name(error, path, temporary)
        raise
    finally:
        temporary.unlink(missing_ok=True)  # a no-op after the rename
    if sync:
        synchronise_folder(path.parent)


@contextmanager
def atomic_path(path: Path | str, *, mode: int = 0o666, sync: bool = True, exclusive: bool = False) -> Iterator[Path]:
    """Yields the path of the temporary file of `atomic_file`, for a writer that opens its file by name."""
    # A writer that adds a suffix to the name, such as `np.savez`, needs `atomic_file`.
    with atomic_file(path, mode=mode, sync=sync, exclusive=exclusive) as file:
        yield Path(file.name)


def write_bytes(
    path: Path | str, data: bytes, *, mode: int = 0o666, sync: bool = True, exclusive: bool = False
) -> None:
    """Writes a file as a whole, see `atomic_file`."""
    with atomic_file(path, mode=mode, sync=sync, exclusive=exclusive) as file:
        file.write(data)


def write_text(path: Path | str, text: str, *, mode: int = 0o666, sync: bool = True) -> None:
    """Writes text as UTF-8 as a whole, see `atomic_file`; line ends stay as they are."""
    write_bytes(path, text.encode(), mode=mode, sync=sync)


def write_json(path: Path | str, value: Any, *, mode: int = 0o666, sync: bool = True, exclusive: bool = False) -> None:
    """Writes a value as JSON as a whole, see `atomic_file`; numpy scalars, arrays and paths are converted."""
    data = json.dumps(value, default=to_json, indent=1).encode() + b"\n"
    write_bytes(path, data, mode=mode, sync=sync, exclusive=exclusive)


def _link_new_file(temporary: Path, path: Path) -> None:
    """Gives a file its name unless the name is taken.

    Raises:
        FileExistsError: it is taken.
    """
    try:
        os.link(temporary, path)  # unlike a rename, a link never replaces a file
    except FileExistsError:
        raise
    except OSError:
        os.replace(temporary, path)  # a file system without hard links


def with_file_name(error: OSError, path: Path | str, temporary: Path | None = None) -> OSError:
    """Returns an error of the system with the name of the file, which a failed write lacks or gives as temporary."""
    if error.filename is None or error.filename in (temporary, str(temporary)):
        error.filename = str(path)
        if error.filename2 is not None:  # a rename has two names
            del error.filename2
    return error


def synchronise_folder(folder: Path | str) -> None:
    """Makes renames in a folder durable; file systems that cannot do it are left alone."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def to_json(value: Any) -> Any:
    """Returns numpy scalars and arrays, and paths, as plain JSON values (for `json.dumps(default=...)`)."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def find_folder(path: Path, name: str, marker: str) -> Path:
    """Returns the path itself, or the folder `name` inside it where only that one holds the file `marker`."""
    inner = path / name
    return inner if not (path / marker).is_file() and (inner / marker).is_file() else path


def remove_unfinished(folder: Path | str) -> None:
    """Removes what a killed `atomic_file` left in a folder; no other process may be writing there."""
    for path in Path(folder).iterdir():
        if UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)


def open_regular(path: Path | str, follow: bool = False) -> BufferedReader | None:
    """Returns a regular file opened for reading, or None where there is none.

    Folders, pipes, sockets and devices count as none, and so do links unless they are followed.

    Args:
        path: the file.
        follow: open what a link points to.

    Raises:
        OSError: a regular file that may not be read.
    """
    handle = _open_descriptor(path, follow)
    return None if handle is None else os.fdopen(handle, "rb")
