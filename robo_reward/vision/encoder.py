"""The interface of an encoder, and the registry of encoder kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

import numpy as np

from robo_reward.errors import RoboRewardError
from robo_reward.registry import Registry
from robo_reward.rewards.contract import Weights


@runtime_checkable
class Encoder(Protocol):
    """Maps frames to features. The feature of a frame does not depend on the other frames of the call.

    Attributes:
        dim: F, the length of a feature.
    """

    dim: int

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """Returns the features (T, F) float32 of frames (T, H, W, 3) uint8; any H and W."""
        ...

    def spec(self) -> dict[str, Any]:
        """Returns JSON with a `kind`, enough to rebuild the encoder together with `weights`.

        It contains the digest of the weights as `"weights"`.
        """
        ...

    def weights(self) -> Weights:
        """Returns the weights learnt beyond published ones, by their digest; empty if nothing was learnt."""
        ...


class EncoderMismatch(RoboRewardError):
    """An encoder other than the one that something was made with."""

    def __init__(self, wanted: str, found: str, what: str = "encoder") -> None:
        remedy = "Features of the two are not comparable: use the same encoder, or fit again with this one"
        super().__init__(f"{what}: expected fingerprint {wanted}, found {found}. {remedy}")


def select_tensors(spec: Mapping[str, Any], weights: Weights) -> Mapping[str, np.ndarray]:
    """Returns the tensors learnt by the spec's own encoder.

    Raises:
        EncoderMismatch: the weights belong to another encoder; the message names both.
    """
    wanted = spec["weights"]
    if wanted not in weights:
        raise EncoderMismatch(wanted, ", ".join(weights) or "no weights", f"encoder {spec['kind']!r}")
    return weights[wanted]


encoders: Registry[Encoder] = Registry("encoder kind", "robo_reward.encoders")
"""Kind -> factory `(spec, weights) -> Encoder`; other packages add theirs by entry points."""


def build_encoder(spec: dict[str, Any], weights: Weights | None = None) -> Encoder:
    """Builds an encoder from the results of its `spec()` and `weights()`.

    Raises:
        UnknownName: no such kind; the message lists the closest.
    """
    return encoders.create(spec["kind"], spec, weights or {})


def _lazy_factory(module: str, function: str) -> Callable[[dict[str, Any], Weights], Encoder]:
    """Returns a factory that imports its module when it is first called."""

    def build(spec: dict[str, Any], weights: Weights) -> Encoder:
        return getattr(import_module(f"robo_reward.vision.{module}"), function)(spec, weights)

    return build


for _kind, _module in (
    ("colour_slots", "colour_slots"),
    ("headed", "heads"),
    ("keypoints", "keypoints"),
    ("pixels", "pixels"),
    ("timm", "timm_encoder"),
):
    encoders.register(_kind, _lazy_factory(_module, "from_spec"))
