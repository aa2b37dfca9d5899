"""The robot's model of itself: frames, Jacobians and masses, from the arm's table of numbers."""

from __future__ import annotations

from math import cos, sin

import mujoco
import numpy as np

from robo_reward.envs.arm.model import ArmModel, Link
from robo_reward.errors import UnknownName, UsageError, WrongShape

ELBOW_FLIP = -0.467002423653011
"""Angle of joint 4 at which the sign of the elbow configuration changes [rad] (Franka Robotics, libfranka)."""
HAND = Link(0.73, (-0.01, 0.0, 0.03), (0.001, 0.0025, 0.0017, 0.0, 0.0, 0.0))
"""Mass properties of Franka's hand in the flange frame, as configured on the robot (Franka Robotics, Desk)."""
GRAVITY = (0.0, 0.0, -9.81)  # [m/s²]


class RobotModel:
    """Kinematics and dynamics of one arm with its hand, in libfranka's frames and names.

    O is the base, F the flange, NE the nominal end effector (the hand's tool centre point), EE the end effector, K the
    stiffness frame. O_T_EE = O_T_F F_T_NE NE_T_EE; mass, Coriolis and gravity include end effector and load, but no
    rotors. An instance belongs to one thread.

    Args:
        arm: `panda` or `fr3`.

    Attributes:
        F_T_NE: the nominal end effector in the flange's frame, (4, 4): the hand's TCP, turned by -45 degrees.
        NE_T_EE: the end effector in the nominal one, set by the client, (4, 4).
        EE_T_K: the stiffness frame in the end effector, set by the client, (4, 4).
        F_T_EE: F_T_NE NE_T_EE.
        load: mass properties of the load in the flange's frame.

    Raises:
        UsageError: the arm does not have seven joints.
    """

    def __init__(self, arm: ArmModel) -> None:
        if arm.joint_count != 7:
            raise UsageError(
                f"arm {arm.name!r} has {arm.joint_count} joints; the model is of Franka's arms, panda and fr3"
            )
        self.arm = arm
        self._model = mujoco.MjModel.from_xml_string(_build_chain_xml(arm))
        self._data = mujoco.MjData(self._model)
        self._flange = self._model.site("flange").id
        self._last, self._load = self._model.body("link7").id, self._model.body("load").id
        self._jacobian = np.zeros((6, 7))
        self._qpos, self._qvel, self._gravity = self._data.qpos, self._data.qvel, self._model.opt.gravity
        self._flange_turn = self._data.site_xmat[self._flange].reshape(3, 3)
        self._flange_place = self._data.site_xpos[self._flange]
        self._flange_pose = np.eye(4)
        self.F_T_NE, self.NE_T_EE, self.EE_T_K = _nominal_end_effector(arm), np.eye(4), np.eye(4)
        self.F_T_EE = self.F_T_NE.copy()
        self.load = Link(0.0, (0.0, 0.0, 0.0), (0.0,) * 6)

    def set_NE_T_EE(self, transform: np.ndarray) -> None:
        """Sets the end effector in the nominal end effector's frame, (4, 4)."""
        self.NE_T_EE = check_rigid_transform("NE_T_EE", transform)
        self.F_T_EE = self.F_T_NE @ self.NE_T_EE

    def set_EE_T_K(self, transform: np.ndarray) -> None:
        """Sets the stiffness frame in the end effector's frame, (4, 4)."""
        self.EE_T_K = check_rigid_transform("EE_T_K", transform)

    def set_load(self, load: Link) -> None:
        """Sets the load of the hand; its inertia as `xx yy zz xy xz yz` about its centre of mass.

        Raises:
            UsageError: a negative mass, or a negative moment of inertia.
        """
        moments, axes = np.linalg.eigh(_inertia_matrix(load.inertia))
        if load.mass < 0 or moments[0] < -1e-9:
            raise UsageError(f"load of {load.mass} kg with moments of inertia {moments}: they must not be negative")
        # Eigenvectors may form a left-handed frame; a quaternion needs a right-handed one.
        if np.linalg.det(axes) < 0:
            axes[:, 0] *= -1
        model, body = self._model, self._load
        model.body_mass[body], model.body_ipos[body] = load.mass, load.com
        model.body_inertia[body] = np.maximum(moments, 0.0)
        mujoco.mju_mat2Quat(model.body_iquat[body], axes.ravel())
        model.body_sameframe[body] = 0  # the compiler set it, since the empty load is at the flange's origin
        mujoco.mj_setConst(model, self._data)
        self.load = load

    def pose(self, q: np.ndarray, frame: str = "EE") -> np.ndarray:
        """Returns the pose of a frame in the base frame, (4, 4).

        Args:
            q: joint angles (7,) [rad].
            frame: `joint1` to `joint7`, `F`, `NE`, `EE` or `K`.

        Raises:
            UnknownName: no such frame.
        """
        self._update_kinematics(q)
        if frame.startswith("joint"):
            if frame[5:] not in tuple("1234567"):
                raise UnknownName("frame", frame, (*(f"joint{i}" for i in range(1, 8)), "F", "NE", "EE", "K"))
            body = self._data.body(f"link{frame[5:]}")
            return _make_transform(body.xmat, body.xpos)
        self._flange_pose[:3, :3], self._flange_pose[:3, 3] = self._flange_turn, self._flange_place
        return self._flange_pose @ self._transform_in_flange(frame)

    def zero_jacobian(self, q: np.ndarray, frame: str = "EE") -> np.ndarray:
        """Returns the Jacobian of a frame's origin in the base frame, (6, 7): three rows [m/rad], three [rad/rad]."""
        self._update_kinematics(q)
        model, data = self._model, self._data
        mujoco.mj_comPos(model, data)
        tool = self._transform_in_flange(frame)[:3, 3]
        point = data.site_xpos[self._flange] + data.site_xmat[self._flange].reshape(3, 3) @ tool
        mujoco.mj_jac(model, data, self._jacobian[:3], self._jacobian[3:], point, self._last)
        return self._jacobian.copy()

    def body_jacobian(self, q: np.ndarray, frame: str = "EE") -> np.ndarray:
        """Returns the Jacobian of a frame's origin in the frame itself, (6, 7): three rows [m/rad], three [rad/rad]."""
        turn = self.pose(q, frame)[:3, :3].T
        jacobian = self.zero_jacobian(q, frame)
        return np.concatenate([turn @ jacobian[:3], turn @ jacobian[3:]])

    def mass(self, q: np.ndarray) -> np.ndarray:
        """Computes the mass matrix M(q), (7, 7) [kg m²]."""
        self._update_kinematics(q)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_crb(self._model, self._data)
        full = np.zeros((7, 7))
        mujoco.mj_fullM(self._model, full, self._data.qM)
        return full

    def coriolis(self, q: np.ndarray, dq: np.ndarray) -> np.ndarray:
        """Computes C(q, dq) dq, (7,) [N m]."""
        return self._compute_bias_torque(q, dq, (0.0, 0.0, 0.0))

    def gravity(self, q: np.ndarray, gravity: tuple[float, float, float] = GRAVITY) -> np.ndarray:
        """Computes g(q), (7,) [N m]: the torques with which the motors hold the arm."""
        return self._compute_bias_torque(q, np.zeros(7), gravity)

    def _compute_bias_torque(self, q: np.ndarray, dq: np.ndarray, gravity: tuple[float, float, float]) -> np.ndarray:
        self._update_kinematics(q)
        model, data = self._model, self._data
        self._qvel[:] = dq
        self._gravity[:] = gravity
        mujoco.mj_comPos(model, data)
        mujoco.mj_comVel(model, data)
        torque = np.zeros(7)
        mujoco.mj_rne(model, data, 0, torque)
        return torque

    def _update_kinematics(self, q: np.ndarray) -> None:
        self._qpos[:] = q
        mujoco.mj_kinematics(self._model, self._data)

    def _transform_in_flange(self, frame: str) -> np.ndarray:
        """Returns the transform (4, 4) of a frame behind the flange, in the flange's frame.

        Raises:
            UnknownName: no such frame.
        """
        if frame == "EE":
            return self.F_T_EE
        known = {"F": np.eye(4), "NE": self.F_T_NE, "K": self.F_T_EE @ self.EE_T_K}
        if frame not in known:
            raise UnknownName("frame", frame, (*(f"joint{i}" for i in range(1, 8)), "EE", *known))
        return known[frame]


