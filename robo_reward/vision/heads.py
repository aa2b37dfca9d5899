"""Heads: small trained maps on top of an encoder's features. They are torch modules."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from robo_reward.errors import UnknownName, UsageError, WrongShape
from robo_reward.rewards.contract import Weights, digest_tensors
from robo_reward.vision.encoder import Encoder, build_encoder, select_tensors


class Head(nn.Module):
    """A map of features (..., T, F) of clips to (..., T, D).

    Attributes:
        kind: its name in `HEADS`.
        options: the arguments of its class, JSON.
        dim: D.
        in_dim: F.
    """

    kind: str
    options: dict[str, Any]
    dim: int
    in_dim: int

    def spec(self) -> dict[str, Any]:
        """Returns the JSON description from which `head_from_spec` rebuilds the head without its weights."""
        return {"kind": self.kind, **self.options}


class Standardise(Head):
    """Standardises each feature, (x - mean) / std; features that never change stay 0.

    Args:
        in_dim: F.
    """

    kind = "standardise"
    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, in_dim: int) -> None:
        super().__init__()
        self.in_dim = self.dim = in_dim
        self.options = {"in_dim": in_dim}
        self.register_buffer("mean", torch.zeros(in_dim))
        self.register_buffer("scale", torch.ones(in_dim))

    @classmethod
    def fit(cls, features: np.ndarray) -> Standardise:
        """Fits the mean and standard deviation of features (N, F)."""
        head = cls(features.shape[1])
        mean, std = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
        scale = np.where(std > 1e-6 * (1 + np.abs(mean)), 1 / np.maximum(std, 1e-12), 0)
        head.mean, head.scale = torch.tensor(mean).float(), torch.tensor(scale).float()
        return head

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return (features - self.mean) * self.scale


class PCA(Head):
    """Projects onto the D directions of largest variance, each divided by its deviation: P (x - mean).

    Args:
        in_dim: F.
        dim: D.
    """

    kind = "pca"
    mean: torch.Tensor
    matrix: torch.Tensor

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.in_dim, self.dim = in_dim, dim
        self.options = {"in_dim": in_dim, "dim": dim}
        self.register_buffer("mean", torch.zeros(in_dim))
        self.register_buffer("matrix", torch.zeros(in_dim, dim))

    @classmethod
    def fit(cls, features: np.ndarray, dim: int = 256, scaled: bool = True, most: int = 4096) -> PCA:
        """Fits the directions to features (N, F).

        Args:
            features: of unlabelled frames.
            dim: D, fewer if the features span fewer directions.
            scaled: divide each feature first by its deviation, so that strong channels do not drown the others, or
                by a tenth of the average deviation: features that hardly vary must not explode in other frames.
            most: largest number of rows used, evenly spaced.
        """
        rows = np.asarray(features[np.linspace(0, len(features) - 1, min(len(features), most)).astype(int)], np.float64)
        mean = rows.mean(axis=0)
        std = rows.std(axis=0)
        scale = 1 / np.maximum(std, 0.1 * std.mean() + 1e-12) if scaled else np.ones_like(std)
        rows = (rows - mean) * scale
        small = rows.shape[1] <= rows.shape[0]  # use the smaller Gram matrix: both give the same directions
        values, vectors = np.linalg.eigh(rows.T @ rows if small else rows @ rows.T)
        order = np.argsort(-values)[:dim]
        order = order[values[order] > 1e-9 * max(values.max(), 1e-12)]
        if not len(order):
            raise UsageError("pca: all features are constant, there is no direction to find")
        directions = vectors[:, order] if small else rows.T @ vectors[:, order] / np.sqrt(values[order])
        directions *= np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(len(order))])  # fixes the sign
        head = cls(features.shape[1], len(order))
        head.mean = torch.tensor(mean).float()
        head.matrix = torch.tensor(scale[:, None] * directions * np.sqrt(len(rows) / values[order])).float()
        return head

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return (features - self.mean) @ self.matrix


class Linear(Head):
    """A linear layer, W x + b.

    Args:
        in_dim: F.
        dim: D.
    """

    kind = "linear"

    def __init__(self, in_dim: int, dim: int = 32) -> None:
        super().__init__()
        self.in_dim, self.dim = in_dim, dim
        self.options = {"in_dim": in_dim, "dim": dim}
        self.map = nn.Linear(in_dim, dim)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.map(features)


class MLP(Head):
    """Linear layers with activations between them.

    Args:
        in_dim: F.
        dim: D.
        hidden: widths of the hidden layers.
        dropout: dropout probability of the hidden layers.
        bend: activation function, `relu` or `tanh`.

    Raises:
        UnknownName: no such activation function.
    """

    kind = "mlp"

    def __init__(
        self, in_dim: int, dim: int = 32, hidden: Sequence[int] = (128,), dropout: float = 0.0, bend: str = "relu"
    ) -> None:
        super().__init__()
        bends: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}
        if bend not in bends:
            raise UnknownName("activation of an MLP", bend, bends)
        self.in_dim, self.dim = in_dim, dim
        self.options = {"in_dim": in_dim, "dim": dim, "hidden": list(hidden), "dropout": dropout, "bend": bend}
        layers: list[nn.Module] = []
        for wide, narrow in zip([in_dim, *hidden], hidden, strict=False):
            layers += [nn.Linear(wide, narrow), bends[bend](), nn.Dropout(dropout)]
        self.map = nn.Sequential(*layers, nn.Linear([in_dim, *hidden][-1], dim))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.map(features)


class Temporal(Head):
    """Convolutions over time: a step sees `reach` steps before it and, unless causal, as many after it.

    With this head a frame's feature depends on its clip: encode whole clips, one per call.

    Args:
        in_dim: F.
        dim: D.
        hidden: number of channels between the two convolutions.
        reach: number of steps; clips are padded with their first and last feature.
        causal: whether later steps are hidden.
    """

    kind = "temporal"

    def __init__(self, in_dim: int, dim: int = 32, hidden: int = 64, reach: int = 2, causal: bool = False) -> None:
        super().__init__()
        self.in_dim, self.dim = in_dim, dim
        self.options = {"in_dim": in_dim, "dim": dim, "hidden": hidden, "reach": reach, "causal": causal}
        self.pad = (reach, 0) if causal else (reach, reach)
        self.first = nn.Conv1d(in_dim, hidden, 1 + sum(self.pad))
        self.last = nn.Conv1d(hidden, dim, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        if not features.shape[-2]:
            return features.new_empty((*features.shape[:-1], self.dim))
        clips = features.reshape(-1, *features.shape[-2:]).transpose(1, 2)  # (N, F, T)
        found = self.last(torch.relu(self.first(nn.functional.pad(clips, self.pad, mode="replicate"))))
        return found.transpose(1, 2).reshape(*features.shape[:-1], self.dim)


class Keypoints(Head):
    """Spatial soft-argmax over trained 1 x 1 filters (Finn et al. 2016, eq. 1): the place where each filter fires.

        a_k = w_k · (map - mean) / std,   p_k(i, j) = exp a_k(i, j) / Σ exp a_k,
        feature = Σ p_k (x, y) in [-1, 1]²

    mean and std are those of the channels, see `calibrate`.

    Args:
        shape: (V, C, h, w) of the maps, as the encoder's `shape` says.
        points: K per view; D = 2 V K.
    """

    kind = "keypoints"
    places: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, shape: Sequence[int], points: int = 16) -> None:
        super().__init__()
        if len(shape) != 4:
            raise UsageError(f"keypoints need maps (V, C, h, w), not features {tuple(shape)}: give layer='stageN'")
        self.shape = tuple(shape)
        views, channels, height, width = self.shape
        self.in_dim, self.dim = int(np.prod(self.shape)), 2 * views * points
        self.options = {"shape": list(shape), "points": points}
        self.filters = nn.Conv2d(channels, points, 1)
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("std", torch.ones(channels, 1, 1))
        self.register_buffer("places", cell_centres(height, width), persistent=False)

    def calibrate(self, features: np.ndarray) -> None:
        """Sets the channels' mean and standard deviation from features (N, F)."""
        maps = torch.from_numpy(features).reshape(-1, *self.shape[1:]).float()
        std, mean = torch.std_mean(maps, dim=(0, 2, 3))
        self.mean, self.std = mean[:, None, None], std.clamp_min(1e-6)[:, None, None]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        _, channels, height, width = self.shape
        maps = (features.reshape(-1, channels, height, width) - self.mean) / self.std
        return soft_argmax(self.filters(maps), self.places).reshape(*features.shape[:-1], self.dim)


