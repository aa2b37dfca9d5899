"""One when a quantity is where it should be, falling off smoothly outside: the shape most dense rewards need."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np

SIGMOIDS = MappingProxyType(
    {
        "gaussian": lambda d, v: np.exp(np.log(v) * d * d),
        "hyperbolic": lambda d, v: 1.0 / np.cosh(d * np.arccosh(1.0 / v)),
        "long_tail": lambda d, v: 1.0 / (1.0 + d * d * (1.0 / v - 1.0)),
        "reciprocal": lambda d, v: 1.0 / (1.0 + d * (1.0 / v - 1.0)),
        "cosine": lambda d, v: (
            np.where(d * s < 1.0, 0.5 + 0.5 * np.cos(np.pi * np.minimum(d * s, 1.0)), 0.0)
            if (s := np.arccos(2.0 * v - 1.0) / np.pi)
            else np.ones_like(d)
        ),
        "linear": lambda d, v: np.maximum(1.0 - d * (1.0 - v), 0.0),
        "quadratic": lambda d, v: np.maximum(1.0 - d * d * (1.0 - v), 0.0),
        "tanh_squared": lambda d, v: 1.0 - np.tanh(d * np.arctanh(np.sqrt(1.0 - v))) ** 2,
    }
)
"""Name -> f(d, v), which is 1 at d = 0 and v at d = 1; d is the distance in units of the margin."""


def tolerance(
    x: Any,
    lower: Any = 0.0,
    upper: Any = 0.0,
    margin: float = 0.0,
    sigmoid: str = "gaussian",
    value_at_margin: float = 0.1,
    bounds: tuple[Any, Any] | None = None,
) -> np.ndarray:
    """1 where lower <= x <= upper, falling smoothly to value_at_margin (0.1) at a distance of margin.

    The shapes are those of `dm_control.utils.rewards.tolerance`.

    Args:
        x: (B,) the quantity.
        lower: of the interval; numbers or (B,).
        upper: of the interval, at least `lower`.
        margin: in the unit of x; 0 makes it a plain test.
        sigmoid: one of `SIGMOIDS`.
        value_at_margin: in (0, 1).
        bounds: (lower, upper), the other spelling.

    Raises:
        ValueError: a margin below 0 or a value at the margin outside (0, 1).
        KeyError: no sigmoid of that name.
    """
    if bounds is not None:
        lower, upper = bounds
    if margin < 0.0 or not 0.0 < value_at_margin < 1.0:
        raise ValueError(f"margin={margin} must not be negative and value_at_margin={value_at_margin} in (0, 1)")
    outside = np.maximum(np.maximum(np.subtract(lower, x), np.subtract(x, upper)), 0.0)
    if margin == 0.0:
        return np.where(outside == 0.0, 1.0, 0.0)
    return SIGMOIDS[sigmoid](outside / margin, value_at_margin)