def elbow_configuration(q: np.ndarray) -> np.ndarray:
    """Returns the elbow (2,): angle of joint 3 [rad], and on which side of its flip joint 4 is, -1, 0 or 1."""
    side = float(q[3]) - ELBOW_FLIP
    return np.array((q[2], (side > 0) - (side < 0)), float)


def check_rigid_transform(name: str, transform: np.ndarray) -> np.ndarray:
    """Returns a copy of a rigid transform (4, 4) after checking it.

    Raises:
        WrongShape: not (4, 4).
        UsageError: its upper left block is no rotation, or its last row is not 0 0 0 1.
    """
    transform = np.array(transform, float)
    if transform.shape != (4, 4):
        raise WrongShape(name, transform.shape, "(4, 4)")
    turn = transform[:3, :3]
    turned = np.abs(turn @ turn.T - np.eye(3)).max() < 1e-5 and np.linalg.det(turn) > 0
    if not (turned and np.array_equal(transform[3], (0, 0, 0, 1))):
        raise UsageError(f"{name} is not a rigid transform: expected a rotation and a translation over a row 0 0 0 1")
    return transform


def _make_transform(rotation: np.ndarray, position: np.ndarray) -> np.ndarray:
    out = np.eye(4)
    out[:3, :3] = rotation.reshape(3, 3)
    out[:3, 3] = position
    return out


