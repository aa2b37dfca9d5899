"""Roles of the bodies, joints and sites of a model: robot, object, part of a mechanism, goal."""

from __future__ import annotations

import mujoco
import numpy as np

from robo_reward.envs.model.names import GOAL, GRIPPER, HAND, OBJECT, make_identifier, split_words

# As integers: the enumerations of mujoco 4 do not compare equal to numpy integers.
_FREE, _BALL, _HINGE = (int(getattr(mujoco.mjtJoint, f"mjJNT_{name}")) for name in ("FREE", "BALL", "HINGE"))
_WRAP_JOINT, _WRAP_SITE = int(mujoco.mjtWrap.mjWRAP_JOINT), int(mujoco.mjtWrap.mjWRAP_SITE)
_MESH = int(mujoco.mjtGeom.mjGEOM_MESH)
_WELD = int(mujoco.mjtEq.mjEQ_WELD)
_ON_JOINT = (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT))
_ON_SITE = (int(mujoco.mjtTrn.mjTRN_SITE), int(mujoco.mjtTrn.mjTRN_SLIDERCRANK))
_ON_BODY, _ON_TENDON = int(mujoco.mjtTrn.mjTRN_BODY), int(mujoco.mjtTrn.mjTRN_TENDON)


class ModelParts:
    """Guesses roles from kinematics first, then from names.

    The robot is every kinematic tree with an actuator. A moving body outside of it is an object if it is free or
    named so, else a part of a mechanism. Mocap bodies, and bodies named goal or target, are goals.

    Args:
        model: any compiled model.

    Attributes:
        owner: (nbody,) for each body the closest ancestor, itself included, that has a name.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._robot = {int(model.body_treeid[body]) for body in _find_actuated_bodies(model)} - {-1}
        self.owner = np.arange(model.nbody)
        for body in range(1, model.nbody):
            if not self.get_body_name(body) and not self.is_free(body) and model.body_mocapid[body] < 0:
                self.owner[body] = self.owner[model.body_parentid[body]]

    def get_body_name(self, body: int) -> str:
        """Returns the body's name, empty if it has none."""
        return self._model.body(body).name

    def make_body_name(self, body: int) -> str:
        """Returns an identifier: the body's name, else that of a geom or mesh, else the shape of its first geom."""
        model, first = self._model, int(self._model.body_geomadr[body])
        names = [self.get_body_name(body)]
        for geom in range(first, first + int(model.body_geomnum[body])):
            mesh = int(model.geom_dataid[geom]) if int(model.geom_type[geom]) == _MESH else -1
            names += [model.geom(geom).name, model.mesh(mesh).name if mesh >= 0 else ""]
        if first >= 0:
            names.append(mujoco.mjtGeom(int(model.geom_type[first])).name.removeprefix("mjGEOM_").lower())
        return make_identifier(next((name for name in names if name), ""), f"body_{body}")

    def list_bodies(self) -> list[int]:
        """Returns the bodies worth a field: named or free or mocap, and able to move or a goal."""
        model = self._model
        own = [body for body in range(1, model.nbody) if self.owner[body] == body]
        return [
            b
            for b in own
            if model.body_treeid[b] >= 0 or model.body_mocapid[b] >= 0 or split_words(self.get_body_name(b)) & GOAL
        ]

    def is_free(self, body: int) -> bool:
        """Returns whether the body floats on a free joint."""
        first = self._model.body_jntadr[body]
        return bool(first >= 0 and self._model.jnt_type[first] == _FREE)

    def is_in_robot(self, body: int) -> bool:
        """Returns whether the body belongs to a kinematic tree with an actuator."""
        return int(self._model.body_treeid[body]) in self._robot

    def classify_body(self, body: int) -> str:
        """Returns the body's role, one of `state.ROLES`."""
        said = split_words(self.get_body_name(body))
        if self._model.body_mocapid[body] >= 0:
            return "other" if self._is_welded(body) else "goal"  # a welded mocap body drags another body
        if said & GOAL:
            return "goal"
        if self.is_in_robot(body):
            return "hand" if said & HAND else "gripper" if said & GRIPPER else "body"
        if self._model.body_treeid[body] < 0:
            return "other"
        return "object" if self.is_free(body) or said & OBJECT else "part"

    def describe_body(self, body: int) -> str:
        """Returns a phrase for the body: `the robot's body 'torso', its root`."""
        name = self.get_body_name(body)
        kinds = {"object": "object", "part": "moving part", "goal": "goal", "hand": "robot's hand"}
        kind = kinds.get(self.classify_body(body), "robot's body" if self.is_in_robot(body) else "body")
        root = ", its floating root" if self.is_free(body) and self.is_in_robot(body) else ""
        return f"the {kind} {name!r}{root}" if name else f"the {kind} without a name (number {body}){root}"

    def list_joints(self) -> list[int]:
        """Returns the joints worth a field: not free ones, and not those that only place an object or a goal."""
        model = self._model
        mechanical = [j for j in range(model.njnt) if model.jnt_type[j] != _FREE]
        return [j for j in mechanical if self.classify_body(self._get_joint_body(j)) not in ("object", "goal")]

    def make_joint_name(self, joint: int) -> str:
        """Returns an identifier: the joint's name, else that of its body or the nearest named one, with `_joint`."""
        name = self._model.joint(joint).name
        if name:
            return make_identifier(name, f"joint_{joint}")
        body = self.get_body_name(int(self.owner[self._get_joint_body(joint)]))
        return f"{make_identifier(body, 'body')}_joint" if body not in ("", "world") else f"joint_{joint}"

    def describe_joint(self, joint: int) -> str:
        """Returns a phrase for the joint."""
        kind = {_BALL: "ball", _HINGE: "hinge"}.get(int(self._model.jnt_type[joint]), "sliding")
        name, body = self._model.joint(joint).name, self._get_joint_body(joint)
        return f"the {kind} joint {name!r}" if name else f"the {kind} joint of {self.describe_body(body)}"

    def classify_joint(self, joint: int) -> str:
        """Returns `joint` in the robot, `gripper` where the joint moves a finger, `part` elsewhere."""
        body = self._get_joint_body(joint)
        if not self.is_in_robot(body):
            return "part"
        return "gripper" if self.classify_body(body) == "gripper" else "joint"

    def list_sites(self) -> list[tuple[int, str]]:
        """Returns the named sites that move or are goals, with their roles; not those that only route a tendon."""
        model, found = self._model, []
        routed = set(model.wrap_objid[model.wrap_type == _WRAP_SITE].tolist())
        for site in range(model.nsite):
            name, body = model.site(site).name, int(model.site_bodyid[site])
            said = split_words(name)
            role = (
                "goal"
                if said & GOAL
                else "hand"
                if said & HAND and self.is_in_robot(body)
                else self.classify_body(body)
            )
            if name and site not in routed and (role == "goal" or model.body_treeid[body] >= 0):
                found.append((site, role))
        return found

    def list_goal_geoms(self) -> list[int]:
        """Returns the geoms that are named as goals and are neither part of a goal body nor marked by a goal site."""
        model = self._model
        marked = {int(model.site_bodyid[site]) for site, role in self.list_sites() if role == "goal"}
        found = []
        for geom in range(model.ngeom):
            body = int(model.geom_bodyid[geom])
            goal = split_words(model.geom(geom).name) & GOAL and body not in marked
            if goal and self.classify_body(int(self.owner[body])) != "goal":
                found.append(geom)
        return found

    def list_contact_bodies(self) -> list[int]:
        """Returns the bodies whose contact force is worth a field: objects, robot feet, hands and fingers."""
        model, found = self._model, []
        collides = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
        solid = {int(self.owner[body]) for body in model.geom_bodyid[collides]}
        inner = {int(self.owner[model.body_parentid[b]]) for b in range(1, model.nbody) if self.owner[b] == b}
        for body in self.list_bodies():
            end = self.is_in_robot(body) and body not in inner
            if body in solid and (self.classify_body(body) == "object" or end):
                found.append(body)
        return found

    def _get_joint_body(self, joint: int) -> int:
        return int(self._model.jnt_bodyid[joint])

    def _is_welded(self, body: int) -> bool:
        model = self._model
        welds = model.eq_type == _WELD
        return bool(np.isin(body, [model.eq_obj1id[welds], model.eq_obj2id[welds]]))


def _find_actuated_bodies(model: mujoco.MjModel) -> set[int]:
    """Returns the bodies that actuators act on."""
    found: set[int] = set()
    for index in range(model.nu):
        kind, target = int(model.actuator_trntype[index]), int(model.actuator_trnid[index, 0])
        if kind in _ON_JOINT:
            found.add(int(model.jnt_bodyid[target]))
        elif kind in _ON_SITE:
            found.add(int(model.site_bodyid[target]))
        elif kind == _ON_BODY:
            found.add(target)
        elif kind == _ON_TENDON:
            wraps = range(model.tendon_adr[target], model.tendon_adr[target] + model.tendon_num[target])
            found |= {body for wrap in wraps if (body := _find_wrapped_body(model, wrap)) is not None}
    return found


def _find_wrapped_body(model: mujoco.MjModel, wrap: int) -> int | None:
    """Returns the body that a piece of a tendon is attached to."""
    kind, target = model.wrap_type[wrap], int(model.wrap_objid[wrap])
    if kind == _WRAP_JOINT:
        return int(model.jnt_bodyid[target])
    return int(model.site_bodyid[target]) if kind == _WRAP_SITE else None
