"""Rules without an alignment: the distance to the nearest, the last or the ideal frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robo_reward.rewards.matching.rule import Rule, require_positive


@dataclass(frozen=True)
class MinDistance(Rule):
    """r_t = -min_s C_ts: close to anything the demonstration shows ("Is OT necessary for IRL?", 2506.06793)."""

    name: ClassVar[str] = "min_distance"
    looks_back: ClassVar[bool] = True

    def __call__(self, cost: Tensor) -> Tensor:
        return -cost.amin(-1)


@dataclass(frozen=True)
class SegmentMatch(Rule):
    """r_t = -min of C_ts over the demonstration's segment of the same number as t's (after 2506.06793).

    Both clips are cut into n equal segments: t belongs to ⌊n t / T⌋ and s to ⌊n s / S⌋, with n <= min(T, S). The
    paper's abstract gives the idea, not the cut; this is ours. T counts as known: a task has a horizon.

    Args:
        segments: n; fewer where a clip has fewer steps.
    """

    name: ClassVar[str] = "segment_match"
    looks_back: ClassVar[bool] = True
    segments: int = 10

    def __post_init__(self) -> None:
        require_positive(self, "segments")

    def __call__(self, cost: Tensor) -> Tensor:
        steps, width = cost.shape[-2:]
        count = min(self.segments, steps, width)
        # Segment number of each step and of each frame.
        t = torch.arange(steps, device=cost.device) * count // steps
        s = torch.arange(width, device=cost.device) * count // width
        return -torch.where(t[:, None] == s, cost, torch.inf).amin(-1)


@dataclass(frozen=True)
class FinalFrame(Rule):
    """r_t = -mean of C_ts over the demonstration's last k frames: only its end counts.

    Args:
        last: k; all frames where there are fewer.
    """

    name: ClassVar[str] = "final_frame"
    looks_back: ClassVar[bool] = True
    last: int = 5

    def __post_init__(self) -> None:
        require_positive(self, "last")

    def __call__(self, cost: Tensor) -> Tensor:
        return -cost[..., -self.last :].mean(-1)

    def select_targets(self, demonstrations: Sequence[Tensor]) -> list[Tensor]:
        return [demonstration[-self.last :] for demonstration in demonstrations]


@dataclass(frozen=True)
class GoalDistance(Rule):
    """r_t = -cost(x_t, g), g the mean of the demonstrations' last features (XIRL, 2106.03911; as VIP's goal image).

    XIRL scales by 1 / the mean distance of the demonstrations' first frames to g; here the reward's scale does that.
    On a plain cost matrix, the cost of its last column.
    """

    name: ClassVar[str] = "goal_distance"
    looks_back: ClassVar[bool] = True

    def __call__(self, cost: Tensor) -> Tensor:
        return -cost[..., -1]

    def select_targets(self, demonstrations: Sequence[Tensor]) -> list[Tensor]:
        return [torch.stack([demonstration[-1] for demonstration in demonstrations]).mean(0, keepdim=True)]
