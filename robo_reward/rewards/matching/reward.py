"""Rewards that compare an episode with demonstrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robo_reward.data.episode import Episode
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.errors import UsageError, WrongShape
from robo_reward.rewards.contract import RewardOutput, Weights, digest_tensors, validate_output
from robo_reward.rewards.matching.cost import get_cost_function
from robo_reward.rewards.matching.features import FeatureExtractor, build_feature_extractor
from robo_reward.rewards.matching.rule import Rule, build_rule, compute_causal_reward
from robo_reward.rewards.matching.transport import OT

FIRST_SUM = 10.0
"""Sum to which ROT and TemporalOT scale the rewards of the first episode."""


class MatchingReward:
    """Similarity of an episode to the closest of K demonstrations.

    C^k_ts = cost(x_t, y^k_s), r^k = rule(C^k), and the reward is scale · r^k of the k with the largest Σ_t r^k_t
    (RAPL, TemporalOT). Causal: r^k_t from C^k[: t + 1] alone, and k from the sum up to t. In float64; an episode's
    reward does not depend on the other episodes of its batch.

    Args:
        look: extracts the features that are compared.
        demonstrations: features (S_k, F) of each, as `look` gives them.
        rule: from costs to rewards.
        cost: name of a cost function, see `robo_reward.rewards.matching.costs`.
        scale: a factor, or `"first_episode"`: such that the reward of the first episode sums to ±10 (ROT, TemporalOT).
            Once found the factor stays, and is part of the spec. An episode that sums to 0 does not fix it.
        causal: whether step t may only see what came before.

    Attributes:
        frames: the frames that an episode must have, or None.

    Raises:
        UsageError: no demonstrations, features that are not finite, or a scale that is neither.
        WrongShape: demonstrations whose features differ in length.
    """

    def __init__(
        self,
        look: FeatureExtractor,
        demonstrations: Sequence[np.ndarray],
        rule: Rule | None = None,
        cost: str = "cosine",
        scale: float | str = 1.0,
        causal: bool = False,
    ) -> None:
        if isinstance(scale, str) and scale != "first_episode":
            raise UsageError(f"scale {scale!r} is neither a number nor 'first_episode'")
        if not isinstance(scale, str) and not np.isfinite(scale):
            raise UsageError(f"scale is {scale}, expected a finite number or 'first_episode'")
        self.look, self.rule, self.cost, self.causal = look, rule or OT(), cost, causal
        self.frames: FrameSpec | None = look.frames
        self.scale = scale if isinstance(scale, str) else float(scale)
        self._finds_scale = isinstance(scale, str)
        self.demonstrations = _validate_demonstrations(demonstrations)
        self._cost = get_cost_function(cost)
        self._targets = self.rule.select_targets([torch.from_numpy(d).double() for d in self.demonstrations])

    @classmethod
    def from_episodes(
        cls, look: FeatureExtractor, episodes: Sequence[Episode], rule: Rule | None = None, **options: Any
    ) -> MatchingReward:
        """Creates a reward with episodes as the demonstrations.

        Args:
            look: extracts the features that are compared.
            episodes: at least one, with frames if `look` needs them.
            rule: from costs to rewards.
            options: of the class.
        """
        return cls(look, look(episodes) if episodes else [], rule, **options)

    def __call__(self, episode: Episode) -> RewardOutput:
        return self.batch([episode])[0]

    def batch(self, episodes: Sequence[Episode]) -> list[RewardOutput]:
        """Computes the rewards of several episodes.

        Their frames are encoded in one call, and episodes of one length are matched in one.
        """
        if not episodes:
            return []
        features = self.look(episodes)
        rewards: list[np.ndarray] = [np.empty(0)] * len(episodes)
        for steps in sorted({len(f) for f in features}):
            group = [i for i, f in enumerate(features) if len(f) == steps]
            for i, reward in zip(group, self.compute_unscaled([features[i] for i in group]), strict=True):
                rewards[i] = reward
        outputs = []
        for reward in rewards:  # in the given order, because the first may set the scale
            total = reward * self._resolve_scale(reward)
            outputs.append(validate_output(total, {"matching": total}, len(total)))
        return outputs

    @torch.no_grad()
    def compute_unscaled(self, features: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the rewards (N, T) before scaling of N episodes of equal length, given as features (T, F)."""
        self._check_width(features)
        clips = [torch.from_numpy(np.ascontiguousarray(f)).double() for f in features]
        per_target = []
        for target in self._targets:
            cost = torch.stack([self._cost(clip, target) for clip in clips])  # (N, T, S), one by one to save memory
            per_target.append(compute_causal_reward(self.rule, cost) if self.causal else self.rule(cost))
        rewards = torch.stack(per_target)  # (K, N, T)
        return select_closest(rewards, self.causal).numpy()

    def _check_width(self, features: Sequence[np.ndarray]) -> None:
        width = self.demonstrations[0].shape[1]
        for f in features:
            if f.ndim != 2 or f.shape[1] != width:
                raise WrongShape("features of an episode", f.shape, f"(T, {width}) as the demonstrations have")

    def _resolve_scale(self, reward: np.ndarray) -> float:
        """Returns the scale; the first reward whose sum is not 0 fixes it if it is `first_episode`."""
        if isinstance(self.scale, float):
            return self.scale
        total = abs(float(reward.sum()))
        if total < 1e-9:
            return 1.0
        self.scale = FIRST_SUM / total
        return self.scale

    def state(self) -> dict[str, np.ndarray]:
        """Returns the factor that the first episode has fixed; empty before that."""
        return {"scale": np.array(self.scale)} if self._finds_scale and not isinstance(self.scale, str) else {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores a `state`."""
        if self._finds_scale and "scale" in state:
            self.scale = float(state["scale"])

    def spec(self) -> dict[str, Any]:
        return {
            "kind": "matching",
            "rule": self.rule.spec(),
            "cost": self.cost,
            "scale": self.scale,
            "causal": self.causal,
            "look": self.look.spec(),
            "weights": digest_tensors(self._to_tensors()),
        }

    def weights(self) -> Weights:
        """Returns the features of the demonstrations, and the learnt weights of the encoder."""
        tensors = self._to_tensors()
        return {digest_tensors(tensors): tensors, **self.look.weights()}

    def _to_tensors(self) -> dict[str, np.ndarray]:
        """Returns the features of the demonstrations by name."""
        return {f"demonstration_{k:03d}": d for k, d in enumerate(self.demonstrations)}


def select_closest(rewards: Tensor, causal: bool) -> Tensor:
    """Returns the rewards (N, T), out of (K, N, T), of the demonstration with the largest sum (causal: sum so far)."""
    sums = rewards.cumsum(-1) if causal else rewards.sum(-1, keepdim=True).expand(rewards.shape)
    return rewards.gather(0, sums.argmax(0, keepdim=True))[0]


def _validate_demonstrations(demonstrations: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns the demonstrations as contiguous arrays; raises unless all are finite (S, F) of the same F."""
    if not demonstrations:
        raise UsageError("matching needs at least one demonstration")
    found = [np.ascontiguousarray(d) for d in demonstrations]
    for d in found:
        if d.ndim != 2 or 0 in d.shape or d.shape[1] != found[0].shape[1]:
            raise WrongShape("features of a demonstration", d.shape, f"(S, F), S > 0, F as in {found[0].shape}")
        if not np.isfinite(d).all():
            raise UsageError("features of a demonstration are not finite")
    return found


def matching_from_spec(spec: Mapping[str, Any], weights: Weights) -> MatchingReward:
    """Creates the reward from the results of `MatchingReward.spec` and `weights`.

    Raises:
        UsageError: the weights that the spec names are not given.
    """
    if spec["weights"] not in weights:
        raise UsageError(
            f"this matching reward needs its weights {spec['weights']}, which are missing; load it with load_reward"
        )
    tensors = weights[spec["weights"]]
    return MatchingReward(
        build_feature_extractor(spec["look"], weights),
        [tensors[name] for name in sorted(tensors)],
        build_rule(spec["rule"]),
        spec["cost"],
        spec["scale"],
        spec["causal"],
    )
