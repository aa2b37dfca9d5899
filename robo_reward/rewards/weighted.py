"""Rewards made of rewards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from robo_reward.envs.state import Transitions
from robo_reward.errors import UsageError
from robo_reward.rewards.contract import RewardOutput, StepReward, Weights, learnt_weights, validate_output


class WeightedReward:
    """A weighted sum of step rewards, `total = Σ_i w_i · r_i`.

    A part with several terms keeps them as `NAME_TERM`, each times its weight, so that terms still add to the total.

    Args:
        parts: name -> (reward, weight).

    Raises:
        UsageError: no parts, a name that is not an identifier, or a weight that is not finite.
    """

    def __init__(self, parts: Mapping[str, tuple[StepReward, float]]) -> None:
        if not parts:
            raise UsageError("a weighted reward needs at least one part")
        for name, (_, weight) in parts.items():
            if not name.isidentifier() or not np.isfinite(weight):
                raise UsageError(f"part {name!r} with weight {weight}: expected an identifier and a finite number")
        self.parts = {name: (reward, float(weight)) for name, (reward, weight) in parts.items()}

    def __call__(self, batch: Transitions) -> RewardOutput:
        total, terms = np.zeros(len(batch.action)), {}
        for name, (reward, weight) in self.parts.items():
            output = reward(batch)
            total += weight * output.total
            if output.terms:
                terms |= {f"{name}_{term}": weight * value for term, value in output.terms.items()}
            else:
                terms[name] = weight * output.total
        return validate_output(total, terms, len(batch.action))

    def weights(self) -> Weights:
        """Returns the tensors that the parts have learnt."""
        return {name: tensors for reward, _ in self.parts.values() for name, tensors in learnt_weights(reward).items()}

    def spec(self) -> dict[str, Any]:
        parts = [{"name": n, "weight": w, "reward": r.spec()} for n, (r, w) in self.parts.items()]
        return {"kind": "weighted", "parts": parts}
