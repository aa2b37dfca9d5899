"""A keypoint autoencoder: points on what moves, learnt by reconstructing frames from the points alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from robo_reward.data.episode import Episode
from robo_reward.errors import WrongShape
from robo_reward.rewards.contract import Weights, digest_tensors
from robo_reward.vision.encoder import select_tensors
from robo_reward.vision.heads import cell_centres, soft_argmax
from robo_reward.vision.views import WHOLE, check_frames, check_views, collect_clips, crop_view, sample_frames

Progress = Callable[[int, int, float], None]
"""Called with the step, the number of steps and the loss."""


class KeypointEncoder:
    """An encoder to K points per view on what moves, learnt without labels.

    After the deep spatial autoencoder (Finn et al. 2016) with the reconstruction of Jakab et al. 2018: a
    convolutional network makes K maps, the soft-argmax of each is a point p_k, the sigmoid of its largest value is
    the presence of the point, m_k. From K Gaussian spots m_k exp(-|u - p_k|² / 2σ_k²) alone a second network
    reconstructs what differs from the median frame. What is small and colourful counts as much as what is large
    and grey: differences are measured in ((r - g)/s, (r + g - 2b)/2s, brightness), s = r + g + b + ε, and weighted
    up where the frame differs.

    Use `fit`; the constructor takes its results.

    Args:
        network: the network from frames to points.
        views: boxes on the frame.

    Attributes:
        dim: 3 V K: x, y in [-1, 1] and presence in [0, 1] of each point.
    """

    def __init__(self, network: PointNetwork, views: Iterable[Sequence[float]] = WHOLE) -> None:
        self.network, self.views = network.eval().requires_grad_(False), check_views(views)
        self.dim = 3 * len(self.views) * network.points

    @classmethod
    def fit(
        cls,
        source: Sequence[Episode] | Sequence[np.ndarray] | np.ndarray,
        points: int = 12,
        views: Iterable[Sequence[float]] = WHOLE,
        size: int = 112,
        steps: int = 800,
        frames: int = 1500,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> KeypointEncoder:
        """Fits the networks to unlabelled clips.

        Args:
            source: unlabelled clips: episodes with frames, or arrays (T, H, W, 3).
            points: K per view.
            views: boxes on the frame; they share the network.
            size: side of the network's input [pixels].
            steps: of the training, 16 frames each.
            frames: number of frames to learn from.
            seed: of all random draws; the same seed gives the same network.
            progress: called after every step.
        """
        boxes, rng = check_views(views), np.random.default_rng(seed)
        seen = sample_frames(collect_clips(source), frames, rng)
        pictures = torch.stack([torch.from_numpy(np.array(crop_view(seen, box, (size, size)))) for box in boxes])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network, canvas = PointNetwork(len(boxes), size, points), KeypointDecoder(points, size // 2)
        network.median = pictures.permute(0, 1, 4, 2, 3).float().median(dim=1).values / 255
        _train_networks(network, canvas, pictures, steps, rng, progress)
        return cls(network, boxes)

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """Returns the features (T, F) float32 of frames (T, H, W, 3) uint8."""
        frames = check_frames(frames)
        size = self.network.median.shape[-1]
        found = np.empty((len(frames), len(self.views), 3 * self.network.points), np.float32)
        with torch.inference_mode():
            for v, view in enumerate(self.views):
                pictures = torch.from_numpy(np.require(crop_view(frames, view, (size, size)), requirements=["C", "W"]))
                for start in range(0, len(pictures), 32):
                    points, presence = self.network(pictures[start : start + 32], v)
                    part = torch.cat([points, presence[..., None]], dim=2)
                    found[start : start + 32, v] = part.flatten(1).numpy()
        return found.reshape(len(frames), self.dim)

    def spec(self) -> dict[str, Any]:
        """Returns the JSON description from which `build_encoder` rebuilds the encoder, given its `weights`."""
        own = {"points": self.network.points, "size": int(self.network.median.shape[-1])}
        views = [list(view) for view in self.views]
        return {"kind": "keypoints", **own, "views": views, "weights": digest_tensors(self._tensors())}

    def weights(self) -> Weights:
        """Returns the learnt weights by their digest."""
        return {digest_tensors(self._tensors()): self._tensors()}

    def _tensors(self) -> dict[str, np.ndarray]:
        return {key: tensor.numpy() for key, tensor in self.network.state_dict().items()}


class PointNetwork(nn.Module):
    """A network from pictures (n, s, s, 3) uint8 of a view to points (n, K, 2) and presence (n, K).

    Args:
        views: V, each with its own median frame.
        size: s.
        points: K.
    """

    median: torch.Tensor
    places: torch.Tensor

    def __init__(self, views: int, size: int, points: int) -> None:
        super().__init__()
        self.points = points
        self.maps = nn.Sequential(
            nn.Conv2d(6, 16, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
            nn.Conv2d(32, points, 3, padding=1),
        ).to(memory_format=torch.channels_last)  # fmt: skip
        self.register_buffer("median", torch.zeros(views, 3, size, size))
        self.register_buffer("places", cell_centres((size + 1) // 2, (size + 1) // 2), persistent=False)

    def forward(self, pictures: torch.Tensor, view: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns points (n, K, 2) in [-1, 1] and presence (n, K) for pictures (n, s, s, 3) uint8 of a view."""
        frames = pictures.permute(0, 3, 1, 2).float() / 255
        difference = _to_contrast(frames) - _to_contrast(self.median[view][None])
        heat = self.maps(torch.cat([frames - 0.5, 4 * difference], dim=1))
        return soft_argmax(heat, self.places), (heat.amax(dim=(2, 3)) - 3).sigmoid()


