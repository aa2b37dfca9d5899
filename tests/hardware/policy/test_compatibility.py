from dataclasses import replace
from typing import Any

import pytest

from robo_reward.envs.task import make_task
from robo_reward.hardware.policy.compatibility import require_compatible
from robo_reward.policies.policy import PolicyMismatch

TASK: Any = make_task("fr3/lift")


def test_a_policy_that_fits():
    panda: Any = make_task("panda/lift")
    assert (
        require_compatible(panda.action, panda.observation, TASK.action, TASK.observation, "fr3/lift", TASK.arm) == ()
    )
    warnings = require_compatible(
        panda.action, panda.observation, TASK.action, TASK.observation, "panda/lift", TASK.arm
    )
    assert any("joint 6 turns from 0.44 to 4.62 rad on fr3, but from -0.02 to 3.75 on panda" in w for w in warnings)


def test_what_does_not_fit_is_listed():
    other = make_task("fr3/lift", control="joint_delta")
    with pytest.raises(PolicyMismatch) as error:
        require_compatible(other.action, other.observation, TASK.action, TASK.observation, "fr3/lift")
    text = str(error.value)
    assert "action.kind is 'joint_delta', the robot's 'ee_delta'" in text
    assert "action.names has 8 entries (dq1," in text
    slower = replace(TASK.action, rate_hz=10.0)
    with pytest.raises(PolicyMismatch, match=r"action.rate_hz is 10.0, the robot's 25.0"):
        require_compatible(slower, TASK.observation, TASK.action, TASK.observation)
    push = make_task("fr3/push")
    with pytest.raises(PolicyMismatch, match=r"observation\.parts"):
        require_compatible(TASK.action, push.observation, TASK.action, TASK.observation)