def _nominal_end_effector(arm: ArmModel) -> np.ndarray:
    """Returns the transform (4, 4) of the hand's tool centre point in the flange's frame."""
    c, s = cos(arm.hand_yaw), sin(arm.hand_yaw)
    return np.array([(c, -s, 0, 0), (s, c, 0, 0), (0, 0, 1, arm.tcp), (0, 0, 0, 1)], float)


def _inertia_matrix(inertia: tuple[float, ...]) -> np.ndarray:
    """Returns `xx yy zz xy xz yz` as a matrix (3, 3)."""
    xx, yy, zz, xy, xz, yz = inertia
    return np.array([(xx, xy, xz), (xy, yy, yz), (xz, yz, zz)])


def _build_chain_xml(arm: ArmModel) -> str:
    """Returns the bare kinematic chain as MJCF: joints and masses, without visuals or collision geometry."""
    opening = ""
    for i, ((a, d, alpha), link) in enumerate(zip(arm.dh, arm.links, strict=True), start=1):
        turn = f"{cos(alpha / 2):.17g} {sin(alpha / 2):.17g} 0 0"
        opening += f"""
        <body name="link{i}" pos="{a} {-d * sin(alpha):.17g} {d * cos(alpha):.17g}" quat="{turn}">
          {_inertial_xml(link)}<joint name="joint{i}"/>"""
    tool = f"""
        <site name="flange" pos="0 0 {arm.flange}"/>
        <body name="tool" pos="0 0 {arm.flange}">{_inertial_xml(HAND)}</body>
        <body name="load" pos="0 0 {arm.flange}"><inertial pos="0 0 0" mass="0" diaginertia="0 0 0"/></body>"""
    return f"""
<mujoco>
  <compiler angle="radian" boundmass="0" boundinertia="0"/>
  <worldbody>{opening}{tool}{"</body>" * arm.joint_count}</worldbody>
</mujoco>"""


def _inertial_xml(link: Link) -> str:
    com, inertia = " ".join(map(str, link.com)), " ".join(map(str, link.inertia))
    if link.quat is None:
        return f'<inertial pos="{com}" mass="{link.mass}" fullinertia="{inertia}"/>'
    quat = " ".join(map(str, link.quat))
    return f'<inertial pos="{com}" mass="{link.mass}" quat="{quat}" diaginertia="{inertia}"/>'
