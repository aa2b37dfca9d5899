"""What a client sees when things go wrong: `python pylibfranka_faults.py HOST FAULT`; prints JSON.

The fault is injected from here, by the emulator's fault service, once the arm moves.
"""

import json
import math
import sys
import time

import pylibfranka as fci

from robo_reward.hardware.emulator.tools.fault_server import FaultClient

HOST, FAULT = sys.argv[1], sys.argv[2]
ACTIONS = {
    "user_stop": (True,),
    "drop_packets": (40,),
    "delay": (30,),
    "reflex": ("cartesian_reflex",),
    "stall": (1.5,),
    "refuse_connections": (True,),
    "guiding": (True,),
}


def connect():
    return fci.Robot(HOST, fci.RealtimeConfig.kIgnore)


def mode(robot):
    """What the arm does now; the first states read may be old."""
    for _ in range(3):
        time.sleep(0.02)
        state = robot.read_once()
    return state.robot_mode.name


def move(robot, seconds, at=None):
    """A smooth turn of all joints, and the fault `at` seconds after the start."""
    control = robot.start_joint_position_control(fci.ControllerMode.JointImpedance)
    first, _ = control.readOnce()
    t, injected = 0.0, at is None
    while True:
        _, period = control.readOnce()
        t += period.to_sec()
        if not injected and t >= at:
            injected = True
            getattr(faults, FAULT)(*ACTIONS[FAULT])
        share = 2 * math.pi * min(t / seconds, 1.0)
        turn = 0.15 * seconds * (share - math.sin(share)) / (2 * math.pi)  # at most 0.3 rad/s, in the middle
        command = fci.JointPositions([q + turn for q in first.q])
        command.motion_finished = t >= seconds
        control.writeOnce(command)
        if command.motion_finished:
            return


faults = FaultClient(HOST)
robot = connect()
found = {"said": "", "kind": ""}
try:
    move(robot, 2.0, at=1.0)
except RuntimeError as error:
    found |= {"said": str(error), "kind": type(error).__name__}
try:
    found["mode"] = mode(robot)
except RuntimeError as error:
    found["mode"] = type(error).__name__
del robot
time.sleep(0.6 if FAULT == "stall" else 0.05)
try:
    connect()
    found["again"] = "connected"
except RuntimeError as error:
    found["again"] = str(error)
faults.clear()
robot = connect()
found["after"] = mode(robot)
robot.automatic_error_recovery()
move(robot, 1.0)
found["end"] = mode(robot)
json.dump(found, sys.stdout)
