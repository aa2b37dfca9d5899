"""The answers of a reward server on disk, by what was asked: an interrupted run does not ask twice."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from robo_reward.files import Finite, read_bytes
from robo_reward.rewards.http.protocols import EpisodeQuery

log = logging.getLogger(__name__)
MAX_FILE = 4 << 30  # [bytes]


class StoredAnswer(msgspec.Struct):
    """A line of the file.

    Args:
        key: of the query.
        values: name -> a number for each frame.
    """

    key: str
    values: dict[str, list[Finite]]


class AnswerStore:
    """A file of JSON lines; a line that a kill cut short is skipped when it is read.

    Args:
        path: created with the first answer, and its folder; None: answers are kept in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._known: dict[str, dict[str, np.ndarray]] = {}
        if path is not None:
            self._read(path)

    def __len__(self) -> int:
        """Returns the number of answers."""
        return len(self._known)

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """Returns the answer to a query, or None."""
        return self._known.get(key)

    def put(self, answers: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Adds answers, by the key of their query, and makes sure that they are on the disk."""
        self._known.update({key: dict(values) for key, values in answers.items()})
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = [StoredAnswer(key, {n: v.tolist() for n, v in values.items()}) for key, values in answers.items()]
        with open(self.path, "ab") as file:
            file.write(b"".join(b"\n" + msgspec.json.encode(row) + b"\n" for row in rows))
            file.flush()
            os.fsync(file.fileno())

    def _read(self, path: Path) -> None:
        decoder = msgspec.json.Decoder(StoredAnswer)
        for line in (read_bytes(path, MAX_FILE) or b"").splitlines():
            if not line:
                continue
            try:
                row = decoder.decode(line)
            except msgspec.DecodeError:
                log.warning("%s: a line is damaged; what it answers is asked again", path)
                continue
            self._known[row.key] = {name: np.asarray(values, dtype=float) for name, values in row.values.items()}


def compute_query_key(query: EpisodeQuery, about: str) -> str:
    """Returns the key of a query: a digest of the server and protocol, the goal and every byte of the frames."""
    found = hashlib.blake2b(repr((about, query.goal, query.frames.shape)).encode(), digest_size=16)
    found.update(np.ascontiguousarray(query.frames).tobytes())
    return found.hexdigest()
