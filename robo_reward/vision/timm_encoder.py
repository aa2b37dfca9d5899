"""Any timm model as a frozen encoder: pooled features or spatial maps, of one or several views."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from robo_reward.errors import UnknownName, UsageError
from robo_reward.rewards.contract import Weights, digest_tensors
from robo_reward.vision.encoder import EncoderMismatch, select_tensors
from robo_reward.vision.published import (
    check_source,
    create_model,
    default_source,
    freeze_model,
    load_weights,
    state_digest,
)
from robo_reward.vision.runtime import RUNTIMES, Run, compile_network
from robo_reward.vision.views import WHOLE, check_frames, check_views, crop_view


class TimmEncoder:
    """An encoder with the features of a frozen timm model.

    Each view is cut out, resized to `size`, scaled to [0, 1] and normalised with the mean and standard deviation
    that the model was trained with (timm's `pretrained_cfg`; for `tf_efficientnet_lite0` 0.5 and 0.5). Features of
    several views are concatenated.

        layer = "pooled"     the model's pooled features (C,)
        layer = "stage2"     feature map 2 of `features_only`, (C, h, w) flattened; with `grid` averaged to g x g

    Args:
        model: a name that timm knows.
        source: of the weights: `package`, `hub`, `random` or a file; by default the package where it has the
            model.
        layer: `pooled` or `stageN`.
        grid: side to which a map is averaged, or 0 to keep its size.
        size: side of the input [pixels].
        views: boxes on the frame, see `robo_reward.vision.views`.
        runtime: `torch`, `openvino` (extra `fast`; equal to 1e-5 of the largest number), or `auto`: OpenVINO if
            installed.
        batch: frames per pass; 8 to 16 at 112 pixels fit into the CPU cache, 32 take a tenth longer.
        threads: of the CPU; None for torch's setting.
        seed: of `random` weights.

    Attributes:
        dim: F = V C, or V C h w.
        shape: (V, C, h, w) of a map, (V, C) of pooled features.

    Raises:
        UnknownName: no such model, layer or runtime.
        BadWeights, MissingExtra: the weights cannot be obtained.
    """

    def __init__(
        self,
        model: str = "tf_efficientnet_lite0",
        source: str | None = None,
        layer: str = "pooled",
        grid: int = 0,
        size: int = 112,
        views: Iterable[Sequence[float]] = WHOLE,
        runtime: str = "auto",
        batch: int = 16,
        threads: int | None = None,
        seed: int = 0,
    ) -> None:
        if runtime not in RUNTIMES:
            raise UnknownName("runtime", runtime, RUNTIMES)
        if size < 16 or batch < 1 or grid < 0:
            raise UsageError(f"encoder: size={size} must be >= 16, batch={batch} >= 1, grid={grid} >= 0")
        self.model, self.source = model, check_source(source or default_source(model))
        self.layer, self.grid, self.size, self.seed = layer, grid, size, seed
        self.views, self.runtime, self.batch, self.threads = check_views(views), runtime, batch, threads
        self.network = _Network(model, self.source, layer, grid, size, seed)
        with torch.inference_mode():
            one = self.network(torch.zeros(1, 3, size, size))
        self.shape = (len(self.views), *one.shape[1:])
        self.dim = int(np.prod(self.shape))
        self._digest = state_digest(self.network.body)
        self._run: Run | None = None

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """Returns the features (T, F) float32 of frames (T, H, W, 3) uint8."""
        frames = check_frames(frames)
        found = np.empty((len(frames), *self.shape), np.float32)
        with _limit_threads(self.threads), torch.inference_mode():
            if self._run is None:
                self._run = compile_network(self.network, self.runtime, self.size, torch.get_num_threads())
            for v, view in enumerate(self.views):
                pictures = torch.from_numpy(
                    np.require(crop_view(frames, view, (self.size, self.size)), requirements=["C", "W"])
                )
                for start in range(0, len(pictures), self.batch):
                    part = pictures[start : start + self.batch].permute(0, 3, 1, 2)  # channels_last without a copy
                    found[start : start + self.batch, v] = self._run(self.network.normalise_pictures(part))
        return found.reshape(len(frames), self.dim)

    def spec(self) -> dict[str, Any]:
        """Returns the JSON description from which `build_encoder` rebuilds the encoder, given its `weights`."""
        own = {"model": self.model, "layer": self.layer, "grid": self.grid, "size": self.size}
        spec = {"kind": "timm", **own, "views": [list(view) for view in self.views]}
        if self._is_published():
            return {**spec, "source": self.source, "seed": self.seed, "published": self._digest}
        return {**spec, "weights": digest_tensors(self._tensors())}

    def weights(self) -> Weights:
        """Returns the whole network if its weights came from a file, which may be missing elsewhere.

        For published weights the result is empty.
        """
        return {} if self._is_published() else {digest_tensors(self._tensors()): self._tensors()}

    def _is_published(self) -> bool:
        return self.source in ("package", "hub", "random")

    def _tensors(self) -> dict[str, np.ndarray]:
        return {key: tensor.numpy() for key, tensor in self.network.body.state_dict().items()}


class _Network(nn.Module):
    """A network from normalised pictures (n, 3, s, s) to features (n, C) or (n, C, h, w)."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, model: str, source: str, layer: str, grid: int, size: int, seed: int) -> None:
        super().__init__()
        body: Any = create_model(model)
        load_weights(body, model, source, seed)
        body.reset_classifier(0)
        if body.pretrained_cfg.get("fixed_input_size"):
            _set_input_size(body, model, size)
        self.body = freeze_model(body).to(memory_format=torch.channels_last)
        self.stage = _stage_index(body, model, layer)
        self.shrink = nn.AdaptiveAvgPool2d(grid) if grid else nn.Identity()
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(body.pretrained_cfg[name]).view(1, 3, 1, 1), persistent=False)

    def normalise_pictures(self, pictures: torch.Tensor) -> torch.Tensor:
        """Normalises pictures (n, 3, s, s) uint8 with the mean and standard deviation of the model."""
        return torch.addcmul(-self.mean / self.std, pictures.float(), 1 / (255 * self.std))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        body: Any = self.body
        if self.stage is None:
            return body(pictures)
        maps = body.forward_intermediates(pictures, indices=[self.stage], stop_early=True, intermediates_only=True)
        return self.shrink(maps[0])


