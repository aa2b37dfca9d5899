"""The tables and videos of a LeRobot data set that is being written, each of many episodes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np

from robo_reward.data.lerobot.layout import CHUNK_SIZE, DATA_PATH, VIDEO_PATH, fill_path, import_pyarrow
from robo_reward.envs.video.writer import VideoWriter

MAX_TABLE = 100 << 20  # [bytes] of one file of rows, before it is compressed
MAX_FRAMES = 4 << 30  # [bytes] of the frames in one video, before they are compressed
Codec = Literal["av1", "h264"]


class TableFiles:
    """The Parquet files with the rows; one row group holds one episode."""

    def __init__(self, root: Path, schema: Any) -> None:
        self.root, self.schema = root, schema
        self.number, self.size = 0, 0
        self._writer: Any = None

    def __enter__(self) -> TableFiles:
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._writer is not None:
            self._writer.close()

    def add_rows(self, values: dict[str, np.ndarray]) -> dict[str, int]:
        """Writes the rows of one episode; returns the columns that say in which file."""
        arrow, parquet = import_pyarrow()
        arrays = [_to_arrow(values[name], self.schema.field(name).type) for name in self.schema.names]
        table = arrow.Table.from_arrays(arrays, schema=self.schema)
        if self._writer is not None and self.size + table.nbytes > MAX_TABLE:
            self._writer.close()
            self._writer, self.size, self.number = None, 0, self.number + 1
        chunk, file = divmod(self.number, CHUNK_SIZE)
        if self._writer is None:
            path = fill_path(self.root, DATA_PATH, chunk_index=chunk, file_index=file)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = parquet.ParquetWriter(path, self.schema)
        self._writer.write_table(table)
        self.size += table.nbytes
        return {"data/chunk_index": chunk, "data/file_index": file}


class VideoFiles:
    """The videos of one camera, each of many episodes."""

    def __init__(self, root: Path, key: str, fps: float, codec: Codec, crf: int) -> None:
        self.root, self.key, self.fps, self.crf = root, key, fps, crf
        self.codec: Codec = codec
        self.number, self.count, self.size = -1, 0, 0
        self._file = ExitStack()
        self._writer: VideoWriter | None = None

    def __enter__(self) -> VideoFiles:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._file.__exit__(*exception)

    def add_episode(self, frames: np.ndarray) -> dict[str, Any]:
        """Writes T + 1 frames; returns the columns that say where the T of the rows are."""
        if self._writer is None or self.size + frames.nbytes > MAX_FRAMES:
            self._file.close()
            self.number, self.count, self.size = self.number + 1, 0, 0
            self._writer = self._file.enter_context(
                VideoWriter(self._find_path(), self.fps, self.crf, codec=self.codec)
            )
        for frame in frames:
            self._writer.write_frame(frame)
        begun = self.count / self.fps
        self.count, self.size = self.count + len(frames), self.size + frames.nbytes
        chunk, file = divmod(self.number, CHUNK_SIZE)
        where = {
            "chunk_index": chunk,
            "file_index": file,
            "from_timestamp": begun,
            "to_timestamp": begun + (len(frames) - 1) / self.fps,
        }
        return {f"videos/{self.key}/{name}": value for name, value in where.items()}

    def _find_path(self) -> Path:
        chunk, file = divmod(self.number, CHUNK_SIZE)
        return fill_path(self.root, VIDEO_PATH, video_key=self.key, chunk_index=chunk, file_index=file)


def make_schema(columns: dict[str, dict[str, Any]]) -> Any:
    """Returns the Arrow schema of features that are columns."""
    arrow, _ = import_pyarrow()
    kinds = {"float32": arrow.float32(), "float64": arrow.float64(), "int64": arrow.int64(), "bool": arrow.bool_()}
    fields = []
    for name, about in columns.items():
        kind, (size,) = kinds[about["dtype"]], about["shape"]
        fields.append(arrow.field(name, kind if size == 1 else arrow.list_(kind, size)))
    return arrow.schema(fields)


def _to_arrow(values: np.ndarray, kind: Any) -> Any:
    arrow, _ = import_pyarrow()
    flat = arrow.array(np.ascontiguousarray(values).reshape(-1))
    return arrow.FixedSizeListArray.from_arrays(flat, type=kind) if values[0].size > 1 else flat.cast(kind)
