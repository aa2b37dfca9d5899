"""Adds sensors for a named state to any model, so that the batch simulator reads the state as sensor data."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import mujoco

from robo_reward.envs.model.state import ModelState
from robo_reward.envs.state import MAX_DIM, Field, StateSpec
from robo_reward.errors import UnknownName, UsageError
from robo_reward.scenes.model_file import compile_model

_SENSOR, _OBJECT = mujoco.mjtSensor, mujoco.mjtObj
_OF_BODY = {
    "xpos": _SENSOR.mjSENS_FRAMEPOS,
    "xquat": _SENSOR.mjSENS_FRAMEQUAT,
    "v": _SENSOR.mjSENS_FRAMELINVEL,
    "w": _SENSOR.mjSENS_FRAMEANGVEL,
}
_BALL = int(mujoco.mjtJoint.mjJNT_BALL)


class MeasuredModel(NamedTuple):
    """A compiled model whose sensor data are a named state.

    Attributes:
        model: the compiled model.
        state: its state, in the order of the sensors.
    """

    model: mujoco.MjModel
    state: StateSpec


def add_state_sensors(
    spec: mujoco.MjSpec,
    path: Path,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> MeasuredModel:
    """Adds a sensor for every field that `ModelState` finds, and compiles the model.

    Sensors do not change the physics: the model moves as without them. A contact field becomes a touch sensor that
    covers the whole body, or the outermost of nameless bodies that belong to it (a foot of a leg); other fields are
    measured as `ModelState` reads them.

    Args:
        spec: of the file; it is changed.
        path: the file, for error messages.
        include: patterns of field names, such as `ball_*`; only these are kept, or all if empty.
        exclude: patterns of field names to leave out.

    Raises:
        ModelFileError: MuJoCo refuses the model.
        UnknownName: a pattern that matches no field.
        UsageError: the state is too large.
    """
    model = compile_model(spec, path)
    reader = ModelState(model)
    names = _select_fields(reader.spec, include, exclude)
    _name_elements(spec)
    named = compile_model(spec, path)  # the same model, in which every element has a name
    own = list(spec.sensors)
    measured: list[Field] = []
    # The model's own sensors come first in its sensor data.
    for name, (block, at) in reader.sources.items():
        if block == "sensor":
            index = next(i for i in range(model.nsensor) if int(model.sensor_adr[i]) == at)
            if name in names:
                own[index].name = name
                measured.append(reader.spec[name])
            else:
                own[index].delete()
    for name, (block, at) in reader.sources.items():
        if block == "sensor" or name not in names:
            continue
        if block in _OF_BODY:
            body = named.body(at // (4 if block == "xquat" else 3)).name
            _add_sensor(spec, name, _OF_BODY[block], _OBJECT.mjOBJ_XBODY, body)
        elif block == "site":
            _add_sensor(spec, name, _SENSOR.mjSENS_FRAMEPOS, _OBJECT.mjOBJ_SITE, named.site(at // 3).name)
        elif block == "geom":
            _add_sensor(spec, name, _SENSOR.mjSENS_FRAMEPOS, _OBJECT.mjOBJ_GEOM, named.geom(at // 3).name)
        elif block == "force":
            body = named.body(_find_contact_end(model, reader, at)).name
            _add_touch_sensor(spec, name, body, 10 * model.stat.extent)
        else:
            joint = _find_joint(model, block, at)
            kind = _choose_joint_sensor(int(model.jnt_type[joint]), block)
            _add_sensor(spec, name, kind, _OBJECT.mjOBJ_JOINT, named.joint(joint).name)
        measured.append(reader.spec[name])
    return MeasuredModel(compile_model(spec, path), StateSpec(measured))


def rename_fields(state: StateSpec, changes: dict[str, dict[str, Any]]) -> StateSpec:
    """Returns a state whose fields have other descriptions, roles or typical ranges.

    Raises:
        UnknownName: no field of that name.
    """
    fields = {field.name: field for field in state}
    for name, values in changes.items():
        if name not in fields:
            raise UnknownName("state field", name, state.names)
        fields[name] = replace(fields[name], **values)
    return StateSpec(list(fields.values()))


def _select_fields(state: StateSpec, include: Sequence[str], exclude: Sequence[str]) -> set[str]:
    for pattern in (*include, *exclude):
        if not fnmatch.filter(state.names, pattern):
            raise UnknownName("pattern of state fields", pattern, state.names)
    chosen = {name for p in include for name in fnmatch.filter(state.names, p)} if include else set(state.names)
    chosen -= {name for pattern in exclude for name in fnmatch.filter(state.names, pattern)}
    size = sum(state[name].size for name in chosen)
    if not chosen or size > MAX_DIM:
        raise UsageError(
            f"the state has {len(chosen)} fields with {size} numbers, expected 1 to {MAX_DIM} numbers: choose fields "
            "with state.include and state.exclude"
        )
    return chosen


def _name_elements(spec: mujoco.MjSpec) -> None:
    """Names the bodies, joints and sites that have no name, so that sensors can refer to them."""
    for kind, group in (("body", spec.bodies), ("joint", spec.joints), ("site", spec.sites)):
        for index, element in enumerate(group):
            if not element.name:
                element.name = f"unnamed {kind} {index}"


def _add_sensor(spec: mujoco.MjSpec, name: str, kind: Any, object_type: Any, object_name: str) -> None:
    spec.add_sensor(name=name, type=kind, objtype=object_type, objname=object_name)


def _find_contact_end(model: mujoco.MjModel, reader: ModelState, body: int) -> int:
    """Returns the outermost body that collides among a named body and the nameless ones that belong to it."""
    solid = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    return max(int(b) for b in model.geom_bodyid[solid] if reader.owner[b] == body)


def _add_touch_sensor(spec: mujoco.MjSpec, name: str, body: str, radius: float) -> None:
    """Adds a touch sensor whose invisible sphere [m] covers a whole body."""
    site = spec.body(body).add_site(
        name=f"touch of {name}",
        type=mujoco.mjtGeom.mjGEOM_SPHERE,
        size=[radius, 0, 0],
        rgba=[0, 0, 0, 0],
        group=5,
    )
    _add_sensor(spec, name, _SENSOR.mjSENS_TOUCH, _OBJECT.mjOBJ_SITE, site.name)


def _find_joint(model: mujoco.MjModel, block: str, at: int) -> int:
    addresses = model.jnt_qposadr if block == "qpos" else model.jnt_dofadr
    return next(j for j in range(model.njnt) if int(addresses[j]) == at)


def _choose_joint_sensor(joint_type: int, block: str) -> Any:
    if joint_type == _BALL:
        return _SENSOR.mjSENS_BALLQUAT if block == "qpos" else _SENSOR.mjSENS_BALLANGVEL
    return _SENSOR.mjSENS_JOINTPOS if block == "qpos" else _SENSOR.mjSENS_JOINTVEL