def _stage_index(body: Any, model: str, layer: str) -> int | None:
    """Returns the index of a feature map; None for pooled features."""
    if layer == "pooled":
        return None
    stages = [f"stage{i}" for i in range(len(body.feature_info))] if hasattr(body, "forward_intermediates") else []
    if layer not in stages:
        raise UnknownName(f"layer of {model!r}", layer, ["pooled", *stages])
    return stages.index(layer)


def _set_input_size(body: Any, model: str, size: int) -> None:
    """Adapts a model with a fixed input size (a ViT) to another size: position embeddings are resampled."""
    try:
        body.set_input_size(img_size=(size, size))
    except (AttributeError, AssertionError, TypeError, ValueError) as error:
        wanted = body.pretrained_cfg["input_size"][1]
        raise UsageError(f"{model!r} takes pictures of {wanted} pixels, not {size}: {error}") from error


@contextmanager
def _limit_threads(count: int | None) -> Iterator[None]:
    """Sets torch's number of threads within the context."""
    before = torch.get_num_threads()
    if count is not None and count != before:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def from_spec(spec: Mapping[str, Any], weights: Weights) -> TimmEncoder:
    """Builds the encoder of a spec.

    Raises:
        EncoderMismatch: the published weights found here are not those of the spec.
    """
    own = {key: spec[key] for key in ("model", "layer", "grid", "size", "views")}
    if "weights" not in spec:
        encoder = TimmEncoder(**own, source=spec["source"], seed=spec["seed"])
        if encoder._digest != spec["published"]:
            raise EncoderMismatch(spec["published"], encoder._digest, f"weights of {spec['model']!r}")
        return encoder
    encoder = TimmEncoder(**own, source="random")
    tensors = {key: torch.from_numpy(np.array(value)) for key, value in select_tensors(spec, weights).items()}
    encoder.network.body.load_state_dict(tensors)
    encoder.source, encoder._digest = "learnt", state_digest(encoder.network.body)
    return encoder
