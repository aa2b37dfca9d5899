"""Conformance tests for plug-ins.

Inherit a mixin in a pytest class, and say how to make yours:

    from robo_reward.testing.task import TaskContract

    class TestTouch(TaskContract):
        def make_task(self):
            return Touch()
"""

import sys

if "pytest" in sys.modules:  # failures then show the values that were compared
    sys.modules["pytest"].register_assert_rewrite(
        *(
            f"{__name__}.{name}"
            for name in ("arm", "encoder", "episode_reward", "executor", "reward", "task", "worlds", "writer")
        )
    )
