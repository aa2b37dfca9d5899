"""Three demonstrations become a reward: the distance to the nearest demonstration by optimal transport (ORCA)."""

import robo_reward as rr
from robo_reward.rewards.matching import ORCA, MatchingReward, StateFeatures

task = rr.make_task("panda/push")
demonstrations = rr.collect_episodes(task, task.expert, episodes=3, seed=0)
reward = MatchingReward.from_episodes(StateFeatures(["puck_position"]), demonstrations, ORCA(tau=0.5), cost="euclidean")
rr.save_reward(reward, "rewards/orca")

again = rr.load_reward("rewards/orca")
(other,) = rr.collect_episodes(task, task.expert, episodes=1, seed=7)
output = again(other)
print(f"an expert's episode scores {output.total.sum():.3f} over {len(other)} steps")
