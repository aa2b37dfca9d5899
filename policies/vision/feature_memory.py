"""The features of all pictures, computed once when the networks for pictures have learnt."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from robo_reward.memory import require_memory
from robo_reward.policies.vision.picture_encoder import PictureEncoder

CROPS = 4
"""Crops of each window that are encoded: their features differ by as much as those of pictures never seen before do."""
LARGEST_COUNT = 60_000
"""Most crops that are encoded in all, where each window has more than one: many windows have fewer crops each."""
CHUNK = 128


class GatheredPictures(Protocol):
    """The pictures of M windows, gathered by index."""

    def __len__(self) -> int: ...

    def gather(self, chosen: Tensor) -> dict[str, Tensor]:
        """Returns the pictures (B, To, h, w, 3) uint8 of each camera for windows (B,)."""
        ...


class FeatureMemory:
    """Features of every window, of several random crops.

    Args:
        features: (K, M, C) of K crops.
    """

    def __init__(self, features: Tensor) -> None:
        self.features = features

    @classmethod
    def compute(cls, encoder: PictureEncoder, pictures: GatheredPictures, seed: int) -> FeatureMemory:
        """Returns the features that an encoder finds; they depend on its weights, the pictures and the seed alone.

        Args:
            encoder: of the pictures; its weights stay as they are.
            pictures: of M windows.
            seed: of the crops.
        """
        count = len(pictures)
        crops = count_crops(count)
        generator = torch.Generator().manual_seed(seed)
        found = torch.empty(crops, count, encoder.dim)
        was_training = encoder.training
        encoder.train()  # random crops
        with torch.no_grad():
            for crop in range(crops):
                for rows in torch.arange(count).split(CHUNK):
                    found[crop, rows] = encoder(pictures.gather(rows), generator)
        encoder.train(was_training)
        return cls(found)

    def draw(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Returns features (B, C) of windows (B,), each of one of its crops."""
        return self.features[torch.randint(len(self.features), rows.shape, generator=generator), rows]


def count_crops(windows: int) -> int:
    """Returns the number of crops that are encoded of each window."""
    return min(CROPS, max(1, LARGEST_COUNT // max(1, windows)))


def check_feature_memory(encoder: PictureEncoder, windows: int) -> None:
    """Raises UsageError if the features of all windows do not fit into memory."""
    needed = 4 * count_crops(windows) * windows * encoder.dim
    require_memory(needed, "the features of all pictures", "Give smaller vision.features=, or picture_share=1")
