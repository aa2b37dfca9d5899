"""The world: what can be simulated, and what of it can be seen.

Importing it tells gymnasium of the built-in tasks, so that `gymnasium.make("RoboReward/PandaPush-v0")` finds them.
`gymnasium.make("robo_reward.envs:RoboReward/PandaPush-v0")` imports it by itself.
"""

from robo_reward.envs.registration import register_tasks
from robo_reward.envs.rendering.gl import set_aside_broken_setting

set_aside_broken_setting()  # before anything imports mujoco
register_tasks()
