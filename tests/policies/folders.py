"""A small policy for tests of folders."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from robo_reward.envs.state import Field, StateSpec
from robo_reward.envs.task import ActionSpec, Observable, ObservationSpec
from robo_reward.policies.policy import MLPPolicy


def small_policy(seed: int = 0) -> MLPPolicy:
    """Three layers: 3 numbers seen, 5 and 4 hidden, 2 commanded."""
    rng = np.random.default_rng(seed)
    sizes = [3, 5, 4, 2]
    return MLPPolicy(
        tuple(rng.normal(size=(a, b)).astype(np.float32) for a, b in pairwise(sizes)),
        tuple(rng.normal(size=b).astype(np.float32) for b in sizes[1:]),
        "tanh",
        True,
        ObservationSpec(StateSpec([Field("hand_position", (3,), "m")]), [Observable("hand_position")]),
        ActionSpec("ee_delta", ("dx", "dy"), (0.05, 0.05), ("m", "m"), 20.0),
        {"task": "panda/reach", "seed": seed},
    )
