"""The contract of an encoder."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from robo_reward.registry import Registry
from robo_reward.reward import Weights


@runtime_checkable
class Encoder(Protocol):
    """Turns frames into features, the same numbers for the same frame whatever stands beside it.

    Attributes:
        dim: F, the length of a feature.
    """

    dim: int

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """Features (T, F) float32 of frames (T, H, W, 3) uint8; any H and W."""
        ...

    def spec(self) -> dict[str, Any]:
        """JSON with a `kind`, enough to rebuild it together with `weights`; names its digest as `"weights"`."""
        ...

    def weights(self) -> Weights:
        """What it has learnt beyond published weights; empty for one that has learnt nothing."""
        ...


encoders: Registry[Encoder] = Registry("encoder kind", "robo_reward.encoders")
"""Kind -> factory `(spec, weights) -> Encoder`; other packages add theirs by entry points."""


def build_encoder(spec: dict[str, Any], weights: Weights | None = None) -> Encoder:
    """Builds an encoder from what its `spec()` and `weights()` gave.

    Raises:
        UnknownName: no such kind; the message lists the closest.
    """
    return encoders.create(spec["kind"], spec, weights or {})


def _colour_slots(spec: dict[str, Any], weights: Weights) -> Encoder:
    from robo_reward.vision.colour_slots import slots_from_spec  # each kind is imported when it is asked for

    return slots_from_spec(spec, weights)


encoders.register("colour_slots", _colour_slots)
