"""Rewards that compare an episode with demonstrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robo_reward.envs.frames import FrameSpec
from robo_reward.episode import Episode
from robo_reward.errors import UsageError, WrongShape
from robo_reward.matching.cost import cost_function
from robo_reward.matching.look import Look, build_look
from robo_reward.matching.rule import Rule, build_rule, only_seen
from robo_reward.matching.transport import OT
from robo_reward.reward import RewardOutput, Weights, digest, validated

FIRST_SUM = 10.0
"""What ROT and TemporalOT scale the first episode's sum to."""


class MatchingReward:
    """How well an episode matches the closest of K demonstrations.

    C^k_ts = cost(x_t, y^k_s), r^k = rule(C^k), and the reward is scale · r^k of the k with the largest Σ_t r^k_t (RAPL,
    TemporalOT). Causal: r^k_t from C^k[: t + 1] alone, and k from the sum up to t. In float64; an episode's reward does
    not depend on its company.

    Args:
        look: what is compared.
        demonstrations: features (S_k, F) of each, as `look` gives them.
        rule: from costs to rewards.
        cost: name of a cost function, see `robo_reward.matching.costs`.
        scale: a factor, or `"first_episode"`: such that the first episode judged sums to ±10 (ROT, TemporalOT). Once
            found the factor stays, and stands in the spec. An episode that sums to 0 does not fix it.
        causal: whether step t may only see what came before.

    Attributes:
        frames: what it must be shown, or none.

    Raises:
        UsageError: no demonstrations, features that are not finite, or a scale that is neither.
        WrongShape: demonstrations whose features differ in length.
    """

    def __init__(
        self,
        look: Look,
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
        self.demonstrations = _checked(demonstrations)
        self._cost = cost_function(cost)
        self._targets = self.rule.targets([torch.from_numpy(d).double() for d in self.demonstrations])

    @classmethod
    def of(cls, look: Look, episodes: Sequence[Episode], rule: Rule | None = None, **options: Any) -> MatchingReward:
        """Takes episodes as the demonstrations.

        Args:
            look: what is compared.
            episodes: at least one, with frames if `look` needs them.
            rule: from costs to rewards.
            options: of the class.
        """
        return cls(look, look(episodes) if episodes else [], rule, **options)

    def __call__(self, episode: Episode) -> RewardOutput:
        return self.batch([episode])[0]

    def batch(self, episodes: Sequence[Episode]) -> list[RewardOutput]:
        """Judges several episodes: their frames are encoded in one call, episodes of one length matched in one."""
        if not episodes:
            return []
        features = self.look(episodes)
        rewards: list[np.ndarray] = [np.empty(0)] * len(episodes)
        for steps in sorted({len(f) for f in features}):
            group = [i for i, f in enumerate(features) if len(f) == steps]
            for i, reward in zip(group, self.match([features[i] for i in group]), strict=True):
                rewards[i] = reward
        outputs = []
        for reward in rewards:  # in the order given, for the first may set the scale
            total = reward * self._factor(reward)
            outputs.append(validated(total, {"matching": total}, len(total)))
        return outputs

    @torch.no_grad()
    def match(self, features: Sequence[np.ndarray]) -> np.ndarray:
        """Rewards (N, T) before scaling of N episodes of equal length, given as features (T, F)."""
        self._check_width(features)
        clips = [torch.from_numpy(np.ascontiguousarray(f)).double() for f in features]
        per_target = []
        for target in self._targets:
            cost = torch.stack([self._cost(clip, target) for clip in clips])  # (N, T, S), one by one to save memory
            per_target.append(only_seen(self.rule, cost) if self.causal else self.rule(cost))
        rewards = torch.stack(per_target)  # (K, N, T)
        return closest(rewards, self.causal).numpy()

    def _check_width(self, features: Sequence[np.ndarray]) -> None:
        width = self.demonstrations[0].shape[1]
        for f in features:
            if f.ndim != 2 or f.shape[1] != width:
                raise WrongShape("features of an episode", f.shape, f"(T, {width}) as the demonstrations have")

    def _factor(self, reward: np.ndarray) -> float:
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
        """Goes back to a `state`."""
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
            "weights": digest(self._tensors()),
        }

    def weights(self) -> Weights:
        """The demonstrations' features, and what the encoder has learnt."""
        tensors = self._tensors()
        return {digest(tensors): tensors, **self.look.weights()}

    def _tensors(self) -> dict[str, np.ndarray]:
        return {f"demonstration_{k:03d}": d for k, d in enumerate(self.demonstrations)}


def closest(rewards: Tensor, causal: bool) -> Tensor:
    """Of rewards (K, N, T) those of the demonstration with the largest sum, (N, T); causal: the sum so far."""
    sums = rewards.cumsum(-1) if causal else rewards.sum(-1, keepdim=True).expand(rewards.shape)
    return rewards.gather(0, sums.argmax(0, keepdim=True))[0]


def _checked(demonstrations: Sequence[np.ndarray]) -> list[np.ndarray]:
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
    """The inverse of `MatchingReward.spec` and `weights`.

    Raises:
        UsageError: the weights that the spec names are not given.
    """
    if spec["weights"] not in weights:
        raise UsageError(f"this matching reward needs its weights {spec['weights']}, which were not given")
    tensors = weights[spec["weights"]]
    return MatchingReward(
        build_look(spec["look"], weights),
        [tensors[name] for name in sorted(tensors)],
        build_rule(spec["rule"]),
        spec["cost"],
        spec["scale"],
        spec["causal"],
    )
