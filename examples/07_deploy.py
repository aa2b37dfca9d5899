"""Drive a simulated arm through the safety filter, as `deploy` does: what a filter changes, it names."""

import numpy as np

import robo_reward as rr
from robo_reward.hardware.drivers.mujoco import MujocoArm
from robo_reward.hardware.safety.filter import SafetyFilter
from robo_reward.hardware.safety.limits import policy_limits

task = rr.make_task("fr3/reach")
arm = MujocoArm(task)
arm.connect()
safety = SafetyFilter.from_task(task, policy_limits(task.arm, speed=0.3, acceleration=0.3))
safety.start(arm.state())
arm.start_streaming()
for _ in range(50):
    decision = safety.filter_action(np.array([1.0, 0.0, -1.0]), arm.state(), task.control_dt)
    for _ in range(safety.count_commands(task.control_dt)):
        arm.stream(safety.next_command())
arm.stop()
print("the hand is at", arm.state().hand_position.round(3), "; changed last:", [clip.rule for clip in decision.clips])
arm.close()
