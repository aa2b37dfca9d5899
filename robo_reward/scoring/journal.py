"""The rewards that were computed so far, one line each, so that an interrupted scoring goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from robo_reward.files import read_bytes, write_bytes
from robo_reward.scoring.score import ScoredEpisode

MAX_JOURNAL = 1 << 30  # [bytes]


class ScoreJournal:
    """A file of JSON lines; a line that a kill cut short is dropped when it is read.

    Args:
        path: created if necessary.

    Attributes:
        episodes: name -> what was scored.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.episodes: dict[str, ScoredEpisode] = {}
        decoder = msgspec.json.Decoder(ScoredEpisode)
        lines = (read_bytes(path, MAX_JOURNAL) or b"").splitlines(keepends=True)
        kept = []
        for line in lines:
            try:
                episode = decoder.decode(line)
            except msgspec.DecodeError:
                continue
            if episode.values and line.endswith(b"\n"):
                self.episodes[episode.name] = episode
                kept.append(line)
        if len(kept) < len(lines):
            write_bytes(path, b"".join(kept))
        self._file = None

    @contextmanager
    def open_for_append(self) -> Iterator[ScoreJournal]:
        """Opens the file for `append` while the block runs."""
        with open(self.path, "ab") as file:
            self._file = file
            try:
                yield self
            finally:
                self._file = None

    def append(self, episode: ScoredEpisode) -> None:
        """Adds an episode and makes sure that it is on the disk."""
        assert self._file is not None, "append inside `open_for_append`"
        self._file.write(msgspec.json.encode(episode) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.episodes[episode.name] = episode
