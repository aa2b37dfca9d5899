"""Rewards per step from the distances between the features of an episode and of a demonstration."""

from robo_reward.rewards.matching.cost import cosine, costs, euclidean, get_cost_function, squared_euclidean
from robo_reward.rewards.matching.coverage import ORCA, orca_reward
from robo_reward.rewards.matching.features import FeatureExtractor, FrameFeatures, StateFeatures
from robo_reward.rewards.matching.nearest import FinalFrame, GoalDistance, MinDistance, SegmentMatch
from robo_reward.rewards.matching.reward import MatchingReward
from robo_reward.rewards.matching.rule import Rule, build_rule, compute_causal_reward, rules
from robo_reward.rewards.matching.sinkhorn import sinkhorn_plan
from robo_reward.rewards.matching.transport import OT, TemporalOT, UnbalancedOT
from robo_reward.rewards.matching.warping import DTW, SoftDTW

__all__ = [
    "DTW",
    "ORCA",
    "OT",
    "FeatureExtractor",
    "FinalFrame",
    "FrameFeatures",
    "GoalDistance",
    "MatchingReward",
    "MinDistance",
    "Rule",
    "SegmentMatch",
    "SoftDTW",
    "StateFeatures",
    "TemporalOT",
    "UnbalancedOT",
    "build_rule",
    "compute_causal_reward",
    "cosine",
    "costs",
    "euclidean",
    "get_cost_function",
    "orca_reward",
    "rules",
    "sinkhorn_plan",
    "squared_euclidean",
]

for _rule in (OT, UnbalancedOT, TemporalOT, ORCA, DTW, SoftDTW, MinDistance, SegmentMatch, FinalFrame, GoalDistance):
    rules.register(_rule.name, _rule)
