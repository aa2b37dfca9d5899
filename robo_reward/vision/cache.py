"""An on-disk cache of features: each frame is encoded once."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np

from robo_reward.files import atomic_file
from robo_reward.rewards.contract import Weights, fingerprint_spec
from robo_reward.vision.encoder import Encoder
from robo_reward.vision.views import check_frames

log = logging.getLogger(__name__)

KEY = 16
"""Length of a frame's hash [bytes]."""


class CachedEncoder:
    """An encoder with a cache of features on disk.

    `FOLDER/FINGERPRINT/` holds the features of one encoder, by its spec's fingerprint. Each call that meets new
    frames writes one file of them, named by the digest of its content and renamed into place: several processes
    may read and write at once, and at worst do the same work twice. A file whose content does not match its name
    is deleted and its frames are encoded again. Nothing else is ever deleted: remove the folder to empty the
    cache.

    Args:
        encoder: one whose features do not depend on the neighbouring frames (no `temporal` head).
        folder: created if necessary.

    Attributes:
        dim: F, as of the encoder.
        shape: shape of a feature, (V, C, h, w) for maps.
        hits: number of frames found so far.
        misses: number of frames encoded so far.
    """

    def __init__(self, encoder: Encoder, folder: Path | str) -> None:
        self.encoder, self.dim, self.hits, self.misses = encoder, encoder.dim, 0, 0
        self.shape: tuple[int, ...] = getattr(encoder, "shape", (encoder.dim,))
        self.folder = Path(folder) / fingerprint_spec(encoder.spec())
        self.folder.mkdir(parents=True, exist_ok=True)
        self._type = np.dtype([("key", f"V{KEY}"), ("feature", np.float32, (self.dim,))])
        self._known: dict[bytes, tuple[np.ndarray, int]] = {}
        self._read: set[str] = set()

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """Returns the features (T, F) float32 of frames (T, H, W, 3) uint8.

        Only frames that are not in the cache are encoded.
        """
        frames = check_frames(frames)
        keys = [hash_frame(frame) for frame in frames]
        if any(key not in self._known for key in keys):
            self._read_new_files()
        new = {key: index for index, key in enumerate(keys) if key not in self._known}
        self.hits, self.misses = self.hits + len(keys) - len(new), self.misses + len(new)
        if new:
            self._write_features(list(new), self.encoder.encode(frames[list(new.values())]))
        found = np.empty((len(frames), self.dim), np.float32)
        for row, key in enumerate(keys):
            table, place = self._known[key]
            found[row] = table["feature"][place]
        return found

    def spec(self) -> dict[str, Any]:
        """Returns the spec of the cached encoder, which does not depend on the location of the cache."""
        return self.encoder.spec()

    def weights(self) -> Weights:
        """Returns the learnt weights of the cached encoder."""
        return self.encoder.weights()

    def _write_features(self, keys: list[bytes], features: np.ndarray) -> None:
        table = np.empty(len(keys), self._type)
        table["key"] = np.frombuffer(b"".join(keys), self._type["key"])
        table["feature"] = features
        name = f"{_digest_table(table)}.npy"
        with atomic_file(self.folder / name, sync=False) as file:
            np.save(file, table, allow_pickle=False)
        self._read.add(name)
        self._index_table(np.load(self.folder / name, mmap_mode="r", allow_pickle=False))

    def _read_new_files(self) -> None:
        """Reads the files that were added since the last call; damaged files are deleted."""
        for name in sorted(path.name for path in self.folder.glob("[!.]*.npy")):
            if name in self._read:
                continue
            self._read.add(name)
            path = self.folder / name
            try:
                table = np.load(path, mmap_mode="r", allow_pickle=False)
                sound = table.dtype == self._type and _digest_table(table) == path.stem
            except (OSError, ValueError, EOFError) as error:
                log.warning("cached features %s: %s", path, error)
                sound, table = False, None
            if sound and table is not None:
                self._index_table(table)
            else:
                log.warning("cached features %s are damaged and deleted; their frames are encoded again", path)
                path.unlink(missing_ok=True)

    def _index_table(self, table: np.ndarray) -> None:
        for place, key in enumerate(table["key"]):
            self._known[key.tobytes()] = (table, place)


def hash_frame(frame: np.ndarray) -> bytes:
    """Returns the hash of a frame, of its size and bytes."""
    found = hashlib.blake2b(repr(frame.shape).encode(), digest_size=KEY)
    found.update(np.ascontiguousarray(frame).tobytes())
    return found.digest()


def _digest_table(table: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(table).tobytes(), digest_size=KEY).hexdigest()
