"""Pictures of many episodes in one temporary file, read as arrays that the system keeps in free memory."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO

import numpy as np

from robo_reward.data.cloning.checks import BadDemonstration
from robo_reward.errors import UsageError


@dataclass(frozen=True, eq=False)
class PictureStack:
    """Pictures of several cameras.

    Args:
        arrays: camera -> (M, H, W, 3) uint8, of all states of all episodes one after another.
    """

    arrays: Mapping[str, np.ndarray]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Camera -> (H, W, 3)."""
        return {camera: array.shape[1:] for camera, array in self.arrays.items()}

    def close(self) -> None:
        """Releases the files; the arrays must not be used afterwards."""
        for array in self.arrays.values():
            mapped = getattr(array, "_mmap", None)
            if mapped is not None:
                mapped.close()


class PictureStackWriter:
    """Collects pictures episode by episode; each camera has a temporary file without a name, so nothing remains.

    Args:
        cameras: whose pictures come.
    """

    def __init__(self, cameras: Sequence[str]) -> None:
        self._stack = ExitStack()
        self._files: dict[str, IO[bytes]] = {
            camera: self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - open until `finish`
            for camera in cameras
        }
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._count = 0

    def add_episode(self, pictures: Mapping[str, np.ndarray], name: str) -> None:
        """Adds the pictures of an episode.

        Args:
            pictures: camera -> (T + 1, H, W, 3) uint8.
            name: the episode and its file, for messages.

        Raises:
            BadDemonstration: pictures of another size than those before.
            UsageError: the temporary folder is full.
        """
        for camera, frames in pictures.items():
            shape = self._shapes.setdefault(camera, frames.shape[1:])
            if frames.shape[1:] != shape:
                raise BadDemonstration(
                    name,
                    f"pictures of camera {camera} are {frames.shape[2]} x {frames.shape[1]} pixels, those of the "
                    f"episodes before it {shape[1]} x {shape[0]}",
                    "Give size= to scale all of them, or leave this episode out",
                )
            try:
                self._files[camera].write(frames.tobytes())
            except OSError as error:
                folder = tempfile.gettempdir()
                raise UsageError(
                    f"pictures cannot be kept in {folder} ({error}); free space there, or name another folder in TMPDIR"
                ) from error
        self._count += len(next(iter(pictures.values())))

    def finish(self) -> PictureStack:
        """Returns the pictures of all episodes."""
        arrays = {}
        for camera, file in self._files.items():
            file.flush()
            arrays[camera] = np.memmap(file, np.uint8, "r", shape=(self._count, *self._shapes[camera]))
        self.close()  # a mapping stays valid without its file
        return PictureStack(arrays)

    def close(self) -> None:
        """Closes the files."""
        self._stack.close()
