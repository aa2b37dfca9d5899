"""The places of the episodes in the files of a LeRobot data set."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from robo_reward.data.lerobot.layout import INFO, LeRobotInfo, fill_path, import_pyarrow
from robo_reward.errors import BadArtifact
from robo_reward.files import open_regular, parse_json, raise_as_bad_artifact

AGAIN = "Download or write the data set again"
MAX_TABLE = 4 << 30  # [bytes] in memory, of the columns of one Parquet file
BATCH = 256 << 20  # [bytes] in memory, of the rows that are read at once where their size is not known before


class EpisodePlace(NamedTuple):
    """The place of one episode.

    Attributes:
        index: its number in the data set.
        length: number of rows.
        tasks: the sentences of its tasks.
        data: the Parquet file with its rows.
        videos: feature -> the video and the time at which the episode begins in it [s].
    """

    index: int
    length: int
    tasks: tuple[str, ...]
    data: Path
    videos: dict[str, tuple[Path, float]]


def find_episode_places(root: Path, info: LeRobotInfo, videos: Sequence[str]) -> tuple[EpisodePlace, ...]:
    """Returns the places of all episodes in order.

    Args:
        root: the folder of the data set.
        info: its description.
        videos: the names of the features whose videos are read.

    Raises:
        BadArtifact: the description of the episodes is missing or damaged.
    """
    if videos and not info.video_path:
        raise BadArtifact(root / INFO, "it has videos but no video_path", AGAIN)
    read = _read_places_3 if info.codebase_version.startswith("v3") else _read_places_2
    return tuple(sorted(read(root, info, videos)))


def _read_places_3(root: Path, info: LeRobotInfo, videos: Sequence[str]) -> Iterator[EpisodePlace]:
    """Yields the places that the tables of version 3 name."""
    folder = root / "meta" / "episodes"
    paths = sorted(folder.glob("*/*.parquet"))
    if not paths and info.total_episodes:
        raise BadArtifact(folder, "it holds no table of episodes", AGAIN)
    wanted = ["episode_index", "length", "tasks", "data/chunk_index", "data/file_index"]
    wanted += [f"videos/{v}/{part}" for v in videos for part in ("chunk_index", "file_index", "from_timestamp")]

    def fill(template: str, row: dict[str, Any], prefix: str, **more: Any) -> Path:
        numbers = {name: int(row[f"{prefix}{name}"]) for name in ("chunk_index", "file_index")}
        return fill_path(root, template, **numbers, **more)

    for path in paths:
        table = read_columns(path, wanted)
        missing = [name for name in wanted if name not in table.column_names]
        if missing:
            raise BadArtifact(path, f"the column {missing[0]!r} is missing, expected as in version 3", AGAIN)
        for row in table.to_pylist():
            with raise_as_bad_artifact(path, AGAIN):
                places = {v: fill(info.video_path or "", row, f"videos/{v}/", video_key=v) for v in videos}
                yield EpisodePlace(
                    int(row["episode_index"]),
                    int(row["length"]),
                    tuple(map(str, row["tasks"])),
                    fill(info.data_path, row, "data/"),
                    {v: (place, float(row[f"videos/{v}/from_timestamp"])) for v, place in places.items()},
                )


def _read_places_2(root: Path, info: LeRobotInfo, videos: Sequence[str]) -> Iterator[EpisodePlace]:
    """Yields the places of versions 2.0 and 2.1, where each episode has files of its own."""
    path = root / "meta" / "episodes.jsonl"
    file = open_regular(path, follow=True)
    if file is None:
        raise BadArtifact(path, "there is no such file", AGAIN)
    with file, raise_as_bad_artifact(path, AGAIN):
        for line in filter(bytes.strip, file):
            row = parse_json(line, dict[str, Any], path)
            index = int(row["episode_index"])
            values = {"episode_index": index, "episode_chunk": index // info.chunks_size}
            yield EpisodePlace(
                index,
                int(row["length"]),
                tuple(map(str, row["tasks"])),
                fill_path(root, info.data_path, **values),
                {v: (fill_path(root, info.video_path or "", **values, video_key=v), 0.0) for v in videos},
            )


def read_columns(path: Path, wanted: Collection[str] | None = None) -> Any:
    """Returns those of the wanted columns that a Parquet file has, or all of them, as an Arrow table.

    Raises:
        BadArtifact: it is damaged, or needs more than `MAX_TABLE` bytes of memory, which a small file can.
    """
    arrow, parquet = import_pyarrow()
    with parquet_errors(path):
        about = parquet.read_metadata(path)
        names = [name for name in about.schema.to_arrow_schema().names if wanted is None or name in wanted]
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
        parts = [
            part
            for group in groups
            for part in (group.column(number) for number in range(group.num_columns))
            if any(f"{part.path_in_schema}.".startswith(f"{name}.") for name in names)
        ]
        _require_memory(path, sum(_count_bytes(part) for part in parts))
        if sum(_bound_bytes(part) for part in parts) <= MAX_TABLE:
            return parquet.read_table(path, columns=names)
        batches, size = [], 0
        rows = max(1, BATCH // max(part.total_uncompressed_size for part in parts))
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=rows, columns=names):
                batches.append(batch)
                size += batch.nbytes
                _require_memory(path, size)
            return arrow.Table.from_batches(batches, batches[0].schema if batches else file.schema_arrow)


def _require_memory(path: Path, size: int) -> None:
    if size > MAX_TABLE:
        raise BadArtifact(path, f"its columns take {size} bytes in memory, expected at most {MAX_TABLE}", AGAIN)


def _count_bytes(part: Any) -> int:
    """Returns the bytes that a part of a column takes in memory if none of its values is stored once for several."""
    return max(part.total_uncompressed_size, 8 * part.num_values)


def _bound_bytes(part: Any) -> int:
    """Returns the most bytes that a part of a column can take: a text or picture may be stored once for many rows."""
    is_shared = any(encoding in ("PLAIN_DICTIONARY", "RLE_DICTIONARY") for encoding in part.encodings)
    if is_shared and part.physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"):
        return max(_count_bytes(part), part.num_values * part.total_uncompressed_size)
    return _count_bytes(part)


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Turns errors of pyarrow into a `BadArtifact` that names the file."""
    arrow, _ = import_pyarrow()
    try:
        yield
    except (arrow.ArrowException, OSError, UnicodeError) as error:
        said = " ".join(str(error).split())[:200]
        raise BadArtifact(path, f"it is not a readable Parquet file: {said}", AGAIN) from error
