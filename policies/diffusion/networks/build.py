"""Builds the network that the settings name."""

from __future__ import annotations

from torch import nn

from robo_reward.policies.diffusion.networks.mlp import ResidualMLP
from robo_reward.policies.diffusion.networks.time import FLOW_SCALE
from robo_reward.policies.diffusion.networks.transformer import ChunkTransformer
from robo_reward.policies.diffusion.networks.unet import UNet
from robo_reward.policies.diffusion.settings import DiffusionSettings

SIZES = {
    ("mlp", "cpu"): {"width": 512, "blocks": 3},
    ("mlp", "paper"): {"width": 1024, "blocks": 6},
    ("unet", "cpu"): {"widths": (32, 64), "time_width": 64},
    ("unet", "paper"): {"widths": (256, 512, 1024), "time_width": 256},
    ("transformer", "cpu"): {"width": 128, "layers": 4, "heads": 4},
    ("transformer", "paper"): {"width": 256, "layers": 8, "heads": 4, "dropout": 0.3},
}
"""Arguments of each network; the paper's sizes are those of Diffusion Policy's low-dimensional tasks (Chi et al.
2023), whose perceptron is ours."""


def build_network(settings: DiffusionSettings, actions: int, condition: int) -> nn.Module:
    """Returns a network for chunks (B, Tp, A) and conditions (B, C), with random weights.

    Args:
        settings: network, size and lengths.
        actions: A.
        condition: C.
    """
    classes = {"mlp": ResidualMLP, "unet": UNet, "transformer": ChunkTransformer}
    extra = {"history": settings.history} if settings.network == "transformer" else {}
    scale = FLOW_SCALE if settings.objective == "flow" else 1.0
    arguments = {**SIZES[settings.network, settings.size], **extra, "time_scale": scale}
    return classes[settings.network](settings.horizon, actions, condition, **arguments)
