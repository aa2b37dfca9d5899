"""Rewards: the contract, stored artifacts, and those that are learnt."""
