"""A task's simulated scene as an arm driver, without sockets: for tests and for dry runs of a deployment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np

from robo_reward.configs.robots import MujocoConfig
from robo_reward.envs.arm.kinematics import (
    compute_forward_kinematics,
    compute_jacobian,
)
from robo_reward.envs.rendering.render import Renderer
from robo_reward.envs.state import State
from robo_reward.errors import UnknownName, WrongShape
from robo_reward.hardware.arm import ArmFault, ArmState, FaultKind, Mode, Target
from robo_reward.hardware.safety.limits import official_limits, policy_limits
from robo_reward.hardware.safety.trajectory.braking import compute_braking

REST = 1e-3
"""Joint speed below which the simulated arm counts as at rest [rad/s]."""


class MujocoArm:
    """The arm of a task in MuJoCo; time passes only while targets are streamed, a physics step each.

    Args:
        task: a task of the panda or the FR3.
        seed: of the initial conditions that `reset` draws.
        clock: stamps the states [s].
        realtime: whether to sleep, so that simulated time passes as fast as real time.

    Attributes:
        data: the simulation, for inspection.
    """

    def __init__(
        self,
        task: Any,
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
        realtime: bool = MujocoConfig.realtime,
    ) -> None:
        self.task, self.arm, self.name = task, task.arm, f"mujoco {task.arm.name}"
        self.limits = official_limits(task.arm)
        self.data = mujoco.MjData(task.model)
        self._rng, self._clock, self._realtime = np.random.default_rng(seed), clock, realtime
        self._mode, self._fault, self._pressed = Mode.DISCONNECTED, None, False
        self._renderers: dict[tuple[str, int], Renderer] = {}
        self._due = 0.0
        self.reset()

    def reset(self, seed: int | None = None) -> None:
        """Sets arm and objects to a new start of the task, as a person would between episodes."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        start = self.task.sample(self._rng, 1)
        mujoco.mj_resetData(self.task.model, self.data)
        self.data.qpos[:] = start.qpos[0]
        count = self.task.model.nmocap
        self.data.mocap_pos[:] = start.mocap[0, : 3 * count].reshape(-1, 3)
        self.data.mocap_quat[:] = start.mocap[0, 3 * count :].reshape(-1, 4)
        self.data.ctrl[:] = self.task.controller.start(start.qpos)[0]
        mujoco.mj_forward(self.task.model, self.data)

    def connect(self) -> None:
        """Connects at once, unless an injected fault forbids it."""
        if self._fault is not None and self._fault.kind in (FaultKind.UNREACHABLE, FaultKind.VERSION):
            raise self._fault
        self._mode = Mode.USER_STOPPED if self._pressed else Mode.IDLE

    def state(self) -> ArmState:
        """Returns the exact state of the simulation.

        Raises:
            ArmFault: not connected.
        """
        if self._mode is Mode.DISCONNECTED:
            raise self._fault or ArmFault(
                f"{self.name} is not connected", "Call connect() first.", True, FaultKind.COMMUNICATION
            )
        q = self.data.qpos[:7].copy()
        pose = compute_forward_kinematics(self.arm, q[None])
        torque = self.data.qfrc_constraint[:7].copy()
        gram = compute_jacobian(pose)[0]
        wrench = np.linalg.solve(gram @ gram.T + 1e-4 * np.eye(6), gram @ torque)
        quat = np.zeros(4)
        mujoco.mju_mat2Quat(quat, np.stack([pose.x, pose.y, pose.z], axis=1)[..., 0].T.ravel())
        return ArmState(
            stamp=self._clock(),
            robot_time=float(self.data.time),
            q=q,
            dq=self.data.qvel[:7].copy(),
            tau_ext=torque,
            wrench=wrench,
            hand_position=pose.position[:, 0].copy(),
            hand_quat=quat,
            gripper_width=float(self.data.qpos[7 : 7 + self.arm.finger_count].sum()),
            mode=self._mode,
            errors=self._fault.errors if self._fault else (),
        )

    def start_streaming(self) -> None:
        """Starts to follow targets.

        Raises:
            ArmFault: the arm is in a mode that does not allow it.
        """
        self._require_mode((Mode.IDLE, Mode.MOVING))
        self._mode, self._due = Mode.MOVING, self._clock()

    def stream(self, target: Target) -> None:
        """Sets the servos' targets and advances the scene by one physics step.

        Raises:
            ArmFault: streaming was not started, or a fault was injected.
        """
        self._require_mode((Mode.MOVING,))
        self.data.ctrl[:7] = target.joints
        if target.gripper >= 0.0:
            self.data.ctrl[7 : 7 + self.arm.finger_count] = target.gripper / 2
        self._step_physics()

    def hold(self) -> None:
        """Advances the scene by one physics step at the last target."""
        self._require_mode((Mode.MOVING,))
        self._step_physics()

    def stop(self) -> None:
        """Brakes from where the arm is, within the limits that a policy gets, until it is at rest."""
        if self._mode is Mode.MOVING:
            self._mode = Mode.IDLE
        self._brake_to_rest()

    def recover(self) -> None:
        """Clears an injected fault.

        Raises:
            ArmFault: the user stop is still pressed, or the robot cannot clear the fault.
        """
        if self._pressed:
            raise _make_user_stop_fault()
        if self._fault is not None and not self._fault.recoverable:
            raise self._fault
        self._fault, self._mode = None, Mode.IDLE

    def move_to(self, q: np.ndarray, speed_fraction: float = 0.1) -> None:
        """Moves to joint angles (7,) [rad] along the quintic 10 s³ - 15 s⁴ + 6 s⁵, whose peak speed is 1.875."""
        self._require_mode((Mode.IDLE,))
        goal, begin = np.asarray(q, float), self.data.ctrl[:7].copy()
        if goal.shape != (7,):
            raise WrongShape("joint angles", goal.shape, "(7,)")
        far = np.abs(goal - begin)
        by_speed = (1.875 * far / (speed_fraction * self.limits.dq)).max()
        by_acceleration = np.sqrt((5.774 * far / (speed_fraction * self.limits.ddq)).max())
        steps = int(np.ceil(max(by_speed, by_acceleration) / self.task.model.opt.timestep))
        for k in range(steps):
            s = (k + 1) / steps
            self.data.ctrl[:7] = begin + (goal - begin) * (10 * s**3 - 15 * s**4 + 6 * s**5)
            self._step_physics()
        self._step_until_rest()

    def gripper(self, width: float, speed: float, force: float | None = None) -> None:
        """Sets the fingers' targets; the fingers reach them while targets are streamed."""
        if self._fault is not None and self._fault.kind is FaultKind.GRIPPER:
            raise self._fault
        self.data.ctrl[7 : 7 + self.arm.finger_count] = np.clip(width, 0.0, 0.08) / 2

    def close(self) -> None:
        """Stops and frees the cameras."""
        if self._mode is Mode.MOVING:
            self.stop()
        self._mode = Mode.DISCONNECTED
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def read_scene_state(self) -> State:
        """Returns the task's state as its sensors measure it."""
        return State(self.task.spec, self.data.sensordata.copy())

    def render(self, camera: str, size: int) -> np.ndarray:
        """Renders a frame (size, size, 3) uint8 of the scene.

        Raises:
            UnknownName: the task has no such camera.
        """
        if camera not in self.task.cameras:
            raise UnknownName("camera", camera, self.task.cameras)
        key = camera, size
        if key not in self._renderers:
            self._renderers[key] = Renderer(self.task.model, size, size, camera)
        mocap = np.concatenate([self.data.mocap_pos.ravel(), self.data.mocap_quat.ravel()])
        return self._renderers[key].render(self.data.qpos, mocap)

    def inject_fault(self, fault: ArmFault) -> None:
        """Makes the arm fail now: it comes to rest, and every method except `recover` raises the fault."""
        modes = {
            FaultKind.REFLEX: Mode.REFLEX,
            FaultKind.USER_STOP: Mode.USER_STOPPED,
            FaultKind.COMMUNICATION: Mode.DISCONNECTED,
            FaultKind.UNREACHABLE: Mode.DISCONNECTED,
            FaultKind.VERSION: Mode.DISCONNECTED,
            FaultKind.CONTROL: Mode.IDLE,
        }
        self._fault = fault
        if fault.kind in modes:
            self._brake_to_rest()
            self._mode = modes[fault.kind]

    def set_user_stop(self, pressed: bool = True) -> None:
        """Presses or releases the user stop."""
        self._pressed = pressed
        if pressed:
            self.inject_fault(_make_user_stop_fault())
        elif self._mode is Mode.USER_STOPPED:
            self._mode = Mode.IDLE

    def _require_mode(self, modes: tuple[Mode, ...]) -> None:
        if self._fault is not None and self._fault.kind is not FaultKind.GRIPPER:
            raise self._fault
        if self._mode not in modes:
            wanted = " or ".join(mode.value for mode in modes)
            raise ArmFault(
                f"{self.name} is {self._mode.value}, expected {wanted}",
                "Connect and start streaming first; stop streaming before a move.",
                True,
                FaultKind.CONTROL,
            )

    def _brake_to_rest(self) -> None:
        way = compute_braking(self.arm, policy_limits(self.arm), self.data.qpos[:7], self.data.qvel[:7])
        period, servo = self.task.model.opt.timestep, self.task.model.actuator_biasprm[:7]
        lag = servo[:, 2] / servo[:, 1]  # damping / stiffness, the servos' time constant [s]
        for k in range(1, int(np.ceil(way.duration / period)) + 1):
            self.data.ctrl[:7] = np.clip(way.compute_target(k * period, lag), self.limits.q_min, self.limits.q_max)
            self._step_physics()
        self.data.ctrl[:7] = np.clip(way.compute_target(way.duration, lag), self.limits.q_min, self.limits.q_max)
        self._step_until_rest()

    def _step_until_rest(self) -> None:
        for _ in range(round(1.0 / self.task.model.opt.timestep)):
            self._step_physics()
            if np.abs(self.data.qvel[:7]).max() < REST:
                return

    def _step_physics(self) -> None:
        mujoco.mj_step(self.task.model, self.data)
        if self._realtime:
            # At most 0.1 s of delay is caught up.
            self._due = max(self._due, self._clock() - 0.1) + self.task.model.opt.timestep
            time.sleep(max(0.0, self._due - self._clock()))


def _make_user_stop_fault() -> ArmFault:
    return ArmFault(
        "the user stop is pressed", "Look at the arm, release the user stop, then confirm.", True, FaultKind.USER_STOP
    )
