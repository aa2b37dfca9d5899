"""A readable state for any MuJoCo model from other authors."""

from __future__ import annotations

import mujoco
import numpy as np

from robo_reward.envs.model.names import UniqueNames, make_identifier
from robo_reward.envs.model.parts import ModelParts
from robo_reward.envs.state import Field, StateSpec
from robo_reward.errors import WrongShape

_BALL, _HINGE = int(mujoco.mjtJoint.mjJNT_BALL), int(mujoco.mjtJoint.mjJNT_HINGE)
_SENSOR_UNITS = {
    "TOUCH": "N",
    "ACCELEROMETER": "m/s^2",
    "VELOCIMETER": "m/s",
    "GYRO": "rad/s",
    "FORCE": "N",
    "TORQUE": "N m",
    "RANGEFINDER": "m",
    "TENDONPOS": "m",
    "TENDONVEL": "m/s",
    "BALLQUAT": "quaternion",
    "BALLANGVEL": "rad/s",
    "FRAMEPOS": "m",
    "FRAMEQUAT": "quaternion",
    "FRAMELINVEL": "m/s",
    "FRAMEANGVEL": "rad/s",
    "FRAMELINACC": "m/s^2",
    "FRAMEANGACC": "rad/s^2",
    "SUBTREECOM": "m",
    "SUBTREELINVEL": "m/s",
    "GEOMDIST": "m",
}


