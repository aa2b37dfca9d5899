"""The same convention as a task, on hardware or an emulator."""

import robo_reward.envs  # noqa: F401  must come first: it removes a MUJOCO_GL with which `import mujoco` would fail
