"""Base class of the arm's tasks: the scene, the hand's fields, random starts, the action convention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, ClassVar

import mujoco
import numpy as np

from robo_reward.envs.arm.control import FINGER_MAX, EndEffectorDelta, JointDelta
from robo_reward.envs.arm.dynamics import Dynamics, RandomisationRanges
from robo_reward.envs.arm.kinematics import solve_position
from robo_reward.envs.arm.menagerie import ROBOTS, menagerie_model, replace_visuals
from robo_reward.envs.arm.mjcf import scene_xml
from robo_reward.envs.arm.model import ArmModel, get_arm_model
from robo_reward.envs.state import Field, State, StateSpec
from robo_reward.envs.task import Observable, ObservationSpec, Start, Task, Variant
from robo_reward.errors import UnknownName, UsageError

Vector = tuple[float, float, float]

CONTROLS = ("ee_delta", "ee_delta_yaw", "joint_delta")
YAW_STEP = 0.1
"""Rotation of the hand in one control step for an action of 1.0 [rad]."""

CENTRE: Vector = (0.5, 0.0, 0.15)
"""Centre of the workspace [m]; position observations are relative to it."""


class ArmTask(Task):
    """A task of the arm on its table; a subclass adds the objects on the table.

    The table's top is z = 0; x points away from the robot, y to its left.

    Args:
        arm: `panda`, `fr3` or `ur5e`.
        control: `ee_delta`, `ee_delta_yaw` (the hand also turns about the vertical) or `joint_delta`.
        assets: what the arm looks like: `primitive`, or `menagerie` for the meshes of MuJoCo Menagerie.
        dynamics: the dynamics of its joints, a file of `robo-reward identify` or its content; else the task's own.
        ranges: domain randomisation of every simulated world, see `RandomisationRanges`.

    Raises:
        UsageError: the class lacks `expert_reward`, or options that do not fit this arm.
        UnknownName: no such control, or no such assets.
    """

    name: ClassVar[str]
    tool: ClassVar[str] = "hand"
    cameras = ("front", "side", "top", "wrist")
    things: ClassVar[tuple[Field, ...]] = ()
    bodies: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    thing_sensors: ClassVar[str] = ""
    views: ClassVar[tuple[Observable, ...]] = ()
    low: ClassVar[Vector] = (0.30, -0.30, 0.010)
    high: ClassVar[Vector] = (0.72, 0.30, 0.45)
    action_scale: ClassVar[float] = 0.02
    gripper: ClassVar[bool] = True
    opening: ClassVar[float] = 2 * FINGER_MAX
    start_low: ClassVar[Vector] = (0.42, -0.08, 0.16)
    start_high: ClassVar[Vector] = (0.50, 0.08, 0.24)

    def __init__(
        self,
        arm: str = "panda",
        control: str = "ee_delta",
        assets: str = "primitive",
        dynamics: str | Mapping[str, Any] | None = None,
        ranges: Mapping[str, Any] | None = None,
    ) -> None:
        if not hasattr(self, "expert_reward"):
            raise UsageError(f"{type(self).__name__} has no `expert_reward`: set it to the source of a reward program")
        self.arm: ArmModel = get_arm_model(arm, self.tool)
        self.id = f"{arm}/{self.name}"
        self.spec = StateSpec([*hand_fields(self.arm), *self.things])
        xml = scene_xml(self.arm, self.bodies, hand_sensors(self.arm) + self.thing_sensors, self.extra)
        self.model = _compile_model(xml, self.arm, assets)
        self._source = xml, assets
        if (dynamics or ranges) and self.arm.joint_count != 7:
            raise UsageError(f"{self.id}: dynamics and ranges are for an arm of Franka's, with 7 joints")
        self.identified_dynamics = Dynamics.from_option(dynamics) if dynamics else None
        self.ranges = RandomisationRanges.from_option(ranges) if ranges else None
        self.options = self._collect_options(control, assets)
        if self.identified_dynamics:
            self.model = self.identified_dynamics.to_policy_time().apply_to(self.model)
        self.substeps = 8
        self.observation = ObservationSpec(self.spec, [*self._hand_views(control), *self.views])
        self.controller = self._make_controller(control)
        self.check()

    def _collect_options(self, control: str, assets: str) -> dict[str, Any]:
        """Returns the options that differ from the defaults, with the content of files in place of their names."""
        options: dict[str, Any] = {}
        if control != "ee_delta":
            options["control"] = control
        if assets != "primitive":
            options["assets"] = assets
        if self.identified_dynamics:
            options["dynamics"] = self.identified_dynamics.to_json()
        if self.ranges:
            options["ranges"] = {name: list(pair) for name, pair in asdict(self.ranges).items()}
        return options

    def build_scene(self) -> mujoco.MjSpec:
        """Returns the scene's editable specification, to be changed and compiled again."""
        xml, assets = self._source
        return _build_scene_spec(xml, self.arm, assets)

    def _make_controller(self, control: str) -> Any:
        if control in ("ee_delta", "ee_delta_yaw"):
            yaw = YAW_STEP if control == "ee_delta_yaw" else 0.0
            limits = self.action_scale, self.low, self.high
            return EndEffectorDelta(self.arm, self.control_dt, *limits, self.gripper, yaw, self.opening)
        if control == "joint_delta":
            return JointDelta(self.arm, self.control_dt, gripper=self.gripper, opening=self.opening)
        raise UnknownName("control", control, CONTROLS)

    def _hand_views(self, control: str) -> list[Observable]:
        views = [Observable("hand_position", 0.2, centre=CENTRE), Observable("hand_velocity", 0.5)]
        if self.gripper:
            views.append(Observable("gripper_opening", 0.04, centre=(0.04,)))
        if control != "ee_delta":
            views.append(Observable("joint_position", 0.5, centre=self.arm.home))
        return views

    def sample(self, rng: np.random.Generator, n: int) -> Start:
        """Samples initial states: the hand above the table, pointing down, and the objects where `place` puts them."""
        hand = rng.uniform(self.start_low, self.start_high, (n, 3))
        qpos = np.zeros((n, self.model.nq))
        things = self.arm.joint_count + self.arm.finger_count
        # qpos of the arm, then of the fingers, then of the objects
        qpos[:, : self.arm.joint_count] = solve_position(self.arm, hand)
        qpos[:, self.arm.joint_count : things] = self.opening / 2
        mocap = np.zeros((n, 7 * self.model.nmocap))
        mocap[:, 3 * self.model.nmocap :: 4] = 1.0  # identity quaternions (w, x, y, z)
        self.place(rng, qpos[:, things:], mocap)
        return Start(qpos, mocap)

    def variants(self, rng: np.random.Generator, n: int) -> list[Variant]:
        """Returns the physics of n worlds: the arm as identified, randomised as `ranges` says."""
        delay = self.identified_dynamics.to_policy_time().delay if self.identified_dynamics else 0.0
        return [self._sample_variant(rng, delay) for _ in range(n)] if self.ranges else [Variant(self.model, delay)] * n

    def _sample_variant(self, rng: np.random.Generator, delay: float) -> Variant:
        assert self.ranges is not None
        drawn = self.ranges.sample_dynamics(rng, replace(Dynamics.from_task(self), delay=delay))
        model = drawn.apply_to(self.model)
        self.ranges.randomise_objects(rng, model)
        return Variant(model, drawn.delay)

    def place(self, rng: np.random.Generator, qpos: np.ndarray, mocap: np.ndarray) -> None:
        """Places the objects in n worlds, in place.

        Args:
            rng: the source of all randomness.
            qpos: (n, nq - joints - fingers), behind the arm's and the fingers' own.
            mocap: (n, 7 nmocap): positions, then quaternions (identity already).
        """

    def compute_action_toward(self, state: State, target: np.ndarray, gripper: float | np.ndarray = 1.0) -> np.ndarray:
        """Computes the action (..., A) that moves an expert's hand to a target (..., 3) [m] at full speed.

        Raises:
            UsageError: the actions are not `ee_delta`, which these scripts need.
        """
        if self.action.kind != "ee_delta":
            raise UsageError(f"the scripted expert of {self.id!r} needs control=ee_delta, not {self.action.kind}")
        action = np.zeros((*target.shape[:-1], self.action.dim))
        action[..., :3] = np.clip((target - state.hand_position) / self.action_scale, -1, 1)
        if self.gripper:
            action[..., -1] = gripper
        return action


