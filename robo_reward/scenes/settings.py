"""Scene files: what a YAML file may say about a scene, and its defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from robo_reward.envs.state import ROLES
from robo_reward.errors import UnknownName, UsageError
from robo_reward.files import load_yaml
from robo_reward.scenes.end_effector import ActionSettings
from robo_reward.scenes.model_file import MODEL_SUFFIXES
from robo_reward.scenes.servos import AddedActuators
from robo_reward.scenes.starts import StartSettings

BASES = ("fixed", "free")


class FieldChange(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Change of a state field, or of all that match a pattern.

    Args:
        name: another name, such as `cup_position`, or `cup_*` for the pattern `body_3_*`.
        hide: whether the field is left out.
        description: one sentence for the reader, human or language model.
        role: one of `robo_reward.envs.state.ROLES`.
        typical: usual range of each component.
    """

    name: str = ""
    hide: bool = False
    description: str = ""
    role: str = ""
    typical: tuple[float, float] | None = None


class StateSettings(msgspec.Struct, forbid_unknown_fields=True):
    """Choice of the state's fields.

    Args:
        include: patterns of field names, such as `ball_*`; empty: all.
        exclude: patterns of field names to leave out.
        fields: other names and descriptions, by field or pattern.
    """

    include: list[str] = []
    exclude: list[str] = []
    fields: dict[str, FieldChange] = {}


class SceneSettings(msgspec.Struct, forbid_unknown_fields=True):
    """A scene file. Everything but the model has a default.

    Args:
        model: path of the MJCF or URDF file, relative to the scene file.
        goal: the goal sentence.
        success: condition that ends in success, such as `norm(ball_position - basket_position) < 0.1`.
        failure: condition that ends an episode as failed, or empty.
        ends_on_success: whether success ends the episode.
        horizon: control steps per episode.
        rate: control steps per second [Hz]; rounded so that a control step is a whole number of physics steps.
        start: the start distribution.
        base: `fixed` or `free`: whether the first body of a URDF is fixed to the world, or floats above a floor.
        actuators: actuators to add; by default position servos on the joints of a URDF, none for MJCF.
        action: the action convention; the model's actuators by default.
        ranges: domain randomisation, such as `body/ball/mass: [0.5, 1.5]`, see `SceneRanges`.
        state: choice of the state's fields.
        observation: patterns of the fields that policies observe; empty: all that vary.
        cameras: names of the cameras; empty: all of the model, or an overview if it has none.
        steps: usual training budget [environment steps].
    """

    model: str
    goal: str = ""
    success: str = ""
    failure: str = ""
    ends_on_success: bool = False
    horizon: int = 150
    rate: float = 25.0
    start: StartSettings = msgspec.field(default_factory=StartSettings)
    base: str = "fixed"
    actuators: AddedActuators | None = None
    action: ActionSettings = msgspec.field(default_factory=ActionSettings)
    ranges: dict[str, tuple[float, float]] = {}
    state: StateSettings = msgspec.field(default_factory=StateSettings)
    observation: list[str] = []
    cameras: list[str] = []
    steps: int = 400_000


def load_scene_settings(path: Path) -> SceneSettings:
    """Returns the settings of a scene file, or the defaults for a bare model file.

    Raises:
        UsageError: there is no such file, or a value is out of range.
        BadArtifact: the YAML file has another form; the message names the key.
        UnknownName: a key that does not exist.
    """
    if path.suffix.lower() in MODEL_SUFFIXES:
        return SceneSettings(model=path.name)
    document: Any = load_yaml(path, dict[str, Any])
    if document is None:
        near = ", ".join(sorted(p.name for p in path.parent.glob("*.y*ml"))[:8])
        raise UsageError(f"scene {path}: there is no such file. That folder has {near or 'no YAML file'}")
    _require_known_keys(document, SceneSettings, "")
    _require_known_keys(document.get("start"), StartSettings, "start.")
    _require_known_keys(document.get("actuators"), AddedActuators, "actuators.")
    _require_known_keys(document.get("action"), ActionSettings, "action.")
    _require_known_keys(document.get("state"), StateSettings, "state.")
    settings = load_yaml(path, SceneSettings, remedy="See docs/own_scene.md for the keys and their form")
    assert settings is not None
    if settings.horizon < 1 or not settings.rate > 0 or settings.steps < 1:
        raise UsageError(
            f"scene {path}: horizon={settings.horizon} rate={settings.rate} steps={settings.steps}: expected positive "
            "numbers"
        )
    if settings.base not in BASES:
        raise UnknownName("base", settings.base, BASES)
    for name, change in settings.state.fields.items():
        if change.role and change.role not in ROLES:
            raise UnknownName(f"role of {name}", change.role, ROLES)
    return settings


def _require_known_keys(document: Any, schema: Any, prefix: str) -> None:
    if isinstance(document, dict):
        known = [f.name for f in msgspec.structs.fields(schema)]
        for key in document:
            if key not in known:
                raise UnknownName("key of the scene file", f"{prefix}{key}", [f"{prefix}{name}" for name in known])