class ModelState:
    """Reads the state of a model, in the order of `spec`.

    Of every named body that can move: position, rotation and velocity of its frame in the world; of every joint that
    is not a free one: angle or displacement, and its rate; of named sites, and of geoms named as goals: position; every
    sensor; and the contact force on the ends of the robot and on objects. Bodies that cannot move are left out, unless
    they are goals.

    Reading gathers from one array of everything: `[xpos, xquat, v, ω, qpos, qvel, site_xpos, geom_xpos, sensordata,
    force]`, with
    the velocity of body i at its frame's origin, `v_i = v_c + ω × (x_i - c)`, where c is the point of MuJoCo's `cvel`.

    Args:
        model: any compiled model.

    Attributes:
        spec: the fields.
        sources: for each field, the block that it is read from and its index there.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self.model, self._parts, self._names = model, ModelParts(model), UniqueNames()
        sizes = {"xpos": 3 * model.nbody, "xquat": 4 * model.nbody, "v": 3 * model.nbody, "w": 3 * model.nbody}
        sizes |= {"qpos": model.nq, "qvel": model.nv, "site": 3 * model.nsite, "geom": 3 * model.ngeom}
        sizes |= {"sensor": model.nsensordata, "force": model.nbody}
        self._start = dict(zip(sizes, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
        self._fields: list[Field] = []
        self.sources: dict[str, tuple[str, int]] = {}
        self._index: list[int] = []
        self._reach = max(1.0, float(np.ceil(2 * model.stat.extent)))
        self._add_bodies()
        self._add_joints()
        self._add_sites()
        self._add_goal_geoms()
        self._add_sensors()
        self._has_forces = self._add_forces()
        self.spec = StateSpec(self._fields)
        self._gather = np.array(self._index, dtype=int)

    @property
    def owner(self) -> np.ndarray:
        """For each body the closest ancestor, itself included, that has a name (nbody,)."""
        return self._parts.owner

    def read_state(self, data: mujoco.MjData, refresh: bool = True) -> np.ndarray:
        """Returns the state (D,) of a simulation.

        Args:
            data: of this model. Sensors and contacts are as of the last `mj_step` or `mj_forward`.
            refresh: first bring positions and velocities up to date with `qpos` and `qvel`, which `mj_step` leaves
                one time step behind. This changes no trajectory; `mj_forward` would, by the solver's warm start.
        """
        model = self.model
        if len(data.qpos) != model.nq or len(data.xpos) != model.nbody:
            raise WrongShape("data of another model: qpos", data.qpos.shape, f"({model.nq},)")
        if refresh:
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_comVel(model, data)
        # cvel holds (angular, linear) velocity at the centre of mass of the kinematic tree; shift it to the body frame.
        spin = data.cvel[:, :3]
        arm = data.xpos - data.subtree_com[model.body_rootid]
        velocity = data.cvel[:, 3:] + np.cross(spin, arm)
        blocks = (data.xpos, data.xquat, velocity, spin, data.qpos, data.qvel)
        blocks += (data.site_xpos, data.geom_xpos, data.sensordata)
        force = self._compute_contact_forces(data) if self._has_forces else np.zeros(model.nbody)
        return np.concatenate([*(block.ravel() for block in blocks), force])[self._gather]

    def read_states(self, qpos: np.ndarray, qvel: np.ndarray, mocap: np.ndarray | None = None) -> np.ndarray:
        """Returns the states (n, D) of n configurations and velocities, with contacts and sensors solved for each.

        Args:
            qpos: (n, nq).
            qvel: (n, nv).
            mocap: (n, 7 * nmocap) as in `Start.mocap`, or None to leave mocap bodies where the model has them.
        """
        model, data = self.model, mujoco.MjData(self.model)
        if np.ndim(qpos) != 2 or np.shape(qpos)[1] != model.nq or np.shape(qvel) != (len(qpos), model.nv):
            raise WrongShape(
                "qpos and qvel", (*np.shape(qpos), *np.shape(qvel)), f"(n, {model.nq}) and (n, {model.nv})"
            )
        states = np.empty((len(qpos), self.spec.dim))
        for row in range(len(qpos)):
            mujoco.mj_resetData(model, data)
            data.qpos[:], data.qvel[:] = qpos[row], qvel[row]
            if mocap is not None:
                data.mocap_pos.flat, data.mocap_quat.flat = np.split(np.asarray(mocap[row]), [3 * model.nmocap])
            mujoco.mj_forward(model, data)
            states[row] = self.read_state(data, refresh=False)
        return states

    def _add_field(self, field: Field, block: str, at: int) -> None:
        self._fields.append(field)
        self.sources[field.name] = (block, at)
        start = self._start[block] + at
        self._index.extend(range(start, start + field.size))

    def _add_bodies(self) -> None:
        for body in self._parts.list_bodies():
            role, what = self._parts.classify_body(body), self._parts.describe_body(body)
            free, still = self._parts.is_free(body), role == "goal"
            quantities = ["position", "rotation"] + ["velocity"] * (not still) + ["spin"] * (free and not still)
            name = self._parts.make_body_name(body)
            name = self._names.claim_subject(name, "body", tuple(quantities))
            reach = (-self._reach, self._reach)
            self._add_field(
                Field(f"{name}_position", (3,), "m", f"position of {what}", role, typical=reach), "xpos", 3 * body
            )
            turn = Field(f"{name}_rotation", (4,), "quaternion", f"orientation of {what}", role)
            self._add_field(turn, "xquat", 4 * body)
            if "velocity" in quantities:
                speed = Field(f"{name}_velocity", (3,), "m/s", f"linear velocity of {what}", role, typical=(-5, 5))
                self._add_field(speed, "v", 3 * body)
            if "spin" in quantities:
                spin = Field(f"{name}_spin", (3,), "rad/s", f"angular velocity of {what}", role, typical=(-10, 10))
                self._add_field(spin, "w", 3 * body)

    def _add_joints(self) -> None:
        model = self.model
        for joint in self._parts.list_joints():
            wanted, what, role = (
                self._parts.make_joint_name(joint),
                self._parts.describe_joint(joint),
                self._parts.classify_joint(joint),
            )
            kind = int(model.jnt_type[joint])
            at, rate_at = int(model.jnt_qposadr[joint]), int(model.jnt_dofadr[joint])
            if kind == _BALL:
                name = self._names.claim_subject(wanted, "joint", ("rotation", "spin"))
                frame = self._parts.get_body_name(int(model.jnt_bodyid[joint])) or "the body"
                self._add_field(
                    Field(f"{name}_rotation", (4,), "quaternion", f"turn of {what}", role, "its parent"), "qpos", at
                )
                spin = Field(f"{name}_spin", (3,), "rad/s", f"angular velocity of {what}", role, frame, (-10, 10))
                self._add_field(spin, "qvel", rate_at)
                continue
            hinge = kind == _HINGE
            quantity, unit = ("angle", "rad") if hinge else ("displacement", "m")
            name = self._names.claim_subject(wanted, "joint", (quantity, "velocity"))
            wide = np.pi if hinge else self._reach
            low, high = model.jnt_range[joint] if model.jnt_limited[joint] else (-wide, wide)
            usual = (round(float(low), 4), round(float(high), 4))
            value = Field(f"{name}_{quantity}", (), unit, f"{quantity} of {what}", role, typical=usual)
            self._add_field(value, "qpos", at)
            rate = Field(f"{name}_velocity", (), f"{unit}/s", f"velocity of {what}", role, typical=(-10, 10))
            self._add_field(rate, "qvel", rate_at)

    def _add_sites(self) -> None:
        for site, role in self._parts.list_sites():
            original = self.model.site(site).name
            name = self._names.claim_subject(make_identifier(original, f"site_{site}"), "site", ("position",))
            what, reach = f"position of site {original!r}", (-self._reach, self._reach)
            self._add_field(Field(f"{name}_position", (3,), "m", what, role, typical=reach), "site", 3 * site)

    def _add_goal_geoms(self) -> None:
        for geom in self._parts.list_goal_geoms():
            original = self.model.geom(geom).name
            name = self._names.claim_subject(make_identifier(original, f"geom_{geom}"), "geom", ("position",))
            what, reach = f"position of the goal {original!r}", (-self._reach, self._reach)
            self._add_field(Field(f"{name}_position", (3,), "m", what, "goal", typical=reach), "geom", 3 * geom)

    def _add_sensors(self) -> None:
        for index in range(self.model.nsensor):
            sensor = self.model.sensor(index)
            kind = mujoco.mjtSensor(int(sensor.type[0])).name.removeprefix("mjSENS_")
            name = self._names.claim_subject(make_identifier(sensor.name, f"sensor_{index}"), "sensor", ("",))
            unit, at, size = _SENSOR_UNITS.get(kind, "1"), int(sensor.adr[0]), int(sensor.dim[0])
            if kind in ("JOINTPOS", "JOINTVEL"):
                turns = self.model.jnt_type[sensor.objid[0]] == _HINGE
                unit = ("rad" if turns else "m") + ("/s" if kind == "JOINTVEL" else "")
            role = "contact" if kind == "TOUCH" else "other"
            said = (
                f"reading of the {kind.lower()} sensor {sensor.name!r}" if sensor.name else f"a {kind.lower()} sensor"
            )
            self._add_field(Field(name, () if size == 1 else (size,), unit, said, role, "sensor"), "sensor", at)

    def _add_forces(self) -> bool:
        before = len(self._fields)
        for body in self._parts.list_contact_bodies():
            wanted = self._parts.make_body_name(body)
            name = self._names.claim_subject(wanted, "body", ("contact",))
            what = f"sum of the normal contact forces on {self._parts.describe_body(body)}"
            self._add_field(Field(f"{name}_contact", (), "N", what, "contact", typical=(0, 100)), "force", body)
        return len(self._fields) > before

    def _compute_contact_forces(self, data: mujoco.MjData) -> np.ndarray:
        force, one = np.zeros(self.model.nbody), np.zeros(6)
        geoms, owner = data.contact.geom, self._parts.owner
        for index in range(data.ncon):
            if min(geoms[index]) < 0:
                continue  # a contact of a flexible body (flex)
            first, second = owner[self.model.geom_bodyid[geoms[index]]]
            if first == second:
                continue
            mujoco.mj_contactForce(self.model, data, index, one)
            force[first] += one[0]
            force[second] += one[0]
        return force


def build_state_spec(model: mujoco.MjModel) -> StateSpec:
    """Returns the fields that `ModelState` reads of a model."""
    return ModelState(model).spec
