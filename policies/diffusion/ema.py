"""The exponential moving average of a network's weights, which is what acts."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """Averages the weights of a model over its updates.

    The decay after update k is `min(max, 1 - (1 + k)^-power)`: it rises, so that early weights are forgotten.

    Args:
        model: whose weights are averaged.
        average: a model of the same form, which holds the average.
        power: how fast the decay rises.
        max_decay: its limit.
    """

    def __init__(self, model: nn.Module, average: nn.Module, power: float = 0.75, max_decay: float = 0.999) -> None:
        self.power, self.max_decay = power, max_decay
        self._model: list[Tensor] = list(model.parameters())
        self._average: list[Tensor] = list(average.parameters())

    def compute_decay(self, update: int) -> float:
        """Returns the decay after the given update, counted from 1."""
        return min(self.max_decay, 1 - (1 + update) ** -self.power)

    @torch.no_grad()
    def add(self, update: int) -> None:
        """Moves the average towards the weights after an update, counted from 1."""
        torch._foreach_lerp_(self._average, self._model, 1 - self.compute_decay(update))
