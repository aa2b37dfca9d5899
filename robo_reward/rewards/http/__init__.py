"""Rewards that a server computes from the frames of an episode."""
