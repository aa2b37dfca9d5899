"""Features kept on disk: a frame is encoded once, whoever asks."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from robo_reward.reward import Weights, fingerprint
from robo_reward.vision.encoder import Encoder
from robo_reward.vision.views import checked_frames

log = logging.getLogger(__name__)

KEY = 16
"""Bytes of a frame's hash."""


class CachedEncoder:
    """An encoder that looks a frame up before it encodes it.

    `FOLDER/FINGERPRINT/` holds the features of one encoder, by its spec's fingerprint. Each call that meets new frames
    writes one file of them, named by the digest of its content and renamed into place: several processes may read and
    write at once, and at worst do the same work twice. A file that is not what its name says is deleted and its frames
    are encoded again. Nothing else is ever deleted: remove the folder to empty the cache.

    Args:
        encoder: one whose features do not depend on a frame's company (no `temporal` head).
        folder: made if need be.

    Attributes:
        dim: of the encoder.
        shape: of its features, (V, C, h, w) of maps.
        hits: frames found so far.
        misses: frames encoded so far.
    """

    def __init__(self, encoder: Encoder, folder: Path | str) -> None:
        self.encoder, self.dim, self.hits, self.misses = encoder, encoder.dim, 0, 0
        self.shape: tuple[int, ...] = getattr(encoder, "shape", (encoder.dim,))
        self.folder = Path(folder) / fingerprint(encoder.spec())
        self.folder.mkdir(parents=True, exist_ok=True)
        self._type = np.dtype([("key", f"V{KEY}"), ("feature", np.float32, (self.dim,))])
        self._known: dict[bytes, tuple[np.ndarray, int]] = {}
        self._read: set[str] = set()

    def encode(self, frames: np.ndarray) -> np.ndarray:
        frames = checked_frames(frames)
        keys = [frame_key(frame) for frame in frames]
        if any(key not in self._known for key in keys):
            self._look()
        new = {key: index for index, key in enumerate(keys) if key not in self._known}
        self.hits, self.misses = self.hits + len(keys) - len(new), self.misses + len(new)
        if new:
            self._add(list(new), self.encoder.encode(frames[list(new.values())]))
        found = np.empty((len(frames), self.dim), np.float32)
        for row, key in enumerate(keys):
            table, place = self._known[key]
            found[row] = table["feature"][place]
        return found

    def spec(self) -> dict[str, Any]:
        """The encoder's own: where features are kept does not change them."""
        return self.encoder.spec()

    def weights(self) -> Weights:
        return self.encoder.weights()

    def _add(self, keys: list[bytes], features: np.ndarray) -> None:
        table = np.empty(len(keys), self._type)
        table["key"] = np.frombuffer(b"".join(keys), self._type["key"])
        table["feature"] = features
        handle, temporary = tempfile.mkstemp(prefix=".new-", dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as file:
                np.save(file, table, allow_pickle=False)
            name = f"{_digest(table)}.npy"
            os.replace(temporary, self.folder / name)
        finally:
            Path(temporary).unlink(missing_ok=True)
        self._read.add(name)
        self._index(np.load(self.folder / name, mmap_mode="r", allow_pickle=False))

    def _look(self) -> None:
        """Reads the files that have come since."""
        for name in sorted(path.name for path in self.folder.glob("[!.]*.npy")):
            if name in self._read:
                continue
            self._read.add(name)
            path = self.folder / name
            try:
                table = np.load(path, mmap_mode="r", allow_pickle=False)
                sound = table.dtype == self._type and _digest(table) == path.stem
            except (OSError, ValueError, EOFError) as error:
                log.warning("cached features %s: %s", path, error)
                sound, table = False, None
            if sound and table is not None:
                self._index(table)
            else:
                log.warning("cached features %s are damaged and deleted; their frames are encoded again", path)
                path.unlink(missing_ok=True)

    def _index(self, table: np.ndarray) -> None:
        for place, key in enumerate(table["key"]):
            self._known[key.tobytes()] = (table, place)


def frame_key(frame: np.ndarray) -> bytes:
    """A frame's hash: its size and bytes."""
    found = hashlib.blake2b(repr(frame.shape).encode(), digest_size=KEY)
    found.update(np.ascontiguousarray(frame).tobytes())
    return found.digest()


def _digest(table: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(table).tobytes(), digest_size=KEY).hexdigest()
