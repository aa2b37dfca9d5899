"""Downscaled pictures as features: a baseline without a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from robo_reward.errors import UsageError
from robo_reward.rewards.contract import Weights
from robo_reward.vision.views import WHOLE, check_frames, check_views, crop_view


class PixelsEncoder:
    """Each view averaged down to `size` x `size`, in [0, 1], flattened.

    Args:
        size: side [pixels].
        grey: brightness alone (0.299 r + 0.587 g + 0.114 b) instead of three colours.
        views: boxes on the frame.

    Attributes:
        dim: V size², three times as much in colour.
        shape: (V, C, size, size) as `TimmEncoder` has.
    """

    def __init__(self, size: int = 28, grey: bool = False, views: Iterable[Sequence[float]] = WHOLE) -> None:
        if size < 1:
            raise UsageError(f"pixels: size={size}: expected at least 1")
        self.size, self.grey, self.views = size, grey, check_views(views)
        self.shape = (len(self.views), 1 if grey else 3, size, size)
        self.dim = int(np.prod(self.shape))

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """Returns the features (T, F) float32 of frames (T, H, W, 3) uint8."""
        frames = check_frames(frames)
        found = np.empty((len(frames), *self.shape), np.float32)
        for v, view in enumerate(self.views):
            small = crop_view(frames, view, (self.size, self.size)).astype(np.float32)
            if self.grey:
                small = small @ np.array([[0.299], [0.587], [0.114]], np.float32)
            found[:, v] = small.transpose(0, 3, 1, 2) / 255
        return found.reshape(len(frames), self.dim)

    def spec(self) -> dict[str, Any]:
        """Returns the JSON description from which `build_encoder` rebuilds the encoder, given its `weights`."""
        views = [list(view) for view in self.views]
        return {"kind": "pixels", "size": self.size, "grey": self.grey, "views": views}

    def weights(self) -> Weights:
        """Returns no weights: nothing is learnt."""
        return {}


def from_spec(spec: Mapping[str, Any], weights: Weights) -> PixelsEncoder:
    """Builds the encoder of a spec."""
    return PixelsEncoder(spec["size"], spec["grey"], spec["views"])
