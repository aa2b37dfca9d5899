"""Domain randomisation of a scene: ranges of friction, mass, gains and others, drawn for each world and episode."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Callable, Mapping
from typing import NamedTuple

import mujoco
import numpy as np

from robo_reward.envs.arm.dynamics import LONGEST_DELAY
from robo_reward.envs.model.names import make_identifier
from robo_reward.envs.task import Variant
from robo_reward.errors import UnknownName, UsageError

Change = Callable[[mujoco.MjModel, int, float], None]


def _scale_mass(model: mujoco.MjModel, body: int, factor: float) -> None:
    # Mass and inertia scale together: the same shape with another density.
    model.body_mass[body] *= factor
    model.body_inertia[body] *= factor


def _scale_friction(model: mujoco.MjModel, geom: int, factor: float) -> None:
    model.geom_friction[geom] *= factor


def _scale_damping(model: mujoco.MjModel, joint: int, factor: float) -> None:
    model.dof_damping[_get_dofs(model, joint)] *= factor


def _add_dry_friction(model: mujoco.MjModel, joint: int, amount: float) -> None:
    model.dof_frictionloss[_get_dofs(model, joint)] += amount


def _scale_armature(model: mujoco.MjModel, joint: int, factor: float) -> None:
    model.dof_armature[_get_dofs(model, joint)] *= factor


def _scale_stiffness(model: mujoco.MjModel, joint: int, factor: float) -> None:
    model.jnt_stiffness[joint] *= factor


def _scale_gain(model: mujoco.MjModel, actuator: int, factor: float) -> None:
    model.actuator_gainprm[actuator, :3] *= factor
    model.actuator_biasprm[actuator, :3] *= factor


def _scale_strength(model: mujoco.MjModel, actuator: int, factor: float) -> None:
    model.actuator_forcerange[actuator] *= factor


def _get_dofs(model: mujoco.MjModel, joint: int) -> slice:
    first = int(model.jnt_dofadr[joint])
    later = [int(a) for a in model.jnt_dofadr if a > first]
    return slice(first, min(later, default=model.nv))


QUANTITIES: dict[str, dict[str, Change]] = {
    "geom": {"friction": _scale_friction},
    "body": {"mass": _scale_mass},
    "joint": {
        "damping": _scale_damping,
        "friction": _add_dry_friction,
        "armature": _scale_armature,
        "stiffness": _scale_stiffness,
    },
    "actuator": {"gain": _scale_gain, "strength": _scale_strength},
}
"""What can be drawn: a factor, but for the dry friction of a joint, which is added [N m or N]."""


VARIED = (
    "body_mass", "body_inertia", "geom_friction", "dof_damping", "dof_frictionloss", "dof_armature", "jnt_stiffness",
    "actuator_gainprm", "actuator_biasprm", "actuator_forcerange",
)  # fmt: skip
"""The arrays of a model that the changes write to."""


class ElementRange(NamedTuple):
    """One range of a scene file, and what it applies to.

    Attributes:
        key: as written, such as `body/ball/mass`.
        change: sets the quantity of one element.
        elements: the indices that the pattern matches.
        low: lower end of the range.
        high: upper end.
    """

    key: str
    change: Change
    elements: list[int]
    low: float
    high: float


class SceneRanges:
    """Uniform ranges from which each world draws its physics in every episode.

    The keys are `gravity` (factor), `delay` [s], and `KIND/NAME/QUANTITY` for every kind and quantity of `QUANTITIES`,
    where NAME may be a pattern such as `*`. Each matching element draws a number of its own. A geom goes by its own
    name or by that of its body.

    Args:
        model: the compiled model.
        ranges: by key, [lowest, highest].

    Raises:
        UnknownName: a key that names nothing in the model.
        UsageError: a range that makes no sense.
    """

    def __init__(self, model: mujoco.MjModel, ranges: Mapping[str, tuple[float, float]]) -> None:
        self._model, self._data = model, mujoco.MjData(model)
        self.gravity = ranges.get("gravity", (1.0, 1.0))
        self.delay = ranges.get("delay", (0.0, 0.0))
        self.elements: list[ElementRange] = []
        names = {kind: _list_names(model, kind) for kind in QUANTITIES}
        known = [f"{kind}/{name}/{quantity}" for kind, members in names.items() for name in _flatten(members)
                 for quantity in QUANTITIES[kind]]  # fmt: skip
        for key, (low, high) in ranges.items():
            _check_range(key, low, high)
            if key in ("gravity", "delay"):
                continue
            kind, _, rest = key.partition("/")
            pattern, _, quantity = rest.rpartition("/")
            found = [index for index, own in enumerate(names.get(kind, [])) if fnmatch.filter(own, pattern)]
            if not found or quantity not in QUANTITIES[kind]:
                raise UnknownName("range", key, ("gravity", "delay", *known))
            self.elements.append(ElementRange(key, QUANTITIES[kind][quantity], found, low, high))
            if quantity == "strength":
                self._require_force_limit(key, found)

    def sample(self, rng: np.random.Generator, used: mujoco.MjModel | None = None) -> Variant:
        """Returns the physics of one world, in the model of an earlier sample if one is given.

        A copy of a model with large meshes takes tens of milliseconds.
        """
        model = copy.copy(self._model) if used is None else used
        for name in VARIED:
            getattr(model, name)[:] = getattr(self._model, name)
        model.opt.gravity = self._model.opt.gravity * rng.uniform(*self.gravity)
        for element in self.elements:
            for index, value in zip(
                element.elements, rng.uniform(element.low, element.high, len(element.elements)), strict=True
            ):
                element.change(model, index, float(value))
        if any(element.key.endswith(("/mass", "/armature")) for element in self.elements):
            mujoco.mj_setConst(model, self._data)  # recomputes the constants that depend on the masses
        return Variant(model, float(rng.uniform(*self.delay)))

    def _require_force_limit(self, key: str, actuators: list[int]) -> None:
        """Raises an error for the strength of actuators without a limit."""
        free = [self._model.actuator(a).name for a in actuators if not self._model.actuator_forcelimited[a]]
        if free:
            raise UsageError(
                f"ranges.{key}: {', '.join(free)} has no force limit that could vary: give it forcerange in the model, "
                "or vary its gain"
            )


def _check_range(key: str, low: float, high: float) -> None:
    """Raises an error for a range with swapped ends, or with factors that no model survives."""
    is_sum = key == "delay" or (key.startswith("joint/") and key.endswith("/friction"))
    least, most = (
        (0.0, LONGEST_DELAY if key == "delay" else 1e6) if is_sum else (0.0 if key == "gravity" else 0.01, 100.0)
    )
    if not least <= low <= high <= most:
        what = "seconds" if key == "delay" else "N m" if is_sum else "factors"
        raise UsageError(
            f"ranges.{key}=[{low}, {high}]: expected [LOWEST, HIGHEST] {what} within {least:g} to {most:g}"
        )


def _list_names(model: mujoco.MjModel, kind: str) -> list[list[str]]:
    """Returns the names by which each element of a kind goes."""
    count = {"geom": model.ngeom, "body": model.nbody, "joint": model.njnt, "actuator": model.nu}[kind]
    names = [[getattr(model, kind)(index).name] for index in range(count)]
    for index, own in enumerate(names):
        if kind == "geom":
            own.append(model.body(int(model.geom_bodyid[index])).name)
        if kind == "actuator":  # as in the action: its own name, or that of its joint
            joint = int(model.actuator_trnid[index, 0])
            on_joint = int(model.actuator_trntype[index]) == int(mujoco.mjtTrn.mjTRN_JOINT)
            own.append(make_identifier(own[0] or (model.joint(joint).name if on_joint else ""), f"actuator_{index}"))
    if kind == "body":
        names[0] = []  # the world has no mass
    return names


def _flatten(names: list[list[str]]) -> list[str]:
    return list(dict.fromkeys(name for own in names for name in own if name))
