"""What pylibfranka's published examples do, in our words: `python pylibfranka_examples.py HOST NAME...`.

Each begins where the robot is, sends a command per state, and prints at the end what it saw.
"""

import itertools
import json
import math
import sys
import time

import pylibfranka as fci

HOST, NAMES = sys.argv[1], sys.argv[2:]


def follow(control, command, seconds):
    """Sends `command(t, first state, state)` for every state, the last one marked as the end."""
    first, _ = control.readOnce()
    t = cycles = 0
    while True:
        state, period = control.readOnce()
        t += period.to_sec()
        cycles += 1
        wanted = command(min(t, seconds), first, state)
        wanted.motion_finished = t >= seconds
        control.writeOnce(wanted)
        if t >= seconds:
            return cycles


def echo_state(robot):
    times = [robot.read_once().time.to_sec() for _ in range(100)]
    return {"rising": all(b > a for a, b in itertools.pairwise(times))}


def joint_position(robot):
    control = robot.start_joint_position_control(fci.ControllerMode.JointImpedance)

    def command(t, first, state):
        angle = math.pi / 8 * (1 - math.cos(math.pi / 2.5 * t))
        return fci.JointPositions([q + angle * (i in (3, 4, 6)) for i, q in enumerate(first.q)])

    return {"cycles": follow(control, command, 5.0)}


def joint_velocity(robot):
    control = robot.start_joint_velocity_control(fci.ControllerMode.JointImpedance)

    def command(t, first, state):
        turn = math.copysign(1.0, math.sin(math.pi * t))
        speed = turn * 0.25 * (1 - math.cos(2 * math.pi * t))
        return fci.JointVelocities([0.0] * 3 + [speed] * 4)

    return {"cycles": follow(control, command, 2.0)}


def cartesian_pose(robot):
    control = robot.start_cartesian_pose_control(fci.ControllerMode.JointImpedance)

    def command(t, first, state):
        angle = math.pi / 4 * (1 - math.cos(math.pi / 5 * t))
        pose = list(first.O_T_EE)
        pose[12] += 0.3 * math.sin(angle)
        pose[14] += 0.3 * (math.cos(angle) - 1)
        return fci.CartesianPose(pose)

    return {"cycles": follow(control, command, 5.0)}


def cartesian_velocity(robot):
    control = robot.start_cartesian_velocity_control(fci.ControllerMode.CartesianImpedance)

    def command(t, first, state):
        speed = 0.1 * (1 - math.cos(2 * math.pi * t / 2)) / 2 * (1 if t < 2 else -1)
        return fci.CartesianVelocities([speed, 0.0, -speed, 0.0, 0.0, 0.0])

    return {"cycles": follow(control, command, 4.0)}


def joint_impedance(robot):
    model = robot.load_model()
    control = robot.start_torque_control()
    stiffness, damping = [60.0] * 4 + [25.0, 15.0, 5.0], [8.0] * 4 + [5.0, 3.0, 1.0]

    def command(t, first, state):
        coriolis = model.coriolis(state)
        wanted = [q + 0.05 * (1 - math.cos(math.pi * t)) for q in first.q]
        torque = [
            k * (w - q) - d * dq + c
            for k, d, w, q, dq, c in zip(stiffness, damping, wanted, state.q, state.dq, coriolis, strict=True)
        ]
        allowed = [max(-0.99, min(0.99, a - b)) for a, b in zip(torque, state.tau_J_d, strict=True)]  # 1000 N m/s
        return fci.Torques([b + a for a, b in zip(allowed, state.tau_J_d, strict=True)])

    return {"cycles": follow(control, command, 2.0), "mass": model.mass(robot.read_once())[0]}


def async_position(robot):
    handler = fci.AsyncPositionControlHandler
    made = handler.configure(robot, handler.Configuration([0.655] * 4 + [1.315] * 3, 0.01))
    assert made.error_message is None, made.error_message
    arm, begun = made.handler, None
    for k in range(100):
        feedback = arm.get_target_feedback()
        assert feedback.error_message is None, feedback.error_message
        begun = begun or list(Q0)
        target = [q + 0.1 * (k < 50) for q in begun]
        said = arm.set_joint_position_target(handler.JointPositionTarget(target))
        assert said.error_message is None, said.error_message
        time.sleep(0.02)
    status = arm.get_target_feedback().status
    arm.stop_control()
    return {"status": status.name}


def gripper(robot):
    hand = fci.Gripper(HOST)
    homed = hand.homing()
    widest = hand.read_once().max_width
    moved = hand.move(0.03, 0.1)
    grasped = hand.grasp(0.02, 0.1, 20.0, 0.005, 0.02)
    held = hand.read_once()
    hand.stop()
    return {"homed": homed, "widest": widest, "moved": moved, "grasped": grasped, "width": held.width,
            "is_grasped": held.is_grasped}  # fmt: skip


robot = fci.Robot(HOST, fci.RealtimeConfig.kIgnore)
robot.set_collision_behavior([30.0] * 7, [30.0] * 7, [30.0] * 6, [30.0] * 6)
robot.set_joint_impedance([3000.0, 3000.0, 3000.0, 2500.0, 2500.0, 2000.0, 2000.0])
robot.set_cartesian_impedance([3000.0] * 3 + [300.0] * 3)
found = {}
for name in NAMES:
    Q0 = robot.read_once().q
    found[name] = globals()[name](robot)
    state = robot.read_once()
    found[name]["mode"] = state.robot_mode.name
json.dump(found, sys.stdout)
