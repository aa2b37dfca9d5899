"""Unit quaternions (w, x, y, z) and 3-vectors, row by row; any leading axes."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["quat_angle", "quat_conj", "quat_mul", "quat_rotate", "quat_to_axis"]


def quat_mul(a: Any, b: Any) -> np.ndarray:
    """Product of quaternions (..., 4): first turn by b, then by a."""
    aw, ax, ay, az = _split_components(a, 4)
    bw, bx, by, bz = _split_components(b, 4)
    return _join_components(
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )


def quat_conj(q: Any) -> np.ndarray:
    """The opposite turn (..., 4)."""
    w, x, y, z = _split_components(q, 4)
    return _join_components(w, -x, -y, -z)


def quat_rotate(q: Any, v: Any) -> np.ndarray:
    """Vectors v (..., 3) of a body's frame in the frame that q (..., 4) is given in."""
    w, x, y, z = _split_components(q, 4)
    axis = _join_components(x, y, z)
    twice = 2.0 * cross_product(axis, v)
    return np.asarray(v) + w[..., None] * twice + cross_product(axis, twice)


def quat_angle(a: Any, b: Any) -> np.ndarray:
    """Angle [rad] in [0, pi] between two orientations (..., 4); q and -q are the same orientation."""
    w, x, y, z = _split_components(quat_mul(quat_conj(a), b), 4)
    return 2.0 * np.arctan2(np.sqrt(x * x + y * y + z * z), np.abs(w))


def quat_to_axis(q: Any, index: int) -> np.ndarray:
    """Direction (..., 3) of the body's own axis 0 (x), 1 (y) or 2 (z) in the world."""
    w, x, y, z = _split_components(q, 4)
    if index == 0:
        return _join_components(1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y))
    if index == 1:
        return _join_components(2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x))
    if index == 2:
        return _join_components(2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y))
    raise ValueError(f"axis {index!r} of a body, expected 0, 1 or 2")


def cross_product(a: Any, b: Any) -> np.ndarray:
    """Returns the vector product (..., 3)."""
    ax, ay, az = _split_components(a, 3)
    bx, by, bz = _split_components(b, 3)
    return _join_components(ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx)


def _split_components(x: Any, count: int) -> tuple[np.ndarray, ...]:
    x = np.asarray(x)
    if x.ndim == 0 or x.shape[-1] != count:
        raise ValueError(f"an array of shape {x.shape} where the last axis must have {count} components")
    return tuple(x[..., i] for i in range(count))


def _join_components(*components: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.stack(np.broadcast_arrays(*components)), 0, -1)  # each component stays contiguous