class KeypointDecoder(nn.Module):
    """Reconstructs the difference from the median from K spots, (n, 3, s, s) in the colours of `_to_contrast`.

    Args:
        points: K.
        size: s.
    """

    places: torch.Tensor

    def __init__(self, points: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.width = nn.Parameter(torch.full((points,), 0.08).log())
        self.draw = nn.Sequential(nn.Conv2d(points, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 3, 3, padding=1))
        self.register_buffer("places", cell_centres(size, size), persistent=False)

    def forward(self, points: torch.Tensor, presence: torch.Tensor) -> torch.Tensor:
        """Returns the reconstruction (n, 3, s, s) from points (n, K, 2) and presence (n, K)."""
        square = (points[:, :, None] - self.places).square().sum(dim=3)  # (n, K, s²)
        spots = presence[..., None] * torch.exp(-square / (2 * self.width.exp().square()[:, None]))
        return self.draw(spots.unflatten(2, (self.size, self.size)))


def _to_contrast(frames: torch.Tensor) -> torch.Tensor:
    """Converts frames (n, 3, h, w) in [0, 1] to ((r - g)/s, (r + g - 2b)/2s, brightness / 3)."""
    red, green, blue = frames.unbind(dim=1)
    total = red + green + blue + 0.3
    return torch.stack([(red - green) / total, (red + green - 2 * blue) / (2 * total), 0.1 * (total - 0.3)], dim=1)


def _train_networks(
    network: PointNetwork,
    canvas: KeypointDecoder,
    pictures: torch.Tensor,
    steps: int,
    rng: np.random.Generator,
    progress: Progress | None,
) -> None:
    """Fits both networks to pictures (V, N, s, s, 3)."""
    weights = [*network.parameters(), *canvas.parameters()]
    optimiser = torch.optim.Adam(weights, lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    still = _to_contrast(functional.interpolate(network.median, size=canvas.size, mode="area"))
    for step in range(steps):
        view = step % len(pictures)
        batch = pictures[view, torch.from_numpy(rng.integers(pictures.shape[1], size=16))]
        small = functional.interpolate(batch.permute(0, 3, 1, 2).float() / 255, size=canvas.size, mode="area")
        wanted = _to_contrast(small) - still[view]
        weight = 0.02 + wanted.abs().sum(dim=1, keepdim=True)
        loss = (weight * (canvas(*network(batch, view)) - wanted).square()).sum() / weight.sum()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        if progress:
            progress(step + 1, steps, float(loss.detach()))


def from_spec(spec: Mapping[str, Any], weights: Weights) -> KeypointEncoder:
    """Builds the encoder of a spec."""
    learnt = select_tensors(spec, weights)
    shape = (len(spec["views"]), 3, spec["size"], spec["size"])
    if learnt["median"].shape != shape:  # before that much memory is allocated
        raise WrongShape("median frames of the keypoints", learnt["median"].shape, f"{shape}")
    network = PointNetwork(len(spec["views"]), spec["size"], spec["points"])
    network.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in learnt.items()})
    return KeypointEncoder(network, spec["views"])
