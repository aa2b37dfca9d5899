"""Dynamics of an arm's joints, as identified on a real arm, and the ranges of domain randomisation."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mujoco
import numpy as np

from robo_reward.errors import UnknownName, UsageError
from robo_reward.files import write_json

if TYPE_CHECKING:
    from robo_reward.envs.arm.base import ArmTask

LONGEST_DELAY = 0.5
"""Largest delay of a simulated arm [s]."""


@dataclass(frozen=True, eq=False)
class Dynamics:
    """The response of the joints to their commands.

    Args:
        delay: from a command to its effect [s].
        damping: of the position servos (7,) [N m s/rad]; divided by their stiffness it is the lag.
        friction: dry friction of the joints (7,) [N m].
        tempo: time scale of the policy that will control this arm.
    """

    delay: float
    damping: np.ndarray
    friction: np.ndarray
    tempo: float = 1.0

    @classmethod
    def from_task(cls, task: ArmTask) -> Dynamics:
        """Returns the dynamics that the task's model assumes, without delay."""
        model = task.model
        return cls(0.0, -model.actuator_biasprm[:7, 2].copy(), model.dof_frictionloss[:7].copy())

    def to_policy_time(self) -> Dynamics:
        """Scales to the policy's own time: at half the tempo, delay and damping appear halved.

        Inertia would appear as a quarter, which is neglected.
        """
        return Dynamics(self.delay * self.tempo, self.damping * self.tempo, self.friction)

    def apply_to(self, model: mujoco.MjModel) -> mujoco.MjModel:
        """Returns a copy of a task's model with this damping and friction; a model cannot hold the delay."""
        model = copy.copy(model)
        model.actuator_biasprm[:7, 2] = -self.damping  # biasprm[2] holds -kd: force = kp ctrl - kp q - kd dq
        model.dof_frictionloss[:7] = self.friction
        return model

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON value from which `from_option` rebuilds it."""
        damping, friction = self.damping.tolist(), self.friction.tolist()
        return {"delay": self.delay, "damping": damping, "friction": friction, "tempo": self.tempo}

    def save(self, path: Path) -> None:
        """Writes JSON."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> Dynamics:
        """Reads what `save` wrote."""
        return cls.from_option(str(path))

    @classmethod
    def from_option(cls, value: str | Mapping[str, Any]) -> Dynamics:
        """Builds the dynamics from a file, or from the value of `to_json`.

        Raises:
            UsageError: no such file, or not what `robo-reward identify` writes.
        """
        try:
            found = json.loads(Path(value).read_text()) if isinstance(value, str) else value
            damping, friction = (np.array(found[name], float) for name in ("damping", "friction"))
            made = cls(float(found["delay"]), damping, friction, float(found.get("tempo", 1.0)))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"dynamics={value!r}: expected a file of `robo-reward identify` ({error!r})") from error
        numbers = np.concatenate([damping.ravel(), friction.ravel(), [made.delay, made.tempo]])
        right = damping.shape == friction.shape == (7,) and (numbers >= 0).all() and np.isfinite(numbers).all()
        if not right or made.delay > LONGEST_DELAY or not 0.1 <= made.tempo <= 1:
            raise UsageError(
                f"dynamics={value!r}: expected damping and friction of 7 joints, none negative, a delay of 0 to "
                f"{LONGEST_DELAY} s and a tempo of 0.1 to 1"
            )
        return made


@dataclass(frozen=True)
class RandomisationRanges:
    """Uniform ranges from which each world draws its arm and objects in every episode (domain randomisation).

    Args:
        delay: added to the arm's [s].
        damping: factor, one per joint.
        friction: added to the joints' [N m], one per joint.
        mass: factor of the objects on the table.
        slide: factor of the sliding friction of their surfaces.
    """

    delay: tuple[float, float] = (0.0, 0.0)
    damping: tuple[float, float] = (1.0, 1.0)
    friction: tuple[float, float] = (0.0, 0.0)
    mass: tuple[float, float] = (1.0, 1.0)
    slide: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        least = {"delay": 0.0, "damping": 0.1, "friction": 0.0, "mass": 0.1, "slide": 0.1}
        most = {"delay": LONGEST_DELAY, "damping": 10.0, "friction": 20.0, "mass": 10.0, "slide": 10.0}
        for name, value in asdict(self).items():
            if len(value) != 2 or not least[name] <= value[0] <= value[1] <= most[name]:
                raise UsageError(
                    f"ranges.{name}={list(value)}: expected [low, high] within {least[name]:g} to {most[name]:g}"
                )

    @classmethod
    def from_option(cls, value: Mapping[str, Any]) -> RandomisationRanges:
        """Builds the ranges from a task's options.

        Raises:
            UnknownName: no such range.
            UsageError: not two numbers, or outside of the allowed interval.
        """
        names, pairs = [field.name for field in fields(cls)], dict[str, Any]()
        for name, pair in value.items():
            if name not in names:
                raise UnknownName("range", str(name), names)
            if not isinstance(pair, Sequence) or not all(isinstance(x, int | float) for x in pair):
                raise UsageError(f"ranges.{name}={pair}: expected two numbers, [low, high]")
            pairs[name] = tuple(map(float, pair))
        return cls(**pairs)

    def sample_dynamics(self, rng: np.random.Generator, dynamics: Dynamics) -> Dynamics:
        """Samples the dynamics of one arm around the given ones."""
        delay = min(dynamics.delay + rng.uniform(*self.delay), LONGEST_DELAY)
        damping = dynamics.damping * rng.uniform(*self.damping, 7)
        friction = dynamics.friction + rng.uniform(*self.friction, 7)
        return replace(dynamics, delay=delay, damping=damping, friction=friction)

    def randomise_objects(self, rng: np.random.Generator, model: mujoco.MjModel) -> None:
        """Randomises masses and surface friction of the bodies that are free to move, in place."""
        for body in _find_movable_bodies(model):
            factor = rng.uniform(*self.mass)
            # Mass and inertia scale together: the same shape with another density.
            model.body_mass[body] *= factor
            model.body_inertia[body] *= factor
            model.geom_friction[model.geom_bodyid == body, 0] *= rng.uniform(*self.slide)
        mujoco.mj_setConst(model, mujoco.MjData(model))  # recomputes the constants that depend on the masses


def _find_movable_bodies(model: mujoco.MjModel) -> list[int]:
    """Returns the bodies that can move and do not belong to the arm."""
    # Bodies without a joint to the world have weld id 0; those of the arm share its root body.
    root = [int(model.body_rootid[b]) for b in range(model.nbody)]
    arm = root[int(model.jnt_bodyid[0])]
    return [b for b in range(1, model.nbody) if model.body_weldid[b] != 0 and root[b] != arm]
