"""gymnasium finds the tasks when it is told where to look."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("before", "prefix"),
    [("", "robo_reward:"), ("", "robo_reward.envs:"), ("import robo_reward", "robo_reward.envs:")],
)
def test_gymnasium_makes_a_task_by_name(before: str, prefix: str) -> None:
    script = (
        f"{before}\nimport gymnasium\n"
        f"environment = gymnasium.make('{prefix}RoboReward/PandaReach-v0', reward='sparse')\n"
        "environment.reset(seed=0)\n"
        "print(environment.spec.id)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "RoboReward/PandaReach-v0" in done.stdout
