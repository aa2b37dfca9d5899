"""The settings of the networks through which a policy looks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from robo_reward.errors import UnknownName, UsageError
from robo_reward.files import convert_json

NETWORKS = ("small", "nature", "resnet18", "timm")
MAX_FEATURES = 4096
SMALLEST_CROP = 32  # [pixels]


@dataclass(frozen=True)
class VisionSettings:
    """Settings of the encoder of a policy's pictures.

    Args:
        network: `small`: three convolutions and keypoints by a soft-argmax, for processors without a GPU;
            `nature`: the convolutional network that Stable-Baselines3 calls NatureCNN; `resnet18`: with group
            normalisation and a soft-argmax, as in Diffusion Policy; `timm`: pooled features of a timm model.
        features: numbers per camera and frame.
        keypoints: of `small` and `resnet18`.
        crop: side of the crop as a share of the picture's side; 1 for no crop.
        model: the timm model of `timm`.
        source: of the weights of `timm` and `resnet18`: `package`, `hub`, `random` or a file; empty: the package where
            it has the model, random for `resnet18`.
        frozen: whether the weights of `timm` stay as they are.
        rate: learning rate of the weights of `timm` as a share of the others', where they are not frozen.

    Raises:
        UnknownName: no such network.
        UsageError: a number out of range.
    """

    network: str = "small"
    features: int = 64
    keypoints: int = 32
    crop: float = 0.875
    model: str = "tf_efficientnet_lite0"
    source: str = ""
    frozen: bool = True
    rate: float = 0.1

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise UnknownName("network for pictures", self.network, NETWORKS)
        for name, value in (("features", self.features), ("keypoints", self.keypoints)):
            if not 1 <= value <= MAX_FEATURES:
                raise UsageError(f"{name} of the pictures is {value}, expected 1 to {MAX_FEATURES}")
        if not 0.5 <= self.crop <= 1:
            raise UsageError(f"crop is {self.crop}, expected a share of the picture's side from 0.5 to 1 (no crop)")
        if not 0 < self.rate <= 1:
            raise UsageError(f"rate of the timm model is {self.rate}, expected a share above 0, at most 1")

    def crop_size(self, size: int) -> int:
        """Returns the side [pixels] of the crop of a picture with sides of `size` pixels.

        Raises:
            UsageError: too little is left for a network.
        """
        found = round(size * self.crop)
        if found < SMALLEST_CROP:
            raise UsageError(
                f"pictures of {size} pixels leave crops of {found}, at least {SMALLEST_CROP} are needed; give pictures "
                "of 96 to 128 pixels"
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON value from which `from_json` rebuilds the same settings."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> VisionSettings:
        """Rebuilds settings from the value of `to_json`, or from some of them.

        Raises:
            UnknownName: a setting that does not exist.
            BadArtifact: a value of another type.
        """
        names = [one.name for one in fields(cls)]
        for name in value:
            if name not in names:
                raise UnknownName("setting of vision", str(name), names)
        return convert_json(value, VisionSettings, "vision", "Give a value of that type")
