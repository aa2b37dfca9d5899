"""A plant with a task's own MuJoCo scene, whose arm is driven by torques once a millisecond."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import mujoco
import numpy as np

from robo_reward.configs.emulation import EmulateConfig
from robo_reward.envs.arm.base import ArmTask
from robo_reward.envs.arm.model import Link, with_inertia
from robo_reward.envs.judgement import judge_states, start_memory
from robo_reward.envs.state import State
from robo_reward.envs.task import Task
from robo_reward.errors import UnknownName, UsageError, WrongShape
from robo_reward.hardware.emulator.robot.urdf import inertia_tensor
from robo_reward.hardware.emulator.world.hand import MAX_WIDTH, EmulatedHand
from robo_reward.hardware.emulator.world.painter import RenderThread
from robo_reward.hardware.emulator.world.plant import DT, GripperCommand, PlantState

FRICTION = 0.1
"""Viscous friction that remains in each joint after the robot's compensation [N m s/rad], if none was identified."""


@dataclass(frozen=True)
class JointFriction:
    """The load on each motor besides the links: rotor inertia and friction.

    Args:
        armature: inertia of the motor behind its gear (7,) [kg m²].
        dry: friction that is overcome before a joint moves (7,) [N m].
        viscous: friction that grows with the speed (7,) [N m s/rad].
    """

    armature: tuple[float, ...]
    dry: tuple[float, ...]
    viscous: tuple[float, ...]


IDEAL = JointFriction((0.1,) * 7, (0.0,) * 7, (FRICTION,) * 7)
IDENTIFIED = {
    "fr3": JointFriction((0.195,) * 4 + (0.074,) * 3, (1.137,) * 4 + (0.763, 0.44, 0.248), (0.21,) * 7),
}
"""Identified in torque control (MuJoCo Menagerie, franka_fr3, 2025-04-25); for a Panda no values are published."""
FRICTIONS = ("identified", "none")
NO_FRICTION = np.zeros(7)
_SELF = 8  # contact bit of the lower links, which the wrist and the hand can collide with
_LOWER, _UPPER = ("base", "link1", "link2"), ("link5", "link6", "link7", "hand")
_BULKY = ("link3", "link4", "link5", "link6", "link7")
_CONTACTS = mujoco.mjtConstraint.mjCNSTR_CONTACT_FRICTIONLESS.value  # lowest value of the contact constraint types


