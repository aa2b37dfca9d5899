"""What the bodies, joints and sites of a model are to each other: robot, object, part of a mechanism, goal."""

from __future__ import annotations

import mujoco
import numpy as np

from robo_reward.envs.model_names import GOAL, GRIPPER, HAND, OBJECT, identifier, words

# As numbers: mujoco 4 does not compare its enumerations with numpy's integers.
_FREE, _BALL, _HINGE = (int(getattr(mujoco.mjtJoint, f"mjJNT_{name}")) for name in ("FREE", "BALL", "HINGE"))
_WRAP_JOINT, _WRAP_SITE = int(mujoco.mjtWrap.mjWRAP_JOINT), int(mujoco.mjtWrap.mjWRAP_SITE)
_WELD = int(mujoco.mjtEq.mjEQ_WELD)
_ON_JOINT = (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT))
_ON_SITE = (int(mujoco.mjtTrn.mjTRN_SITE), int(mujoco.mjtTrn.mjTRN_SLIDERCRANK))
_ON_BODY, _ON_TENDON = int(mujoco.mjtTrn.mjTRN_BODY), int(mujoco.mjtTrn.mjTRN_TENDON)


class Parts:
    """Guesses roles from kinematics first, then from names.

    The robot is every kinematic tree with an actuator. What moves without one is an object if it is free or called one,
    else a part of a mechanism. Mocap bodies, and whatever is called a goal or a target, are goals.

    Args:
        model: any compiled model.

    Attributes:
        owner: (nbody,) for each body the closest ancestor, itself included, that has a name.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._robot = {int(model.body_treeid[body]) for body in _actuated(model)} - {-1}
        self.owner = np.arange(model.nbody)
        for body in range(1, model.nbody):
            if not self.name(body) and not self.is_free(body) and model.body_mocapid[body] < 0:
                self.owner[body] = self.owner[model.body_parentid[body]]

    def name(self, body: int) -> str:
        """A body's own name, empty if it has none."""
        return self._model.body(body).name

    def bodies(self) -> list[int]:
        """The bodies worth a field: named or free or mocap, and able to move or a goal."""
        model = self._model
        own = [body for body in range(1, model.nbody) if self.owner[body] == body]
        return [b for b in own if model.body_treeid[b] >= 0 or model.body_mocapid[b] >= 0 or words(self.name(b)) & GOAL]

    def is_free(self, body: int) -> bool:
        """Whether the body floats on a free joint."""
        first = self._model.body_jntadr[body]
        return bool(first >= 0 and self._model.jnt_type[first] == _FREE)

    def in_robot(self, body: int) -> bool:
        """Whether the body belongs to a tree with an actuator."""
        return int(self._model.body_treeid[body]) in self._robot

    def role(self, body: int) -> str:
        """One of `state.ROLES`."""
        said = words(self.name(body))
        if self._model.body_mocapid[body] >= 0:
            return "other" if self._is_welded(body) else "goal"  # a welded mocap body pulls another one along
        if said & GOAL:
            return "goal"
        if self.in_robot(body):
            return "hand" if said & HAND else "gripper" if said & GRIPPER else "body"
        if self._model.body_treeid[body] < 0:
            return "other"
        return "object" if self.is_free(body) or said & OBJECT else "part"

    def words(self, body: int) -> str:
        """The body in a sentence: `the robot's body 'torso', its root`."""
        name = self.name(body)
        kinds = {"object": "object", "part": "moving part", "goal": "goal", "hand": "robot's hand"}
        kind = kinds.get(self.role(body), "robot's body" if self.in_robot(body) else "body")
        root = ", its floating root" if self.is_free(body) and self.in_robot(body) else ""
        return f"the {kind} {name!r}{root}" if name else f"the {kind} without a name (number {body}){root}"

    def joints(self) -> list[int]:
        """Joints worth a field: not free ones, and not those that only place an object or a goal."""
        model = self._model
        mechanical = [j for j in range(model.njnt) if model.jnt_type[j] != _FREE]
        return [j for j in mechanical if self.role(self._body_of(j)) not in ("object", "goal")]

    def joint_name(self, joint: int) -> str:
        """An identifier: the joint's name, else its body's with `_joint`."""
        name = self._model.joint(joint).name
        if name:
            return identifier(name, f"joint_{joint}")
        body = self.name(self._body_of(joint))
        return f"{identifier(body, 'body')}_joint" if body else f"joint_{joint}"

    def joint_words(self, joint: int) -> str:
        """The joint in a sentence."""
        kind = {_BALL: "ball", _HINGE: "hinge"}.get(int(self._model.jnt_type[joint]), "sliding")
        name, body = self._model.joint(joint).name, self._body_of(joint)
        return f"the {kind} joint {name!r}" if name else f"the {kind} joint of {self.words(body)}"

    def joint_role(self, joint: int) -> str:
        """`joint` in the robot, `gripper` where it moves a finger, `part` elsewhere."""
        body = self._body_of(joint)
        if not self.in_robot(body):
            return "part"
        return "gripper" if self.role(body) == "gripper" else "joint"

    def sites(self) -> list[tuple[int, str]]:
        """Named sites that move or are goals, with their roles; not those that only route a tendon."""
        model, found = self._model, []
        routed = set(model.wrap_objid[model.wrap_type == _WRAP_SITE].tolist())
        for site in range(model.nsite):
            name, body = model.site(site).name, int(model.site_bodyid[site])
            said = words(name)
            role = "goal" if said & GOAL else "hand" if said & HAND and self.in_robot(body) else self.role(body)
            if name and site not in routed and (role == "goal" or model.body_treeid[body] >= 0):
                found.append((site, role))
        return found

    def touching(self) -> list[int]:
        """Bodies whose contact force is worth a field: objects, and the robot's ends (feet, hands, fingers)."""
        model, found = self._model, []
        collides = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
        solid = {int(self.owner[body]) for body in model.geom_bodyid[collides]}
        inner = {int(self.owner[model.body_parentid[b]]) for b in range(1, model.nbody) if self.owner[b] == b}
        for body in self.bodies():
            end = self.in_robot(body) and body not in inner
            if body in solid and (self.role(body) == "object" or end):
                found.append(body)
        return found

    def _body_of(self, joint: int) -> int:
        return int(self._model.jnt_bodyid[joint])

    def _is_welded(self, body: int) -> bool:
        model = self._model
        welds = model.eq_type == _WELD
        return bool(np.isin(body, [model.eq_obj1id[welds], model.eq_obj2id[welds]]))


def _actuated(model: mujoco.MjModel) -> set[int]:
    """The bodies that actuators act on."""
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
            found |= {body for wrap in wraps if (body := _wrapped(model, wrap)) is not None}
    return found


def _wrapped(model: mujoco.MjModel, wrap: int) -> int | None:
    """The body that a piece of a tendon hangs on."""
    kind, target = model.wrap_type[wrap], int(model.wrap_objid[wrap])
    if kind == _WRAP_JOINT:
        return int(model.jnt_bodyid[target])
    return int(model.site_bodyid[target]) if kind == _WRAP_SITE else None
