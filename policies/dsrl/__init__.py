"""Reinforcement learning of the initial noise of a frozen diffusion policy (DSRL, arXiv 2506.15799)."""
