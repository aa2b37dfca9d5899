"""Networks of timm for pictures: ResNet-18 with group normalisation, and any model as it is published."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from robo_reward.policies.vision.soft_argmax import KeypointNetwork
from robo_reward.vision.published import check_source, create_model, default_source, freeze_model, load_weights

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CHANNELS_PER_GROUP = 16
STRIDE = 32  # of ResNet-18


class ResNet18(KeypointNetwork):
    """ResNet-18 with group normalisation and a spatial soft-argmax, as in Diffusion Policy (Chi et al., 2023).

    Batch normalisation is replaced: its running statistics do not follow an exponential moving average of the weights.

    Args:
        size: side of the pictures [pixels].
        keypoints: K.
        features: F.
        source: of the weights before the replacement, see `robo_reward.vision.published.load_weights`.
    """

    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def __init__(self, size: int, keypoints: int, features: int, source: str) -> None:
        model: Any = create_model("resnet18")
        if source not in ("", "random"):
            load_weights(model, "resnet18", check_source(source))
        model.reset_classifier(0, "")
        body = nn.Sequential(replace_batch_norm(model), nn.Conv2d(model.num_features, keypoints, 1))
        super().__init__(body, size, STRIDE, keypoints, features)


class TimmNetwork(nn.Module):
    """Pooled features of a timm model and a linear layer; the model is frozen, or trained at a smaller rate.

    The model is always in evaluation mode: its batch normalisation keeps the statistics of its own training.

    Args:
        size: side of the pictures [pixels].
        features: F.
        model: a name that timm knows.
        source: of its weights; empty: the package where it has the model, else the hub.
        frozen: whether its weights stay as they are.

    Raises:
        UnknownName: no such model.
        BadWeights, MissingExtra: the weights cannot be obtained.
    """

    def __init__(self, size: int, features: int, model: str, source: str, frozen: bool) -> None:
        super().__init__()
        body: Any = create_model(model)
        load_weights(body, model, check_source(source or default_source(model)))
        body.reset_classifier(0)
        if body.pretrained_cfg.get("fixed_input_size"):
            body.set_input_size(img_size=(size, size))
        self.body = freeze_model(body) if frozen else body.eval()
        self.mean, self.std = tuple(body.pretrained_cfg["mean"]), tuple(body.pretrained_cfg["std"])
        self.frozen = frozen
        with torch.no_grad():
            width = body(torch.zeros(1, 3, size, size)).shape[1]
        self.project = nn.Linear(width, features)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Returns features (B, F) of normalised pictures (B, 3, size, size)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            pooled = self.body(pictures)
        return self.project(pooled)

    def train(self, mode: bool = True) -> TimmNetwork:
        """Sets the mode of the linear layer; the model itself stays in evaluation mode."""
        super().train(mode)
        self.body.eval()
        return self


def replace_batch_norm(module: nn.Module) -> nn.Module:
    """Replaces every batch normalisation in a module by a group normalisation over 16 channels each; returns it."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            groups = max(1, child.num_features // CHANNELS_PER_GROUP)
            setattr(module, name, nn.GroupNorm(groups, child.num_features))
        else:
            replace_batch_norm(child)
    return module