def _compile_model(xml: str, arm: ArmModel, assets: str) -> mujoco.MjModel:
    """Compiles the scene's model, with the arm in the chosen appearance."""
    known = ("menagerie", "primitive") if arm.name in ROBOTS else ("primitive",)
    if assets not in known:
        raise UnknownName(f"assets of {arm.name}", assets, known)
    return (
        mujoco.MjModel.from_xml_string(xml) if assets == "primitive" else _build_scene_spec(xml, arm, assets).compile()
    )


def _build_scene_spec(xml: str, arm: ArmModel, assets: str) -> mujoco.MjSpec:
    scene = mujoco.MjSpec.from_string(xml)
    if assets != "primitive":
        replace_visuals(scene, menagerie_model(arm.name))
    return scene


def sample_free_bodies(rng: np.random.Generator, n: int, low: Vector, high: Vector, turn: float = np.pi) -> np.ndarray:
    """Samples free-joint positions (n, 7), uniform in a box [m] and in yaw up to ±`turn` [rad]."""
    position = rng.uniform(low, high, (n, 3))
    yaw = rng.uniform(-turn, turn, n) / 2
    quat = np.stack([np.cos(yaw), np.zeros(n), np.zeros(n), np.sin(yaw)], axis=1)
    return np.concatenate([position, quat], axis=1)


