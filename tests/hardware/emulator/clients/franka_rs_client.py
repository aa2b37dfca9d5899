"""What franka-rs does with either arm: `python franka_rs_client.py HOST`; prints JSON."""

import json
import sys
import time

import franka
import numpy as np


def arrive(away):
    """Waits until the arm is where it should be and stays, or for ten seconds."""
    near = 0
    for _ in range(500):
        time.sleep(0.02)
        near = near + 1 if abs(away()) < 1e-3 else 0
        if near == 5:
            return


robot = franka.Robot(sys.argv[1], realtime="ignore")
begun = robot.read_once()
robot.set_collision_behavior_simple([60.0] * 7, [60.0] * 7, [60.0] * 6, [60.0] * 6)
found = {"version": robot.server_version, "q": list(begun.q)}

with robot.cartesian_targets() as hand:
    before = hand.state().O_T_EE[1][3]
    for _ in range(10):
        hand.move_by([0.0, 0.004, 0.0])
        time.sleep(0.05)
    arrive(lambda: hand.state().O_T_EE[1][3] - before - 0.04)
    found["hand"] = float(hand.state().O_T_EE[1][3] - before)

with robot.joint_targets(backend="robot") as joints:
    rest = np.array(joints.state().q)
    joints.move_to((rest + 0.1).tolist())
    arrive(lambda: float(np.mean(np.array(joints.state().q) - rest)) - 0.1)
    found["joints"] = float(np.mean(np.array(joints.state().q) - rest))

gripper = franka.Gripper(sys.argv[1])
found |= {"moved": gripper.move(0.03, 0.1), "width": gripper.read_once().width}
json.dump(found, sys.stdout)
