"""robo-reward: from what a person wants to a reward, a trained policy, and a Franka arm."""

import importlib
import sys

__version__ = "0.1.0"

if "gymnasium" in sys.modules:  # `gymnasium.make("robo_reward:RoboReward/PandaLift-v0")` imports us to find the task
    importlib.import_module("robo_reward.envs.registration").register_tasks()
