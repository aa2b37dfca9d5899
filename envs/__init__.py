"""Simulated tasks: scenes, states, rendering and video.

Importing this package registers the built-in tasks with gymnasium, so that
`gymnasium.make("RoboReward/PandaPush-v0")` finds them.
`gymnasium.make("robo_reward.envs:RoboReward/PandaPush-v0")` imports it by itself.
"""

from robo_reward.envs.gym_registration import register_tasks
from robo_reward.envs.rendering.gl import set_aside_broken_setting

set_aside_broken_setting()  # must run before mujoco is imported
register_tasks()
