"""What franka-rs does with either arm: `python franka_rs_client.py HOST`; prints JSON."""

import json
import sys
import time

import franka
import numpy as np

robot = franka.Robot(sys.argv[1], realtime="ignore")
begun = robot.read_once()
robot.set_collision_behavior_simple([60.0] * 7, [60.0] * 7, [60.0] * 6, [60.0] * 6)
found = {"version": robot.server_version, "q": list(begun.q)}

with robot.cartesian_targets() as hand:
    before = np.array(hand.state().O_T_EE)[:3, 3]
    for _ in range(10):
        hand.move_by([0.0, 0.004, 0.0])
        time.sleep(0.05)
    time.sleep(0.8)
    found["hand"] = float(np.array(hand.state().O_T_EE)[1, 3] - before[1])

with robot.joint_targets(backend="robot") as joints:
    before = np.array(joints.state().q)
    joints.move_to((before + 0.1).tolist())
    time.sleep(0.8)
    found["joints"] = float(np.mean(np.array(joints.state().q) - before))

gripper = franka.Gripper(sys.argv[1])
found |= {"homed": gripper.homing(), "moved": gripper.move(0.03, 0.1), "width": gripper.read_once().width}
json.dump(found, sys.stdout)