class MujocoPlant:
    """A task's scene with a torque-controlled arm, as the robot's protocol presents it.

    The scene is the task's own with three changes: the arm's position servos are torque motors, the physics takes a
    step of 1 ms, and the arm's links collide with the scene and the lower with the upper ones. Gravity of the arm, the
    hand and the fingers is compensated, and friction of the joints except for a residue; the load in the hand is felt.
    The residual friction, and the rotors' inertia, are those identified on an FR3 in torque control; a Panda has a
    little viscous friction and no dry one.

    Stepping belongs to one thread; `render`, `task_state`, `success` and `rearrange` may be called from any.

    Args:
        task: a task of a Franka arm with its hand, `panda/…` or `fr3/…`.
        seed: the seed of the objects' start poses; `BatchSim` with the same seed starts with the same ones.
        friction: `identified`, or `none` for a little viscous friction only.
        inertia: a table of `arm.INERTIAS`, or empty for the arm's default one.

    Attributes:
        arm: the arm's table of numbers.
        start: the joint positions from which the task begins in this arrangement (7,) [rad].

    Raises:
        UsageError: the task is not one of a Franka arm.
        UnknownName: another word for `friction`, or a table of inertia that the arm does not have.
    """

    def __init__(
        self, task: Task, seed: int = 0, friction: str = EmulateConfig.friction, inertia: str = EmulateConfig.inertia
    ) -> None:
        if not (isinstance(task, ArmTask) and task.arm.joint_count == 7 and task.arm.tool == "hand"):
            raise UsageError(f"task {task.id!r} has no Franka arm with a hand; choose one of panda/… or fr3/…")
        self.task, self.arm = task, with_inertia(task.arm, inertia)
        self.rng = np.random.default_rng(seed)
        if friction not in FRICTIONS:
            raise UnknownName("friction", friction, FRICTIONS)
        joints = IDENTIFIED.get(task.arm.name, IDEAL) if friction == "identified" else IDEAL
        self._model = _compile_torque_scene(task, joints, self.arm.links if inertia else ())
        self._data = mujoco.MjData(self._model)
        self._read = _SensorReader(self._model, self._data)
        self._hand = EmulatedHand()
        self._lock = threading.Lock()
        self._painter = RenderThread(task.model)
        self._success, self._judged_at, self._memory = False, 0.0, np.zeros((1, 0))
        self.reset()

    def reset(self, q: np.ndarray | None = None) -> PlantState:
        """Resets the scene to time zero, at rest, with newly sampled object poses.

        Args:
            q: joint positions of the arm (7,) [rad], or None for the task's start.

        Raises:
            WrongShape: `q` is not (7,).
        """
        if q is not None and np.shape(q) != (7,):
            raise WrongShape("q", np.shape(q), "(7,)")
        with self._lock:
            start = self.task.sample(self.rng, 1)
            self.start = start.qpos[0, :7].copy()
            mujoco.mj_resetData(self._model, self._data)
            self._data.qpos[:] = start.qpos[0]
            if q is not None:
                self._data.qpos[:7] = q
            self._place_mocap_bodies(start.mocap[0])
            self._hand.hold_width(float(self._data.qpos[7] + self._data.qpos[8]))
            self._state = self._read(self._hand)
            self._start_rules()
        return self._state

    def rearrange(self) -> np.ndarray:
        """Samples new object poses, as a person rearranges the scene between episodes; the arm stays as it is.

        Returns:
            The joint positions where the arm should begin the task, `start` (7,) [rad].
        """
        with self._lock:
            start = self.task.sample(self.rng, 1)
            self.start = start.qpos[0, :7].copy()
            things = 7 + self.arm.finger_count
            self._data.qpos[things:] = start.qpos[0, things:]
            self._data.qvel[things:] = 0.0
            self._data.qacc_warmstart[:] = 0.0
            self._place_mocap_bodies(start.mocap[0])
            self._start_rules()
        return self.start

    def step(self, tau: np.ndarray, gripper: GripperCommand | None = None) -> PlantState:
        """Advances by one millisecond under `tau` (7,) [N m], without gravity and friction.

        Raises:
            UsageError: a torque that is not finite.
        """
        if not math.isfinite(float(np.add.reduce(tau))):
            raise UsageError(f"torques {np.asarray(tau).tolist()}: seven finite numbers were expected")
        with self._lock:
            data, hand = self._data, self._hand
            width = float(data.qpos[7] + data.qpos[8])
            if gripper is not None:
                hand.start_command(gripper, width)
            fingers = hand.step(width)
            data.ctrl[:7] = tau
            data.ctrl[7:9] = fingers.target
            self._read.limit_finger_force(fingers.force)
            mujoco.mj_step(self._model, data)
            self._state = self._read(hand)
            if self.task.timed_rules and data.time >= self._judged_at + self.task.control_dt - DT / 2:
                self._judged_at += self.task.control_dt
                judged = judge_states(self.task, self._view_task(), self._memory)
                self._success, self._memory = bool(judged.success[0]), judged.memory
        return self._state

    def state(self) -> PlantState:
        """Returns the current sensor readings."""
        return self._state

    def task_state(self) -> State:
        """Returns the named quantities of the task, (D,), as in simulation."""
        with self._lock:
            return self.task.spec.view(self._data.sensordata.copy())

    def success(self) -> bool:
        """Returns whether the task is done now; rules over time look back to the last arrangement of the objects."""
        return self._success if self.task.timed_rules else bool(self.task.success(self.task_state()))

    def render(self, camera: str, size: int) -> np.ndarray:
        """Renders the scene now, uint8 (size, size, 3), as the task's own cameras see it.

        Raises:
            UnknownName: the task has no such camera.
            NoRenderer: this machine cannot render.
        """
        if camera not in self.task.cameras:
            raise UnknownName("camera", camera, self.task.cameras)
        with self._lock:
            data = self._data
            qpos, mocap = data.qpos.copy(), np.concatenate([data.mocap_pos.ravel(), data.mocap_quat.ravel()])
        return self._painter.render_frame(camera, size, qpos, mocap)

    def close(self) -> None:
        """Releases the GL contexts; a second call has no effect."""
        self._painter.close()

    def _view_task(self) -> State:
        """Returns the named quantities of the task as a batch of one, (1, D)."""
        return self.task.spec.view(self._data.sensordata[None].copy())

    def _start_rules(self) -> None:
        """Makes the rules over time forget what they have seen."""
        self._success, self._judged_at = False, float(self._data.time)
        self._memory = start_memory(self.task, self._view_task())

    def _place_mocap_bodies(self, mocap: np.ndarray) -> None:
        """Sets the poses of the mocap bodies and updates all sensors."""
        split = 3 * self._model.nmocap
        self._data.mocap_pos.flat = mocap[:split]
        self._data.mocap_quat.flat = mocap[split:]
        mujoco.mj_forward(self._model, self._data)


