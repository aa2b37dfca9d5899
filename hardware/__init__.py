"""The same convention as a task, on hardware or an emulator."""

import robo_reward.envs  # noqa: F401  first: it sets aside a MUJOCO_GL on which `import mujoco` would fail
