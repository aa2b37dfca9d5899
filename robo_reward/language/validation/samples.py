"""Samples transitions from a state's typical ranges, for a program's first run and its probes."""

from __future__ import annotations

import numpy as np

from robo_reward.envs.state import State, StateSpec, Transitions


def sample_typical_transitions(
    spec: StateSpec, action_dim: int, batch: int, seed: int = 0, scale: float = 1.0
) -> Transitions:
    """Returns uniform random states within `scale` times their typical ranges, and actions in [-1, 1].

    Quaternions are of unit length. The state before is independent of the state after.

    Args:
        spec: the fields.
        action_dim: A.
        batch: B.
        seed: the same seed gives the same transitions.
        scale: widens every range about its centre; 0 gives the centre itself.
    """
    rng = np.random.default_rng(seed)
    action = rng.uniform(-1.0, 1.0, (batch, action_dim))
    return Transitions(_sample_states(spec, batch, rng, scale), action, _sample_states(spec, batch, rng, scale))


def _sample_states(spec: StateSpec, batch: int, rng: np.random.Generator, scale: float) -> State:
    array = np.empty((batch, spec.dim))
    for field in spec:
        low, high = field.typical
        centre, half = (low + high) / 2, scale * (high - low) / 2
        values = centre + half * rng.uniform(-1.0, 1.0, (batch, field.size))
        if field.unit == "quaternion":
            values = rng.normal(size=values.shape)
            values /= np.linalg.norm(values, axis=-1, keepdims=True)
        array[:, spec.slice(field.name)] = values
    return spec.view(array)