class _SensorReader:
    """Reads a `PlantState` from the simulation."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._model, self._data = model, data
        body = model.geom_bodyid
        arm = {model.body(name).id for name in ("base", *(f"link{i}" for i in range(1, 8)), "hand")}
        self._is_arm = [int(b) in arm for b in body]
        self._is_obstacle = [a or bool(bits & 4) for a, bits in zip(self._is_arm, model.geom_contype, strict=True)]
        first, last = model.body("link7").id, model.body("finger2").id
        self._grip = slice(first, last + 1)  # link 7, the hand and its fingers have consecutive ids
        self._tcp = model.site("tcp").id
        self._root = model.body_rootid[model.body("hand").id]
        self._limits = model.actuator_forcerange[7:9]
        self._contact_torque = np.zeros(model.nv)
        self._is_dry = bool(model.dof_frictionloss[:7].any())
        self._none = np.zeros(7), np.zeros(6)
        self._qpos, self._q, self._dq = data.qpos, data.qpos[:7], data.qvel[:7]
        self._constraint, self._actuator, self._gravcomp = (
            data.qfrc_constraint[:7], data.qfrc_actuator[:7], data.qfrc_gravcomp[:7],
        )  # fmt: skip

    def limit_finger_force(self, force: float) -> None:
        """Limits the force of the finger servos [N]."""
        if self._limits[0, 1] != force:
            self._limits[:] = (-force, force)

    def __call__(self, hand: EmulatedHand) -> PlantState:
        """Returns the sensor readings; contacts are those of the last step."""
        data, qpos = self._data, self._qpos
        friction = data.efc_force[data.ne : data.ne + 7] if self._is_dry else NO_FRICTION  # the arm comes first
        touched = (self._constraint != friction).any()
        tau_ext, wrench = self._compute_contact_forces() if touched else self._none
        return PlantState(
            time=data.time,
            q=self._q.copy(),
            dq=self._dq.copy(),
            tau_J=self._actuator + self._gravcomp + friction,  # at the joint side of the gear
            tau_ext=tau_ext,
            wrench=wrench,
            gripper_width=max(0.0, float(qpos[7] + qpos[8])),
            gripper_max_width=MAX_WIDTH,
            gripper_moving=hand.moving,
            gripper_force=float(np.abs(data.actuator_force[7:9]).min()) if hand.holding else 0.0,
            contact=bool(touched) and self._has_arm_contact(),
        )

    def _compute_contact_forces(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns joint torques (7,) of all contacts, and the wrench (6,) of those at the hand about the TCP."""
        model, data = self._model, self._data
        # Contact rows only: friction and limit constraints are not external.
        force = np.where(data.efc_type >= _CONTACTS, data.efc_force, 0.0)
        mujoco.mj_mulJacTVec(model, data, self._contact_torque, force)
        mujoco.mj_rnePostConstraint(model, data)
        tx, ty, tz, fx, fy, fz = data.cfrc_ext[self._grip].sum(axis=0).tolist()  # about the arm's centre of mass
        x, y, z = (data.subtree_com[self._root] - data.site_xpos[self._tcp]).tolist()
        # Shift the torque from the centre of mass to the TCP: τ + r × f.
        wrench = np.array((fx, fy, fz, tx + y * fz - z * fy, ty + z * fx - x * fz, tz + x * fy - y * fx))
        return self._contact_torque[:7].copy(), wrench

    def _has_arm_contact(self) -> bool:
        """Returns whether a link or the hand, but not a finger, touches a fixture or another link."""
        arm, obstacle = self._is_arm, self._is_obstacle
        return any((arm[a] and obstacle[b]) or (obstacle[a] and arm[b]) for a, b in self._data.contact.geom.tolist())


def _compile_torque_scene(task: ArmTask, friction: JointFriction, links: tuple[Link, ...] = ()) -> mujoco.MjModel:
    """Compiles the task's scene with torque motors, at 1 kHz."""
    scene = task.build_scene()
    scene.option.timestep = DT
    for i, link in enumerate(links, 1):
        body = scene.body(f"link{i}")
        body.mass, body.ipos, body.fullinertia = link.mass, link.com, inertia_tensor(link)
    for i, (motor, tau) in enumerate(zip(scene.actuators[:7], task.arm.tau_max, strict=True), 1):
        # Turn the position servo into a motor whose control value is the torque [N m].
        motor.biastype = mujoco.mjtBias.mjBIAS_NONE
        motor.gainprm[0] = 1.0
        motor.biasprm[:] = 0.0
        motor.ctrllimited = False
        motor.forcerange = (-tau, tau)
        joint = scene.joint(f"joint{i}")
        joint.armature, joint.frictionloss = friction.armature[i - 1], friction.dry[i - 1]
        joint.damping = friction.viscous[i - 1]
    for finger in scene.actuators[7:9]:
        finger.ctrllimited = False
    for name in {*_BULKY, *_LOWER, *_UPPER}:
        for geom in scene.body(name).geoms:
            if geom.type == mujoco.mjtGeom.mjGEOM_MESH:
                continue
            # Contact bits: the lower links meet the wrist and the hand only, the others meet the scene.
            if name in _LOWER:
                geom.contype = _SELF
            elif name in _BULKY:
                geom.contype, geom.conaffinity = 2, 4
            if name in _UPPER and geom.contype:
                geom.conaffinity |= _SELF
    return scene.compile()
