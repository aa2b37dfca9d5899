"""Rewrites reward programs in published styles into the reward language; used by `robo_reward.language.normalise`."""
