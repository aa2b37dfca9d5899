"""What panda-python does with a Panda: `python panda_client.py HOST NAME...`; prints JSON."""

import json
import sys

import numpy as np
import panda_py
from panda_py import controllers, libfranka

HOST, NAMES = sys.argv[1], sys.argv[2:]
GOAL = np.array([0.2, -0.6, 0.1, -2.2, 0.0, 1.6, 0.8])


def layer():
    """The bare libfranka 0.9 in it: states, a second of torques, the gripper."""
    robot = libfranka.Robot(HOST, libfranka.RealtimeConfig.kIgnore)
    state, elapsed = robot.read_once(), 0.0

    def none(state, period):
        nonlocal elapsed
        elapsed += period.to_sec()
        torques = libfranka.Torques([0.0] * 7)
        torques.motion_finished = elapsed >= 1.0
        return torques

    robot.control(none)
    hand = libfranka.Gripper(HOST)
    return {
        "version": robot.server_version(),
        "q": list(state.q),
        "elapsed": elapsed,
        "homed": hand.homing(),
        "moved": hand.move(0.04, 0.1),
        "grasped": hand.grasp(0.02, 0.1, 20.0, 0.005, 0.02),
        "width": hand.read_once().width,
    }


def motions():
    """The whole library, which needs the model the robot sends."""
    panda = panda_py.Panda(HOST)
    reached = panda.move_to_joint_position(GOAL, speed_factor=0.2)
    error = float(np.abs(panda.q - GOAL).max())
    pose = panda.get_pose()
    pose[:3, 3] += (0.03, 0.0, 0.03)
    placed = panda.move_to_pose(pose, speed_factor=0.2)
    return {"reached": reached, "error": error, "placed": placed,
            "off": float(np.abs(panda.get_pose() - pose).max())}  # fmt: skip


def impedance():
    panda = panda_py.Panda(HOST)
    begun, turn = panda.get_position(), panda.get_orientation()
    controller = controllers.CartesianImpedance()
    panda.start_controller(controller)
    with panda.create_context(frequency=50, max_runtime=1.0) as context:
        while context.ok():
            controller.set_control(begun + np.array([0.0, 0.03 * min(1.0, context.num_ticks / 25), 0.0]), turn)
    moved = float(panda.get_position()[1] - begun[1])
    panda.stop_controller()
    return {"moved": moved}


def model_refused():
    robot = libfranka.Robot(HOST, libfranka.RealtimeConfig.kIgnore)
    try:
        robot.load_model()
    except RuntimeError as error:
        return {"said": str(error)}
    return {"said": ""}


json.dump({name: globals()[name]() for name in NAMES}, sys.stdout)
