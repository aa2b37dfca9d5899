"""The contract of an encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

import numpy as np

from robo_reward.errors import RoboRewardError
from robo_reward.registry import Registry
from robo_reward.reward import Weights, fingerprint


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


class WrongEncoder(RoboRewardError):
    """An encoder that is not the one that something was made with."""

    def __init__(self, wanted: str, found: str, what: str = "encoder") -> None:
        remedy = "Features of one mean nothing to the other: use the same encoder, or fit again with this one"
        super().__init__(f"{what}: fingerprint {wanted} is wanted, this one has {found}. {remedy}")


def check_encoder(encoder: Encoder, wanted: str) -> None:
    """Whether features of this encoder are what something was made with.

    Args:
        encoder: at hand.
        wanted: `robo_reward.reward.fingerprint(spec)` of the one that was used.

    Raises:
        WrongEncoder: it is another; the message names both.
    """
    found = fingerprint(encoder.spec())
    if found != wanted:
        raise WrongEncoder(wanted, found)


def tensors_of(spec: Mapping[str, Any], weights: Weights) -> Mapping[str, np.ndarray]:
    """What the spec's own encoder has learnt.

    Raises:
        WrongEncoder: the weights are of another encoder; the message names both.
    """
    wanted = spec["weights"]
    if wanted not in weights:
        raise WrongEncoder(wanted, ", ".join(weights) or "no weights", f"encoder {spec['kind']!r}")
    return weights[wanted]


encoders: Registry[Encoder] = Registry("encoder kind", "robo_reward.encoders")
"""Kind -> factory `(spec, weights) -> Encoder`; other packages add theirs by entry points."""


def build_encoder(spec: dict[str, Any], weights: Weights | None = None) -> Encoder:
    """Builds an encoder from what its `spec()` and `weights()` gave.

    Raises:
        UnknownName: no such kind; the message lists the closest.
    """
    return encoders.create(spec["kind"], spec, weights or {})


def _lazily(module: str, function: str) -> Callable[[dict[str, Any], Weights], Encoder]:
    """A factory whose module is imported when its kind is asked for."""

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
    encoders.register(_kind, _lazily(_module, "from_spec"))
