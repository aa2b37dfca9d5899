"""Min-max normalisation of observations and actions, saved with the policy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from robo_reward.errors import UsageError, WrongShape

MIN_RANGE = 1e-4
"""Columns that vary less than this count as constant."""


class MinMax(nn.Module):
    """Maps each column from [low, high] to [-1, 1], and back.

    A constant column becomes 0, whatever its value is later, and comes back as its constant.

    Args:
        low: (D,) smallest value of each column.
        high: (D,) largest value.

    Raises:
        WrongShape: bounds of different sizes.
        UsageError: bounds that are not finite or in the wrong order.
    """

    low: Tensor
    high: Tensor

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        if low.ndim != 1 or low.shape != high.shape:
            raise WrongShape("bounds of a normaliser", tuple(high.shape), f"(D,) = {tuple(low.shape)}")
        self.register_buffer("low", low.float().clone())
        self.register_buffer("high", high.float().clone())
        self.check()

    @classmethod
    def fit(cls, array: np.ndarray | Tensor) -> MinMax:
        """Returns the normaliser of data (..., D).

        Raises:
            UsageError: no data, or values that are not finite.
        """
        rows = torch.as_tensor(np.asarray(array, dtype=np.float32)).flatten(0, -2)
        if not len(rows):
            raise UsageError("a normaliser needs at least one row of data")
        return cls(rows.amin(0), rows.amax(0))

    def check(self) -> None:
        """Raises UsageError for bounds that are not finite or in the wrong order, such as those of a damaged file."""
        fits = torch.isfinite(self.low) & torch.isfinite(self.high) & (self.low <= self.high)
        if not fits.all():
            column = int(torch.argmin(fits.int()))
            low, high = float(self.low[column]), float(self.high[column])
            raise UsageError(f"column {column} of the normaliser has the bounds {low} and {high}; expected low <= high")

    @property
    def dim(self) -> int:
        """D, the number of columns."""
        return len(self.low)

    @property
    def is_constant(self) -> Tensor:
        """(D,) bool, which columns do not vary."""
        return self.high - self.low < MIN_RANGE

    def normalise(self, x: Tensor) -> Tensor:
        """Returns (..., D) with the range of the data mapped to [-1, 1]."""
        spread = torch.where(self.is_constant, torch.ones_like(self.low), self.high - self.low)
        scaled = 2 * (x - self.low) / spread - 1
        return torch.where(self.is_constant, torch.zeros_like(scaled), scaled)

    def denormalise(self, x: Tensor) -> Tensor:
        """Returns (..., D) in the units of the data."""
        spread = torch.where(self.is_constant, torch.zeros_like(self.low), self.high - self.low)
        middle = torch.where(self.is_constant, self.low, (self.low + self.high) / 2)
        return middle + spread * x / 2