class Chain(Head):
    """A sequence of heads.

    Args:
        heads: heads, or their specs, in the order of application.
    """

    kind = "chain"

    def __init__(self, heads: Sequence[Head | Mapping[str, Any]]) -> None:
        super().__init__()
        if not heads:
            raise UsageError("a chain of heads needs at least one")
        parts = [head if isinstance(head, Head) else head_from_spec(head) for head in heads]
        for before, after in itertools.pairwise(parts):
            if before.dim != after.in_dim:
                raise WrongShape(f"features for the head {after.kind!r}", (before.dim,), f"({after.in_dim},)")
        self.in_dim, self.dim = parts[0].in_dim, parts[-1].dim
        self.options = {"heads": [head.spec() for head in parts]}
        self.parts = nn.Sequential(*parts)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.parts(features)


def cell_centres(height: int, width: int) -> torch.Tensor:
    """Returns x and y in [-1, 1] of the cells of a map, (h w, 2)."""
    y, x = torch.meshgrid(
        (torch.arange(height) + 0.5) * 2 / height - 1, (torch.arange(width) + 0.5) * 2 / width - 1, indexing="ij"
    )
    return torch.stack([x.ravel(), y.ravel()], dim=1)


def soft_argmax(heat: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Returns the average place (n, K, 2) under the softmax of each map of heat (n, K, h, w).

    `places` (h w, 2) come from `cell_centres`.
    """
    return heat.flatten(2).softmax(dim=2) @ places


HEADS: dict[str, type[Head]] = {
    head.kind: head for head in (Standardise, PCA, Linear, MLP, Temporal, Keypoints, Chain)
}  # fmt: skip


MAX_NUMBERS = 1 << 27
"""Maximum numbers in a head that is built from a spec (512 MiB)."""


def make_head(kind: str, /, *, seed: int | None = None, **options: Any) -> Head:
    """Returns a head by its kind.

    Args:
        kind: a name in `HEADS`.
        seed: of its initial weights; None uses torch's global generator.
        options: arguments of its class.

    Raises:
        UnknownName: no such head.
    """
    if kind not in HEADS:
        raise UnknownName("head", kind, HEADS)
    if seed is None:
        return HEADS[kind](**options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return HEADS[kind](**options)


def head_from_spec(spec: Mapping[str, Any]) -> Head:
    """Returns a head rebuilt from its `spec()`; its weights are still to be loaded.

    Raises:
        UnknownName: no such head.
        UsageError: the head would be too large.
    """
    options = dict(spec)
    kind = options.pop("kind")
    with torch.device("meta"):  # shapes only, no memory: the spec may be untrusted
        size = sum(tensor.numel() for tensor in make_head(kind, **options).state_dict().values())
    if size > MAX_NUMBERS:
        raise UsageError(f"head {kind!r} has {size:,} numbers, at most {MAX_NUMBERS:,} are supported")
    return make_head(kind, seed=0, **options)


class HeadedEncoder:
    """An encoder followed by a head.

    Args:
        encoder: encoder from frames to features (T, F).
        head: head from features to (T, D); it is set to evaluation mode.

    Attributes:
        dim: D.

    Raises:
        WrongShape: the head is for features of another length.
    """

    def __init__(self, encoder: Encoder, head: Head) -> None:
        if head.in_dim != encoder.dim:
            raise WrongShape(f"features for the head {head.kind!r}", (encoder.dim,), f"({head.in_dim},)")
        self.encoder, self.head, self.dim = encoder, head.eval(), head.dim

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """Returns the features (T, F) float32 of frames (T, H, W, 3) uint8."""
        return self.project(self.encoder.encode(frames))

    def project(self, features: np.ndarray) -> np.ndarray:
        """Returns the head's output (T, D) float32 for features (T, F) of the encoder, such as cached ones."""
        if features.ndim != 2 or features.shape[1] != self.head.in_dim:
            raise WrongShape("features", features.shape, f"(T, {self.head.in_dim})")
        with torch.inference_mode():
            return self.head(torch.from_numpy(np.require(features, np.float32, ["C", "W"]))).numpy()

    def spec(self) -> dict[str, Any]:
        """Returns the JSON description from which `build_encoder` rebuilds the encoder, given its `weights`."""
        spec = {"kind": "headed", "encoder": self.encoder.spec(), "head": self.head.spec()}
        return {**spec, "weights": digest_tensors(self._tensors())}

    def weights(self) -> Weights:
        """Returns the learnt weights of the encoder and of the head, by their digests."""
        return {**self.encoder.weights(), digest_tensors(self._tensors()): self._tensors()}

    def _tensors(self) -> dict[str, np.ndarray]:
        return {key: tensor.detach().cpu().numpy() for key, tensor in self.head.state_dict().items()}


def from_spec(spec: Mapping[str, Any], weights: Weights) -> HeadedEncoder:
    """Builds the encoder of a spec."""
    head = head_from_spec(spec["head"])
    tensors = select_tensors(spec, weights)
    head.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in tensors.items()})
    return HeadedEncoder(build_encoder(spec["encoder"], weights), head)
