"""Adds actuators to models that have none, such as robots from URDF files."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import mujoco
import numpy as np

from robo_reward.errors import UnknownName, UsageError
from robo_reward.scenes.model_file import delete_element
from robo_reward.scenes.starts import SCALAR_JOINTS

if TYPE_CHECKING:
    from robo_reward.scenes.urdf_robots.reader import UrdfJoint

KINDS = ("position", "motor", "velocity")
SAG = 0.02
"""Servos without a given stiffness sag at most this much under gravity [rad or m]."""
BANDWIDTH = 5.0
"""Least frequency of such servos [Hz]."""
STEP_RATIO = 0.2
"""Largest product of a servo's frequency and the time step; light joints get rotor inertia until it holds."""
SAMPLES = 16
"""Configurations for which the gravity load is computed."""


class AddedActuators(msgspec.Struct, forbid_unknown_fields=True):
    """Actuators that a scene file adds to the model.

    Args:
        kind: `position` (a servo), `motor` (a torque or force) or `velocity`; empty: as the <transmission> of a URDF
            says, or else `position`.
        joints: patterns of the joints that get one; empty: all.
        stiffness: of position servos [N m/rad or N/m]; 0: chosen from inertia, gravity load and effort limit.
        damping: of position and velocity servos [N m s/rad or N s/m]; 0: critical damping.
        effort: largest torque or force [N m or N]; 0: of the URDF, or unlimited.
        replace: whether actuators that are already on these joints are removed.
    """

    kind: str = ""
    joints: list[str] = []
    stiffness: float = 0.0
    damping: float = 0.0
    effort: float = 0.0
    replace: bool = False


def add_actuators(spec: mujoco.MjSpec, settings: AddedActuators, known: Mapping[str, UrdfJoint]) -> list[str]:
    """Adds an actuator to every hinge and slide joint that has none and follows no other; returns their names.

    Args:
        spec: of the model; it is changed.
        settings: of the scene file.
        known: what a URDF says about its joints; empty for MJCF.

    Raises:
        UnknownName: another kind, or a pattern that matches no joint.
        UsageError: nothing is left to move.
    """
    if settings.kind and settings.kind not in KINDS:
        raise UnknownName("actuators.kind", settings.kind, KINDS)
    if min(settings.stiffness, settings.damping, settings.effort) < 0:
        raise UsageError("actuators: stiffness, damping and effort must not be negative")
    model = spec.compile()
    joints = [j for j in range(model.njnt) if int(model.jnt_type[j]) in SCALAR_JOINTS and model.joint(j).name]
    names = [model.joint(j).name for j in joints]
    for pattern in settings.joints:
        if not fnmatch.filter(names, pattern):
            raise UnknownName("actuators.joints", pattern, names)
    followers = {name for name, joint in known.items() if joint.mimic in known}
    wanted = {n for pattern in settings.joints or ["*"] for n in fnmatch.filter(names, pattern)} - followers
    own = [a for a in spec.actuators if int(a.trntype) == int(mujoco.mjtTrn.mjTRN_JOINT) and a.target in wanted]
    if settings.replace:
        for actuator in own:
            delete_element(spec, actuator)
    else:
        wanted -= {actuator.target for actuator in own}
    loads = _measure_loads(model)
    for joint in joints:
        if (name := model.joint(joint).name) in wanted:
            effort = settings.effort or (known[name].effort if name in known else 0.0)
            kind = settings.kind or (known[name].actuator if name in known else "") or "position"
            _add_actuator(spec, model, joint, kind, effort, loads, settings)
    if not spec.actuators:
        raise UsageError("the model has no hinge or slide joint that an actuator could move")
    return sorted(wanted)


def _add_actuator(
    spec: mujoco.MjSpec,
    model: mujoco.MjModel,
    joint: int,
    kind: str,
    effort: float,
    loads: np.ndarray,
    settings: AddedActuators,
) -> None:
    """Adds one actuator; its control range is that of the joint, or ±1 for motors."""
    name, dof = model.joint(joint).name, int(model.jnt_dofadr[joint])
    inertia, load, step = float(model.dof_M0[dof]), float(loads[dof]), float(model.opt.timestep)
    added = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    stiffness = settings.stiffness or choose_stiffness(inertia, load, effort)
    if kind == "position" and (lacking := stiffness * (step / STEP_RATIO) ** 2 - inertia) > 0:
        spec.joint(name).armature = float(model.dof_armature[dof]) + lacking
        inertia += lacking
    damping = settings.damping or 2 * np.sqrt(stiffness * inertia)
    if effort and kind != "motor":
        added.forcelimited, added.forcerange = True, [-effort, effort]
    added.ctrllimited, added.ctrlrange = True, [-1, 1]
    if kind == "motor":
        added.gainprm[0] = 1.0
        added.gear[0] = effort or max(2 * load, inertia)
        return
    added.biastype = mujoco.mjtBias.mjBIAS_AFFINE
    added.gainprm[0] = stiffness if kind == "position" else damping
    added.biasprm[:3] = [0, -stiffness, -damping] if kind == "position" else [0, 0, -damping]
    if kind == "position":
        wide = np.pi if int(model.jnt_type[joint]) == int(mujoco.mjtJoint.mjJNT_HINGE) else 1.0
        turns_freely = not model.jnt_limited[joint] or np.ptp(model.jnt_range[joint]) > 4 * np.pi
        added.ctrlrange = [-wide, wide] if turns_freely else model.jnt_range[joint]


def choose_stiffness(inertia: float, load: float, effort: float) -> float:
    """Returns the stiffness of a position servo [N m/rad or N/m]: fast enough, with small sag.

    k = max(M (2π f)², τ / sag, effort / 0.3), where efforts above 150 are not believed.

    Args:
        inertia: M, of the joint in the zero position [kg m² or kg].
        load: τ, the largest gravity load [N m or N].
        effort: largest torque or force [N m or N], or 0.
    """
    return float(max(inertia * (2 * np.pi * BANDWIDTH) ** 2, load / SAG, min(effort, 150.0) / 0.3))


def _measure_loads(model: mujoco.MjModel) -> np.ndarray:
    """Returns the largest gravity load on each degree of freedom (nv,) [N m or N] over random configurations."""
    rng, data, loads = np.random.default_rng(0), mujoco.MjData(model), np.zeros(model.nv)
    for _ in range(SAMPLES):
        data.qpos[:] = model.qpos0
        for joint in range(model.njnt):
            if int(model.jnt_type[joint]) in SCALAR_JOINTS:
                low, high = model.jnt_range[joint] if model.jnt_limited[joint] else (-1.0, 1.0)
                data.qpos[model.jnt_qposadr[joint]] = rng.uniform(low, high)
        mujoco.mj_fwdPosition(model, data)
        mujoco.mj_fwdVelocity(model, data)
        loads = np.maximum(loads, np.abs(data.qfrc_bias))
    return loads
