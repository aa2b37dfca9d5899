"""What franky does with an arm: `python franky_client.py HOST NAME...`; prints JSON."""

import json
import sys
import time

import franky
import numpy as np

HOST, NAMES = sys.argv[1], sys.argv[2:]
GOAL = [0.2, -0.6, 0.1, -2.2, 0.0, 1.6, 0.8]


def here(robot):
    """The state when the arm has come to rest; the first ones read may be old, they wait in the socket."""
    for _ in range(4):
        time.sleep(0.05)
        state = robot.state
    return state


def joints(robot):
    robot.move(franky.JointMotion(franky.JointState(GOAL)))
    return {"error": float(np.abs(here(robot).q - GOAL).max())}


def hand(robot):
    begun = np.array(here(robot).O_T_EE.translation)
    robot.move(franky.CartesianMotion(franky.Affine([0.05, 0.0, 0.05]), franky.ReferenceType.Relative))
    return {"moved": float(np.linalg.norm(np.array(here(robot).O_T_EE.translation) - begun))}


def velocities(robot):
    begun = here(robot).q
    robot.move(franky.JointVelocityMotion([0.0] * 6 + [0.3], duration=franky.Duration(500)))
    turned = float(here(robot).q[6] - begun[6])
    begun = np.array(here(robot).O_T_EE.translation)
    twist = franky.Twist([0.0, 0.0, 0.05], [0.0, 0.0, 0.0])
    robot.move(franky.CartesianVelocityMotion(twist, duration=franky.Duration(500)))
    robot.move(franky.CartesianVelocityStopMotion())
    rose = float(np.array(here(robot).O_T_EE.translation)[2] - begun[2])
    return {"turned": turned, "rose": rose}


def cartesian_impedance(robot):
    begun = here(robot).O_T_EE
    with franky.CartesianImpedanceTracker(robot, period=0.02) as tracker:
        for k in range(20):
            shift = np.array([0.0, 0.002 * (k + 1), 0.0])
            tracker.set_target(franky.Affine(np.array(begun.translation) + shift, begun.quaternion))
            tracker.tick()
        for _ in range(30):
            tracker.tick()
    return {"moved": float(np.array(here(robot).O_T_EE.translation)[1] - np.array(begun.translation)[1])}


def joint_impedance(robot):
    begun = np.array(here(robot).q)
    with franky.JointImpedanceTracker(robot, period=0.02) as tracker:
        for k in range(20):
            tracker.set_target(begun + 0.005 * (k + 1))
            tracker.tick()
        for _ in range(30):
            tracker.tick()
    return {"moved": float(np.mean(here(robot).q - begun))}


def reflex(robot):
    """Joints beyond the FR3's acceleration: an error by name, then recovery."""
    robot.relative_dynamics_factor = 1.0
    try:
        robot.move(franky.JointMotion(franky.JointState([0.6, *GOAL[1:]])))
    except franky.ControlException as error:
        refused = ""
        try:
            robot.move(franky.JointMotion(franky.JointState(GOAL)))
        except franky.CommandException as second:
            refused = str(second)
        robot.recover_from_errors()
        robot.relative_dynamics_factor = 0.1
        robot.move(franky.JointMotion(franky.JointState(GOAL)))
        return {"said": str(error), "refused": refused}
    return {"said": ""}


def gripper(robot):
    hand_ = franky.Gripper(HOST)
    return {"homed": hand_.homing(), "moved": hand_.move(0.03, 0.1), "width": hand_.width}


robot = franky.Robot(HOST, realtime_config=franky.RealtimeConfig.Ignore)
robot.relative_dynamics_factor = 0.2
json.dump({name: globals()[name](robot) for name in NAMES}, sys.stdout)
