"""The arrays of a model that decide how it looks, for environments whose own code changes their model.

An environment may move a drawer, a goal's site or a light at each reset by writing into its model. A picture of it is
drawn from `qpos`, the mocap poses and these arrays.
"""

from __future__ import annotations

import mujoco
import numpy as np

DRAWN = (
    "body_pos", "body_quat", "geom_pos", "geom_quat", "geom_size", "geom_rgba", "site_pos", "site_quat", "site_size",
    "site_rgba", "mat_rgba", "cam_pos", "cam_quat", "light_pos",
)  # fmt: skip
"""Names of the arrays, in order."""


def count_drawn(model: mujoco.MjModel) -> int:
    """Returns how many numbers `read_drawn` returns."""
    return sum(getattr(model, name).size for name in DRAWN)


def read_drawn(model: mujoco.MjModel) -> np.ndarray:
    """Returns the arrays of a model as one vector (K,)."""
    return np.concatenate([getattr(model, name).ravel() for name in DRAWN], dtype=np.float64)


def write_drawn(model: mujoco.MjModel, values: np.ndarray) -> None:
    """Writes a vector (K,) of `read_drawn` into a model of the same sizes."""
    at = 0
    for name in DRAWN:
        array = getattr(model, name)
        array.flat = values[at : at + array.size]
        at += array.size