def object_fields(name: str, what: str, typical: tuple[float, float] = (-0.3, 0.7)) -> tuple[Field, ...]:
    """Returns the fields of a free object: position, orientation and velocity."""
    return (
        Field(f"{name}_position", (3,), "m", f"centre of {what}", "object", typical=typical),
        Field(f"{name}_rotation", (4,), "quaternion", f"orientation of {what}", "object"),
        Field(f"{name}_velocity", (3,), "m/s", f"linear velocity of {what}", "object"),
    )


def object_sensors(name: str) -> str:
    """Returns the sensors of `object_fields`."""
    return f"""
    <framepos name="{name}_position" objtype="xbody" objname="{name}"/>
    <framequat name="{name}_rotation" objtype="xbody" objname="{name}"/>
    <framelinvel name="{name}_velocity" objtype="xbody" objname="{name}"/>"""


def goal_field(what: str) -> Field:
    """Returns the field of a goal marker's position."""
    return Field("goal_position", (3,), "m", what, "goal", typical=(-0.3, 0.7))


GOAL_SENSOR = '<framepos name="goal_position" objtype="xbody" objname="goal"/>'


def hand_fields(arm: ArmModel) -> tuple[Field, ...]:
    """Returns the fields of the tool's pose and the arm's joints."""
    turn = 2.8 if max(map(abs, arm.home)) < 2.8 else 3.2
    point = "tool centre point between the finger tips" if arm.finger_count else "middle of the board that pushes"
    return (
        Field("hand_position", (3,), "m", point, "hand", typical=(-0.3, 0.7)),
        Field("hand_velocity", (3,), "m/s", "linear velocity of the tool centre point", "hand"),
        *((OPENING,) if arm.finger_count else ()),
        Field(
            "joint_position", (arm.joint_count,), "rad", "angles of the arm's joints", "joint", typical=(-turn, turn)
        ),
    )


def hand_sensors(arm: ArmModel) -> str:
    """Returns the sensors of `hand_fields`."""
    fingers = '<tendonpos name="gripper_opening" tendon="opening"/>' if arm.finger_count else ""
    joints = (f'<jointpos name="joint_position_{i}" joint="joint{i}"/>' for i in range(1, arm.joint_count + 1))
    return f"""
    <framepos name="hand_position" objtype="site" objname="tcp"/>
    <framelinvel name="hand_velocity" objtype="site" objname="tcp"/>
    {fingers}{"".join(joints)}"""


OPENING = Field(
    "gripper_opening", (), "m", "width between the fingers, 0 closed to 0.08 open", "gripper", typical=(0, 0.08)
)
