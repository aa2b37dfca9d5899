"""Driving a plant by its internal control, as the emulator's session does."""

from __future__ import annotations

import numpy as np

from robo_reward.envs.arm.base import ArmTask
from robo_reward.hardware.emulator.robot.control import InternalControl, solve_pose_ik
from robo_reward.hardware.emulator.world.mujoco_plant import MujocoPlant
from robo_reward.hardware.emulator.world.plant import DT, GripperCommand, PlantState
from tests.hardware.emulator.servo import TaskServo

ZERO = np.zeros(7)


class Driver:
    """Joint impedance towards a moving command.

    Attributes:
        state: of the plant, after the last step.
        q: the joint command (7,) [rad].
    """

    def __init__(self, plant: MujocoPlant) -> None:
        self.plant, self.control = plant, InternalControl(plant.arm)
        self.state: PlantState = plant.state()
        self.q = self.state.q.copy()

    def to(self, q: np.ndarray, gripper: GripperCommand | None = None) -> None:
        """One millisecond towards the next joint command."""
        dq, self.q = (q - self.q) / DT, q
        self.state = self.plant.step(self.control.compute_torque(0, self.state, q, dq, ZERO), gripper)

    def hold(self, seconds: float, gripper: GripperCommand | None = None) -> None:
        for k in range(int(seconds / DT)):
            self.to(self.q, None if k else gripper)

    def hand_to(self, position: np.ndarray, seconds: float = 1.0) -> None:
        """The TCP on a straight line, at rest at both ends."""
        target = self.control.model.pose(self.q)
        begun = target[:3, 3].copy()
        for k in range(int(seconds / DT)):
            s = (k + 1) * DT / seconds
            target[:3, 3] = begun + s * s * (3 - 2 * s) * (position - begun)
            self.to(solve_pose_ik(self.control.model, self.q, target, DT))


def follow_expert(plant: MujocoPlant) -> tuple[np.ndarray, bool]:
    """One episode of the task's scripted expert through the plant: the hand's path (T, 3) [m] and success at the end.

    Targets by the task's own controller, its lag in the command (drivers put it into their damping), the hand as it is.
    """
    task: ArmTask = plant.task
    driver = Driver(plant)
    servo = TaskServo(driver.state.q)
    targets, closing, path = None, None, []
    for _ in range(task.horizon):
        fingers = [driver.state.gripper_width / 2] * 2
        qpos = np.array([[*driver.state.q, *fingers]])
        targets = task.controller.start(qpos) if targets is None else targets
        action = np.clip(task.expert(plant.task_state().rows(None)), -1, 1)
        targets = task.controller.advance(targets, qpos, action)
        gripper = None
        if task.gripper and closing != (action[0, -1] < 0):
            closing = action[0, -1] < 0
            gripper = GripperCommand(0.0, 0.1, 20.0) if closing else GripperCommand(0.08, 0.1)
        for k in range(round(task.control_dt / DT)):
            driver.to(servo.advance(targets[0, :7], DT), None if k else gripper)
        path.append(plant.task_state().hand_position.copy())
    return np.array(path), plant.success()
