"""Scores as files for other programs: CSV, JSON, and the progress of each frame as Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robo_reward.errors import MissingExtra
from robo_reward.files import write_bytes, write_text
from robo_reward.printable import to_cell
from robo_reward.scoring.score import RankedEpisode

COLUMNS = ("rank", "name", "index", "score", "total", "mean", "final", "progress", "steps", "success", "label")


def build_row(ranked: RankedEpisode) -> dict[str, Any]:
    """Returns the columns of an episode; `progress` is that of its end."""
    episode = ranked.episode
    return {
        "rank": ranked.rank,
        "name": episode.name,
        "index": ranked.index,
        "score": ranked.score,
        "total": episode.total,
        "mean": episode.mean,
        "final": episode.final,
        "progress": float(ranked.progress[-1]),
        "steps": len(episode.values),
        "success": episode.success,
        "label": ranked.label,
    }


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Writes the rows as CSV with a header, atomically; what is unknown stays empty."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in rows:
        values = [to_cell(row[name]) if isinstance(row[name], str) else row[name] for name in COLUMNS]
        table.writerow(["" if v is None else str(v).lower() if isinstance(v, bool) else v for v in values])
    write_text(path, text.getvalue())
    return path


def write_progress(path: Path, ranked: Sequence[RankedEpisode], rows: Sequence[int | None], reward: str) -> Path:
    """Writes the progress of each frame in the form that LeRobot's reward-weighted cloning (RA-BC) reads.

    Columns: `index` (of the frame in the data set), `episode_index`, `frame_index`, and `progress_sparse` and
    `progress_dense`, which are equal, since a reward has one curve and LeRobot asks for either name. Frames of an
    episode without a score are NaN, which counts there as the weight 1.

    Args:
        path: of the file.
        ranked: the episodes.
        rows: number of frames that the data set counts for each of its episodes, in order; None: as many as its
            progress has, and no frames for an episode without a score.
        reward: where the reward is, for the metadata `reward_model_path`.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra("pyarrow", "parquet", "writing progress.parquet", error) from None
    known = {one.index: one.progress for one in ranked}
    curves = [_fit_curve(known.get(i), count) for i, count in enumerate(rows)]
    total = sum(map(len, curves))
    progress = np.concatenate([np.zeros(0), *curves]).astype(np.float32)
    columns = {
        "index": np.arange(total, dtype=np.int64),
        "episode_index": np.repeat(np.arange(len(curves)), [len(c) for c in curves]).astype(np.int64),
        "frame_index": np.concatenate([np.zeros(0), *(np.arange(len(c)) for c in curves)]).astype(np.int64),
        "progress_sparse": progress,
        "progress_dense": progress,
    }
    table = pa.table(columns).replace_schema_metadata({"reward_model_path": reward})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_bytes(path, sink.getvalue().to_pybytes())
    return path


def _fit_curve(progress: np.ndarray | None, count: int | None) -> np.ndarray:
    """Returns a curve of a number of frames: its beginning, or itself with its last value repeated."""
    if progress is None:
        return np.full(count or 0, np.nan)
    count = len(progress) if count is None else count
    return np.concatenate([progress, np.full(max(0, count - len(progress)), progress[-1])])[:count]
