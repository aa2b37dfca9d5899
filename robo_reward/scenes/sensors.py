"""Adds sensors for a named state to any model, so that the batch simulator reads the state as sensor data."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import mujoco
from msgspec import structs

from robo_reward.envs.model.state import ModelState
from robo_reward.envs.state import MAX_DIM, Field, StateSpec
from robo_reward.errors import UnknownName, UsageError
from robo_reward.scenes.model_file import compile_model, delete_element

if TYPE_CHECKING:
    from robo_reward.scenes.settings import FieldChange

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
    changes: Mapping[str, FieldChange] | None = None,
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
        changes: other names, descriptions and roles of fields, or that they are left out, by field or pattern.

    Raises:
        ModelFileError: MuJoCo refuses the model.
        UnknownName: a pattern that matches no field.
        UsageError: the state is too large.
    """
    model = compile_model(spec, path)
    reader = ModelState(model)
    changed = _expand_changes(reader.spec.names, changes or {})
    hidden = [name for name, change in changed.items() if change.hide]
    chosen = _select_fields(reader.spec, include, [*exclude, *hidden])
    fields = {f.name: _change_field(f, changed.get(f.name)) for f in reader.spec if f.name in chosen}
    StateSpec(list(fields.values()))  # names each field once
    _name_elements(spec)
    named = compile_model(spec, path)  # the same model, in which every element has a name
    own = list(spec.sensors)
    measured: list[Field] = []
    # The model's own sensors come first in its sensor data.
    for name, (block, at) in reader.sources.items():
        if block == "sensor":
            index = next(i for i in range(model.nsensor) if int(model.sensor_adr[i]) == at)
            if name in fields:
                own[index].name = fields[name].name
                measured.append(fields[name])
            else:
                delete_element(spec, own[index])
    for name, (block, at) in reader.sources.items():
        if block == "sensor" or name not in fields:
            continue
        _add_field_sensor(spec, model, named, reader, fields[name], block, at)
        measured.append(fields[name])
    return MeasuredModel(compile_model(spec, path), StateSpec(measured))


def _add_field_sensor(
    spec: mujoco.MjSpec,
    model: mujoco.MjModel,
    named: mujoco.MjModel,
    reader: ModelState,
    field: Field,
    block: str,
    at: int,
) -> None:
    """Adds the sensor of a field that `ModelState` reads from index `at` of a block of `MjData`."""
    if block in _OF_BODY:
        body = named.body(at // (4 if block == "xquat" else 3)).name
        _add_sensor(spec, field.name, _OF_BODY[block], _OBJECT.mjOBJ_XBODY, body)
    elif block == "site":
        _add_sensor(spec, field.name, _SENSOR.mjSENS_FRAMEPOS, _OBJECT.mjOBJ_SITE, named.site(at // 3).name)
    elif block == "geom":
        _add_sensor(spec, field.name, _SENSOR.mjSENS_FRAMEPOS, _OBJECT.mjOBJ_GEOM, named.geom(at // 3).name)
    elif block == "force":
        body = named.body(_find_contact_end(model, reader, at)).name
        _add_touch_sensor(spec, field.name, body, 10 * model.stat.extent)
    else:
        joint = _find_joint(model, block, at)
        kind = _choose_joint_sensor(int(model.jnt_type[joint]), block)
        _add_sensor(spec, field.name, kind, _OBJECT.mjOBJ_JOINT, named.joint(joint).name)


def _expand_changes(names: Sequence[str], changes: Mapping[str, FieldChange]) -> dict[str, FieldChange]:
    """Returns the changes by field: a key may be a pattern, and a `*` in the new name is what its `*` matched.

    Raises:
        UnknownName: a key that matches no field.
        UsageError: one name for several fields.
    """
    found: dict[str, FieldChange] = {}
    for pattern, change in changes.items():
        matched = fnmatch.filter(names, pattern)
        if not matched:
            raise UnknownName("state field", pattern, names)
        if change.name and len(matched) > 1 and not pattern.count("*") == change.name.count("*") == 1:
            raise UsageError(
                f"state.fields.{pattern}: the name {change.name!r} would be that of {len(matched)} fields; write one "
                "`*` in both, such as 'body_3_*: {name: cup_*}'"
            )
        before, star, after = pattern.partition("*")
        for name in matched:
            kept = name[len(before) : len(name) - len(after)] if star else ""
            new = structs.replace(change, name=change.name.replace("*", kept)) if change.name else change
            found[name] = new
    return found


def _change_field(field: Field, change: FieldChange | None) -> Field:
    """Returns a field with what is given in the scene file: name, description, role or typical range."""
    keys = ("name", "description", "role", "typical")
    return replace(field, **{key: value for key in keys if (value := getattr(change, key, None))})


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
