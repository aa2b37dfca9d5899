"""From the pictures of several cameras and their history to one vector of features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.errors import UsageError, WrongShape
from robo_reward.policies.vision.convolutions import NatureNetwork, SmallNetwork
from robo_reward.policies.vision.crop import crop_centre, crop_random
from robo_reward.policies.vision.published_networks import ResNet18, TimmNetwork
from robo_reward.policies.vision.settings import VisionSettings
from robo_reward.policies.vision.soft_argmax import KeypointNetwork

SMALL_RATE = 3.0
"""Learning rate of `small` as a multiple of the others': it has few weights, and finds objects in fewer updates so."""


class PictureEncoder(nn.Module):
    """Encodes the pictures of cameras, each with a network of its own.

    In training mode a crop at a random place, the same for all pictures of a sample and camera; in evaluation mode the
    centre. The crop is scaled to [0, 1] and normalised with the mean and the standard deviation that the network
    expects.

    Args:
        frames: cameras and the side of their pictures.
        history: To, pictures per camera.
        settings: of the networks.

    Attributes:
        dim: C = To x cameras x features.

    Raises:
        UsageError: the crop is too small for the network.
        BadWeights, MissingExtra: published weights cannot be obtained.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, frames: FrameSpec, history: int, settings: VisionSettings) -> None:
        super().__init__()
        self.frames, self.history, self.settings = frames, history, settings
        self.crop = settings.crop_size(frames.size)
        networks = {camera: build_network(self.crop, settings) for camera in frames.cameras}
        self.networks = nn.ModuleDict({_key(camera): network for camera, network in networks.items()})
        self.dim = history * len(frames.cameras) * settings.features
        for name in ("mean", "std"):
            first: Any = networks[frames.cameras[0]]
            self.register_buffer(name, torch.tensor(getattr(first, name)).view(1, 3, 1, 1), persistent=False)

    def forward(self, pictures: Mapping[str, torch.Tensor], generator: torch.Generator | None = None) -> torch.Tensor:
        """Returns features (B, C): all of the oldest pictures first, camera by camera.

        Args:
            pictures: (B, To, h, w, 3) uint8 of each camera.
            generator: of the random crops; None for torch's global one.

        Raises:
            UsageError: a camera is missing.
            WrongShape: pictures of another size or history.
        """
        found = []
        for camera in self.frames.cameras:
            part = self._check(pictures, camera)
            shift = None
            if self.training:
                part, shift = crop_random(part, self.crop, generator)
            else:
                part = crop_centre(part, self.crop)
            # Channels before rows while the numbers are bytes: these convolutions are a tenth slower on channels last.
            flat = self.normalise(part.flatten(0, 1).permute(0, 3, 1, 2).contiguous())  # (B To, 3, s, s)
            network = self.networks[_key(camera)]
            if shift is not None and isinstance(network, KeypointNetwork):
                features = network(flat, shift.repeat_interleave(self.history, dim=0))
            else:
                features = network(flat)
            found.append(features.unflatten(0, (-1, self.history)))  # (B, To, F)
        return torch.stack(found, dim=2).flatten(1)  # (B, To x cameras x F)

    def normalise(self, pictures: torch.Tensor) -> torch.Tensor:
        """Returns float32 pictures with the mean and deviation that the networks expect, of pictures from 0 to 255."""
        return torch.addcmul(-self.mean / self.std, pictures.float(), 1 / (255 * self.std))

    def parameter_groups(self, rate: float) -> list[dict[str, Any]]:
        """Returns groups of trainable parameters for an optimiser: published weights learn at their smaller rate."""
        published = [
            p
            for network in self.networks.values()
            if isinstance(network, TimmNetwork)
            for p in network.body.parameters()
        ]
        own = {id(p) for p in published}
        others = [p for p in self.parameters() if id(p) not in own]
        own_rate = rate * (SMALL_RATE if self.settings.network == "small" else 1.0)
        groups = [(others, own_rate), ([p for p in published if p.requires_grad], rate * self.settings.rate)]
        return [{"params": params, "lr": lr} for params, lr in groups if params]

    def _check(self, pictures: Mapping[str, torch.Tensor], camera: str) -> torch.Tensor:
        if camera not in pictures:
            raise UsageError(
                f"the policy looks through {', '.join(self.frames.cameras)}, but no pictures of {camera!r} are given"
            )
        part = pictures[camera]
        size = self.frames.size
        if part.dtype != torch.uint8 or part.ndim != 5 or part.shape[1:] != (self.history, size, size, 3):
            expected = f"(B, {self.history}, {size}, {size}, 3) uint8"
            raise WrongShape(f"pictures of {camera!r} ({part.dtype})", tuple(part.shape), expected)
        return part


def create_unloaded(frames: FrameSpec, history: int, settings: VisionSettings) -> PictureEncoder:
    """Returns an encoder for stored weights, to be loaded by `load_state_dict`; published ones are not loaded first."""
    encoder = PictureEncoder(frames, history, replace(settings, source="random"))
    encoder.settings = settings
    return encoder


def build_network(size: int, settings: VisionSettings) -> nn.Module:
    """Returns a network from normalised pictures (B, 3, size, size) to features (B, F); it has `mean` and `std`.

    Raises:
        UsageError: the pictures are too small for the network.
        BadWeights, MissingExtra: published weights cannot be obtained.
    """
    if settings.network == "small":
        return SmallNetwork(size, settings.keypoints, settings.features)
    if settings.network == "nature":
        return NatureNetwork(size, settings.features)
    if settings.network == "resnet18":
        return ResNet18(size, settings.keypoints, settings.features, settings.source)
    return TimmNetwork(size, settings.features, settings.model, settings.source, settings.frozen)


def _key(camera: str) -> str:
    """Returns a key for a module: torch allows no dots in it."""
    return "camera_" + camera.replace(".", "__")
