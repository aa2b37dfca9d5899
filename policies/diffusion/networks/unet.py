"""A one-dimensional U-Net over the chunk's steps, as in Diffusion Policy (Chi et al. 2023), with SiLU for Mish."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from robo_reward.policies.diffusion.networks.time import TimeEmbedding


class FilmConvolution(nn.Module):
    """Two convolutions with GroupNorm; time and condition scale and shift what is between them (FiLM)."""

    def __init__(self, inputs: int, outputs: int, context: int, kernel: int = 5, groups: int = 8) -> None:
        super().__init__()
        self.before = _make_block(inputs, outputs, kernel, groups)
        self.after = _make_block(outputs, outputs, kernel, groups)
        self.film = nn.Sequential(nn.SiLU(), nn.Linear(context, 2 * outputs))
        self.skip = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Returns (B, outputs, T) for (B, inputs, T) and a context (B, context)."""
        scale, shift = self.film(context)[..., None].chunk(2, 1)  # (B, outputs, 1)
        return self.after((1 + scale) * self.before(x) + shift) + self.skip(x)


def _make_block(inputs: int, outputs: int, kernel: int, groups: int) -> nn.Sequential:
    convolution = nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2)
    return nn.Sequential(convolution, nn.GroupNorm(groups, outputs), nn.SiLU())


class UNet(nn.Module):
    """A U-Net over time; every level but the last halves the number of steps.

    Args:
        horizon: Tp, a multiple of 2^(levels - 1).
        actions: A.
        condition: C.
        widths: channels of each level.
        time_width: of the time's embedding.
        time_scale: multiplies the time before its embedding.
    """

    def __init__(
        self,
        horizon: int,
        actions: int,
        condition: int,
        widths: tuple[int, ...] = (32, 64),
        time_width: int = 64,
        time_scale: float = 1.0,
    ) -> None:
        super().__init__()
        context = time_width + condition
        self.time = TimeEmbedding(time_width, time_scale)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        for index, (inputs, outputs) in enumerate(pairwise((actions, *widths))):
            pair = (FilmConvolution(inputs, outputs, context), FilmConvolution(outputs, outputs, context))
            self.down.append(nn.ModuleList(pair))
            is_last = index == len(widths) - 1
            self.shrink.append(nn.Identity() if is_last else nn.Conv1d(outputs, outputs, 3, 2, 1))
        self.middle = nn.ModuleList(FilmConvolution(widths[-1], widths[-1], context) for _ in range(2))
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for outputs, inputs in reversed(list(pairwise(widths))):
            pair = (FilmConvolution(2 * inputs, outputs, context), FilmConvolution(outputs, outputs, context))
            self.up.append(nn.ModuleList(pair))
            self.grow.append(nn.ConvTranspose1d(outputs, outputs, 4, 2, 1))
        self.last = nn.Sequential(_make_block(widths[0], widths[0], 5, 8), nn.Conv1d(widths[0], actions, 1))

    def forward(self, sample: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """Returns (B, Tp, A) for a chunk (B, Tp, A), times (B,) and a condition (B, C)."""
        context = torch.cat((self.time(time), condition), -1)
        x = sample.transpose(1, 2)  # (B, A, Tp)
        kept: list[Tensor] = []
        for pair, shrink in zip(self.down, self.shrink, strict=True):
            x = _apply_all(pair, x, context)
            kept.append(x)
            x = shrink(x)
        x = _apply_all(self.middle, x, context)
        for pair, grow in zip(self.up, self.grow, strict=True):
            x = grow(_apply_all(pair, torch.cat((x, kept.pop()), 1), context))
        return self.last(x).transpose(1, 2)


def _apply_all(blocks: nn.Module, x: Tensor, context: Tensor) -> Tensor:
    for block in blocks.children():
        x = block(x, context)
    return x
