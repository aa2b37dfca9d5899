"""robo-reward: from what a person wants to a reward, a trained policy, and a Franka arm."""

__version__ = "0.1.0"
